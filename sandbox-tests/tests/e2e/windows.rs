//! Windows: what they cover does nothing while they are open, and is taken up when they end.

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Signal;
use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};
use staunch::clock::Clock;

use super::stage::{ALERT, Stage};

/// So many seconds from now, as files have it.
pub(crate) fn in_seconds(seconds: i64) -> DateTime<Utc> {
    Clock::machine().now() + TimeDelta::seconds(seconds)
}

/// Writes one window that opened a minute ago.
fn window(stage: &Stage, kind: &str, until: DateTime<Utc>, more: &str) {
    let (from, until) = (in_seconds(-60).to_rfc3339(), until.to_rfc3339());
    let text = format!(
        "windows:\n  - name: change\n    kind: {kind}\n    from: '{from}'\n    until: '{until}'\n{more}"
    );
    std::fs::write(stage.home.path("policies/windows.yaml"), text).unwrap();
}

/// The one run that an alert gets in time.
pub(crate) fn run_in_time(daemon: &Daemon, entry: &Value) -> String {
    let path = format!("/v1/alerts/{}", entry["id"].as_str().unwrap());
    until("a run for the alert", SOON, || {
        let alert = daemon.get(&path).expect(200);
        assert_eq!(alert["repeats"], 0, "{alert}");
        alert["runs"][0].as_str().map(str::to_owned)
    })
}

fn runs_of(daemon: &Daemon, entry: &Value) -> usize {
    let path = format!("/v1/alerts/{}", entry["id"].as_str().unwrap());
    daemon.get(&path).expect(200)["runs"].as_array().unwrap().len()
}

#[test]
fn what_maintenance_kept_quiet_is_taken_up_when_it_ends_if_it_still_fires() {
    let Some(stage) = Stage::set("automatic") else { return };
    let ends = in_seconds(6);
    window(&stage, "maintenance", ends, "    targets: ['shop-*']\n");
    let daemon = stage.home.serve();
    let (one, two) = (Firing::new(ALERT, "shop-1"), Firing::new(ALERT, "shop-2"));
    let entries = daemon.alerts(&[one.clone(), two.clone(), Firing::new(ALERT, "other-3")]);
    let runs: Vec<usize> = entries.iter().map(|entry| entry["runs"].as_array().unwrap().len()).collect();
    assert_eq!(runs, [0, 0, 1], "{entries:?}");
    let decision = daemon.decision(&entries[0], "window");
    assert_eq!((&decision["stage"], &decision["result"]), (&json!("window"), &json!("refuse")), "{decision}");
    assert!(decision["message"].as_str().unwrap().contains("maintenance window change"), "{decision}");
    let _run = daemon.until(entries[2]["runs"][0].as_str().unwrap(), "ended");
    stage.target.set_well(false);
    // A resolve passes the window.
    let _resolved = daemon.alerts(&[two.resolved("2026-05-04T09:05:00Z")]);
    assert_eq!(daemon.get("/v1/alerts?status=resolved").expect(200)["items"].as_array().unwrap().len(), 1);

    let id = run_in_time(&daemon, &entries[0]);
    assert!(in_seconds(0) >= ends, "it was taken up before the window ended");
    let _run = daemon.until(&id, "ended");
    assert_eq!(runs_of(&daemon, &entries[1]), 0, "a run for what is over");
    assert!(stage.target.posts().iter().any(|post| post.path == "/restart/shop-1"));
    assert!(stage.target.posts().iter().all(|post| post.path != "/restart/shop-2"));
}

#[test]
fn what_a_window_kept_quiet_is_taken_up_even_if_it_ended_while_no_daemon_ran() {
    let Some(stage) = Stage::set("automatic") else { return };
    window(&stage, "maintenance", in_seconds(3600), "");
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    assert_eq!(runs_of(&daemon, &entry), 0);
    daemon.kill();
    window(&stage, "maintenance", in_seconds(-5), "");
    let daemon = stage.home.serve();
    let _run = daemon.outcome(&run_in_time(&daemon, &entry), "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_freeze_lets_only_pass_what_is_safe() {
    let Some(stage) = Stage::set("approve") else { return };
    stage.runbook("careful", "Careful", "automatic", &format!("safe: true\n{}", stage.verify()));
    let daemon = stage.home.serve();
    let waiting = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");

    window(&stage, "freeze", in_seconds(3600), "");
    daemon.signal(Signal::HUP);
    until("the freeze", SOON, || {
        let entry = daemon.alerts(&[Firing::new(ALERT, &format!("shop-{}", in_seconds(0)))]).remove(0);
        entry["runs"].as_array().unwrap().is_empty().then_some(())
    });
    // What waits goes on waiting, and nobody approves it.
    let refused = daemon.approve(&stage.home.administrator, &waiting);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.problem().ends_with("window"), "{}", refused.text());
    let start = json!({ "runbook": "restart-shop", "target": "shop-9", "reason": "now", "mode": "act",
        "labels": { "instance": "shop-9" } });
    let refused = daemon.post("/v1/runs", &start);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("freeze window change"), "{}", refused.text());
    let passed = daemon.alerts(&[Firing::new("Careful", "shop-4")]).remove(0);
    let run = daemon.until(passed["runs"][0].as_str().unwrap(), "ended");
    assert_eq!(run["outcome"], "fixed", "{run:#}");
    assert!(daemon.why(&passed).contains("marked safe and passes the freeze change"));
    let id = waiting["id"].as_str().unwrap();
    assert_eq!(daemon.run(id)["state"], "waiting");

    std::fs::remove_file(stage.home.path("policies/windows.yaml")).unwrap();
    daemon.signal(Signal::HUP);
    stage.target.set_well(false);
    until("the approval", SOON, || {
        (daemon.approve(&stage.home.administrator, &waiting).status == 200).then_some(())
    });
    let _run = daemon.outcome(id, "fixed");
}

#[test]
fn business_hours_make_people_decide_about_what_would_act_alone() {
    let Some(stage) = Stage::set("automatic") else { return };
    window(&stage, "business-hours", in_seconds(3600), "    inside: approve\n");
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let run = daemon.until(&id, "waiting");
    let why = daemon.get(&format!("/v1/runs/{id}/why")).expect(200);
    let asks = |decision: &&Value| decision["stage"] == "window" && decision["result"] == "ask";
    assert!(why["decisions"].as_array().unwrap().iter().any(|decision| asks(&decision)), "{why:#}");
    assert_eq!(stage.target.posts().len(), 0);
    let _run = daemon.approve(&stage.home.administrator, &run).expect(200);
    let _run = daemon.outcome(&id, "fixed");
}
