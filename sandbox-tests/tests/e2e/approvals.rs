//! People: nothing is done without them where they are asked, and nobody counts who should not.

use sandbox_tests::alerts::Firing;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

#[test]
fn an_approved_plan_is_done_as_it_was_shown() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(waiting["outcome"], Value::Null);
    assert_eq!(waiting["plan"]["summary"], "Plan: 1 effect, 1 needs approval, 0 irreversible");
    assert!(stage.target.posts().is_empty(), "nothing is done before the approval");
    let asked = daemon.get("/v1/approvals").expect(200);
    assert_eq!(asked["items"][0]["id"], waiting["id"]);

    let _run = daemon.approve(&ada, &waiting).expect(200);
    let fixed = daemon.outcome(&id, "fixed");
    assert_eq!(fixed["plan"]["digest"], waiting["plan"]["digest"]);
    assert_eq!(fixed["approvals"][0]["by"], "ada");
    assert_eq!(stage.target.posts().len(), 1);
    let late = daemon.approve(&ada, &fixed);
    assert_eq!(
        (late.status, late.problem().as_str()),
        (409, "already-ended"),
        "what has ended cannot be approved"
    );
    let settle = daemon.post(&format!("/v1/runs/{id}/settle"), &json!({ "outcome": "done" }));
    assert_eq!((settle.status, settle.problem().as_str()), (409, "already-ended"), "{}", settle.text());
}

#[test]
fn a_plan_that_was_not_shown_cannot_be_approved() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let path = format!("/v1/runs/{id}/approve");
    let other = format!("sha256:{}", "0".repeat(64));
    let answer = daemon.post(&path, &json!({ "plan": other }));
    assert_eq!((answer.status, answer.problem().as_str()), (409, "plan-changed"), "{}", answer.text());
    assert_eq!(answer.json()["plan"]["digest"], waiting["plan"]["digest"], "the plan as it is now");
    assert_eq!(daemon.post(&path, &json!({ "plan": "mine" })).status, 422);
    assert_eq!(daemon.post(&path, &json!({})).status, 422);
    assert_eq!(daemon.run(&id)["state"], "waiting");
    assert!(stage.target.posts().is_empty());
}

#[test]
fn only_whoever_has_the_role_approves() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let rita = stage.home.token("rita", "reader");
    let waiting = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    let answer = daemon.approve(&rita, &waiting);
    assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"), "{}", answer.text());
    assert_eq!(daemon.approve("stn_nobody", &waiting).status, 401);
    assert!(stage.target.posts().is_empty());
}

#[test]
fn the_starter_of_a_run_does_not_count_as_its_approver() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let (ada, ben) = (stage.home.token("ada", "operator"), stage.home.token("ben", "operator"));
    let request = json!({ "runbook": "restart-shop", "labels": { "instance": "shop-1" }, "reason": "a drill", "mode": "act" });
    let run = daemon.post_by(&ada, "/v1/runs", &request).expect(202);
    let waiting = daemon.until(run["id"].as_str().unwrap(), "waiting");
    assert_eq!(waiting["requested_by"], "ada");
    let answer = daemon.approve(&ada, &waiting);
    assert_eq!((answer.status, answer.problem().as_str()), (409, "separation"), "{}", answer.text());
    assert!(stage.target.posts().is_empty());
    let _run = daemon.approve(&ben, &waiting).expect(200);
    let _run = daemon.outcome(waiting["id"].as_str().unwrap(), "fixed");
}

#[test]
fn the_signer_of_a_plugin_does_not_count_as_its_approver() {
    let gate = "gate: { approvals: 1, roles: [operator], expires: 5m }\n";
    let Some(stage) = Stage::set_with("approve", gate) else { return };
    let verify = stage.verify();
    let lax = gate.replace("5m", "5m, separation: none");
    stage.runbook("restart-lax", "LaxDown", "approve", &format!("{lax}{verify}"));
    stage.home.trust_author_as("ada");
    let daemon = stage.home.serve();
    let (ada, author) = (stage.home.token("ada", "operator"), stage.home.token("author", "operator"));
    let shown = daemon.get("/v1/plugins/http-request").expect(200);
    assert_eq!(shown["signed_by"][0]["person"], "ada", "{shown:#}");
    assert_eq!(shown["signed_by"][0]["key"], shown["signers"][0], "{shown:#}");

    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let answer = daemon.approve(&ada, &waiting);
    assert_eq!((answer.status, answer.problem().as_str()), (409, "separation"), "{}", answer.text());
    assert!(answer.text().contains("ada signed a plugin of the run"), "{}", answer.text());
    assert!(stage.target.posts().is_empty());
    // The key lies in author.pub: what a file is called says nothing of whose it is.
    let _run = daemon.approve(&author, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);

    stage.target.set_well(false);
    let id = daemon.run_of(&Firing::new("LaxDown", "shop-2"));
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&ada, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
}

#[test]
fn nobody_counts_twice() {
    let Some(stage) = Stage::set_with("approve", "gate: { approvals: 2, roles: [operator], expires: 5m }\n")
    else {
        return;
    };
    let daemon = stage.home.serve();
    let (ada, ben) = (stage.home.token("ada", "operator"), stage.home.token("ben", "operator"));
    let waiting = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    let _run = daemon.approve(&ada, &waiting).expect(200);
    assert_eq!(daemon.approve(&ada, &waiting).problem(), "separation");
    assert!(stage.target.posts().is_empty());
    let _run = daemon.approve(&ben, &waiting).expect(200);
    let _run = daemon.outcome(waiting["id"].as_str().unwrap(), "fixed");
}

#[test]
fn what_people_end_is_not_done() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    for (word, outcome) in [("reject", "rejected"), ("cancel", "cancelled")] {
        let id = daemon.run_of(&Firing::new(ALERT, word));
        let waiting = daemon.until(&id, "waiting");
        let path = format!("/v1/runs/{id}/{word}");
        let _run = daemon.post_by(&ada, &path, &json!({ "comment": "not today" })).expect(200);
        let run = daemon.outcome(&id, outcome);
        assert_ne!(run["effects"][0]["status"], "done", "{run:#}");
        assert_eq!(daemon.approve(&ada, &waiting).status, 409);
        assert_eq!(daemon.post_by(&ada, &path, &json!({})).status, 409);
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_question_that_nobody_answers_expires() {
    let gate = "gate: { approvals: 1, roles: [operator], expires: 1s }\n";
    let Some(stage) = Stage::set_with("approve", gate) else { return };
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "expired");
    assert_eq!(run["reason"]["code"], "expired");
    let answer = daemon.approve(&stage.home.administrator, &run);
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_standing_below_the_runbook_has_people_asked() {
    let Some(stage) = Stage::set("automatic") else { return };
    let component = sandbox_tests::installation::component("http-request").unwrap();
    let copy = stage.home.path("again.wasm");
    std::fs::copy(component, &copy).unwrap();
    let _signed = sandbox_tests::installation::succeeded(&stage.home.sign(&copy));
    let copy = copy.display().to_string();
    let install = ["plugin", "install", &copy, "--standing", "approve", "--reason", "less trusted"];
    let _installed = sandbox_tests::installation::succeeded(&stage.home.staunch(&install));
    let daemon = stage.home.serve();
    let _run = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    assert!(stage.target.posts().is_empty());
}
