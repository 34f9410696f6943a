//! Stop means stop: what a halt covers does nothing more, wherever it is on its road, and a restart changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::Installation;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// All leaves of the journal, in order.
pub(crate) fn leaves(daemon: &Daemon) -> Vec<Value> {
    let mut leaves = Vec::new();
    loop {
        let page = daemon.get(&format!("/v1/audit/entries?from={}&to={}", leaves.len(), u32::MAX)).json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        if items.is_empty() {
            return leaves;
        }
        leaves.extend(items.iter().map(|item| -> Value {
            serde_json::from_slice(&STANDARD.decode(item["leaf"].as_str().unwrap()).unwrap()).unwrap()
        }));
    }
}

/// Places of all entries of a kind.
fn places(leaves: &[Value], kind: &str) -> Vec<usize> {
    leaves.iter().enumerate().filter(|(_, leaf)| leaf["kind"] == kind).map(|(place, _)| place).collect()
}

/// That no intent stands behind the first halt.
fn assert_nothing_behind_the_halt(daemon: &Daemon) {
    let leaves = leaves(daemon);
    let halted = places(&leaves, "halted")[0];
    let intents = places(&leaves, "effect-intended");
    assert!(intents.iter().all(|intent| *intent < halted), "{intents:?} and {halted}");
}

/// A runbook of so many steps, each a POST of its own.
fn many_steps(stage: &Stage, count: usize) {
    let step = |number| {
        let url = format!("http://{}/restart/{number}", stage.target.address());
        format!("  - plugin: http-request\n    input: {{ method: POST, url: '{url}' }}\n")
    };
    let steps: String = (0..count).map(step).collect();
    stage.home.runbook(
        "restart-all",
        &format!(
            "match: ['alertname=\"AllDown\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: automatic\n\
             steps:\n{steps}{}",
            stage.verify()
        ),
    );
}

#[test]
fn a_halted_run_gets_no_further_effect_and_its_probes_have_the_word() {
    let Some(stage) = Stage::bare() else { return };
    many_steps(&stage, 6);
    let daemon = stage.home.serve();
    let (address, token) = (daemon.address(), format!("Bearer {}", stage.home.administrator));
    let answers = Arc::new(Mutex::new(Vec::new()));
    let answered = Arc::clone(&answers);
    // The third request is in flight when the halt is acknowledged.
    stage.target.on_post(move |seen| {
        if seen.path == "/restart/2" {
            let body = json!({ "scope": { "plugin": "http-request" }, "reason": "it harms" }).to_string();
            let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
            answered.lock().unwrap().push(send(address, "POST", "/v1/halts", &headers, body.as_bytes()));
        }
    });
    let id = daemon.run_of(&Firing::new("AllDown", "shop-1"));
    let run = daemon.until(&id, "ended");
    let halt = answers.lock().unwrap().remove(0).unwrap().expect(201);
    assert_eq!(halt["scope"], json!({ "plugin": "http-request" }), "{halt}");
    assert_eq!((&halt["reason"], &halt["by"]), (&json!("it harms"), &json!("administrator")), "{halt}");
    assert!(halt["created_at"].is_string(), "{halt}");
    assert_eq!(stage.target.posts().len(), 3, "something was done after the halt");
    assert_eq!(run["outcome"], "fixed", "{run:#}");
    let message = run["reason"]["message"].as_str().unwrap();
    assert!(message.contains("halted by administrator") && message.contains("it harms"), "{message}");
    assert_nothing_behind_the_halt(&daemon);
    daemon.kill();

    // In force after a power cut, with who and why.
    let daemon = stage.home.serve();
    let listed = daemon.get("/v1/halts").expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["items"][0], halt, "{listed}");
    stage.target.set_well(false);
    let refused = daemon.alerts(&[Firing::new("AllDown", "shop-2")]).remove(0);
    let decision = daemon.decision(&refused, "halt");
    assert_eq!((&decision["stage"], &decision["result"]), (&json!("halt"), &json!("refuse")), "{decision}");
    assert!(decision["message"].as_str().unwrap().contains("by administrator"), "{decision}");
    assert_eq!(stage.target.posts().len(), 3);
}

/// An installation that may truncate files, and a runbook that truncates so many.
fn truncating(count: usize) -> Option<(Installation, Vec<PathBuf>)> {
    let mut home = Installation::with(&["disk-cleanup"])?;
    let logs = home.aside().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let files: Vec<PathBuf> = (0..count).map(|number| logs.join(format!("{number}.log"))).collect();
    let full = |file: &PathBuf| std::fs::write(file, "x".repeat(4096)).unwrap();
    files.iter().for_each(full);
    let shown = logs.display();
    home.grants.push(format!(
        "disk-cleanup: {{ file: {{ stat: ['{shown}/**'], list: ['{shown}'], space: ['{shown}'], truncate: ['{shown}/*'] }} }}"
    ));
    home.configure();
    let action = |file: &PathBuf| format!("        - truncate: {{ path: {}, size: 0 }}\n", file.display());
    let actions: String = files.iter().map(action).collect();
    home.runbook(
        "clean",
        &format!(
            "match: ['alertname=\"DiskFull\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
             steps:\n  - plugin: disk-cleanup\n    input:\n      path: {shown}\n      enough_free: 99%\n      \
             actions:\n{actions}"
        ),
    );
    Some((home, files))
}

fn truncated(files: &[PathBuf]) -> usize {
    let is_empty = |file: &&PathBuf| Path::new(file).metadata().unwrap().len() == 0;
    files.iter().filter(is_empty).count()
}

#[test]
fn a_plugin_in_the_middle_of_its_work_gets_no_further_effect() {
    let Some((home, files)) = truncating(60) else { return };
    let daemon = home.serve();
    let id = daemon.run_of(&Firing::new("DiskFull", "web-7"));
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(waiting["plan"]["effects"].as_array().map(Vec::len), Some(60), "{waiting:#}");
    let _run = daemon.approve(&home.administrator, &waiting).expect(200);
    until("it has begun", SOON, || (truncated(&files) > 0).then_some(()));
    let _halt = daemon.halt(&json!({ "target": "web-7:9100" }));
    let done = truncated(&files);
    let run = daemon.until(&id, "ended");
    // What was on its way may have come to its end.
    assert!((done..=done + 1).contains(&truncated(&files)), "{done}, then {}", truncated(&files));
    assert!(done < files.len(), "the halt came too late to show anything");
    assert!(run["reason"]["message"].as_str().unwrap().contains("halted by"), "{run:#}");
    assert!(run["effects"].as_array().unwrap().iter().any(|effect| effect["status"] == "skipped"));
    assert_nothing_behind_the_halt(&daemon);
}

#[test]
fn a_waiting_run_cannot_be_approved_while_it_is_halted() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let halt = daemon.halt(&json!({ "runbook": "restart-shop" }));
    let refused = daemon.approve(&stage.home.administrator, &waiting);
    assert_eq!((refused.status, refused.problem().as_str()), (409, "halt"), "{}", refused.text());
    assert!(refused.text().contains(&halt), "{}", refused.text());
    let why = daemon.get(&format!("/v1/runs/{id}/why")).expect(200);
    let decisions = why["decisions"].as_array().unwrap();
    let decision = decisions.iter().find(|decision| decision["code"] == "halt").unwrap();
    assert!(decision["message"].as_str().unwrap().contains("a test wants it"), "{decision}");
    daemon.kill();

    let daemon = stage.home.serve();
    let waiting = daemon.until(&id, "waiting");
    let refused = daemon.approve(&stage.home.administrator, &waiting);
    assert_eq!((refused.status, refused.problem().as_str()), (409, "halt"), "{}", refused.text());
    assert!(stage.target.posts().is_empty());
    daemon.release(&halt);
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_queued_run_stays_queued_while_it_is_halted() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.runbook("second", "Second", "automatic", &stage.verify());
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let first = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the first acts", SOON, || (stage.target.posts().len() == 1).then_some(()));
    let second = daemon.run_of(&Firing::new("Second", "shop-1"));
    let _run = daemon.until(&second, "queued");
    let halt = daemon.halt(&json!({ "runbook": "second" }));
    stage.target.release();
    let _run = daemon.outcome(&first, "fixed");
    stage.target.set_well(false);
    // Its turn has come, and it stays where it is; others may have the target.
    stage.target.behave(Behaviour::Recover);
    let third = daemon.run_of(&Firing::new(ALERT, "shop-1").from("2026-05-04T10:00:00.000Z"));
    let _run = daemon.outcome(&third, "fixed");
    assert_eq!(daemon.run(&second)["state"], "queued");
    assert_eq!(stage.target.posts().len(), 2);
    stage.target.set_well(false);
    daemon.release(&halt);
    let _run = daemon.outcome(&second, "fixed");
    assert_eq!(stage.target.posts().len(), 3);
}

#[test]
fn a_waiting_run_keeps_nobody_from_the_target_while_it_is_halted() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.runbook("second", "Second", "approve", &stage.verify());
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let second = daemon.run_of(&Firing::new("Second", "shop-1"));
    let waiting = daemon.until(&second, "waiting");
    let first = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the first acts", SOON, || (stage.target.posts().len() == 1).then_some(()));
    // Approved, and behind the first one at the target when the halt comes.
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let halt = daemon.halt(&json!({ "runbook": "second" }));
    stage.target.release();
    let _run = daemon.outcome(&first, "fixed");
    stage.target.set_well(false);
    stage.target.behave(Behaviour::Recover);
    let third = daemon.run_of(&Firing::new(ALERT, "shop-1").from("2026-05-04T10:00:00.000Z"));
    let _run = daemon.outcome(&third, "fixed");
    assert_eq!(daemon.run(&second)["state"], "waiting");
    assert_eq!(stage.target.posts().len(), 2, "an approved run acted while it was halted");
    stage.target.set_well(false);
    daemon.release(&halt);
    // Its approval holds, because what it would do is still what was approved.
    let _run = daemon.outcome(&second, "fixed");
    assert_eq!(stage.target.posts().len(), 3);
}

#[test]
fn an_approved_run_goes_on_by_itself_when_the_file_is_gone() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.runbook("second", "Second", "approve", &stage.verify());
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let second = daemon.run_of(&Firing::new("Second", "shop-1"));
    let waiting = daemon.until(&second, "waiting");
    let first = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the first acts", SOON, || (stage.target.posts().len() == 1).then_some(()));
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let file = stage.home.path("data/HALT");
    std::fs::write(&file, "").unwrap();
    stage.target.release();
    let _run = daemon.outcome(&first, "fixed");
    assert_eq!(daemon.run(&second)["state"], "waiting");
    assert_eq!(stage.target.posts().len(), 1);
    stage.target.set_well(false);
    std::fs::remove_file(&file).unwrap();
    let _run = daemon.outcome(&second, "fixed");
    assert_eq!(stage.target.posts().len(), 2);
}

#[test]
fn a_halted_run_can_be_cancelled() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.until(&id, "waiting");
    let _halt = daemon.halt(&json!("all"));
    let _run = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({ "comment": "no more" })).expect(200);
    let run = daemon.outcome(&id, "cancelled");
    assert_eq!(run["reason"]["code"], "cancelled", "{run:#}");
}

#[test]
fn a_held_run_whose_alert_is_over_ends() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.runbook("second", "Second", "automatic", &stage.verify());
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let first = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the first acts", SOON, || (stage.target.posts().len() == 1).then_some(()));
    let alert = Firing::new("Second", "shop-1");
    let second = daemon.run_of(&alert);
    let _halt = daemon.halt(&json!({ "runbook": "second" }));
    stage.target.release();
    let _run = daemon.outcome(&first, "fixed");
    let _resolved = daemon.alerts(&[alert.resolved("2026-05-04T09:30:00Z")]);
    let run = daemon.outcome(&second, "cancelled");
    assert_eq!(run["reason"]["code"], "no-longer-needed", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_parked_run_stays_parked_while_it_is_halted() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.target.behave(Behaviour::Reset);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.until(&id, "parked");
    stage.target.set_well(true);
    let halt = daemon.halt(&json!("all"));
    let settle = json!({ "outcome": "done", "answer": { "status": 200, "headers": [], "body": "" } });
    let run = daemon.post(&format!("/v1/runs/{id}/settle"), &settle).expect(200);
    assert_eq!((&run["state"], &run["effects"][0]["status"]), (&json!("parked"), &json!("done")), "{run:#}");
    daemon.kill();

    let daemon = stage.home.serve();
    assert_eq!(daemon.run(&id)["state"], "parked");
    daemon.release(&halt);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_run_cut_off_while_it_acted_is_judged_and_not_resumed_under_a_halt() {
    let Some(stage) = Stage::bare() else { return };
    many_steps(&stage, 3);
    let daemon = stage.home.serve();
    stage.target.behave(Behaviour::Hold);
    let id = daemon.run_of(&Firing::new("AllDown", "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    daemon.kill();
    let halted = stage.home.staunch(&["halt", "--reason", "enough"]);
    assert_eq!(halted.code, Some(0), "{}", halted.stderr);
    stage.target.release();

    let daemon = stage.home.serve();
    let _run = daemon.until(&id, "parked");
    let settle = json!({ "outcome": "abandon" });
    let _run = daemon.post(&format!("/v1/runs/{id}/settle"), &settle).expect(200);
    let _run = daemon.until(&id, "ended");
    assert_eq!(stage.target.posts().len(), 1, "a restart went round the halt");
    assert_nothing_behind_the_halt(&daemon);
}

#[test]
fn of_many_approvals_and_halts_at_once_one_wins_and_the_journal_tells() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let (mut first_halt, mut acted) = (Vec::new(), 0);
    for round in 0..4 {
        stage.target.set_well(false);
        let begin = leaves(&daemon).len();
        let id = daemon.run_of(&Firing::new(ALERT, &format!("shop-{round}")));
        let waiting = daemon.until(&id, "waiting");
        let posts = stage.target.posts().len();
        let (approvals, halts) = race(&daemon, &stage, &waiting);
        assert!(approvals.iter().all(|status| [200, 409].contains(status)), "{approvals:?}");
        let approved = approvals.iter().filter(|status| **status == 200).count();
        assert!(approved <= 1, "{approvals:?}");

        let leaves = leaves(&daemon);
        let of_round = |kind: &str| -> Vec<usize> {
            places(&leaves, kind).into_iter().filter(|place| *place >= begin).collect()
        };
        assert_eq!(of_round("run-approved").len(), approved);
        assert_eq!(of_round("halted").len(), halts.len());
        first_halt.push(of_round("halted")[0]);
        let intents = of_round("effect-intended");
        assert!(intents.iter().all(|intent| *intent < first_halt[round]), "{intents:?} {first_halt:?}");
        let done = stage.target.posts().len() - posts;
        assert!(done <= intents.len() && intents.len() <= approved, "{done} {intents:?} {approved}");
        acted += done;
        // Before the release: an approval that still holds lets the run go on after it.
        let _run = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({}));
        let _run = daemon.until(&id, "ended");
        halts.iter().for_each(|halt| daemon.release(halt));
    }
    assert_eq!(stage.target.posts().len(), acted, "what was halted acted after all");
}

/// Twenty-five approvals and twenty-five halts at once: the statuses of the first, the ids of the second.
fn race(daemon: &Daemon, stage: &Stage, waiting: &Value) -> (Vec<u16>, Vec<String>) {
    thread::scope(|scope| {
        let mut approvals = Vec::new();
        let mut halts = Vec::new();
        for _ in 0..25 {
            approvals.push(scope.spawn(|| daemon.approve(&stage.home.administrator, waiting).status));
            halts.push(scope.spawn(|| daemon.halt(&json!("all"))));
        }
        let approvals = approvals.into_iter().map(|thread| thread.join().unwrap()).collect();
        (approvals, halts.into_iter().map(|thread| thread.join().unwrap()).collect())
    })
}
