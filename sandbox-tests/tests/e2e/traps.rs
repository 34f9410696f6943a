//! The traps that other systems fell into, one test each, named after what it forbids. Their numbers, and what happened
//! to others, are those of the list of demands, D1 to D20; each law is shown in more depth beside its own subject.
//!
//! D7 is about several nodes, which this version does not have: it shows the nearest thing, that a second daemon cannot
//! work on the same data.

use std::time::Duration;

use rustix::process::Signal;
use sandbox_tests::alerts::{Firing, webhook};
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::{component, succeeded};
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// Longer than from one minute to the next.
const A_MINUTE: Duration = Duration::from_secs(80);

fn in_flight(stage: &Stage) {
    until("the request is in flight", SOON, || (!stage.target.posts().is_empty()).then_some(()));
}

fn start(mode: &str) -> Value {
    json!({ "runbook": "restart-shop", "target": "shop-1", "labels": { "instance": "shop-1" },
            "reason": "a person wants it", "mode": mode })
}

/// The same alert, fired anew after it was over.
fn again(daemon: &Daemon, alert: &Firing, minute: u32) -> Value {
    let _over = daemon.alerts(&[alert.resolved(&format!("2026-05-04T09:{minute:02}:00Z"))]);
    daemon.alerts(&[alert.from(&format!("2026-05-04T09:{minute:02}:30.000Z"))]).remove(0)
}

#[test]
fn d01_repeat_remediation_does_not_mask_a_fault() {
    let Some(stage) = Stage::set_with("automatic", "limits: { per_target: 1 per 10m }\n") else { return };
    let daemon = stage.home.serve();
    let alert = Firing::new(ALERT, "shop-1");
    let _run = daemon.outcome(&daemon.run_of(&alert), "fixed");
    for minute in 1..=3 {
        stage.target.set_well(false);
        let entry = again(&daemon, &alert, minute);
        assert_eq!(entry["runs"], json!([]), "{}", daemon.why(&entry));
        let _why = daemon.decision(&entry, "limit");
    }
    assert_eq!(stage.target.posts().len(), 1);
    let unanswered = daemon.get("/v1/alerts?unanswered=true").expect(200);
    assert_eq!(unanswered["items"][0]["unanswered"]["code"], "limit", "people see it: {unanswered:#}");
}

#[test]
fn d02_no_run_is_running_for_ever_after_a_power_cut_and_none_that_ended_changes() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let ended = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "fixed");
    stage.target.set_well(false);
    stage.target.behave(Behaviour::Hold);
    let acting = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 2).then_some(()));
    daemon.kill();
    let daemon = stage.home.serve();
    let parked = daemon.until(&acting, "parked");
    assert_eq!(parked["reason"]["code"], "in-doubt", "{parked:#}");
    assert_eq!(daemon.run(ended["id"].as_str().unwrap()), ended, "recovery overwrote what had ended");
}

#[test]
fn d03_a_burst_over_restarts_does_not_pass_a_limit() {
    let Some(stage) = Stage::set_with("automatic", "limits: { per_runbook: 2 per 10m }\n") else { return };
    let alerts: Vec<Firing> = (0..30).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let mut daemon = stage.home.serve();
    for some in alerts.chunks(10) {
        let _entries = daemon.alerts(some);
        daemon.kill();
        daemon = stage.home.serve();
    }
    let _entries = daemon.alerts(&alerts);
    until("every run is at rest", SOON, || {
        let runs = daemon.get("/v1/runs?limit=500").expect(200);
        let rests = |run: &Value| run["state"] == "ended" || run["state"] == "parked";
        runs["items"].as_array().unwrap().iter().all(rests).then_some(())
    });
    assert!(stage.target.posts().len() <= 2, "{} actions", stage.target.posts().len());
}

#[test]
fn d04_nobody_approves_blindly_or_without_a_name() {
    let Some(stage) = Stage::set_with("approve", "gate: { expires: 5m }\n") else { return };
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let run = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    let id = run["id"].as_str().unwrap();
    let path = format!("/v1/runs/{id}/approve");
    assert_eq!(daemon.post_by(&ada, &path, &json!({})).status, 422, "what is approved must be said");
    let other = json!({ "plan": format!("sha256:{}", "0".repeat(64)) });
    assert_eq!(daemon.post_by(&ada, &path, &other).problem(), "plan-changed");
    assert_eq!(daemon.post_by("stn_nobody", &path, &other).status, 401);
    assert!(stage.target.posts().is_empty());
    let _run = daemon.approve(&ada, &run).expect(200);
    let fixed = daemon.outcome(id, "fixed");
    assert_eq!(fixed["approvals"][0]["by"], "ada", "{fixed:#}");
    assert!(fixed["approvals"][0]["at"].is_string());
}

#[test]
fn d05_no_way_goes_round_separation_of_duties() {
    let Some(stage) = Stage::set_with("approve", "gate: { expires: 5m }\n") else { return };
    let daemon = stage.home.serve();
    let (root, spare) =
        (stage.home.token("root", "administrator"), stage.home.token("root", "administrator"));
    let run = daemon.post_by(&root, "/v1/runs", &start("act")).expect(202);
    let run = daemon.until(run["id"].as_str().unwrap(), "waiting");
    let id = run["id"].as_str().unwrap();
    for token in [&root, &spare] {
        let own = daemon.approve(token, &run);
        assert_eq!((own.status, own.problem().as_str()), (409, "separation"), "{}", own.text());
        let (url, plan) = (format!("http://{}", daemon.address()), run["plan"]["digest"].as_str().unwrap());
        let shell = ["runs", "approve", id, "--plan", plan, "--url", &url, "--token", token];
        assert_eq!(stage.home.staunch(&shell).code, Some(1), "by the shell, too");
    }
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(daemon.approve(&root, &run).problem(), "separation", "also after a restart");
    assert!(stage.target.posts().is_empty());
}

#[test]
fn d06_a_plan_does_nothing_and_nothing_is_done_that_was_not_planned() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let plan = daemon.post("/v1/runs", &start("plan")).expect(202);
    let plan = daemon.outcome(plan["id"].as_str().unwrap(), "observed");
    assert!(stage.target.posts().is_empty(), "a plan acted");
    let run = daemon.post("/v1/runs", &start("act")).expect(202);
    let run = daemon.outcome(run["id"].as_str().unwrap(), "fixed");
    let calls = |run: &Value| -> Vec<Value> {
        let effects = run["effects"].as_array().unwrap().iter();
        effects.map(|effect| json!([effect["function"], effect["target"], effect["arguments"]])).collect()
    };
    assert_eq!(calls(&run), calls(&plan), "planned and done differ");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn d07_two_daemons_do_not_act_on_one_alert() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let second = stage.home.staunch(&["serve"]);
    assert_eq!((second.code, second.stdout.as_str()), (Some(2), ""), "{}", second.stderr);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn d08_a_missed_occurrence_is_not_forgotten() {
    let Some(stage) = Stage::bare() else { return };
    let input = format!("{{ method: POST, url: 'http://{}/tick' }}", stage.target.address());
    let text = format!(
        "schedule: '* * * * *'\nautonomy: automatic\ntarget: shop\nsteps: [{{ plugin: http-request, input: {input} }}]\n"
    );
    stage.home.runbook("tick", &text);
    let daemon = stage.home.serve();
    let _halt = daemon.halt(&json!({ "runbook": "tick" }));
    let missed = until("an occurrence is missed", A_MINUTE, || {
        let listed = daemon.get("/v1/schedules").expect(200);
        listed["items"][0]["missed"].get(0).cloned()
    });
    assert_eq!(missed["reason"]["code"], "halt", "{missed:#}");
    assert!(missed["at"].is_string() && stage.target.posts().is_empty());
}

#[test]
fn d09_a_stop_is_not_forgotten_by_a_restart_and_covers_what_waits() {
    let Some(stage) = Stage::set("approve") else { return };
    stage.runbook("alone", "Alone", "automatic", "");
    let daemon = stage.home.serve();
    let waiting = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    let halt = daemon.halt(&json!("all"));
    daemon.kill();
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[Firing::new("Alone", "shop-2")]).remove(0);
    let _why = daemon.decision(&entry, "halt");
    assert_eq!(daemon.approve(&stage.home.administrator, &waiting).problem(), "halt");
    assert!(stage.target.posts().is_empty());
    daemon.release(&halt);
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(waiting["id"].as_str().unwrap(), "fixed");
}

#[test]
fn d10_of_simultaneous_alerts_none_is_lost() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let entries: Vec<Value> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..20)
            .map(|number| {
                let daemon = &daemon;
                scope.spawn(move || daemon.alerts(&[Firing::new(ALERT, &format!("shop-{number}"))]).remove(0))
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    for entry in &entries {
        let run = entry["runs"][0].as_str().unwrap_or_else(|| panic!("no run: {}", daemon.why(entry)));
        let _run = daemon.until(run, "ended");
    }
    let mut paths: Vec<String> = stage.target.posts().into_iter().map(|seen| seen.path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!((paths.len(), stage.target.posts().len()), (20, 20));
    // And what leads nowhere is a list of its own.
    let _entry = daemon.alerts(&[Firing::new("Nobody", "shop-99")]);
    let unanswered = daemon.get("/v1/alerts?unanswered=true").expect(200);
    assert_eq!(unanswered["items"][0]["unanswered"]["code"], "no-match", "{unanswered:#}");
}

#[test]
fn d11_that_it_was_done_is_not_believed_to_have_helped() {
    let Some(stage) = Stage::bare() else { return };
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Answer(200));
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "not-fixed");
    assert_eq!((&run["effects"][0]["status"], &run["verdict"]), (&json!("done"), &json!("not-fixed")));
}

#[test]
fn d12_a_secret_appears_nowhere() {
    let Some(mut stage) = Stage::bare() else { return };
    let (secret, address) = ("s3cret-of-the-trap-0123456789", stage.target.address());
    std::fs::write(stage.home.path("keys/shop.secret"), secret).unwrap();
    stage.home.chmod("keys/shop.secret", 0o600);
    let slot = format!("secrets: {{ shop: ['header authorization @ http://{address}'] }}");
    stage.home.grants =
        vec![format!("http-request: {{ http: {{ send: ['POST http://{address}/**'] }}, {slot} }}")];
    stage.home.more = vec!["secrets: { shop: '${file:keys/shop.secret}' }\n".to_owned()];
    stage.home.configure();
    stage.home.runbook(
        "restart-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: shop\nautonomy: automatic\nsteps:\n  - plugin: http-request\n    \
             input: {{ method: POST, url: 'http://{address}/restart', headers: {{ authorization: 'secret://shop' }} }}\n"
        ),
    );
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let run = daemon.until(&id, "ended");
    assert!(stage.target.posts()[0].header("authorization").unwrap().contains(secret), "it was used");
    let journal = serde_json::to_string(&daemon.journal(&id)).unwrap();
    for told in [run.to_string(), journal, daemon.said(), daemon.get("/v1/alerts").text()] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(daemon.stop(), Some(0));
    for file in ["data/journal.db", "data/journal.db-wal"] {
        let bytes = std::fs::read(stage.home.path(file)).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{file} holds it");
    }
}

#[test]
fn d13_a_huge_answer_does_not_swell_the_history() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    stage.target.behave(Behaviour::Flood(64 << 20));
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = until("the run is at rest", SOON, || {
        let run = daemon.run(&id);
        (run["state"] == "ended" || run["state"] == "parked").then_some(run)
    });
    let journal = daemon.get(&format!("/v1/runs/{id}/journal")).text();
    assert!(journal.len() < 4 << 20, "{} bytes for one run", journal.len());
}

#[test]
fn d14_different_alerts_are_not_folded_into_one() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let (one, two) = (Firing::new(ALERT, "shop-1"), Firing::new(ALERT, "shop-2"));
    let entries = daemon.alerts(&[one.clone(), two, one.clone()]);
    assert_eq!(entries[0]["id"], entries[2]["id"]);
    assert_ne!(entries[0]["id"], entries[1]["id"]);
    assert_eq!((&entries[1]["duplicate"], &entries[2]["duplicate"]), (&json!(false), &json!(true)));
    for entry in &entries[..2] {
        let _run = daemon.until(entry["runs"][0].as_str().unwrap(), "ended");
    }
    let mut paths: Vec<String> = stage.target.posts().into_iter().map(|seen| seen.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/restart/shop-1", "/restart/shop-2"], "each acts on its own labels");
    assert_ne!(again(&daemon, &one, 5)["id"], entries[0]["id"], "a new firing is a new alert");
}

#[test]
fn d15_what_chronically_fails_does_not_go_on_and_says_why() {
    let Some(mut stage) = Stage::bare() else { return };
    let standing = "standing: { sample: 3, runs: 5, deprecate_below: 1% }\n";
    let breaker = "breaker: { failures: 200, plugin: { failures: 200, sample: 200 } }\n";
    stage.home.more.extend([standing.to_owned(), breaker.to_owned()]);
    stage.home.configure();
    let verify = stage.verify().replace("within: 20s", "within: 0s");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Answer(200));
    let daemon = stage.home.serve();
    // What a person tries by hand is not held against it.
    for _run in 0..4 {
        let run = daemon.post("/v1/runs", &start("act")).expect(202);
        let _run = daemon.outcome(run["id"].as_str().unwrap(), "not-fixed");
    }
    let plugin = || daemon.get("/v1/plugins/http-request").expect(200);
    assert_eq!(plugin()["standing"], "automatic");
    let mut failed = 0;
    while plugin()["standing"] == "automatic" {
        let run = daemon.run_of(&Firing::new(ALERT, &format!("shop-{failed}")));
        let _run = daemon.outcome(&run, "not-fixed");
        failed += 1;
        assert!(failed < 10, "it goes on failing by itself");
    }
    let moved = plugin()["trust"]["moves"][0].clone();
    assert_eq!(moved["runs"].as_array().map(Vec::len), Some(failed), "{moved:#}");
    assert!(moved["message"].as_str().unwrap().contains("runs fixed it"), "{moved:#}");
    let _run = daemon.until(&daemon.run_of(&Firing::new(ALERT, "the-next")), "waiting");
}

#[test]
fn d16_a_restart_loses_no_work_that_is_under_way() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    in_flight(&stage);
    daemon.signal(Signal::TERM);
    daemon.until_said("draining");
    stage.target.release();
    assert_eq!(daemon.ended(), Some(0));
    let daemon = stage.home.serve();
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn d17_a_plugin_that_can_run_no_more_does_not_stop_silently() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    std::fs::remove_dir_all(stage.home.path("plugins/http-request")).unwrap();
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    let why = daemon.why(&entry);
    assert!(why.contains("\"signature\"") || why.contains("\"plugin-changed\""), "{why}");
    let shown = daemon.get("/v1/plugins/http-request").expect(200);
    assert_eq!((&shown["genuine"], shown["problem"].is_null()), (&json!(false), false), "{shown:#}");
    daemon.until_said("plugin http-request is refused");
    let unanswered = daemon.get("/v1/alerts?unanswered=true").expect(200);
    assert_eq!(unanswered["items"].as_array().map(Vec::len), Some(1), "{unanswered:#}");
}

#[test]
fn d18_code_that_nobody_trusted_has_signed_does_not_run() {
    let Some(built) = component("http-request") else { return };
    let Some(stage) = Stage::bare() else { return };
    let daemon = stage.home.serve();
    let copy = stage.home.aside().join("plugin.wasm");
    std::fs::copy(built, &copy).unwrap();
    let plain = stage.home.install(&copy);
    assert_eq!(plain.code, Some(1), "{}", plain.stderr);
    let stranger = stage.home.aside().join("stranger.key");
    let _made = succeeded(&stage.home.staunch(&["keys", "generate", &stranger.display().to_string()]));
    let (file, key) = (copy.display().to_string(), stranger.display().to_string());
    let _signed = succeeded(&stage.home.staunch(&["plugin", "sign", &file, "--key", &key]));
    let strange = stage.home.install(&copy);
    assert_eq!(strange.code, Some(1), "{}", strange.stderr);
    let run = stage.home.staunch(&["plugin", "run", &file, "--input", "{}", "--reason", "r"]);
    assert_eq!(run.code, Some(1), "not for a plan either: {}", run.stderr);
    assert!(daemon.get("/v1/runs").expect(200)["items"].as_array().unwrap().is_empty());
}

#[test]
fn d19_overload_is_sent_away_and_not_swallowed() {
    let Some(mut stage) = Stage::set("approve") else { return };
    stage.home.more.push("queue: 1\n".to_owned());
    stage.home.configure();
    let daemon = stage.home.serve();
    let mut accepted = 0;
    let refused = (0..40).find_map(|number| {
        let alert = Firing::new(ALERT, &format!("shop-{number}"));
        let answer = daemon.deliver(webhook(&[alert]).to_string().as_bytes());
        accepted += usize::from(answer.status == 202);
        (answer.status != 202).then_some(answer)
    });
    let refused = refused.expect("everything was taken in");
    assert_eq!((refused.status, refused.problem().as_str()), (503, "queue-full"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let listed = daemon.get("/v1/alerts?limit=500").expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(accepted), "what was accepted is there");
}

#[test]
fn d20_a_storm_is_not_answered_one_by_one() {
    let storm = "limits: { storm: { targets: 3, within: 10m } }\n";
    let Some(stage) = Stage::set_with("automatic", storm) else { return };
    let daemon = stage.home.serve();
    let alerts: Vec<Firing> = (0..12).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let entries = daemon.alerts(&alerts);
    let mut asks = 0;
    for entry in &entries {
        let run = entry["runs"][0].as_str().unwrap();
        until("the run acts or asks", SOON, || {
            let state = daemon.run(run)["state"].clone();
            asks += u32::from(state == "waiting");
            (state == "waiting" || state == "ended").then_some(())
        });
    }
    assert!(asks >= 9, "{asks} of 12 ask people");
    let storms = daemon.get("/v1/storms").expect(200);
    let items = storms["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "one question: {storms:#}");
    assert_eq!(items[0]["runs"].as_array().map(Vec::len), Some(asks as usize));
    assert!(stage.target.posts().len() <= 3, "{} actions alone", stage.target.posts().len());
}
