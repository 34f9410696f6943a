//! What does not help is not done again and again.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A stage whose restart does not help, and breakers with short waits.
fn stage() -> Option<Stage> {
    let mut stage = Stage::bare()?;
    stage.home.more.push("breaker: { failures: 3, window: 10m, cooldown: 2s, successes: 1 }\n".to_owned());
    stage.home.configure();
    let verify = stage.verify().replace("within: 20s", "within: 0s");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Answer(200));
    Some(stage)
}

fn firing(number: u32) -> Firing {
    Firing::new(ALERT, "shop").from(&format!("2026-05-04T09:{number:02}:00.000Z"))
}

fn breaker(daemon: &Daemon, id: &str) -> Value {
    let listed = daemon.get("/v1/breakers").expect(200);
    let items = listed["items"].as_array().unwrap();
    items.iter().find(|item| item["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn three_failures_open_the_breaker_and_a_good_trial_closes_it() {
    let Some(stage) = stage() else { return };
    let daemon = stage.home.serve();
    for number in 0..3 {
        let _run = daemon.outcome(&daemon.run_of(&firing(number)), "not-fixed");
    }
    let open = breaker(&daemon, "http-request@shop");
    assert_eq!(open["state"], "open", "{open}");
    assert!(open["why"].as_str().unwrap().contains("3 of 3 runs"), "{open}");
    let entry = daemon.alerts(&[firing(3)]).remove(0);
    let decision = daemon.decision(&entry, "breaker");
    assert_eq!(
        (&decision["stage"], &decision["result"]),
        (&json!("breaker"), &json!("refuse")),
        "{decision}"
    );
    daemon.kill();

    // Still open after a power cut; then a trial is let through, by the repeat of the alert that was lost.
    stage.target.behave(Behaviour::Recover);
    let daemon = stage.home.serve();
    assert_eq!(breaker(&daemon, "http-request@shop")["state"], "open");
    let id = until("a trial is let through", SOON, || {
        let entry = daemon.alerts(&[firing(3)]).remove(0);
        entry["runs"][0].as_str().map(str::to_owned)
    });
    let _run = daemon.outcome(&id, "fixed");
    until("the breaker is closed", SOON, || {
        let state = breaker(&daemon, "http-request@shop");
        (state.is_null() || state["state"] == "closed").then_some(())
    });
    assert_eq!(stage.target.posts().len(), 4);
}

#[test]
fn failures_below_the_threshold_are_remembered_over_a_restart() {
    let Some(stage) = stage() else { return };
    let daemon = stage.home.serve();
    for number in 0..2 {
        let _run = daemon.outcome(&daemon.run_of(&firing(number)), "not-fixed");
    }
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(breaker(&daemon, "http-request@shop")["failures"], 2);
    let _run = daemon.outcome(&daemon.run_of(&firing(2)), "not-fixed");
    assert_eq!(breaker(&daemon, "http-request@shop")["state"], "open");
}

#[test]
fn a_breaker_moved_by_hand_needs_a_reason_and_holds_at_every_gate() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let refused = daemon.post("/v1/breakers/http-request/trip", &json!({ "reason": " " }));
    assert_eq!(
        (refused.status, refused.json()["field"].as_str()),
        (422, Some("reason")),
        "{}",
        refused.text()
    );
    let missing = daemon.post("/v1/breakers/nosuch/trip", &json!({ "reason": "r" }));
    assert_eq!(missing.status, 404, "{}", missing.text());
    let _said = succeeded(&stage.home.staunch(&["breakers", "trip", "http-request", "--reason", "it harms"]));
    let listed = succeeded(&stage.home.staunch(&["breakers", "list", "--output", "json"]));
    assert!(listed.contains("administrator opened it: it harms"), "{listed}");
    // What waited and is approved now does not act either.
    let _approved = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let run = daemon.outcome(&id, "refused");
    assert_eq!(run["reason"]["code"], "breaker", "{run:#}");
    assert!(stage.target.posts().is_empty());
    daemon.kill();

    let daemon = stage.home.serve();
    let lost = Firing::new(ALERT, "shop-2");
    let entry = daemon.alerts(std::slice::from_ref(&lost)).remove(0);
    let _decision = daemon.decision(&entry, "breaker");
    let reset = daemon.post("/v1/breakers/http-request/reset", &json!({ "reason": "it was the wrong one" }));
    assert_eq!(reset.expect(200)["state"], "closed");
    let id = daemon.alerts(&[lost]).remove(0)["runs"][0].as_str().unwrap().to_owned();
    let _waiting = daemon.until(&id, "waiting");
}
