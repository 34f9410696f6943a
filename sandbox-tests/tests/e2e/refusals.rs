//! What is refused says why, in words that mend it, before anything happens.

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::Installation;
use sandbox_tests::target::{Behaviour, Target};
use serde_json::json;

use super::stage::{ALERT, Stage};

#[test]
fn without_a_grant_the_run_is_refused_and_the_grant_is_named() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    stage.home.grants.clear();
    stage.home.configure();
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "refused");
    assert_eq!(run["reason"]["code"], "grant", "{run:#}");
    let message = run["reason"]["message"].as_str().unwrap();
    for part in ["http-request", "http", "send", "POST", &stage.target.address().to_string()] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_grant_for_something_else_is_none() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let address = stage.target.address();
    for pattern in [
        format!("GET http://{address}/**"),
        format!("POST http://{address}/other/**"),
        format!("POST http://{address}/*"),
        "POST http://127.0.0.2/**".to_owned(),
    ] {
        stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
        stage.home.configure();
        let daemon = stage.home.serve();
        let run = daemon.until(&daemon.run_of(&Firing::new(ALERT, &pattern_name(&pattern))), "ended");
        assert_eq!(run["outcome"], "refused", "{pattern}: {run:#}");
        assert_eq!(daemon.stop(), Some(0));
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_grant_of_any_address_does_not_reach_the_loopback() {
    let Some(mut stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    stage.home.grants = vec!["http-request: { http: { send: ['POST http://**'] } }".to_owned()];
    stage.home.configure();
    let daemon = stage.home.serve();
    let run = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "ended");
    assert_eq!((&run["outcome"], &run["reason"]["code"]), (&json!("refused"), &json!("grant")), "{run:#}");
    assert_eq!(run["started_at"], json!(null), "it is refused by its plan");
    assert!(run["reason"]["message"].as_str().unwrap().contains("not public"), "{run:#}");
    assert!(stage.target.posts().is_empty());
}

/// A name of a target out of a pattern.
fn pattern_name(pattern: &str) -> String {
    pattern.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[test]
fn input_that_violates_the_schema_is_told_in_the_trace() {
    let Some(stage) = Stage::bare() else { return };
    stage.home.runbook(
        "wrong",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: x\nautonomy: automatic\n\
             steps:\n  - plugin: http-request\n    input: {{ method: POST, url: '{{{{ labels.instance }}}}' }}\n"
        ),
    );
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[Firing::new(ALERT, "not-a-url")]).remove(0);
    assert_eq!(entry["runs"], json!([]));
    let decision = daemon.decision(&entry, "input");
    assert_eq!(decision["result"], "refuse");
    assert!(decision["message"].as_str().unwrap().contains("url"), "{decision}");
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_template_that_cannot_be_filled_is_told_in_the_trace() {
    let Some(stage) = Stage::bare() else { return };
    stage.home.runbook(
        "wrong",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: '{{{{ labels.rack }}}}'\nautonomy: automatic\n\
             steps:\n  - plugin: http-request\n    input: {{ method: POST, url: 'http://x.invalid/' }}\n"
        ),
    );
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    assert_eq!(entry["runs"], json!([]));
    let decision = daemon.decision(&entry, "template");
    assert!(decision["message"].as_str().unwrap().contains("rack"), "{decision}");
}

#[test]
fn a_runbook_whose_plugin_is_not_installed_says_so() {
    let home = Installation::empty();
    home.runbook(
        "lonely",
        "match: ['alertname=\"ShopDown\"']\ntarget: x\nautonomy: automatic\nsteps:\n  - plugin: nowhere\n    input: {}\n",
    );
    let daemon = home.serve();
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    let decision = daemon.decision(&entry, "plugin-unknown");
    assert!(decision["message"].as_str().unwrap().contains("nowhere"), "{decision}");
}

#[test]
fn a_host_bound_effect_needs_a_host() {
    let Some(mut home) = Installation::with(&["run-command"]) else { return };
    home.grants.push("run-command: { process: { run: ['/bin/true'] } }".to_owned());
    home.configure();
    home.runbook(
        "command",
        "match: ['alertname=\"ShopDown\"']\ntarget: '{{ labels.instance }}'\nautonomy: approve\n\
         steps:\n  - plugin: run-command\n    input: { program: /bin/true }\n",
    );
    let daemon = home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "db-3")), "refused");
    assert_eq!(run["reason"]["code"], "target-unknown", "{run:#}");
    assert!(run["reason"]["message"].as_str().unwrap().contains("db-3"), "{run:#}");
    // Any of the host's names is the host.
    for name in ["web-7", "web-7:9100"] {
        let id = daemon.run_of(&Firing::new(ALERT, name));
        let run = daemon.until(&id, "waiting");
        assert_eq!(run["target"], "web-7", "{run:#}");
        let target = run["plan"]["effects"][0]["target"].as_str().unwrap().to_owned();
        assert!(target.starts_with("web-7/process:"), "{target}");
        let _run = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({})).expect(200);
        let _run = daemon.outcome(&id, "cancelled");
    }
}

#[test]
fn a_secret_is_put_in_by_the_host_and_never_shown() {
    let Some(mut stage) = Stage::bare() else { return };
    let secret = "s3cret-of-the-shop-0123456789";
    std::fs::write(stage.home.path("keys/shop.secret"), secret).unwrap();
    stage.home.chmod("keys/shop.secret", 0o600);
    let address = stage.target.address();
    stage.home.grants = vec![format!(
        "http-request: {{ http: {{ send: ['POST http://{address}/**'] }}, \
         secrets: {{ shop: ['header authorization @ http://{address}'] }} }}"
    )];
    stage.home.more = vec!["secrets: { shop: '${file:keys/shop.secret}' }\n".to_owned()];
    stage.home.configure();
    let runbook = |name: &str, secret: &str| {
        let text = format!(
            "match: ['alertname=\"{name}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: automatic\n\
             steps:\n  - plugin: http-request\n    input: {{ method: POST, url: 'http://{address}/x', \
             headers: {{ authorization: 'secret://{secret}' }} }}\n"
        );
        stage.home.runbook(name, &text);
    };
    runbook("right", "shop");
    runbook("wrong", "nowhere");
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new("wrong", "shop-1")), "refused");
    let message = run["reason"]["message"].as_str().unwrap();
    assert!(message.contains("nowhere"), "{message}");
    let id = daemon.run_of(&Firing::new("right", "shop-1"));
    let run = daemon.outcome(&id, "unknown");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
    assert!(stage.target.posts()[0].header("authorization").unwrap().contains(secret));
    let journal = serde_json::to_string(&daemon.journal(&id)).unwrap();
    assert!(!journal.contains(secret) && journal.contains("secret://shop"), "{journal}");
    assert!(!daemon.said().contains(secret));
}

#[test]
fn a_secret_file_that_is_missing_is_named() {
    let mut home = Installation::empty();
    home.more = vec!["secrets: { shop: '${file:keys/none.secret}' }\n".to_owned()];
    home.configure();
    let served = home.staunch(&["serve"]);
    assert_eq!(served.code, Some(2));
    assert!(served.stderr.contains("none.secret") && served.stderr.contains("shop"), "{}", served.stderr);
}

#[test]
fn a_target_that_misbehaves_ends_the_run_and_harms_nobody() {
    for (behaviour, statuses) in [
        (Behaviour::Answer(500), &["done"][..]),
        (Behaviour::Flood(64 << 20), &["done", "failed", "unknown"]),
        (Behaviour::Reset, &["unknown"]),
    ] {
        let Some(stage) = Stage::bare() else { return };
        stage.runbook("restart-shop", ALERT, "automatic", "");
        stage.target.behave(behaviour);
        let daemon = stage.home.serve();
        let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
        let run = sandbox_tests::poll::until("the run is over or parked", sandbox_tests::poll::SOON, || {
            let run = daemon.run(&id);
            ["ended", "parked"].iter().any(|state| run["state"] == *state).then_some(run)
        });
        let status = run["effects"][0]["status"].as_str().unwrap_or_default().to_owned();
        assert!(statuses.contains(&status.as_str()), "{behaviour:?}: {run:#}");
        assert_eq!(stage.target.posts().len(), 1, "{behaviour:?}");
        stage.target.behave(Behaviour::Recover);
        let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "unknown");
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn a_target_that_is_not_there_fails_the_run() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let Stage { target, home: _home } = stage;
    let gone = target.address();
    drop(target);
    let run = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "ended");
    assert_eq!(run["outcome"], "failed", "{run:#}");
    assert!(run["reason"]["message"].as_str().unwrap().contains(&gone.to_string()), "{run:#}");
    drop(Target::broken());
}
