//! The fake's own laws: plugin authors rely on them.

use std::time::Duration;

use serde_json::json;

use super::FakeHost;
use crate::Error;
use crate::file::Deletion;
use crate::service::UnitStatus;

fn unit(active: &str) -> serde_json::Value {
    json!({ "load": "loaded", "active": active, "sub": "x", "invocation": "i" })
}

#[test]
fn answers_the_same_call_in_order() {
    let host =
        FakeHost::new().answer("service.status", unit("failed")).answer("service.status", unit("active"));
    let seen = [(); 2].map(|()| host.service().status("a").unwrap().active);
    assert_eq!(seen, ["failed", "active"]);
    host.assert_used_up();
}

#[test]
fn an_entry_with_arguments_answers_only_its_own_call() {
    let host = FakeHost::new()
        .answer_when("service.status", json!({ "unit": "b" }), unit("active"))
        .fail_when("service.status", json!({ "unit": "a" }), Error::new("gone", "gone"));
    assert_eq!(host.service().status("a").unwrap_err().code(), "gone");
    assert_eq!(host.service().status("b").unwrap().active, "active");
}

#[test]
fn a_call_outside_the_script_panics_with_what_is_left() {
    let host = FakeHost::new().answer_when("service.status", json!({ "unit": "b" }), unit("active"));
    let call = std::panic::AssertUnwindSafe(|| host.service().status("a"));
    let panic = std::panic::catch_unwind(call).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("no answer for service.status {\"unit\":\"a\"}"), "{text}");
    assert!(text.contains("still holds: service.status {\"unit\":\"b\"}"), "{text}");
}

#[test]
fn a_plan_answers_effects_with_what_they_assume() {
    let host = FakeHost::new().planning();
    let service = host.service();
    let assumed = UnitStatus::loaded("active", "running", "{{staunch:invocation}}");
    assert_eq!(service.restart("a").assume(&assumed).perform().unwrap(), assumed);
    assert_eq!(service.start("a").perform().unwrap().active, "active");
    assert_eq!(service.stop("a").perform().unwrap().active, "inactive");
    assert!(service.await_active("a", Duration::from_secs(5)).unwrap().assumed);
    assert_eq!(host.process().run("/bin/true", &[], None).perform().unwrap().code, Some(0));
    host.file().write("/a", b"x").perform().unwrap();
    assert_eq!(host.file().rotate("/a", 3).perform().unwrap().bytes, 0);
    assert_eq!(host.http().post("http://a/").send().unwrap().status, 200);
}

#[test]
fn before_any_effect_a_plan_waits_for_real() {
    let awaited = json!({ "met": false, "assumed": false, "last": "failed", "polls": 3 });
    let host = FakeHost::new().planning().answer("service.await-active", awaited);
    assert!(!host.service().await_active("a", Duration::from_secs(1)).unwrap().met);
}

#[test]
fn arguments_have_the_form_of_the_record() {
    let host = FakeHost::new().planning();
    let deletion = Deletion {
        directory: "/l",
        name: "*.gz",
        before: Duration::from_millis(9_999),
        keep: 2,
        stop_at: None,
    };
    host.file().delete_older_than(deletion).perform().unwrap();
    host.file().write("/l/a", &[0xff, 0xfe]).perform().unwrap();
    let arguments: Vec<_> = host.effects().into_iter().map(|effect| effect.arguments).collect();
    assert_eq!(
        arguments,
        [
            json!({ "directory": "/l", "name": "*.gz", "before": 9, "keep": 2, "stop_at": null }),
            json!({ "path": "/l/a", "content": { "base64": "//4=" } }),
        ]
    );
}

#[test]
fn time_stands_still_and_randomness_is_seeded() {
    let draw = |seed| FakeHost::new().seed(seed).random().bytes(9);
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert_eq!(draw(7).len(), 9);

    let host = FakeHost::new();
    let began = host.clock().now();
    host.clock().sleep(Duration::from_secs(3));
    assert_eq!(host.clock().now(), began);
    assert_eq!(host.clock().wall(), began + Duration::from_secs(3));
    assert_eq!(host.slept(), Duration::from_secs(3));
}
