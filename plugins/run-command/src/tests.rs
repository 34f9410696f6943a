use serde_json::{Value, json};
use staunch_plugin::Error;
use staunch_plugin::fake::FakeHost;

use crate::RunCommand;

fn exited(code: Option<i32>, stdout: &str, stderr: &str) -> FakeHost {
    let output = json!({ "code": code, "stdout": stdout, "stderr": stderr, "truncated": false });
    FakeHost::new().answer("process.run", output)
}

fn logrotate() -> Value {
    json!({ "program": "/usr/sbin/logrotate", "arguments": ["--force", "/etc/logrotate.d/app"], "timeout": 20 })
}

#[test]
fn runs_the_program() {
    let host = exited(Some(0), "rotated\n", "");
    let outcome = host.remediate::<RunCommand>(logrotate()).unwrap();
    assert!(outcome.is_changed());
    assert_eq!(outcome.summary(), "/usr/sbin/logrotate --force /etc/logrotate.d/app ended with 0");
    let details: Value = serde_json::from_str(outcome.details().unwrap()).unwrap();
    assert_eq!(details, json!({ "code": 0, "stdout": "rotated\n", "stderr": "", "truncated": false }));
    assert_eq!(
        host.effects()[0].arguments,
        json!({
            "program": "/usr/sbin/logrotate",
            "arguments": ["--force", "/etc/logrotate.d/app"],
            "timeout_ms": 20_000,
        })
    );
}

#[test]
fn judges_the_exit_code() {
    let run = |code, expect: Value| {
        let input = json!({ "program": "/bin/check", "expect_exit": expect });
        exited(code, "", "no such unit\n").remediate::<RunCommand>(input)
    };
    assert!(run(Some(3), json!([0, 3])).is_ok());
    let error = run(Some(4), json!([0, 3])).unwrap_err();
    assert_eq!(error.to_string(), "unexpected-exit: /bin/check ended with 4, not 0 or 3: no such unit");
    let error = run(None, json!([0])).unwrap_err();
    assert_eq!(error.to_string(), "ended-by-signal: /bin/check was ended by a signal: no such unit");
}

#[test]
fn a_plan_assumes_an_expected_exit() {
    let host = FakeHost::new().planning();
    host.remediate::<RunCommand>(json!({ "program": "/bin/check", "expect_exit": [3] })).unwrap();
    assert_eq!(host.effects()[0].assume.as_ref().unwrap()["code"], 3);
    assert_eq!(host.effects()[0].reason.as_deref(), Some("run /bin/check"));
}

#[test]
fn output_is_cut_in_messages() {
    let error = exited(Some(1), &"ü".repeat(900), " ").remediate::<RunCommand>(logrotate()).unwrap_err();
    assert!(error.message().ends_with(&format!("not 0: {}", "ü".repeat(200))));
}

#[test]
fn a_refusal_is_handed_on() {
    let denied = Error::new("access-denied", "process.run is not granted");
    let host = FakeHost::new().fail("process.run", denied.clone());
    assert_eq!(host.remediate::<RunCommand>(logrotate()).unwrap_err(), denied);
}

#[test]
fn refuses_what_is_no_command() {
    let cases = [
        json!({ "program": "logrotate" }),
        json!({ "program": "/bin/true", "expect_exit": [] }),
        json!({ "program": "/bin/true", "shell": true }),
        json!({ "arguments": [] }),
    ];
    for input in cases {
        let error = FakeHost::new().remediate::<RunCommand>(input.clone()).unwrap_err();
        assert_eq!(error.code(), "invalid-input", "{input}");
    }
}
