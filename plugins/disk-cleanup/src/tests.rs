use serde_json::{Value, json};
use staunch_plugin::fake::{FakeHost, Recorded};
use staunch_plugin::{Error, Verdict};

use crate::DiskCleanup;

const MIB: u64 = 1 << 20;
/// The fake's 2026-01-01T00:00:00Z, in seconds.
const BEGAN: u64 = 1_767_225_600;
const DAY: u64 = 86_400;

fn space(available_mib: u64) -> Value {
    json!({ "total": 1000 * MIB, "available": available_mib * MIB })
}

fn file(path: &str, mib: u64, age_days: u64) -> Value {
    let modified = BEGAN - age_days * DAY;
    json!({ "path": path, "kind": "file", "size": mib * MIB, "modified": modified, "allocated": mib * MIB })
}

fn freed(files: u32, mib: u64) -> Value {
    json!({ "files": files, "bytes": mib * MIB })
}

fn logs() -> Value {
    json!([
        file("/var/log/app/app.log", 300, 0),
        file("/var/log/app/app.log.1", 90, 1),
        file("/var/log/app/app.log.2", 80, 8),
        file("/var/log/app/app.log.3", 70, 15),
        { "path": "/var/log/app/old.log.d", "kind": "directory", "size": 0, "modified": 0, "allocated": 0 },
    ])
}

fn delete(keep: u32) -> Value {
    json!({ "delete": { "directory": "/var/log/app", "name": "*.log.*", "older_than": "7d", "keep": keep } })
}

fn truncate() -> Value {
    json!({ "truncate": { "path": "/var/log/app/app.log", "size": "100MiB" } })
}

fn input(actions: &Value) -> Value {
    json!({ "path": "/var/log", "enough_free": "20%", "actions": actions })
}

fn calls(recorded: &[Recorded]) -> Vec<&str> {
    recorded.iter().map(|effect| effect.call.as_str()).collect()
}

#[test]
fn does_nothing_when_enough_is_free() {
    let host = FakeHost::new().answer_when("file.space", json!({ "path": "/var/log" }), space(200));
    let outcome = host.remediate::<DiskCleanup>(input(&json!([delete(0)]))).unwrap();
    assert!(!outcome.is_changed());
    assert_eq!(outcome.summary(), "200.0 MiB are free on /var/log, enough");
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn stops_when_enough_is_free() {
    let host = FakeHost::new()
        .answer("file.space", space(130))
        .answer("file.list", logs())
        .answer("file.delete-older-than", freed(1, 70))
        .answer("file.space", space(200));
    let outcome = host.remediate::<DiskCleanup>(input(&json!([delete(0), truncate()]))).unwrap();
    assert_eq!(
        outcome.summary(),
        "freed 70.0 MiB in 1 of 2 actions; 200.0 MiB free on /var/log, wanted 20 %"
    );
    assert_eq!(calls(&host.effects()), ["file.delete-older-than"]);
    let details: Value = serde_json::from_str(outcome.details().unwrap()).unwrap();
    assert_eq!(details["available_after"], 200 * MIB);
    assert_eq!(details["steps"][0]["freed"], freed(1, 70));
    host.assert_used_up();
}

#[test]
fn goes_on_in_the_given_order_while_space_is_missing() {
    let host = FakeHost::new()
        .answer("file.space", space(20))
        .answer("file.list", logs())
        .answer("file.delete-older-than", freed(2, 150))
        // A process still holds the deleted files open: what counts is the space itself.
        .answer("file.space", space(20))
        .answer("file.stat", file("/var/log/app/app.log", 300, 0))
        .answer("file.truncate", freed(1, 200))
        .answer("file.space", space(220));
    host.remediate::<DiskCleanup>(input(&json!([delete(0), truncate()]))).unwrap();
    assert_eq!(calls(&host.effects()), ["file.delete-older-than", "file.truncate"]);
    host.assert_used_up();
}

#[test]
fn a_plan_holds_every_action_that_may_be_needed() {
    let host = FakeHost::new()
        .planning()
        .answer_always("file.space", space(130))
        .answer("file.list", logs())
        .answer("file.stat", file("/var/log/app/app.log", 300, 0));
    host.remediate::<DiskCleanup>(input(&json!([delete(0), truncate()]))).unwrap();
    let reasons: Vec<_> = host.effects().into_iter().filter_map(|effect| effect.reason).collect();
    assert_eq!(
        reasons,
        [
            "delete /var/log/app/*.log.* older than 7d (keep 0): frees about 150.0 MiB; \
             70.0 MiB are missing on /var/log",
            "truncate /var/log/app/app.log to 100.0 MiB: frees about 200.0 MiB, \
             only if it is still needed then; 70.0 MiB are missing on /var/log",
        ]
    );
}

#[test]
fn arguments_do_not_follow_small_changes_of_the_free_space() {
    let planned = |available| {
        let host = FakeHost::new()
            .planning()
            .answer_always("file.space", space(available))
            .answer("file.list", logs());
        host.remediate::<DiskCleanup>(input(&json!([delete(1)]))).unwrap();
        host.effects()[0].arguments.clone()
    };
    let expected = json!({
        "directory": "/var/log/app",
        "name": "*.log.*",
        "before": BEGAN - 7 * DAY,
        "keep": 1,
        "stop_at": 75 * MIB,
    });
    assert_eq!(planned(130), expected);
    assert_eq!(planned(126), expected);
    assert_eq!(planned(0)["stop_at"], 200 * MIB);
}

#[test]
fn keeps_the_newest() {
    let host = FakeHost::new().planning().answer_always("file.space", space(0)).answer("file.list", logs());
    host.remediate::<DiskCleanup>(input(&json!([delete(2)]))).unwrap();
    assert_eq!(host.effects()[0].assume, Some(freed(1, 70)));

    let host = FakeHost::new().planning().answer_always("file.space", space(0)).answer("file.list", logs());
    let error = host.remediate::<DiskCleanup>(input(&json!([delete(3)]))).unwrap_err();
    assert_eq!(error.code(), "nothing-to-free");
}

#[test]
fn a_rotation_frees_the_oldest_file() {
    let rotate = json!({ "rotate": { "path": "/var/log/app/app.log", "keep": 3 } });
    let host = FakeHost::new()
        .planning()
        .answer_always("file.space", space(0))
        .answer_when(
            "file.stat",
            json!({ "path": "/var/log/app/app.log" }),
            file("/var/log/app/app.log", 300, 0),
        )
        .answer_when(
            "file.stat",
            json!({ "path": "/var/log/app/app.log.3" }),
            file("/var/log/app/app.log.3", 70, 15),
        );
    host.remediate::<DiskCleanup>(input(&json!([rotate]))).unwrap();
    assert_eq!(host.effects()[0].arguments, json!({ "path": "/var/log/app/app.log", "keep": 3 }));
    assert_eq!(host.effects()[0].assume, Some(freed(1, 70)));
}

#[test]
fn a_deletion_after_a_rotation_is_planned_though_nothing_is_there_yet() {
    let rotate = json!({ "rotate": { "path": "/var/log/app/app.log", "keep": 3 } });
    let host = FakeHost::new()
        .planning()
        .answer_always("file.space", space(0))
        .answer("file.stat", file("/var/log/app/app.log", 300, 0))
        .fail("file.stat", Error::new("not-found", "no app.log.3"))
        .answer("file.list", json!([]));
    host.remediate::<DiskCleanup>(input(&json!([rotate, delete(0)]))).unwrap();
    assert_eq!(calls(&host.effects()), ["file.rotate", "file.delete-older-than"]);
}

#[test]
fn passes_over_what_is_not_there() {
    let host = FakeHost::new()
        .answer("file.space", space(0))
        .fail("file.stat", Error::new("not-found", "no app.log"))
        .answer("file.list", logs())
        .answer("file.delete-older-than", freed(2, 150))
        .answer("file.space", space(150));
    let outcome = host.remediate::<DiskCleanup>(input(&json!([truncate(), delete(0)]))).unwrap();
    assert!(outcome.summary().contains("still 150.0 MiB free"), "{}", outcome.summary());
    assert_eq!(host.logged().len(), 1);
}

#[test]
fn says_when_nothing_can_be_freed() {
    let host = FakeHost::new().answer("file.space", space(100)).answer("file.list", json!([]));
    let error = host.remediate::<DiskCleanup>(input(&json!([delete(0)]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing-to-free: 100.0 MiB are missing on /var/log, and no action has anything to free"
    );
}

#[test]
fn a_refusal_ends_it() {
    let denied = Error::new("access-denied", "file.list is not granted");
    let host = FakeHost::new().answer("file.space", space(100)).fail("file.list", denied.clone());
    assert_eq!(host.remediate::<DiskCleanup>(input(&json!([delete(0)]))).unwrap_err(), denied);
}

#[test]
fn verifies_by_the_free_space() {
    for (available, verdict) in [(200, Verdict::Passed), (199, Verdict::Failed)] {
        let host = FakeHost::new().answer("file.space", space(available));
        assert_eq!(host.verify::<DiskCleanup>(input(&json!([delete(0)]))).unwrap(), verdict);
    }
}

#[test]
fn refuses_what_is_no_cleanup() {
    let cases = [
        json!({ "path": "var", "enough_free": "20%", "actions": [] }),
        json!({ "path": "/var", "enough_free": "a lot", "actions": [] }),
        json!({ "path": "/var", "enough_free": 20, "actions": [] }),
        input(&json!([{ "burn": {} }])),
        input(&json!([{ "rotate": { "path": "/a", "keep": 0 } }])),
        input(&json!([{ "truncate": { "path": "a" } }])),
        input(&json!([{ "truncate": { "path": "/a", "size": "1.5MiB" } }])),
        input(&json!([{ "delete": { "directory": "/a", "name": "../*", "older_than": "1d" } }])),
        input(&json!([{ "delete": { "directory": "/a", "name": "[ab]*", "older_than": "1d" } }])),
        input(&json!([{ "delete": { "directory": "/a", "name": "*", "older_than": "one day" } }])),
        input(&json!([{ "delete": { "directory": "/a", "name": "*", "older_than": "1d", "all": true } }])),
    ];
    for input in cases {
        let error = FakeHost::new().remediate::<DiskCleanup>(input.clone()).unwrap_err();
        assert_eq!(error.code(), "invalid-input", "{input}");
    }
}
