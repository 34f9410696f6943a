//! The gate: who counts and who does not, who is told, and what passes it by hand.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, within_time};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A stage whose gate is this, its daemon, and operators.
fn gated(gate: &str) -> Option<(Stage, Daemon)> {
    let stage = Stage::set_with("approve", &format!("gate: {gate}\n"))?;
    let daemon = stage.home.serve();
    Some((stage, daemon))
}

fn waiting(daemon: &Daemon) -> Value {
    daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting")
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

fn kinds(daemon: &Daemon, run: &Value) -> Vec<String> {
    let journal = daemon.journal(id(run));
    journal.iter().map(|entry| entry["leaf"]["kind"].as_str().unwrap().to_owned()).collect()
}

/// Takes all tokens of a person back.
fn gone(daemon: &Daemon, name: &str) {
    let tokens = daemon.get("/v1/tokens").expect(200);
    let theirs = tokens["items"].as_array().unwrap().iter().filter(|token| token["name"] == name);
    for token in theirs {
        let _revoked = daemon.delete(&format!("/v1/tokens/{}", token["id"].as_str().unwrap())).expect(200);
    }
}

#[test]
fn a_run_shows_who_approved_and_how_many_are_missing() {
    let Some((stage, daemon)) = gated("{ approvals: 2, expires: 5m }") else { return };
    let (ada, ben) = (stage.home.token("ada", "operator"), stage.home.token("ben", "operator"));
    let run = waiting(&daemon);
    let none = json!({ "needed": 2, "counted": [], "missing": 2, "uncounted": [] });
    assert_eq!(run["quorum"], none);
    let once = daemon.approve(&ada, &run).expect(200);
    assert_eq!(once["state"], "waiting");
    let one = json!({ "needed": 2, "counted": ["ada"], "missing": 1, "uncounted": [] });
    assert_eq!(daemon.run(id(&run))["quorum"], one);
    assert_eq!(daemon.get("/v1/approvals").expect(200)["items"][0]["quorum"], one);
    assert!(stage.target.posts().is_empty(), "one of two is not enough");
    let _run = daemon.approve(&ben, &run).expect(200);
    let fixed = daemon.outcome(id(&run), "fixed");
    let subject = fixed["approvals"][0]["subject"].as_str().unwrap();
    assert!(subject.starts_with("tok_"), "the approval names the token: {subject}");
    let why = daemon.get(&format!("/v1/runs/{}/why", id(&run))).expect(200).to_string();
    assert!(why.contains("approved by ada, ben"), "{why}");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn who_is_gone_when_it_would_act_does_not_count() {
    let Some((stage, daemon)) = gated("{ approvals: 2, expires: 5m }") else { return };
    let [ada, ben, cy] = ["ada", "ben", "cy"].map(|name| stage.home.token(name, "operator"));
    let run = waiting(&daemon);
    let _run = daemon.approve(&ada, &run).expect(200);
    gone(&daemon, "ada");
    assert_eq!(daemon.approve(&ada, &run).status, 401);
    let still = daemon.approve(&ben, &run).expect(200);
    let quorum = &daemon.run(id(&run))["quorum"];
    assert_eq!((still["state"].as_str(), &quorum["counted"]), (Some("waiting"), &json!(["ben"])));
    assert_eq!(quorum["uncounted"][0]["code"], "role", "{quorum:#}");
    assert!(stage.target.posts().is_empty());
    let _run = daemon.approve(&cy, &run).expect(200);
    let _run = daemon.outcome(id(&run), "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn one_person_with_two_tokens_counts_once() {
    let Some((stage, daemon)) = gated("{ approvals: 2, expires: 5m }") else { return };
    let (desk, phone) = (stage.home.token("ada", "operator"), stage.home.token("ada", "operator"));
    let run = waiting(&daemon);
    let _run = daemon.approve(&desk, &run).expect(200);
    let again = daemon.approve(&phone, &run);
    assert_eq!((again.status, again.problem().as_str()), (409, "separation"), "{}", again.text());
    assert_eq!(daemon.run(id(&run))["quorum"]["missing"], 1);
    assert!(stage.target.posts().is_empty());
}

#[test]
fn an_approval_without_the_comment_that_the_gate_wants_is_refused() {
    let Some((stage, daemon)) = gated("{ comment: required }") else { return };
    let ada = stage.home.token("ada", "operator");
    let run = waiting(&daemon);
    let path = format!("/v1/runs/{}/approve", id(&run));
    for comment in [Value::Null, json!("  ")] {
        let body = json!({ "plan": run["plan"]["digest"], "comment": comment });
        let answer = daemon.post_by(&ada, &path, &body);
        assert_eq!((answer.status, &answer.json()["field"]), (422, &json!("comment")), "{}", answer.text());
    }
    let _run = daemon.approve(&ada, &run).expect(200);
    let _run = daemon.outcome(id(&run), "fixed");
}

#[test]
fn deputies_count_from_their_time_on() {
    let gate = "{ roles: [auditor], deputies: { after: 1s, roles: [operator] }, expires: 5m }";
    let Some((stage, daemon)) = gated(gate) else { return };
    let ada = stage.home.token("ada", "operator");
    let run = waiting(&daemon);
    let early = daemon.approve(&ada, &run).status;
    let late = within_time(SOON, || (daemon.approve(&ada, &run).status == 200).then_some(()));
    assert!(late.is_some(), "{}", daemon.approve(&ada, &run).text());
    // Whoever is that slow is no longer early.
    assert!(matches!(early, 403 | 200), "{early}");
    let _run = daemon.outcome(id(&run), "fixed");
}

#[test]
fn nobody_answers_and_the_next_one_is_told_once_also_over_a_restart() {
    let gate = "{ expires: 5m, escalate: [{ after: 1s, to: second-line }, { after: 2s, to: the-boss }] }";
    let Some((stage, daemon)) = gated(gate) else { return };
    let run = waiting(&daemon);
    daemon.until_said("second-line is told");
    daemon.until_said("the-boss is told");
    assert_eq!(daemon.run(id(&run))["state"], "waiting");
    daemon.kill();
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let _run = daemon.approve(&ada, &run).expect(200);
    let _run = daemon.outcome(id(&run), "fixed");
    let journal = daemon.journal(id(&run));
    let told = journal.iter().filter(|entry| entry["leaf"]["kind"] == "run-escalated");
    let told: Vec<_> = told.map(|entry| entry["leaf"]["fact"]["to"].as_str().unwrap()).collect();
    assert_eq!(told, ["second-line", "the-boss"]);
}

#[test]
fn what_a_person_takes_over_is_not_done() {
    let Some((stage, daemon)) = gated("{ expires: 5m }") else { return };
    let (ada, rita) = (stage.home.token("ada", "operator"), stage.home.token("rita", "reader"));
    let run = waiting(&daemon);
    let path = format!("/v1/runs/{}/takeover", id(&run));
    assert_eq!(daemon.post_by(&rita, &path, &json!({ "comment": "mine" })).status, 403);
    let _run = daemon.post_by(&ada, &path, &json!({ "comment": "by hand" })).expect(200);
    let over = daemon.outcome(id(&run), "cancelled");
    assert_eq!(over["reason"]["code"], "taken-over", "{over:#}");
    assert!(kinds(&daemon, &run).contains(&"run-taken-over".to_owned()));
    assert_eq!(daemon.post_by(&ada, &path, &json!({})).status, 409);
    assert_eq!(daemon.approve(&stage.home.administrator, &run).status, 409);
    assert!(stage.target.posts().is_empty());
}

#[test]
fn the_probes_have_the_word_about_what_was_done_before_a_takeover() {
    let Some((stage, daemon)) = gated("{ expires: 5m }") else { return };
    stage.target.behave(Behaviour::Hold);
    let ada = stage.home.token("ada", "operator");
    let run = waiting(&daemon);
    let _run = daemon.approve(&ada, &run).expect(200);
    let came = within_time(SOON, || (stage.target.posts().len() == 1).then_some(()));
    assert!(came.is_some(), "{}", daemon.said());
    let path = format!("/v1/runs/{}/takeover", id(&run));
    let _run = daemon.post_by(&ada, &path, &json!({ "comment": "by hand" })).expect(200);
    stage.target.release();
    let over = daemon.outcome(id(&run), "fixed");
    assert_eq!(over["verdict"], "fixed", "{over:#}");
    assert!(kinds(&daemon, &run).contains(&"run-taken-over".to_owned()));
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn who_breaks_the_glass_owes_a_reason_until_another_has_reviewed_it() {
    let Some((stage, daemon)) = gated("{ approvals: 3, expires: 5m }") else { return };
    let (ada, root) = (stage.home.token("ada", "operator"), stage.home.token("root", "administrator"));
    let run = waiting(&daemon);
    let path = format!("/v1/runs/{}/break-glass", id(&run));
    let body = |plan: &Value, reason: &str| json!({ "plan": plan, "reason": reason });
    let (plan, other) = (&run["plan"]["digest"], json!(format!("sha256:{}", "0".repeat(64))));
    assert_eq!(daemon.post_by(&ada, &path, &body(plan, "now")).status, 403, "an operator may not");
    let nothing = daemon.post_by(&root, &path, &body(plan, " "));
    assert_eq!((nothing.status, &nothing.json()["field"]), (422, &json!("reason")), "{}", nothing.text());
    assert_eq!(daemon.post_by(&root, &path, &body(&other, "now")).problem(), "plan-changed");
    let halt = daemon.halt(&json!("all"));
    assert_eq!(
        daemon.post_by(&root, &path, &body(plan, "now")).problem(),
        "halt",
        "no glass in front of halts"
    );
    daemon.release(&halt);
    assert!(stage.target.posts().is_empty());

    let _run = daemon.post_by(&root, &path, &body(plan, "the site is down")).expect(200);
    let fixed = daemon.outcome(id(&run), "fixed");
    assert_eq!(fixed["glass"][0]["by"], "root", "{fixed:#}");
    assert_eq!(stage.target.posts().len(), 1);
    daemon.until_said("root broke the glass");
    let owed = daemon.get("/v1/justifications").expect(200);
    assert_eq!(owed["items"].as_array().unwrap().len(), 1, "{owed:#}");
    assert_eq!(owed["items"][0]["run"], run["id"]);
    assert_eq!(owed["items"][0]["reason"], "the site is down");

    let review = format!("/v1/justifications/{}/review", id(&run));
    let own = daemon.post_by(&root, &review, &json!({ "comment": "fine" }));
    assert_eq!((own.status, own.problem().as_str()), (409, "separation"), "{}", own.text());
    assert_eq!(daemon.post_by(&ada, &review, &json!({ "comment": "fine" })).status, 403);
    assert_eq!(daemon.post(&review, &json!({ "comment": "" })).status, 422);
    let seen = daemon.post(&review, &json!({ "comment": "it was down", "justified": true })).expect(200);
    assert_eq!(seen["glass"][0]["review"]["comment"], "it was down", "{seen:#}");
    assert_eq!(daemon.get("/v1/justifications").expect(200)["items"], json!([]));
    let reviewed = daemon.get("/v1/justifications?state=reviewed").expect(200);
    assert_eq!(reviewed["items"][0]["run"], run["id"]);
    assert_eq!(daemon.post(&review, &json!({ "comment": "again" })).status, 404, "nothing is owed any more");
}

#[test]
fn what_a_person_holds_does_nothing_until_it_is_given_back_and_asks_anew() {
    let Some((stage, daemon)) = gated("{ expires: 5m }") else { return };
    let (ada, rita) = (stage.home.token("ada", "operator"), stage.home.token("rita", "reader"));
    let run = waiting(&daemon);
    let path = |what: &str| format!("/v1/runs/{}/{what}", id(&run));
    let none = daemon.post_by(&ada, &path("give-back"), &json!({}));
    assert_eq!((none.status, none.problem().as_str()), (409, "not-waiting"), "{}", none.text());
    let hold = json!({ "comment": "I look at it", "hold": true });
    let held = daemon.post_by(&ada, &path("takeover"), &hold).expect(200);
    assert_eq!((&held["state"], &held["held"]["by"]), (&json!("waiting"), &json!("ada")), "{held:#}");
    assert_eq!(daemon.approve(&stage.home.administrator, &run).problem(), "taken-over");
    let glass = json!({ "plan": run["plan"]["digest"], "reason": "now" });
    assert_eq!(daemon.post(&path("break-glass"), &glass).problem(), "taken-over");
    assert_eq!(daemon.post(&path("takeover"), &hold).problem(), "taken-over", "one at a time");
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1").from("2026-05-04T10:00:00.000Z")]).remove(0);
    let _busy = daemon.decision(&entry, "busy");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(daemon.run(id(&run))["held"]["by"], "ada", "after a power cut, too");
    assert_eq!(daemon.approve(&stage.home.administrator, &run).problem(), "taken-over");
    assert_eq!(daemon.post_by(&rita, &path("give-back"), &json!({})).status, 403);

    let url = format!("http://{}", daemon.address());
    let given = ["runs", "give-back", id(&run), "--comment", "not me", "--url", &url, "--token", &ada];
    let _given = succeeded(&stage.home.staunch(&given));
    let again = daemon.run(id(&run));
    assert_eq!((&again["state"], &again["held"]), (&json!("waiting"), &Value::Null), "{again:#}");
    assert_eq!(daemon.post_by(&ada, &path("give-back"), &json!({})).status, 409, "once is enough");
    let _run = daemon.approve(&stage.home.administrator, &again).expect(200);
    let _run = daemon.outcome(id(&run), "fixed");
    assert_eq!(stage.target.posts().len(), 1);
    let kinds = kinds(&daemon, &run);
    let place =
        |kind: &str| kinds.iter().position(|known| known == kind).unwrap_or_else(|| panic!("{kinds:?}"));
    assert!(place("run-taken-over") < place("run-given-back"));
    let planned = kinds.iter().rposition(|known| known == "run-planned").unwrap();
    assert!(planned > place("run-given-back"), "it is planned anew: {kinds:?}");
    assert_eq!(daemon.post_by(&ada, &path("give-back"), &json!({})).status, 409, "it is over");
}

#[test]
fn a_signed_approval_is_verified_with_the_persons_own_key_and_kept() {
    let Some(mut stage) = Stage::set_with("approve", "gate: { expires: 5m }\n") else { return };
    for name in ["ada", "ben"] {
        let file = stage.home.path(&format!("keys/{name}.key")).display().to_string();
        let _made = succeeded(&stage.home.staunch(&["keys", "generate", &file]));
    }
    stage.home.more.push("people: { ada: { keys: [./keys/ada.pub] } }\n".to_owned());
    stage.home.configure();
    let daemon = stage.home.serve();
    let ada = stage.home.token("ada", "operator");
    let run = waiting(&daemon);
    let plan = run["plan"]["digest"].as_str().unwrap();
    let approve = |key: &str| {
        let key = stage.home.path(&format!("keys/{key}.key")).display().to_string();
        let url = format!("http://{}", daemon.address());
        stage.home.staunch(&[
            "runs",
            "approve",
            id(&run),
            "--plan",
            plan,
            "--comment",
            "seen",
            "--key",
            &key,
            "--token",
            &ada,
            "--url",
            &url,
        ])
    };
    let strange = approve("ben");
    assert_eq!(strange.code, Some(1), "{}", strange.stderr);
    assert!(strange.stderr.contains("no key of ada signed it"), "{}", strange.stderr);
    assert_eq!(daemon.run(id(&run))["approvals"], json!([]));
    let _approved = succeeded(&approve("ada"));
    let fixed = daemon.outcome(id(&run), "fixed");
    let envelope = &fixed["approvals"][0]["envelope"];
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json", "{fixed:#}");
    let kept = daemon.journal(id(&run));
    let kept = kept.iter().find(|entry| entry["leaf"]["kind"] == "run-approved").unwrap();
    assert_eq!(&kept["payload"]["approval"]["envelope"], envelope);
    assert!(!kept["leaf"].to_string().contains("payloadType"), "the leaf holds no outside text");
}

#[test]
fn a_gate_that_nobody_could_pass_is_found_before_it_is_needed() {
    let Some(stage) = Stage::set_with("approve", "gate: { approvals: 3, expires: 5m }\n") else { return };
    let found = stage.home.staunch(&["check"]);
    assert_eq!(found.code, Some(1), "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("restart-shop.yaml:1:1: the gate needs 3 approvals"), "{}", found.stdout);
    let daemon = stage.home.serve();
    daemon.until_said("the gate needs 3 approvals");
    let _tokens = [stage.home.token("ada", "operator"), stage.home.token("ben", "operator")];
    assert_eq!(daemon.stop(), Some(0));
    let fine = stage.home.staunch(&["check"]);
    assert_eq!(fine.code, Some(0), "{}{}", fine.stdout, fine.stderr);
}
