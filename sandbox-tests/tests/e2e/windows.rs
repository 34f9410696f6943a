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

/// Lets the daemon load its windows for the so-manieth time.
fn reload(daemon: &Daemon, times: usize) {
    daemon.signal(Signal::HUP);
    until("the windows are loaded again", SOON, || {
        (daemon.said().matches("policies are loaded again").count() >= times).then_some(())
    });
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
    let two = Firing::new(ALERT, "shop-2");
    let entries = daemon.alerts(&[Firing::new(ALERT, "shop-1"), two.clone(), Firing::new(ALERT, "other-3")]);
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

#[test]
fn a_broken_glass_passes_a_freeze_and_nothing_else() {
    let Some(stage) = Stage::set("approve") else { return };
    window(&stage, "freeze", in_seconds(3600), "");
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let start = |more: Value| {
        let mut body = json!({ "runbook": "restart-shop", "target": "shop-1", "labels": { "instance": "shop-1" },
                               "reason": "the site is down", "mode": "act" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(daemon.post("/v1/runs", &start(json!({}))).problem(), "window");
    let glass = json!({ "break_glass": "it cannot wait" });
    assert_eq!(daemon.post_by(&ada, "/v1/runs", &start(glass.clone())).status, 403, "an operator may not");
    for wrong in [json!({ "break_glass": " " }), json!({ "break_glass": "r", "mode": "plan" })] {
        let answer = daemon.post("/v1/runs", &start(wrong));
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (422, &json!("break_glass")),
            "{}",
            answer.text()
        );
    }
    let run = daemon.post("/v1/runs", &start(glass.clone())).expect(202);
    let id = run["id"].as_str().unwrap();
    // It passes the freeze; what its gate wants is asked for all the same.
    let waiting = daemon.until(id, "waiting");
    assert_eq!(
        (&waiting["glass"][0]["passes"], &waiting["glass"][0]["by"]),
        (&json!("freeze"), &json!("administrator"))
    );
    let owed = daemon.get("/v1/justifications").expect(200);
    assert_eq!(owed["items"][0]["run"], id, "{owed:#}");
    let _run = daemon.approve(&ada, &waiting).expect(200);
    let _run = daemon.outcome(id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
    let second = stage.home.token("root", "administrator");
    let review = format!("/v1/justifications/{id}/review");
    let _seen = daemon.post_by(&second, &review, &json!({ "comment": "it was down" })).expect(200);
    assert_eq!(daemon.get("/v1/justifications").expect(200)["items"], json!([]));

    // Maintenance is not passed so, and without a freeze there is nothing to pass.
    window(&stage, "maintenance", in_seconds(3600), "");
    reload(&daemon, 1);
    let refused = daemon.post("/v1/runs", &start(glass.clone()));
    assert_eq!(refused.problem(), "window");
    assert!(refused.text().contains("maintenance"), "{}", refused.text());
    std::fs::remove_file(stage.home.path("policies/windows.yaml")).unwrap();
    reload(&daemon, 2);
    let nothing = daemon.post("/v1/runs", &start(glass));
    assert!(
        nothing.status == 409 && nothing.text().contains("there is nothing to pass"),
        "{}",
        nothing.text()
    );
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_run_that_waits_when_a_freeze_begins_passes_it_by_a_broken_glass() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let (ada, root) = (stage.home.token("ada", "operator"), stage.home.token("root", "administrator"));
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let path = format!("/v1/runs/{id}/break-glass");
    let glass = |passes: Value| json!({ "plan": waiting["plan"]["digest"], "reason": "the site is down", "passes": passes });
    let nothing = daemon.post_by(&root, &path, &glass(json!("freeze")));
    assert_eq!((nothing.status, nothing.problem().as_str()), (409, "window"), "{}", nothing.text());
    window(&stage, "freeze", in_seconds(3600), "");
    reload(&daemon, 1);
    assert_eq!(daemon.approve(&ada, &waiting).problem(), "window");
    assert_eq!(daemon.post_by(&ada, &path, &glass(json!("freeze"))).status, 403);
    let only = daemon.post_by(&root, &path, &glass(json!("quorum")));
    assert_eq!(only.problem(), "window", "the approvals alone do not pass the freeze");
    assert_eq!(daemon.post_by(&root, &path, &glass(json!("everything"))).status, 422);
    let passed = daemon.post_by(&root, &path, &glass(json!("freeze"))).expect(200);
    assert_eq!(
        (&passed["state"], &passed["glass"][0]["passes"]),
        (&json!("waiting"), &json!("freeze")),
        "{passed:#}"
    );
    // The gate still wants somebody; the rules have changed, so the plan is made anew, and is the same.
    let _run = daemon.approve(&ada, &daemon.run(&id)).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    let owed = daemon.get("/v1/justifications").expect(200);
    assert_eq!(owed["items"][0]["run"], id.as_str(), "{owed:#}");

    // Both at once.
    stage.target.set_well(false);
    std::fs::remove_file(stage.home.path("policies/windows.yaml")).unwrap();
    reload(&daemon, 2);
    let id = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let waiting = daemon.until(&id, "waiting");
    window(&stage, "freeze", in_seconds(3600), "");
    reload(&daemon, 3);
    assert_eq!(daemon.approve(&ada, &waiting).problem(), "window");
    let body = json!({ "plan": waiting["plan"]["digest"], "reason": "the site is down" });
    let _run = daemon.post_by(&root, &format!("/v1/runs/{id}/break-glass"), &body).expect(200);
    let fixed = daemon.outcome(&id, "fixed");
    let passes: Vec<&Value> =
        fixed["glass"].as_array().unwrap().iter().map(|glass| &glass["passes"]).collect();
    assert_eq!(passes, [&json!("freeze"), &json!("quorum")]);
    assert_eq!(stage.target.posts().len(), 2);
}
