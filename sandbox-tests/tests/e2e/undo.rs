//! Undo: planned with the run, covered by the same approval, done in reverse after the verdict, and never more than once.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

const OVER: &str = "2026-05-04T09:05:00Z";

/// A shop that stays as it is whatever is posted, and a runbook `drain-shop` whose undo is another POST.
pub(crate) fn stage(autonomy: &str, undo: &str, within: &str) -> Option<Stage> {
    let stage = Stage::bare()?;
    stage.target.behave(Behaviour::Answer(200));
    drain(&stage, autonomy, undo, within);
    Some(stage)
}

fn drain(stage: &Stage, autonomy: &str, undo: &str, within: &str) {
    let verify = stage.verify().replace("within: 20s", &format!("within: {within}"));
    runbook(stage, autonomy, &[("drain", "")], &format!("undo: {undo}\n{verify}"));
}

/// A runbook of one POST a step, each taken back by another one; a step may have more members.
fn runbook(stage: &Stage, autonomy: &str, steps: &[(&str, &str)], more: &str) {
    let step = |(path, more): &(&str, &str)| {
        let url =
            |part: &str| format!("http://{}/{path}/{part}/{{{{ labels.instance }}}}", stage.target.address());
        let undo = format!("undo: {{ method: POST, url: '{}' }}", url("off"));
        format!(
            "  - plugin: http-request\n    input: {{ method: POST, url: '{}', {undo} }}\n{more}",
            url("on")
        )
    };
    let steps: String = steps.iter().map(step).collect();
    stage.home.runbook(
        "drain-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: {autonomy}\n\
             steps:\n{steps}{more}"
        ),
    );
}

pub(crate) fn firing() -> Firing {
    Firing::new(ALERT, "shop-1")
}

pub(crate) fn paths(stage: &Stage) -> Vec<String> {
    stage.target.posts().into_iter().map(|seen| seen.path).collect()
}

pub(crate) fn undo(run: &Value) -> (&str, Vec<&str>) {
    let effects = run["undo"]["effects"].as_array().unwrap_or_else(|| panic!("{run:#}"));
    let statuses = effects.iter().map(|effect| effect["status"].as_str().unwrap()).collect();
    (run["undo"]["state"].as_str().unwrap(), statuses)
}

fn kinds(daemon: &Daemon, id: &str) -> Vec<String> {
    let journal = daemon.journal(id);
    journal.iter().map(|entry| entry["leaf"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_approval_covers_the_run_and_its_undo() {
    let Some(stage) = stage("approve", "when-not-fixed", "300ms") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let waiting = daemon.until(&id, "waiting");
    let planned = &waiting["plan"]["undo"];
    assert_eq!(planned.as_array().map(Vec::len), Some(1), "{waiting:#}");
    assert!(planned[0]["arguments"]["url"].as_str().unwrap().ends_with("/drain/off/shop-1"), "{planned:#}");
    assert!(waiting["plan"]["summary"].as_str().unwrap().ends_with(", 1 to undo them"), "{waiting:#}");
    assert_eq!(undo(&waiting), ("planned", vec!["planned"]));
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(paths(&stage), ["/drain/on/shop-1", "/drain/off/shop-1"]);
    assert_eq!((run["verdict"].as_str(), undo(&run)), (Some("not-fixed"), ("done", vec!["done"])));
    assert_eq!(run["effects"].as_array().map(Vec::len), Some(1), "its own effects are its own: {run:#}");
    let posts = stage.target.posts();
    let keys: Vec<_> = posts.iter().filter_map(|seen| seen.header("idempotency-key")).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
    assert_eq!(run["undo"]["effects"][0]["idempotency_key"].as_str(), Some(keys[1]));
    let told = kinds(&daemon, &id);
    let behind = told.iter().position(|kind| kind == "run-undoing").unwrap();
    let wanted =
        ["run-undoing", "effect-intended", "effect-settled", "step-ended", "undo-ended", "run-ended"];
    assert_eq!(told[behind..], wanted, "{told:?}");
    let why = daemon.get(&format!("/v1/runs/{id}/why")).expect(200).to_string();
    assert!(why.contains("it did not fix it") && why.contains("undone"), "{why}");
}

#[test]
fn what_helped_is_not_taken_back() {
    let Some(stage) = stage("automatic", "when-not-fixed", "20s") else { return };
    stage.target.behave(Behaviour::Recover);
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&firing()), "fixed");
    assert_eq!(undo(&run), ("skipped", vec!["skipped"]));
    assert_eq!(paths(&stage), ["/drain/on/shop-1"]);
}

#[test]
fn an_undo_when_resolved_waits_for_the_end_of_the_alert() {
    let Some(stage) = stage("automatic", "when-resolved", "20s") else { return };
    stage.target.behave(Behaviour::Recover);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let waits = until("the undo waits", SOON, || {
        let run = daemon.run(&id);
        (run["undo"]["state"] == "waiting").then_some(run)
    });
    assert_eq!((waits["state"].as_str(), waits["verdict"].as_str()), (Some("undoing"), Some("fixed")));
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(daemon.run(&id)["undo"]["state"], "waiting", "after a power cut as before");
    assert_eq!(paths(&stage).len(), 1);
    let _over = daemon.alerts(&[firing().resolved(OVER)]);
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(undo(&run), ("done", vec!["done"]));
    assert_eq!(paths(&stage), ["/drain/on/shop-1", "/drain/off/shop-1"]);
}

#[test]
fn a_person_who_cancels_it_stops_the_undo_too() {
    let Some(stage) = stage("automatic", "when-resolved", "20s") else { return };
    stage.target.behave(Behaviour::Recover);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _waits = daemon.until(&id, "undoing");
    let _cancelled =
        daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({ "comment": "leave it" })).expect(200);
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(undo(&run), ("skipped", vec!["skipped"]));
    let _over = daemon.alerts(&[firing().resolved(OVER)]);
    assert_eq!(paths(&stage), ["/drain/on/shop-1"]);
}

/// A run whose undo hangs at the target when the power goes, and the daemon after it; what the target does from then on.
fn cut_off(stage: &Stage, then: Behaviour) -> (Daemon, String) {
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _verifying = daemon.until(&id, "verifying");
    stage.target.behave(Behaviour::Hold);
    until("the undo is in flight", SOON, || (paths(stage).len() == 2).then_some(()));
    daemon.kill();
    stage.target.behave(then);
    (stage.home.serve(), id)
}

#[test]
fn an_undo_in_doubt_parks_until_somebody_settles_it() {
    let Some(stage) = stage("automatic", "when-not-fixed", "2s") else { return };
    let (daemon, id) = cut_off(&stage, Behaviour::Hold);
    let parked = daemon.until(&id, "parked");
    assert_eq!((&parked["reason"]["code"], undo(&parked).0), (&json!("in-doubt"), "undoing"), "{parked:#}");
    stage.target.release();
    let answer = r#"{"status":200,"headers":[],"body":""}"#;
    let settle = ["runs", "settle", &id, "--outcome", "done", "--answer", answer, "--comment", "seen"];
    let _settled = succeeded(&stage.home.staunch(&settle));
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(undo(&run), ("done", vec!["done"]));
    assert_eq!(paths(&stage).len(), 2, "what was in doubt was done again");
}

#[test]
fn an_undo_that_was_cut_off_and_may_be_repeated_goes_on_with_its_key() {
    let Some(mut stage) = stage("automatic", "when-not-fixed", "2s") else { return };
    let pattern = format!("POST http://{}/** idempotent", stage.target.address());
    stage.home.grants = vec![format!("http-request: {{ http: {{ send: ['{pattern}'] }} }}")];
    stage.home.configure();
    let (daemon, id) = cut_off(&stage, Behaviour::Answer(200));
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(undo(&run), ("done", vec!["done"]));
    assert_eq!(paths(&stage), ["/drain/on/shop-1", "/drain/off/shop-1", "/drain/off/shop-1"]);
    let posts = stage.target.posts();
    assert_eq!(posts[1].header("idempotency-key"), posts[2].header("idempotency-key"));
}

#[test]
fn a_halt_holds_the_undo_until_its_release() {
    let Some(stage) = stage("automatic", "when-not-fixed", "1s") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _verifying = daemon.until(&id, "verifying");
    let halt = daemon.halt(&json!({ "runbook": "drain-shop" }));
    let held = daemon.until(&id, "undoing");
    assert_eq!((undo(&held).0, paths(&stage).len()), ("undoing", 1), "{held:#}");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!((daemon.run(&id)["state"].as_str(), paths(&stage).len()), (Some("undoing"), 1));
    daemon.release(&halt);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(undo(&run), ("done", vec!["done"]));
    assert_eq!(paths(&stage).len(), 2);
}

#[test]
fn an_undo_that_fails_leaves_the_outcome_and_says_so() {
    let Some(stage) = stage("automatic", "when-not-fixed", "1s") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _verifying = daemon.until(&id, "verifying");
    stage.target.behave(Behaviour::Answer(500));
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(undo(&run).0, "failed", "{run:#}");
    let reason = &run["undo"]["reason"];
    assert!(reason["message"].as_str().unwrap().contains("the answer was 500"), "{reason:#}");
    let shown = succeeded(&stage.home.staunch(&["runs", "show", &id]));
    assert!(shown.contains("undo     failed: step 1 is not taken back"), "{shown}");
}

#[test]
fn steps_are_taken_back_in_reverse_when_one_fails_that_wants_it() {
    let Some(stage) = Stage::bare() else { return };
    stage.target.behave(Behaviour::Answer(200));
    let verify = stage.verify().replace("within: 20s", "within: 1s");
    let steps = [("one", ""), ("two", "    on_failure: undo\n"), ("three", "")];
    runbook(&stage, "approve", &steps, &verify);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(waiting["plan"]["undo"].as_array().map(Vec::len), Some(3), "{waiting:#}");
    let address = stage.target.address();
    // The second request fails, and what takes it back does not.
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    stage.target.answer_posts(move |seen| {
        let two = seen.path.starts_with("/two/on");
        let first = two && !failing.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first { 503 } else { 200 }
    });
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    let wanted = ["/one/on/shop-1", "/two/on/shop-1", "/two/off/shop-1", "/one/off/shop-1"];
    assert_eq!(paths(&stage), wanted, "{address}: {run:#}");
    assert_eq!(undo(&run), ("done", vec!["skipped", "done", "done"]), "{run:#}");
    let states: Vec<_> = run["steps"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect();
    assert_eq!(states, ["returned", "plugin-error", "pending"], "{run:#}");
}

/// A runbook whose undo names the lock that its request made; the answer has this body.
fn locking(stage: &Stage, body: &str) {
    stage.target.behave(Behaviour::Answer(200));
    stage.target.say(body);
    let (address, verify) = (stage.target.address(), stage.verify().replace("within: 20s", "within: 300ms"));
    let undo = format!("{{ method: POST, url: 'http://{address}/unlock/${{lock}}' }}");
    let input =
        format!("{{ method: POST, url: 'http://{address}/lock', keep: {{ lock: /id }}, undo: {undo} }}");
    stage.home.runbook(
        "lock-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
             steps: [{{ plugin: http-request, input: {input} }}]\nundo: when-not-fixed\n{verify}"
        ),
    );
}

#[test]
fn what_the_plan_assumed_is_filled_in_with_what_was_answered() {
    let Some(stage) = Stage::bare() else { return };
    locking(&stage, r#"{ "id": 7 }"#);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let waiting = daemon.until(&id, "waiting");
    let url = waiting["plan"]["undo"][0]["arguments"]["url"].as_str().unwrap();
    assert!(url.ends_with("/unlock/{{staunch:lock}}"), "{url}");
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(
        (undo(&run), paths(&stage)),
        (("done", vec!["done"]), vec!["/lock".to_owned(), "/unlock/7".to_owned()])
    );
}

#[test]
fn an_undo_that_differs_from_its_plan_parks_and_asks() {
    let Some(stage) = Stage::bare() else { return };
    locking(&stage, r#"{ "id": true }"#);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let parked = daemon.until(&id, "parked");
    assert_eq!(parked["reason"]["code"], "unplanned", "{parked:#}");
    let url = |run: &Value, at: &str| run.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert!(url(&parked, "/question/call/arguments/url").ends_with("/unlock/true"), "{parked:#}");
    assert_eq!(paths(&stage), ["/lock"], "what nobody approved was done");
    let parked = until("there is a new plan", SOON, || {
        let run = daemon.run(&id);
        (run["plan"]["digest"] != waiting["plan"]["digest"]).then_some(run)
    });
    assert!(url(&parked, "/plan/undo/0/arguments/url").ends_with("/unlock/true"), "{parked:#}");
    assert_eq!(daemon.approve(&stage.home.administrator, &waiting).status, 409);
    daemon.kill();
    let daemon = stage.home.serve();
    let _run = daemon.approve(&stage.home.administrator, &daemon.until(&id, "parked")).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!(undo(&run).0, "done", "{run:#}");
    assert_eq!(paths(&stage), ["/lock", "/unlock/true"]);
}

#[test]
fn a_person_may_say_no_to_an_undo_that_differs() {
    let Some(stage) = Stage::bare() else { return };
    locking(&stage, r#"{ "id": true }"#);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&firing());
    let _run = daemon.approve(&stage.home.administrator, &daemon.until(&id, "waiting")).expect(200);
    let _parked = daemon.until(&id, "parked");
    let _run = daemon.post(&format!("/v1/runs/{id}/reject"), &json!({ "comment": "leave it" })).expect(200);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!((undo(&run).0, paths(&stage)), ("skipped", vec!["/lock".to_owned()]));
    assert!(run["undo"]["reason"]["message"].as_str().unwrap().contains("leave it"), "{run:#}");
}

#[test]
fn a_runbook_that_wants_undo_needs_a_plugin_that_can() {
    let Some(stage) = stage("automatic", "when-not-fixed", "1s") else { return };
    stage.runbook("restart-shop", "Other", "automatic", "undo: when-not-fixed\n");
    let daemon = stage.home.serve();
    // The plugin can, and this input does not say how: the plan says so, and nothing is done.
    let run = daemon.outcome(&daemon.run_of(&Firing::new("Other", "shop-2")), "failed");
    let message = run["reason"]["message"].as_str().unwrap();
    assert!(
        message.contains("undo of step 1 cannot be planned") && message.contains("undo: nothing"),
        "{message}"
    );
    assert!(paths(&stage).is_empty());
}

#[test]
fn a_step_that_cannot_be_taken_back_stays_as_it_is_and_the_others_are_taken_back() {
    let Some(mut home) = sandbox_tests::installation::Installation::with(&["http-request", "run-command"])
    else {
        return;
    };
    let target = sandbox_tests::target::Target::broken();
    target.behave(Behaviour::Answer(200));
    let address = target.address();
    home.grants.push(format!("http-request: {{ http: {{ send: ['POST http://{address}/**'] }} }}"));
    home.grants.push("run-command: { process: { run: ['/bin/true'] } }".to_owned());
    home.probes = format!("http: {{ read: ['GET http://{address}/healthz'] }}");
    home.configure();
    let undo = format!("{{ method: POST, url: 'http://{address}/off' }}");
    home.runbook(
        "mixed",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: web-7\nautonomy: automatic\nundo: when-not-fixed\n\
             steps:\n  - {{ plugin: http-request, input: {{ method: POST, url: 'http://{address}/on', undo: {undo} }} }}\n  \
             - {{ plugin: run-command, effects: reversible, input: {{ program: /bin/true }} }}\n\
             verify: {{ within: 300ms, stable_for: 0s, interval: 100ms, probes: [{{ http: {{ url: 'http://{address}/healthz' }} }}] }}\n"
        ),
    );
    let checked = home.staunch(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains("this step stays as it is"), "{checked:?}");
    let daemon = home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "web-7"));
    let run = until("it is decided", SOON, || {
        let run = daemon.run(&id);
        (run["state"] == "waiting" || run["state"] == "ended").then_some(run)
    });
    if run["state"] == "waiting" {
        let _run = daemon.approve(&home.administrator, &run).expect(200);
    }
    let run = daemon.outcome(&id, "not-fixed");
    let paths: Vec<String> = target.posts().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        (paths, self::undo(&run)),
        (vec!["/on".to_owned(), "/off".to_owned()], ("done", vec!["done"]))
    );
    let message = run["undo"]["reason"]["message"].as_str().unwrap();
    assert!(message.contains("step 2 stays as it is"), "{message}");
}

#[test]
fn a_plugin_without_undo_is_refused_by_name() {
    let Some(home) = sandbox_tests::installation::Installation::with(&["run-command"]) else { return };
    let steps = "steps: [{ plugin: run-command, input: { program: /bin/true } }]\n";
    home.runbook(
        "never",
        &format!("match: ['alertname=\"{ALERT}\"']\nautonomy: automatic\nundo: when-not-fixed\n{steps}"),
    );
    let checked = home.staunch(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("run-command cannot take back what it does"), "{}", checked.stdout);
}
