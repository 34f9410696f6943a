//! Runbooks that follow each other: until one fixed it, each through every gate of its own.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// Runbooks `one`, `two` and `three`, of which the first answers the alert; the shop gets well by the request of `two`.
fn stage(autonomy_of_two: &str) -> Option<Stage> {
    let stage = Stage::bare()?;
    rung(&stage, "one", "automatic", &format!("match: ['alertname=\"{ALERT}\"']\nnext: two\n"));
    rung(&stage, "two", autonomy_of_two, "match: []\nnext: three\n");
    rung(&stage, "three", "automatic", "match: []\n");
    Some(stage)
}

fn rung(stage: &Stage, name: &str, autonomy: &str, more: &str) {
    let verify = stage.verify().replace("within: 20s", "within: 1s");
    let url = format!("http://{}/{name}/{{{{ labels.instance }}}}", stage.target.address());
    stage.home.runbook(
        name,
        &format!(
            "target: '{{{{ labels.instance }}}}'\nautonomy: {autonomy}\n\
             steps: [{{ plugin: http-request, input: {{ method: POST, url: '{url}' }} }}]\n{more}{verify}"
        ),
    );
}

fn firing() -> Firing {
    Firing::new(ALERT, "shop-1")
}

/// The runs of the alert, once there are so many.
fn runs(daemon: &Daemon, entry: &Value, count: usize) -> Vec<String> {
    let path = format!("/v1/alerts/{}", entry["id"].as_str().unwrap());
    let runs = until(&format!("there are {count} runs"), SOON, || {
        let runs = daemon.get(&path).expect(200)["runs"].clone();
        (runs.as_array().map(Vec::len) == Some(count)).then_some(runs)
    });
    runs.as_array().unwrap().iter().map(|run| run.as_str().unwrap().to_owned()).collect()
}

fn paths(stage: &Stage) -> Vec<String> {
    stage.target.posts().into_iter().map(|seen| seen.path).collect()
}

/// Lets the shop get well by a request to this path only.
fn cure(stage: &Stage, path: &'static str) {
    stage.target.cure(path);
}

#[test]
fn the_ladder_goes_on_until_one_fixed_it() {
    let Some(stage) = stage("automatic") else { return };
    cure(&stage, "/two/shop-1");
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[firing()]).remove(0);
    let ids = runs(&daemon, &entry, 2);
    let first = daemon.outcome(&ids[0], "not-fixed");
    let second = daemon.outcome(&ids[1], "fixed");
    assert_eq!((&first["runbook"], &second["runbook"]), (&json!("one"), &json!("two")));
    assert_eq!(second["alert"], entry["id"]);
    let why = daemon.get(&format!("/v1/runs/{}/why", ids[0])).expect(200).to_string();
    assert!(why.contains("it ended not-fixed: two is next"), "{why}");
    let why = daemon.why(&entry);
    assert!(why.contains(&format!("run {} of one ended not-fixed, and two is next", ids[0])), "{why}");
    // A repeat starts nothing, and neither does a restart: it was fixed.
    let again = daemon.alerts(&[firing()]).remove(0);
    assert_eq!(again["runs"].as_array().map(Vec::len), Some(2));
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(runs(&daemon, &entry, 2), ids);
    assert_eq!(paths(&stage), ["/one/shop-1", "/two/shop-1"]);
}

#[test]
fn every_rung_passes_its_own_gate_and_a_person_who_says_no_ends_the_ladder() {
    let Some(stage) = stage("approve") else { return };
    cure(&stage, "/never");
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[firing()]).remove(0);
    let ids = runs(&daemon, &entry, 2);
    let _waiting = daemon.until(&ids[1], "waiting");
    assert_eq!(paths(&stage), ["/one/shop-1"]);
    let _run = daemon.post(&format!("/v1/runs/{}/reject", ids[1]), &json!({ "comment": "no" })).expect(200);
    let _run = daemon.outcome(&ids[1], "rejected");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(runs(&daemon, &entry, 2), ids, "nothing follows what a person ended");
    assert_eq!(paths(&stage), ["/one/shop-1"]);
}

#[test]
fn all_rungs_are_tried_and_each_once() {
    let Some(stage) = stage("automatic") else { return };
    cure(&stage, "/never");
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[firing()]).remove(0);
    let ids = runs(&daemon, &entry, 3);
    let _run = daemon.outcome(&ids[2], "not-fixed");
    let _again = daemon.alerts(&[firing()]);
    assert_eq!(runs(&daemon, &entry, 3), ids);
    assert_eq!(paths(&stage), ["/one/shop-1", "/two/shop-1", "/three/shop-1"]);
}

#[test]
fn a_rung_that_was_held_is_tried_when_it_may_be_also_after_a_power_cut() {
    let Some(stage) = stage("automatic") else { return };
    cure(&stage, "/two/shop-1");
    let daemon = stage.home.serve();
    let halt = daemon.halt(&json!({ "runbook": "two" }));
    let entry = daemon.alerts(&[firing()]).remove(0);
    let _run = daemon.outcome(&runs(&daemon, &entry, 1)[0], "not-fixed");
    until("the next rung is refused", SOON, || daemon.why(&entry).contains("and two is next").then_some(()));
    assert_eq!(daemon.decision(&entry, "halt")["subject"], "two");
    daemon.release(&halt);
    daemon.kill();
    let daemon = stage.home.serve();
    let _run = daemon.outcome(&runs(&daemon, &entry, 2)[1], "fixed");
    assert_eq!(paths(&stage), ["/one/shop-1", "/two/shop-1"]);
}

#[test]
fn an_alert_that_is_over_climbs_no_further() {
    let Some(stage) = stage("automatic") else { return };
    cure(&stage, "/never");
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[firing()]).remove(0);
    let id = runs(&daemon, &entry, 1).remove(0);
    let _run = daemon.until(&id, "verifying");
    let _over = daemon.alerts(&[firing().resolved("2026-05-04T09:05:00Z")]);
    let _run = daemon.outcome(&id, "not-fixed");
    daemon.kill();
    let daemon = stage.home.serve();
    assert_eq!(runs(&daemon, &entry, 1), [id]);
}

#[test]
fn ladders_without_end_or_rung_are_refused_by_name() {
    let Some(stage) = stage("automatic") else { return };
    for (next, message) in [
        ("one", "next leads back to where it began: one -> two -> three -> one"),
        ("four", "next names the runbook \"four\", which is not there"),
    ] {
        rung(&stage, "three", "automatic", &format!("match: []\nnext: {next}\n"));
        let checked = stage.home.staunch(&["check"]);
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.stdout.contains(message), "{}", checked.stdout);
    }
}
