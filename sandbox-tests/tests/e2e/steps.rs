//! Steps in sequence: left out by their conditions, tried again, and what a failure means for the rest.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A runbook of one POST a step, to `/1`, `/2` and so on, with further members of each step.
fn stage(autonomy: &str, steps: &[&str]) -> Option<Stage> {
    let stage = Stage::bare()?;
    stage.target.behave(Behaviour::Answer(200));
    let address = stage.target.address();
    let step = |(index, more): (usize, &&str)| {
        let url = format!("http://{address}/{}", index + 1);
        format!("  - plugin: http-request\n    input: {{ method: POST, url: '{url}' }}\n{more}")
    };
    let steps: String = steps.iter().enumerate().map(step).collect();
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.home.runbook(
        "mend-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: {autonomy}\n\
             steps:\n{steps}{verify}"
        ),
    );
    Some(stage)
}

/// Lets the first so many requests to a path fail.
fn fail(stage: &Stage, path: &'static str, times: usize) {
    let failed = AtomicUsize::new(0);
    stage.target.answer_posts(move |seen| {
        let fails = seen.path == path && failed.fetch_add(1, Ordering::SeqCst) < times;
        if fails { 503 } else { 200 }
    });
}

fn run_of(daemon: &Daemon) -> String {
    daemon.run_of(&Firing::new(ALERT, "shop-1"))
}

fn paths(stage: &Stage) -> Vec<String> {
    stage.target.posts().into_iter().map(|seen| seen.path).collect()
}

fn states(run: &Value) -> Vec<&str> {
    run["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect()
}

fn keys(stage: &Stage) -> Vec<String> {
    let posts = stage.target.posts();
    posts.iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect()
}

#[test]
fn a_step_is_done_only_where_its_condition_holds_and_one_approval_covers_it_either_way() {
    let fallback = "    when: \"steps[0].status == 'failed'\"\n";
    for (failures, posted, ended, why) in [
        (0, &["/1"][..], ["returned", "skipped"], "step 2 is left out"),
        (1, &["/1", "/2"][..], ["plugin-error", "returned"], "not-fixed"),
    ] {
        let Some(stage) = stage("approve", &["    on_failure: continue\n", fallback]) else { return };
        let daemon = stage.home.serve();
        let id = run_of(&daemon);
        let waiting = daemon.until(&id, "waiting");
        assert_eq!(waiting["plan"]["effects"].as_array().map(Vec::len), Some(2), "{waiting:#}");
        fail(&stage, "/1", failures);
        let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
        let run = daemon.outcome(&id, "not-fixed");
        assert_eq!(paths(&stage), posted);
        assert_eq!(states(&run), ended, "{run:#}");
        let said = daemon.get(&format!("/v1/runs/{id}/why")).expect(200).to_string() + &run.to_string();
        assert!(said.contains(why), "{said}");
        let second = &run["effects"][1]["status"];
        assert_eq!(second, if failures == 0 { "skipped" } else { "done" }, "{run:#}");
    }
}

#[test]
fn a_condition_that_the_alert_decides_leaves_the_step_out_of_the_plan() {
    let Some(stage) = stage("automatic", &["", "    when: labels.severity == 'warning'\n"]) else { return };
    let daemon = stage.home.serve();
    let run = daemon.outcome(&run_of(&daemon), "not-fixed");
    assert_eq!((states(&run), paths(&stage)), (vec!["returned", "skipped"], vec!["/1".to_owned()]));
    assert_eq!(run["plan"]["effects"].as_array().map(Vec::len), Some(1), "{run:#}");
}

#[test]
fn a_condition_that_cannot_be_told_is_never_a_yes() {
    let Some(stage) = stage("automatic", &["    when: labels.nobody == 'x'\n"]) else { return };
    let daemon = stage.home.serve();
    let run = daemon.outcome(&run_of(&daemon), "refused");
    assert_eq!(run["reason"]["code"], "template", "{run:#}");
    let Some(stage) = self::stage("automatic", &["", "    when: steps[0].result.details.nothing == 1\n"])
    else {
        return;
    };
    let daemon = stage.home.serve();
    let run = daemon.outcome(&run_of(&daemon), "not-fixed");
    assert_eq!((states(&run), paths(&stage)), (vec!["returned", "template"], vec!["/1".to_owned()]));
}

#[test]
fn a_failed_step_stops_the_rest_and_the_probes_have_the_word() {
    let Some(stage) = stage("automatic", &["", ""]) else { return };
    fail(&stage, "/1", 1);
    let daemon = stage.home.serve();
    let run = daemon.outcome(&run_of(&daemon), "not-fixed");
    assert_eq!((states(&run), paths(&stage)), (vec!["plugin-error", "pending"], vec!["/1".to_owned()]));
    assert_eq!(run["effects"][1]["status"], "skipped", "{run:#}");
}

#[test]
fn a_step_is_tried_again_with_its_key_as_often_as_the_runbook_says() {
    let retry = "    retry: { times: 2, backoff: 10ms, longest: 1s }\n";
    for (failures, posts, ended) in [(1, 3, ["returned", "returned"]), (9, 4, ["returned", "plugin-error"])] {
        let Some(stage) = stage("approve", &["", retry]) else { return };
        fail(&stage, "/2", failures);
        let daemon = stage.home.serve();
        let id = run_of(&daemon);
        let _run = daemon.approve(&stage.home.administrator, &daemon.until(&id, "waiting")).expect(200);
        let run = daemon.outcome(&id, "not-fixed");
        assert_eq!((states(&run), paths(&stage).len()), (ended.to_vec(), posts), "{run:#}");
        assert_eq!(run["steps"][1]["retries"], posts - 2, "{run:#}");
        let keys = keys(&stage);
        assert!(keys[1] != keys[0] && keys[1..].iter().all(|key| *key == keys[1]), "{keys:?}");
        let kinds: Vec<Value> =
            daemon.journal(&id).iter().map(|entry| entry["leaf"]["kind"].clone()).collect();
        let retried = kinds.iter().filter(|kind| **kind == "step-retried").count();
        assert_eq!(retried, posts - 2, "{kinds:?}");
        let why = daemon.get(&format!("/v1/runs/{id}/why")).expect(200).to_string();
        assert!(why.contains("step 2 is tried again (retry 1)") && why.contains("503"), "{why}");
    }
}

#[test]
fn what_the_plugin_does_not_call_retryable_is_not_tried_again() {
    let Some(stage) = stage("automatic", &["    retry: { times: 5, backoff: 10ms, longest: 1s }\n"]) else {
        return;
    };
    stage.target.behave(Behaviour::Answer(404));
    let daemon = stage.home.serve();
    let run = daemon.outcome(&run_of(&daemon), "not-fixed");
    assert_eq!((states(&run), paths(&stage).len()), (vec!["plugin-error"], 1), "{run:#}");
}

/// A run that waits to try its first step again, for two seconds.
fn backing_off(stage: &Stage) -> (Daemon, String) {
    fail(stage, "/1", 1);
    let daemon = stage.home.serve();
    let id = run_of(&daemon);
    until("the step waits to be tried again", SOON, || {
        (daemon.run(&id)["steps"][0]["retries"] == 1).then_some(())
    });
    (daemon, id)
}

const SLOWLY: &str = "    retry: { times: 3, backoff: 2s, longest: 2s }\n";

#[test]
fn a_retry_comes_once_and_in_time_after_a_power_cut() {
    let Some(stage) = stage("automatic", &[SLOWLY]) else { return };
    let (daemon, id) = backing_off(&stage);
    daemon.kill();
    let daemon = stage.home.serve();
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!((states(&run), paths(&stage).len()), (vec!["returned"], 2), "{run:#}");
    let (posts, keys) = (stage.target.posts(), keys(&stage));
    assert_eq!(keys[0], keys[1]);
    let waited = posts[1].at.duration_since(posts[0].at).unwrap();
    assert!(waited.as_millis() >= 1900, "{waited:?}");
}

#[test]
fn a_halted_or_cancelled_run_is_not_tried_again() {
    for halted in [true, false] {
        let Some(stage) = stage("automatic", &[SLOWLY, ""]) else { return };
        let (daemon, id) = backing_off(&stage);
        if halted {
            let _halt = daemon.halt(&json!("all"));
        } else {
            let _cancelled = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({})).expect(200);
        }
        let run = daemon.outcome(&id, "not-fixed");
        assert_eq!(paths(&stage), ["/1"], "{run:#}");
    }
}

#[test]
fn a_run_whose_alert_is_over_is_not_tried_again() {
    let Some(stage) = stage("automatic", &[SLOWLY]) else { return };
    let (daemon, id) = backing_off(&stage);
    let _over = daemon.alerts(&[Firing::new(ALERT, "shop-1").resolved("2026-05-04T09:05:00Z")]);
    let run = daemon.outcome(&id, "not-fixed");
    assert_eq!((states(&run), paths(&stage).len()), (vec!["no-longer-needed"], 1), "{run:#}");
}
