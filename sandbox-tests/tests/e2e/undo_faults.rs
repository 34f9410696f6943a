//! Undo under adverse conditions: power cuts at any time, and what keeps it from being done.

use std::collections::HashMap;
use std::time::Duration;

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};
use super::undo::{firing, paths, stage, undo};

/// A run whose probes look for a second, and which is taken back then.
fn verifying() -> Option<(Stage, Daemon, String)> {
    let stage = stage("automatic", "when-not-fixed", "1s")?;
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _verifying = daemon.until(&id, "verifying");
    Some((stage, daemon, id))
}

#[test]
fn power_cuts_at_any_time_take_nothing_back_twice_and_leave_no_run_hanging() {
    let Some(stage) = stage("automatic", "when-not-fixed", "200ms") else { return };
    let mut daemon = stage.home.serve();
    let alerts: Vec<Firing> = (0..30).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let entries = daemon.alerts(&alerts);
    // By what was posted so far, and a little later each time: in the middle of requests, probes and endings.
    for (posted, rest) in [(5, 0), (20, 3), (35, 7), (50, 11)] {
        until("it goes on", SOON, || {
            let open = entries.iter().any(|entry| daemon.run(run(entry))["state"] != "ended");
            (paths(&stage).len() >= posted || !open || has_parked(&daemon)).then_some(())
        });
        std::thread::sleep(Duration::from_millis(rest));
        daemon.kill();
        daemon = stage.home.serve();
    }
    for entry in &entries {
        let id = run(entry);
        let run = until(&format!("run {id} is decided"), SOON, || {
            let run = daemon.run(id);
            ["ended", "parked"].iter().any(|state| run["state"] == *state).then_some(run)
        });
        if run["state"] == "parked" {
            assert_eq!(run["reason"]["code"], "in-doubt", "{run:#}");
        } else if run["reason"]["code"] != "standing" {
            // So many failures put the plugin out of service, for those that had not begun.
            assert_eq!((run["outcome"].as_str(), undo(&run).0), (Some("not-fixed"), "done"), "{run:#}");
        }
    }
    let mut count: HashMap<String, u32> = HashMap::new();
    for path in paths(&stage) {
        *count.entry(path).or_default() += 1;
    }
    assert!(count.values().all(|count| *count == 1), "an effect was repeated: {count:?}");
}

fn run(entry: &Value) -> &str {
    entry["runs"][0].as_str().unwrap()
}

fn has_parked(daemon: &Daemon) -> bool {
    let parked = daemon.get("/v1/runs?state=parked").expect(200);
    parked["items"].as_array().is_some_and(|items| !items.is_empty())
}

#[test]
fn a_plugin_that_was_revoked_takes_nothing_back() {
    let Some((stage, daemon, id)) = verifying() else { return };
    let _revoked =
        daemon.post("/v1/plugins/http-request/revoke", &json!({ "reason": "it leaks" })).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!((undo(&run).0, paths(&stage).len()), ("failed", 1), "{run:#}");
    assert_eq!(run["undo"]["reason"]["code"], "standing", "{run:#}");
}

#[test]
fn a_silence_puts_the_undo_off_until_its_end() {
    let Some((stage, daemon, id)) = verifying() else { return };
    let silence = json!({ "matchers": ["instance=\"shop-1\""], "duration": "1h", "comment": "hands off" });
    let made = daemon.post("/v1/silences", &silence).expect(201);
    let held = daemon.until(&id, "undoing");
    assert_eq!(undo(&held).0, "undoing");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!((daemon.run(&id)["state"].as_str(), paths(&stage).len()), (Some("undoing"), 1));
    let _over = daemon.delete(&format!("/v1/silences/{}", made["id"].as_str().unwrap())).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!((undo(&run).0, paths(&stage).len()), ("done", 2), "{run:#}");
}

#[test]
fn a_person_who_takes_over_is_not_overruled() {
    for early in [true, false] {
        let Some((stage, daemon, id)) = verifying() else { return };
        if !early {
            let _halt = daemon.halt(&json!("all"));
            let _held = daemon.until(&id, "undoing");
        }
        let _mine =
            daemon.post(&format!("/v1/runs/{id}/takeover"), &json!({ "comment": "mine" })).expect(200);
        let run = daemon.outcome(&id, "not-fixed");
        assert_eq!((undo(&run).0, paths(&stage).len()), ("skipped", 1), "{run:#}");
    }
}

#[test]
fn what_was_not_done_is_not_taken_back() {
    let Some(stage) = stage("automatic", "when-not-fixed", "1s") else { return };
    stage.target.set_well(true);
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&firing()), "cancelled");
    assert_eq!(
        (&run["reason"]["code"], undo(&run).0),
        (&json!("recovered-before-acting"), "skipped"),
        "{run:#}"
    );
    assert!(paths(&stage).is_empty());
}

#[test]
fn a_plan_only_run_shows_what_it_would_take_back() {
    let Some(stage) = stage("automatic", "when-resolved", "1s") else { return };
    let daemon = stage.home.serve();
    let body = json!({ "runbook": "drain-shop", "reason": "to see", "labels": { "instance": "shop-1" } });
    let id = daemon.post("/v1/runs", &body).expect(202)["id"].as_str().unwrap().to_owned();
    let run = daemon.outcome(&id, "observed");
    assert_eq!(run["plan"]["undo"].as_array().map(Vec::len), Some(1), "{run:#}");
    let plan = daemon.get(&format!("/v1/runs/{id}/plan")).expect(200);
    assert_eq!(plan["undo_steps"][0]["effects"].as_array().map(Vec::len), Some(1), "{plan:#}");
    assert!(paths(&stage).is_empty());
}
