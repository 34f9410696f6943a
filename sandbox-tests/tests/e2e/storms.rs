//! A storm is one question for all that it holds, and one answer to it.

use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

const STORM: &str = "/v1/storms/runbook=restart-shop";

/// A stage without probes, so that every run that may act does.
fn stage(autonomy: &str, limits: &str) -> Option<Stage> {
    let stage = Stage::bare()?;
    stage.runbook("restart-shop", ALERT, autonomy, &format!("limits: {{ {limits} }}\n"));
    Some(stage)
}

/// Sends so many alerts of distinct targets, and waits until each run acted or asks. The runs.
fn burst(daemon: &Daemon, count: usize) -> Vec<String> {
    let alerts: Vec<Firing> =
        (0..count).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let entries = daemon.alerts(&alerts);
    let runs: Vec<String> =
        entries.iter().map(|entry| entry["runs"][0].as_str().unwrap().to_owned()).collect();
    for run in &runs {
        until("the run acted or asks", SOON, || {
            let state = daemon.run(run)["state"].clone();
            (state == "waiting" || state == "ended").then_some(())
        });
    }
    runs
}

fn held(storm: &Value) -> Vec<String> {
    storm["runs"].as_array().unwrap().iter().map(|held| held["run"].as_str().unwrap().to_owned()).collect()
}

fn answer(daemon: &Daemon, token: &str, what: &str, storm: &Value) -> sandbox_tests::client::Answer {
    let body = json!({ "digest": storm["digest"], "comment": "seen all of it" });
    daemon.post_by(token, &format!("{STORM}/{what}"), &body)
}

#[test]
fn one_answer_lets_all_that_a_storm_holds_act() {
    let Some(stage) = stage("automatic", "storm: { targets: 3, within: 10m }") else { return };
    let daemon = stage.home.serve();
    assert_eq!(daemon.get("/v1/storms").expect(200)["items"], json!([]));
    assert_eq!(daemon.get(STORM).status, 404);
    let runs = burst(&daemon, 12);
    let listed = daemon.get("/v1/storms").expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed:#}");
    let storm = daemon.get(STORM).expect(200);
    assert_eq!(storm["digest"], listed["items"][0]["digest"]);
    let held = held(&storm);
    assert!(held.len() >= 9, "{storm:#}");
    assert_eq!(storm["effects"].as_u64(), u64::try_from(held.len()).ok(), "one each");
    assert_eq!(storm["targets"].as_array().map(Vec::len), Some(held.len()));
    assert!(
        storm["message"].as_str().unwrap().contains("one decision for all of them is needed"),
        "{storm:#}"
    );
    let shown = succeeded(&stage.home.staunch(&["storms", "show", "runbook=restart-shop"]));
    assert!(held.iter().all(|run| shown.contains(run.as_str())), "{shown}");
    assert!(succeeded(&stage.home.staunch(&["storms", "list"])).contains("runbook=restart-shop"));

    let ada = stage.home.token("ada", "operator");
    let said = answer(&daemon, &ada, "approve", &storm).expect(200);
    assert_eq!(said["answered"].as_array().map(Vec::len), Some(held.len()), "{said:#}");
    assert_eq!(said["left"], json!([]));
    for run in &runs {
        let _run = daemon.outcome(run, "unknown");
    }
    assert_eq!(stage.target.posts().len(), runs.len());
    for run in &held {
        let run = daemon.run(run);
        let approval = &run["approvals"][0];
        assert_eq!((&approval["by"], &approval["storm"]), (&json!("ada"), &storm["digest"]), "{run:#}");
    }
    let kinds = daemon.journal(&held[0]);
    assert!(kinds.iter().any(|entry| entry["leaf"]["kind"] == "run-approved"), "an ordinary approval");
    assert_eq!(daemon.get(STORM).status, 404, "nothing is held any more");
}

#[test]
fn an_answer_is_about_exactly_what_was_shown() {
    let Some(stage) = stage("approve", "storm: { targets: 1, within: 10m }") else { return };
    let daemon = stage.home.serve();
    let _runs = burst(&daemon, 4);
    let shown = daemon.get(STORM).expect(200);
    let late = daemon.run_of(&Firing::new(ALERT, "shop-9"));
    let _waiting = daemon.until(&late, "waiting");
    for what in ["approve", "reject"] {
        let changed = answer(&daemon, &stage.home.administrator, what, &shown);
        assert_eq!(
            (changed.status, changed.problem().as_str()),
            (409, "storm-changed"),
            "{}",
            changed.text()
        );
        let now = &changed.json()["storm"];
        assert!(held(now).contains(&late) && now["digest"] != shown["digest"], "{now:#}");
    }
    for body in [json!({}), json!({ "digest": 7 }), json!({ "digest": "all of it" })] {
        let wrong = daemon.post(&format!("{STORM}/approve"), &body);
        assert_eq!((wrong.status, wrong.json()["field"].as_str()), (422, Some("digest")), "{}", wrong.text());
    }
    let body = json!({ "digest": shown["digest"] });
    for other in ["all", "runbook=nosuch", "runbook=", "nosuch"] {
        assert_eq!(daemon.post(&format!("/v1/storms/{other}/approve"), &body).status, 404, "{other}");
    }
    let said = stage.home.staunch(&["storms", "approve", "runbook=restart-shop"]);
    assert_eq!(said.code, Some(2), "nobody is at the terminal: {}", said.stderr);
    assert!(stage.target.posts().is_empty());

    // Over a restart it is the same question.
    let before = daemon.get(STORM).expect(200);
    daemon.kill();
    let daemon = stage.home.serve();
    let after = until("the runs wait again", SOON, || {
        let storm = daemon.get(STORM);
        (storm.status == 200 && storm.json()["digest"] == before["digest"]).then(|| storm.json())
    });
    let digest = after["digest"].as_str().unwrap();
    let arguments = ["storms", "reject", "runbook=restart-shop", "--digest", digest, "--comment", "a drill"];
    let _said = succeeded(&stage.home.staunch(&arguments));
    for run in held(&after) {
        let _run = daemon.outcome(&run, "rejected");
        let said = |entry: &Value| entry["payload"]["comment"] == "a drill";
        assert!(daemon.journal(&run).iter().any(said), "the comment stands with each");
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn what_a_person_may_not_approve_stays_waiting_and_is_named() {
    let Some(stage) = stage("approve", "storm: { targets: 1, within: 10m }") else { return };
    let policy = stage.home.path("policies/people.cedar");
    let mut text = std::fs::read_to_string(&policy).unwrap();
    text.push_str(
        "\nforbid (principal, action == Action::\"approve\", resource)\n\
         when { context has target && context.target == \"shop-2\" };\n",
    );
    std::fs::write(&policy, text).unwrap();
    let daemon = stage.home.serve();
    let (ada, rita) = (stage.home.token("ada", "operator"), stage.home.token("rita", "reader"));
    let _runs = burst(&daemon, 4);
    let storm = daemon.get(STORM).expect(200);
    let refused = answer(&daemon, &rita, "approve", &storm);
    assert_eq!((refused.status, refused.problem().as_str()), (403, "forbidden"), "{}", refused.text());
    assert_eq!(send(daemon.address(), "POST", &format!("{STORM}/approve"), &[], b"{}").unwrap().status, 401);
    assert_eq!(daemon.get(STORM).expect(200)["digest"], storm["digest"], "nothing was answered");

    let said = answer(&daemon, &ada, "approve", &storm).expect(200);
    let left = said["left"].as_array().unwrap();
    assert_eq!(left.len(), 1, "{said:#}");
    assert_eq!((&left[0]["target"], &left[0]["code"]), (&json!("shop-2"), &json!("forbidden")));
    for run in said["answered"].as_array().unwrap() {
        let _run = daemon.outcome(run["run"].as_str().unwrap(), "unknown");
    }
    let rest = daemon.get(STORM).expect(200);
    assert_eq!(rest["targets"], json!(["shop-2"]));
    assert_eq!(daemon.run(&held(&rest)[0])["approvals"], json!([]));
}

#[test]
fn a_storm_that_was_approved_keeps_to_its_limits_and_to_a_halt() {
    let Some(stage) = stage("approve", "concurrent: 2, storm: { targets: 1, within: 10m }") else { return };
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let _runs = burst(&daemon, 7);
    let storm = daemon.get(STORM).expect(200);
    let held = held(&storm);
    let said = answer(&daemon, &stage.home.administrator, "approve", &storm).expect(200);
    assert_eq!(said["left"], json!([]), "{said:#}");
    until("two act", SOON, || (stage.target.posts().len() == 2).then_some(()));
    let states =
        |daemon: &Daemon, state: &str| held.iter().filter(|run| daemon.run(run)["state"] == state).count();
    assert_eq!((states(&daemon, "running"), states(&daemon, "waiting")), (2, held.len() - 2));

    let halt = daemon.halt(&json!("all"));
    stage.target.release();
    until("the two came to their end", SOON, || (states(&daemon, "ended") == 2).then_some(()));
    assert_eq!(stage.target.posts().len(), 2, "what waits for room is halted, too");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!((states(&daemon, "waiting"), stage.target.posts().len()), (held.len() - 2, 2));
    daemon.release(&halt);
    until("the others acted, too", SOON, || (states(&daemon, "ended") == held.len()).then_some(()));
    assert_eq!(stage.target.posts().len(), held.len());
}

#[test]
fn nothing_of_a_storm_is_approved_while_it_is_halted() {
    let Some(stage) = stage("approve", "storm: { targets: 1, within: 10m }") else { return };
    let daemon = stage.home.serve();
    let _runs = burst(&daemon, 3);
    let storm = daemon.get(STORM).expect(200);
    let halt = daemon.halt(&json!({ "target": "shop-1" }));
    let said = answer(&daemon, &stage.home.administrator, "approve", &storm).expect(200);
    let left = said["left"].as_array().unwrap();
    assert_eq!((left.len(), &left[0]["code"]), (1, &json!("halt")), "{said:#}");
    daemon.release(&halt);
    let rest = daemon.get(STORM).expect(200);
    assert_eq!(rest["targets"], json!(["shop-1"]));
    let _halt = daemon.halt(&json!("all"));
    let none = answer(&daemon, &stage.home.administrator, "approve", &rest);
    assert_eq!((none.status, none.problem().as_str()), (409, "halt"), "{}", none.text());
}
