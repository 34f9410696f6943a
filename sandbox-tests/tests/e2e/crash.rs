//! A power cut at any time loses no accepted alert and repeats no effect.

use std::collections::HashMap;

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

#[test]
fn accepted_alerts_survive_a_power_cut_and_are_decided() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let alerts: Vec<Firing> = (0..50).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let entries = daemon.alerts(&alerts);
    daemon.kill();

    let daemon = stage.home.serve();
    for entry in &entries {
        let _alert = daemon.get(&format!("/v1/alerts/{}", entry["id"].as_str().unwrap())).expect(200);
        let id = entry["runs"][0].as_str().unwrap();
        let run = until(&format!("run {id} is decided"), SOON, || {
            let run = daemon.run(id);
            ["ended", "parked"].iter().any(|state| run["state"] == *state).then_some(run)
        });
        match run["state"].as_str() {
            Some("ended") => assert_eq!(run["reason"]["code"], "no-probe", "{run:#}"),
            _ => assert_eq!(run["reason"]["code"], "in-doubt", "{run:#}"),
        }
    }
    let mut count: HashMap<String, u32> = HashMap::new();
    for seen in stage.target.posts() {
        *count.entry(seen.path).or_default() += 1;
    }
    assert!(count.values().all(|count| *count == 1), "an effect was repeated: {count:?}");
}

/// A run whose request hangs at the target when the power goes, and the installation after it.
fn in_doubt(stage: &Stage) -> (sandbox_tests::daemon::Daemon, String) {
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    daemon.kill();
    let daemon = stage.home.serve();
    let parked = daemon.until(&id, "parked");
    assert_eq!(parked["reason"]["code"], "in-doubt", "{parked:#}");
    assert_eq!(parked["outcome"], Value::Null);
    let status = &parked["effects"][0]["status"];
    assert!(status == "unknown" || status == "intended", "{parked:#}");
    let asked = daemon.get("/v1/approvals").expect(200);
    assert_eq!(asked["items"][0]["id"], id.as_str(), "a parked run is listed for people");
    (daemon, id)
}

#[test]
fn an_effect_in_doubt_parks_the_run_until_somebody_settles_it() {
    let Some(stage) = Stage::set("automatic") else { return };
    let (daemon, id) = in_doubt(&stage);
    stage.target.release();
    until("the shop is well", SOON, || stage.target.is_well().then_some(()));
    let settle = [
        "runs",
        "settle",
        &id,
        "--outcome",
        "done",
        "--answer",
        r#"{"status":200,"headers":[],"body":""}"#,
        "--comment",
        "seen",
    ];
    let _settled = succeeded(&stage.home.staunch(&settle));
    let run = daemon.until(&id, "ended");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(run["outcome"], "fixed", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1, "what was in doubt was done again");
}

#[test]
fn an_effect_in_doubt_that_may_be_repeated_is_sent_again_with_its_key() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let pattern = format!("POST http://{}/** idempotent", stage.target.address());
    stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
    stage.home.configure();
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    daemon.kill();
    stage.target.behave(Behaviour::Recover);
    let daemon = stage.home.serve();
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    let posts = stage.target.posts();
    let keys: Vec<_> = posts.iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 2);
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    assert_eq!(run["effects"][0]["idempotency_key"].as_str(), keys[0].as_deref());
    let journal = daemon.get(&format!("/v1/runs/{id}/journal")).expect(200);
    let kinds =
        journal["items"].as_array().unwrap().iter().map(|entry| entry["leaf"]["kind"].as_str().unwrap());
    let effects: Vec<_> = kinds.filter(|kind| kind.starts_with("effect-")).collect();
    let one = ["effect-intended", "effect-settled"];
    assert_eq!(effects, [one, one].concat(), "each sending is its own record");
}

#[test]
fn who_approved_and_is_gone_after_a_power_cut_does_not_carry_the_run_on() {
    let Some(mut stage) = Stage::set("approve") else { return };
    let pattern = format!("POST http://{}/** idempotent", stage.target.address());
    stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
    stage.home.configure();
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&ada, &waiting).expect(200);
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    daemon.kill();
    let tokens = succeeded(&stage.home.staunch(&["token", "list", "--output", "json"]));
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let tokens = tokens.as_array().or_else(|| tokens["items"].as_array()).unwrap().clone();
    let hers = tokens.iter().find(|token| token["name"] == "ada").unwrap();
    let _gone = succeeded(&stage.home.staunch(&["token", "revoke", hers["id"].as_str().unwrap()]));
    let daemon = stage.home.serve();
    let parked = daemon.until(&id, "parked");
    assert_eq!(parked["reason"]["code"], "quorum", "{parked:#}");
    assert!(parked["reason"]["message"].as_str().unwrap().contains("ada is no longer known"), "{parked:#}");
    assert_eq!(stage.target.posts().len(), 1, "nothing is sent on the word of somebody who is gone");
    stage.target.behave(Behaviour::Recover);
    // What is in doubt is settled first; then people are asked anew.
    let settle = json!({ "outcome": "done", "answer": { "status": 200, "headers": [], "body": "" } });
    let _run = daemon.post(&format!("/v1/runs/{id}/settle"), &settle).expect(200);
    let parked = until("it asks again", SOON, || {
        let run = daemon.run(&id);
        (run["quorum"]["missing"] == 1).then_some(run)
    });
    stage.target.set_well(true);
    let _run = daemon.approve(&stage.home.administrator, &parked).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn an_effect_is_sent_three_times_over_all_restarts() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let pattern = format!("POST http://{}/** idempotent", stage.target.address());
    stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
    stage.home.configure();
    stage.target.behave(Behaviour::Hold);
    let mut daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    for sends in 1..=3 {
        until("the request is in flight", SOON, || (stage.target.posts().len() == sends).then_some(()));
        daemon.kill();
        daemon = stage.home.serve();
    }
    let parked = daemon.until(&id, "parked");
    assert_eq!(parked["reason"]["code"], "in-doubt", "{parked:#}");
    assert_eq!(stage.target.posts().len(), 3);
}

#[test]
fn a_run_that_was_cancelled_in_the_middle_of_an_effect_gets_none_after_a_power_cut() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let pattern = format!("POST http://{}/** idempotent", stage.target.address());
    stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
    stage.home.configure();
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    let _cancelled = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({})).expect(200);
    daemon.kill();
    let daemon = stage.home.serve();
    let run = daemon.until(&id, "ended");
    assert_eq!(run["effects"][0]["status"], "unknown", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1, "a cancelled run did something after the restart");
}

#[test]
fn what_is_settled_without_an_answer_still_ends() {
    let Some(stage) = Stage::set("automatic") else { return };
    let (daemon, id) = in_doubt(&stage);
    stage.target.release();
    let settle = ["runs", "settle", &id, "--outcome", "done"];
    let _settled = succeeded(&stage.home.staunch(&settle));
    let run = daemon.until(&id, "ended");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(run["outcome"], "fixed", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_run_in_doubt_that_is_given_up_is_judged_by_its_probes() {
    let Some(stage) = Stage::bare() else { return };
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    let (daemon, id) = in_doubt(&stage);
    let _settled = succeeded(&stage.home.staunch(&["runs", "settle", &id, "--outcome", "abandon"]));
    let run = daemon.outcome(&id, "not-fixed");
    assert!(run["reason"]["message"].as_str().unwrap().contains("given up"), "{run:#}");
    assert_eq!(daemon.post(&format!("/v1/runs/{id}/settle"), &json!({ "outcome": "done" })).status, 409);
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_waiting_run_waits_on_after_a_power_cut() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let before = daemon.until(&id, "waiting");
    daemon.kill();
    let daemon = stage.home.serve();
    let after = daemon.until(&id, "waiting");
    assert_eq!(after["plan"]["digest"], before["plan"]["digest"]);
    let _run = daemon.approve(&stage.home.administrator, &after).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_journal_that_was_cut_off_verifies() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    for round in 0..3 {
        let daemon = stage.home.serve();
        let alerts: Vec<Firing> =
            (0..20).map(|number| Firing::new(ALERT, &format!("shop-{round}-{number}"))).collect();
        assert_eq!(daemon.alerts(&alerts).len(), 20);
        daemon.kill();
    }
    let daemon = stage.home.serve();
    let export = stage.home.aside().join("export").display().to_string();
    let _exported = succeeded(&stage.home.staunch(&["audit", "export", "--to", &export]));
    assert_eq!(daemon.stop(), Some(0));
    let key = stage.home.path("keys/log.vkey").display().to_string();
    let _verified = succeeded(&stage.home.staunch(&["audit", "verify", &export, "--key", &key]));
}
