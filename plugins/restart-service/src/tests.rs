use serde_json::{Value, json};
use staunch_plugin::Verdict;
use staunch_plugin::fake::{FakeHost, Recorded};

use crate::RestartService;

fn unit(active: &str, invocation: &str) -> Value {
    json!({ "load": "loaded", "active": active, "sub": "x", "invocation": invocation })
}

fn met(met: bool, last: &str) -> Value {
    json!({ "met": met, "assumed": false, "last": last, "polls": 1 })
}

fn calls(recorded: &[Recorded]) -> Vec<&str> {
    recorded.iter().map(|effect| effect.call.as_str()).collect()
}

#[test]
fn restarts_a_failed_unit() {
    let host = FakeHost::new()
        .answer("service.status", unit("failed", "a"))
        .answer("service.reset-failed", unit("inactive", "a"))
        .answer("service.restart", unit("active", "b"))
        .answer_when("service.await-active", json!({ "timeout_ms": 30_000 }), met(true, "active"));
    let outcome = host.remediate::<RestartService>(json!({ "unit": "web.service" })).unwrap();
    assert_eq!(outcome.summary(), "restarted web.service, which was failed (x)");
    let details: Value = serde_json::from_str(outcome.details().unwrap()).unwrap();
    assert_eq!(details["before"]["active"], "failed");
    assert_eq!(details["invocation"], "b");
    assert_eq!(calls(&host.effects()), ["service.reset-failed", "service.restart"]);
    assert_eq!(host.effects()[1].reason.as_deref(), Some("web.service is failed (x)"));
    host.assert_used_up();
}

#[test]
fn plans_what_it_does() {
    let host = FakeHost::new().planning().answer("service.status", unit("failed", "a"));
    assert!(host.remediate::<RestartService>(json!({ "unit": "web.service" })).unwrap().is_changed());
    assert_eq!(
        calls(&host.calls()),
        ["service.status", "service.reset-failed", "service.restart", "service.await-active"]
    );
}

#[test]
fn leaves_the_failed_state_when_told_to() {
    let host = FakeHost::new().planning().answer("service.status", unit("failed", "a"));
    host.remediate::<RestartService>(json!({ "unit": "web.service", "reset_failed": false })).unwrap();
    assert_eq!(calls(&host.effects()), ["service.restart"]);
}

#[test]
fn restarts_an_active_unit_unless_told_otherwise() {
    let plan = |input| {
        let host = FakeHost::new().planning().answer("service.status", unit("active", "a"));
        let outcome = host.remediate::<RestartService>(input).unwrap();
        (outcome.is_changed(), host.effects().len())
    };
    assert_eq!(plan(json!({ "unit": "web.service" })), (true, 1));
    assert_eq!(plan(json!({ "unit": "web.service", "only_if_not_active": true })), (false, 0));
}

#[test]
fn refuses_units_that_cannot_start() {
    for (load, code) in [("not-found", "unit-not-found"), ("masked", "unit-masked")] {
        let status = json!({ "load": load, "active": "inactive", "sub": "dead", "invocation": "" });
        let host = FakeHost::new().answer("service.status", status);
        let error = host.remediate::<RestartService>(json!({ "unit": "web.service" })).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(host.effects().is_empty());
    }
}

#[test]
fn says_when_the_unit_was_not_started_anew() {
    let host = FakeHost::new()
        .answer("service.status", unit("active", "a"))
        .answer("service.restart", unit("active", "a"));
    let error = host.remediate::<RestartService>(json!({ "unit": "web.service" })).unwrap_err();
    assert_eq!(error.code(), "not-restarted");
}

#[test]
fn says_when_the_unit_does_not_come_up() {
    let host = FakeHost::new()
        .answer("service.status", unit("inactive", ""))
        .answer("service.restart", unit("activating", "b"))
        .answer_when("service.await-active", json!({ "timeout_ms": 2_000 }), met(false, "activating"));
    let error = host.remediate::<RestartService>(json!({ "unit": "web.service", "wait": 2 })).unwrap_err();
    assert_eq!(error.to_string(), "not-active: web.service is activating 2 s after its restart");
}

#[test]
fn verifies_by_the_state_of_the_unit() {
    let cases = [
        ("active", Verdict::Passed),
        ("activating", Verdict::NoAnswer),
        ("failed", Verdict::Failed),
        ("inactive", Verdict::Failed),
    ];
    for (active, verdict) in cases {
        let host = FakeHost::new().answer("service.status", unit(active, "b"));
        assert_eq!(host.verify::<RestartService>(json!({ "unit": "web.service" })).unwrap(), verdict);
    }
}

#[test]
fn refuses_an_input_with_unknown_members() {
    let error = FakeHost::new().remediate::<RestartService>(json!({ "unit": "a", "units": [] })).unwrap_err();
    assert_eq!(error.code(), "invalid-input");
}
