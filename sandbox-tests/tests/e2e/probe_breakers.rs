//! Who does not answer is not asked again and again: breakers in front of probes.

use std::net::TcpListener;
use std::sync::Mutex;

use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::outside::free_port;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A stage whose recovery is looked at where nobody listens, with breakers of short waits; and that address.
fn stage(cooldown: &str) -> Option<(Stage, String)> {
    let mut stage = Stage::bare()?;
    let address = format!("127.0.0.1:{}", free_port());
    stage.home.probes = format!("tcp: {{ connect: ['{address}'] }}");
    let breaker = format!("{{ failures: 3, window: 10m, cooldown: {cooldown}, successes: 1 }}");
    stage.home.more.push(format!("breaker: {breaker}\n"));
    stage.home.configure();
    let verify = format!(
        "verify:\n  within: 0s\n  stable_for: 0s\n  interval: 100ms\n  probes:\n    - tcp: {{ address: '{address}' }}\n"
    );
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Answer(200));
    Some((stage, address))
}

fn breaker(daemon: &Daemon, id: &str) -> Value {
    let listed = daemon.get("/v1/breakers").expect(200);
    let items = listed["items"].as_array().unwrap();
    items.iter().find(|item| item["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn a_synthetic_transaction_takes_what_one_answer_says_into_the_next_request() {
    let Some(mut stage) = Stage::bare() else { return };
    let address = stage.target.address();
    stage.home.probes = format!("http: {{ read: ['GET http://{address}/**'] }}");
    stage.home.configure();
    let steps = format!(
        "[{{ url: 'http://{address}/metrics', extract: {{ up: {{ regex: 'shop_up ([01])' }} }} }}, \
         {{ url: 'http://{address}/orders/${{up}}', status: 200 }}]"
    );
    let verify = format!(
        "verify:\n  within: 20s\n  stable_for: 0s\n  interval: 100ms\n  probes:\n    - sequence: {steps}\n"
    );
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    let daemon = stage.home.serve();
    let run = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let run = daemon.outcome(&run, "fixed");
    let message = run["reason"]["message"].as_str().unwrap();
    assert!(message.contains("all 2 requests of the sequence passed"), "{message}");
    let paths: Vec<String> = stage.target.requests().iter().map(|seen| seen.path.clone()).collect();
    let before = paths.iter().position(|path| path == "/orders/0").unwrap();
    let after = paths.iter().position(|path| path == "/orders/1").unwrap();
    assert!(before < after, "{paths:?}");
}

/// So many runs, each at a target of its own, that the probe finds not fixed.
fn silent_runs(daemon: &Daemon, count: usize) {
    for number in 0..count {
        let run = daemon.run_of(&Firing::new(ALERT, &format!("shop-{number}")));
        let _run = daemon.outcome(&run, "not-fixed");
    }
}

#[test]
fn an_endpoint_that_never_answers_is_no_longer_asked() {
    let Some((stage, address)) = stage("1h") else { return };
    let id = format!("probe:tcp://{address}");
    let daemon = stage.home.serve();
    silent_runs(&daemon, 2);
    daemon.kill();
    let daemon = stage.home.serve();
    let closed = breaker(&daemon, &id);
    assert_eq!((&closed["state"], &closed["failures"]), (&json!("closed"), &json!(2)), "{closed}");
    let run = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let _run = daemon.outcome(&run, "not-fixed");
    let open = breaker(&daemon, &id);
    assert_eq!(open["state"], "open", "{open}");
    assert_eq!(
        (&open["plugin"], &open["target"], &open["probe"]),
        (&Value::Null, &Value::Null, &json!(format!("tcp://{address}")))
    );
    assert!(open["why"].as_str().unwrap().contains("3 of 3 runs within 10m got no answer"), "{open}");
    let listed = succeeded(&stage.home.staunch(&["breakers", "list", "--state", "open"]));
    assert!(listed.contains(&id), "{listed}");

    // Over a restart as well; and somebody who answers now is not asked either.
    daemon.kill();
    let _listener = TcpListener::bind(&address).unwrap();
    let daemon = stage.home.serve();
    let run = daemon.run_of(&Firing::new(ALERT, "shop-3"));
    let run = daemon.outcome(&run, "unknown");
    let message = run["reason"]["message"].as_str().unwrap();
    assert!(
        run["reason"]["code"] == "no-answer" && message.contains(&format!("breaker {id}: open")),
        "{message}"
    );
    assert_eq!(
        breaker(&daemon, "http-request")["failures"],
        3,
        "what nobody can tell is not the plugin's fault"
    );
}

#[test]
fn a_trial_that_is_answered_closes_the_breaker_of_a_probe() {
    let Some((stage, address)) = stage("1s") else { return };
    let id = format!("probe:tcp://{address}");
    let daemon = stage.home.serve();
    silent_runs(&daemon, 3);
    assert_eq!(breaker(&daemon, &id)["state"], "open");
    // The fix of the run that tries brings it back. Before it, the endpoint is as silent as ever: that counts for
    // nothing.
    let (api, token) = (daemon.address(), format!("Bearer {}", stage.home.administrator));
    let (back, there) = (Mutex::new(None), address);
    stage.target.on_post(move |_| {
        let listed = send(api, "GET", "/v1/breakers?state=half-open", &[("authorization", &token)], b"");
        if listed.unwrap().json()["items"][0]["trial"].is_string() {
            back.lock().unwrap().get_or_insert_with(|| TcpListener::bind(&there).unwrap());
        }
    });
    let mut number = 10;
    until("a trial is let through", SOON, || {
        number += 1;
        let run = daemon.run_of(&Firing::new(ALERT, &format!("shop-{number}")));
        let run = daemon.until(&run, "ended");
        (run["outcome"] == "fixed").then_some(())
    });
    let state = breaker(&daemon, &id)["state"].clone();
    assert!(state.is_null() || state == "closed", "{state}");
}

#[test]
fn a_breaker_of_a_probe_moves_by_hand() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let address = stage.target.address();
    let page = format!("probe:http://{address}/healthz");
    let _said = succeeded(&stage.home.staunch(&["breakers", "trip", &page, "--reason", "it lies"]));
    let run = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    assert_eq!(daemon.until(&run, "verifying")["state"], "verifying", "nobody looks");
    let _run = daemon.post(&format!("/v1/runs/{run}/cancel"), &json!({})).expect(200);
    let listed = daemon.get("/v1/breakers?plugin=http-request").expect(200);
    assert_eq!(listed["items"], json!([]), "it is no plugin's");
    let id = format!("probe:http://{address}");
    assert!(breaker(&daemon, &id)["why"].as_str().unwrap().contains("administrator opened it: it lies"));
    for wrong in ["probe:", "probe:nonsense", "probe:tcp://", "probe:ftp://shop"] {
        let said = stage.home.staunch(&["breakers", "trip", wrong, "--reason", "r"]);
        assert_eq!(said.code, Some(1), "{wrong}: {}", said.stderr);
    }
    let _said = succeeded(&stage.home.staunch(&["breakers", "reset", &id, "--reason", "it does not"]));
    stage.target.set_well(false);
    let run = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let _run = daemon.outcome(&run, "fixed");
}
