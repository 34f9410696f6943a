//! An effect outside an approved plan is not done: people are asked again, and nothing is done twice.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::Installation;

/// A tree of logs, an installation that may clean it, and a runbook that deletes what is old and truncates.
fn stage() -> Option<(Installation, PathBuf)> {
    let mut home = Installation::with(&["disk-cleanup"])?;
    let logs = home.aside().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("app.log"), "x".repeat(64 * 1024)).unwrap();
    let shown = logs.display();
    home.grants.push(format!(
        "disk-cleanup: {{ file: {{ stat: ['{shown}/**'], list: ['{shown}'], space: ['{shown}'], \
         truncate: ['{shown}/*'], delete-older-than: ['{shown}/*'] }} }}"
    ));
    home.configure();
    home.runbook(
        "clean",
        &format!(
            "match: ['alertname=\"DiskFull\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
             steps:\n  - plugin: disk-cleanup\n    input:\n      path: {shown}\n      enough_free: 99%\n      actions:\n        \
             - truncate: {{ path: {shown}/app.log, size: 1024 }}\n        \
             - delete: {{ directory: {shown}, name: 'app.log.*', older_than: 1d }}\n"
        ),
    );
    Some((home, logs))
}

#[expect(clippy::disallowed_methods, reason = "a file is old by the machine's clock")]
fn old_file(path: &Path) {
    fs::write(path, "y".repeat(4096)).unwrap();
    let then = SystemTime::now() - Duration::from_secs(7 * 24 * 3600);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn an_effect_outside_the_approved_plan_is_asked_about_first() {
    let Some((home, logs)) = stage() else { return };
    let daemon = home.serve();
    let id = daemon.run_of(&Firing::new("DiskFull", "web-7"));
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(waiting["plan"]["effects"].as_array().map(Vec::len), Some(1), "{waiting:#}");
    let surprise = logs.join("app.log.1");
    old_file(&surprise);
    let _run = daemon.approve(&home.administrator, &waiting).expect(200);
    let parked = daemon.until(&id, "parked");
    assert_eq!(parked["reason"]["code"], "unplanned", "{parked:#}");
    assert_eq!(parked["question"]["call"]["function"], "delete-older-than", "{parked:#}");
    assert!(surprise.exists(), "what nobody approved was done");
    let size = || fs::metadata(logs.join("app.log")).unwrap().len();
    assert_eq!(size(), 1024, "what was approved is done");

    // What was written since then shows whether the truncation is done a second time.
    fs::write(logs.join("app.log"), "z".repeat(2048)).unwrap();
    let parked = sandbox_tests::poll::until("there is a new plan", sandbox_tests::poll::SOON, || {
        let run = daemon.run(&id);
        (run["plan"]["digest"] != waiting["plan"]["digest"]).then_some(run)
    });
    assert_eq!(parked["plan"]["effects"].as_array().map(Vec::len), Some(2), "{parked:#}");
    assert_eq!(
        daemon.approve(&home.administrator, &waiting).status,
        409,
        "the old plan is no longer the plan"
    );
    let _run = daemon.approve(&home.administrator, &parked).expect(200);
    let run = daemon.until(&id, "ended");
    let statuses: Vec<_> =
        run["effects"].as_array().unwrap().iter().map(|effect| effect["status"].clone()).collect();
    assert_eq!(statuses, ["done", "done"], "{run:#}");
    assert!(!surprise.exists());
    assert_eq!(size(), 2048, "an effect was done twice");
}

#[test]
fn a_parked_question_can_be_answered_with_no() {
    let Some((home, logs)) = stage() else { return };
    let daemon = home.serve();
    let id = daemon.run_of(&Firing::new("DiskFull", "web-7"));
    let waiting = daemon.until(&id, "waiting");
    let surprise = logs.join("app.log.1");
    old_file(&surprise);
    let _run = daemon.approve(&home.administrator, &waiting).expect(200);
    let _run = daemon.until(&id, "parked");
    let path = format!("/v1/runs/{id}/reject");
    let _run = daemon.post(&path, &serde_json::json!({ "comment": "leave it" })).expect(200);
    // The truncation was done, so nobody may say that nothing happened.
    let run = daemon.outcome(&id, "unknown");
    assert_eq!(run["reason"]["code"], "rejected", "{run:#}");
    assert!(surprise.exists());
}

#[test]
fn a_planned_effect_that_is_no_longer_needed_is_skipped() {
    let Some((home, logs)) = stage() else { return };
    let old = logs.join("app.log.1");
    old_file(&old);
    let daemon = home.serve();
    let id = daemon.run_of(&Firing::new("DiskFull", "web-7"));
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(waiting["plan"]["effects"].as_array().map(Vec::len), Some(2), "{waiting:#}");
    fs::remove_file(&old).unwrap();
    let _run = daemon.approve(&home.administrator, &waiting).expect(200);
    let run = daemon.until(&id, "ended");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(run["effects"][1]["status"], "skipped", "{run:#}");
}
