//! What is refused, with which status and at which place.

use super::{mapped, offline};
use crate::intake::IntakeError;

fn check(format: &str, body: impl AsRef<[u8]>, expected: &str) {
    let error = offline(format, &body).unwrap_err();
    let shown = format!("{} {error}", error.status().as_u16());
    let body = String::from_utf8_lossy(body.as_ref()).chars().take(200).collect::<String>();
    assert_eq!(shown, expected, "{format}: {body}");
}

#[test]
fn refuses_what_is_not_json() {
    let check = |body: &[u8], expected: &str| check("alertmanager", body, expected);
    check(b"", "400 not JSON: EOF while parsing a value (line 1, column 0)");
    check(b"{\"alerts\":", "400 not JSON: EOF while parsing a value (line 1, column 10)");
    check(b"{\n  x}", "400 not JSON: key must be a string (line 2, column 3)");
    check(b"{} {}", "400 not JSON: trailing characters (line 1, column 4)");
    check(b"{\"a\":1,}", "400 not JSON: trailing comma (line 1, column 8)");
    check(b"{\"a\":NaN}", "400 not JSON: expected value (line 1, column 6)");
    check(b"{\"a\":1e999}", "400 not JSON: number out of range (line 1, column 10)");
    check(b"{\"a\":\n \"\xff\"}", "400 not JSON: a byte that is not UTF-8 (line 2, column 3)");
    check(b"\xef\xbb\xbf{}", "400 not JSON: expected value (line 1, column 1)");
    check(br#"{"a":"\ud800"}"#, "400 not JSON: unexpected end of hex escape (line 1, column 13)");
    check(
        b"{\"a\":\"\x01\"}",
        "400 not JSON: control character (\\u0000-\\u001F) found while parsing a string (line 1, column 7)",
    );
}

#[test]
fn refuses_wrong_shapes_of_alertmanager() {
    let whole = |body: &str, expected: &str| check("alertmanager", body, &format!("422 {expected}"));
    whole("[]", "body: expected an object, found an array");
    whole("3", "body: expected an object, found a number");
    whole("{}", "alerts: is missing: expected an array of alerts");
    whole(r#"{"alerts":null}"#, "alerts: is missing: expected an array of alerts");
    whole(r#"{"alerts":{}}"#, "alerts: expected an array, found an object");
    whole(r#"{"alerts":[],"version":"5"}"#, r#"version: expected "4" (or "3"), found "5""#);
    whole(r#"{"alerts":[],"version":4}"#, "version: expected a string, found a number");
    whole(r#"{"alerts":[],"status":"x"}"#, r#"status: expected "firing" or "resolved", found "x""#);
    whole(
        r#"{"alerts":[],"truncatedAlerts":-1}"#,
        "truncatedAlerts: expected a whole number, found a number",
    );
    whole(r#"{"alerts":[],"alerts":[]}"#, "alerts: the name stands twice in one object");

    let good = r#"{"labels":{"a":"1"}}"#;
    let second = |alert: &str, expected: &str| {
        whole(&format!(r#"{{"alerts":[{good},{alert}]}}"#), &format!("alerts[1]{expected}"));
    };
    second("7", ": expected an object, found a number");
    second("{}", ".labels: is missing: expected an object of strings");
    second(r#"{"labels":{}}"#, ".labels: is empty: expected at least one label");
    second(r#"{"labels":[]}"#, ".labels: expected an object, found an array");
    second(r#"{"labels":{"x":3}}"#, ".labels.x: expected a string, found a number");
    second(r#"{"labels":{"x":null}}"#, ".labels.x: expected a string, found null");
    second(r#"{"labels":{"a b":true}}"#, r#".labels["a b"]: expected a string, found a boolean"#);
    second(r#"{"labels":{"":"x"}}"#, r#".labels[""]: the name is empty"#);
    second(r#"{"labels":{"x":"a\u0000b"}}"#, ".labels.x: holds a NUL character");
    second(r#"{"labels":{"x\u0000":"a"}}"#, r#".labels["x\0"]: the name holds a NUL character"#);
    second(r#"{"labels":{"x":"1","x":"2"}}"#, ".labels.x: the name stands twice in one object");
    second(r#"{"labels":{"x":"1"},"annotations":"a"}"#, ".annotations: expected an object, found a string");
    second(
        r#"{"labels":{"x":"1"},"annotations":{"s":[]}}"#,
        ".annotations.s: expected a string, found an array",
    );
    second(r#"{"labels":{"x":"1"},"status":true}"#, ".status: expected a string, found a boolean");
    second(
        r#"{"labels":{"x":"1"},"status":"up\u202e"}"#,
        r#".status: expected "firing" or "resolved", found "up\u{202e}""#,
    );
    second(
        r#"{"labels":{"x":"1"},"startsAt":"yesterday"}"#,
        r#".startsAt: expected a time such as 2026-01-31T09:30:00Z, found "yesterday""#,
    );
    second(r#"{"labels":{"x":"1"},"endsAt":1}"#, ".endsAt: expected a string, found a number");
    second(r#"{"labels":{"x":"1"},"fingerprint":{}}"#, ".fingerprint: expected a string, found an object");
    second(r#"{"labels":{"x":"1"},"generatorURL":1}"#, ".generatorURL: expected a string, found a number");
}

#[test]
fn refuses_wrong_shapes_of_prometheus_and_generic() {
    check("prometheus", "{}", "422 body: expected an array, found an object");
    check("prometheus", "[{}]", "422 body[0].labels: is missing: expected an object of strings");
    check(
        "prometheus",
        r#"[{"labels":{"a":""}}]"#,
        "422 body[0].labels: is empty: expected at least one label with a value",
    );
    check(
        "prometheus",
        r#"[{"labels":{"a":"1"},"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}]"#,
        "422 body[0].endsAt: lies before startsAt",
    );
    check("generic", "\"x\"", "422 body: expected an object, found a string");
    check(
        "generic",
        "{}",
        "422 body: needs a fingerprint, labels or a title, else it cannot be told from others",
    );
    check(
        "generic",
        r#"{"sevirity":"x"}"#,
        "422 sevirity: is no member of an alert; valid: title, status, severity, description, service, target, \
         labels, annotations, starts_at, ends_at, links, fingerprint",
    );
    check(
        "generic",
        r#"{"labels":{"a":{}}}"#,
        "422 labels.a: expected a string, a number or a boolean, found an object",
    );
    check(
        "generic",
        r#"{"fingerprint":123456789012345678901234567890}"#,
        "422 fingerprint: the number is too large to be held exactly: send it as a string",
    );
    check(
        "generic",
        r#"{"title":"x","links":"y"}"#,
        "422 links: expected an array of strings, found a string",
    );
    check(
        "generic",
        r#"{"title":"x","status":"ok"}"#,
        r#"422 status: expected "firing" or "resolved", found "ok""#,
    );
}

fn pairs(count: usize, value: &str) -> String {
    (0..count).map(|index| format!(r#""n{index:03}":"{value}""#)).collect::<Vec<_>>().join(",")
}

fn one(labels: &str, annotations: &str) -> String {
    format!(r#"{{"alerts":[{{"labels":{{{labels}}},"annotations":{{{annotations}}}}}]}}"#)
}

#[test]
fn refuses_what_is_over_a_bound_and_takes_what_is_at_it() {
    let accepts = |body: String| assert!(offline("alertmanager", &body).is_ok());
    let refuses = |body: String, expected: &str| check("alertmanager", body, expected);
    accepts(one(&pairs(64, "x"), &pairs(64, "x")));
    refuses(one(&pairs(65, "x"), ""), "422 alerts[0].labels: 65 labels; at most 64");
    refuses(one(&pairs(1, "x"), &pairs(65, "x")), "422 alerts[0].annotations: 65 annotations; at most 64");
    accepts(one(&pairs(1, &"x".repeat(4_096)), &pairs(1, &"x".repeat(16_384))));
    refuses(one(&pairs(1, &"x".repeat(4_097)), ""), "422 alerts[0].labels.n000: 4097 bytes; at most 4096");
    refuses(
        one(&pairs(1, "x"), &pairs(1, &"x".repeat(16_385))),
        "422 alerts[0].annotations.n000: 16385 bytes; at most 16384",
    );
    let name = |bytes: usize| format!(r#""{}":"x""#, "n".repeat(bytes));
    accepts(one(&name(256), ""));
    let error = offline("alertmanager", one(&name(257), "")).unwrap_err();
    assert!(error.to_string().ends_with("a name of 257 bytes; at most 256"), "{error}");
    assert!(error.to_string().len() < 200, "a message does not repeat a long name: {error}");

    let alerts =
        |count: usize| format!(r#"{{"alerts":[{}]}}"#, vec![r#"{"labels":{"a":"1"}}"#; count].join(","));
    accepts(alerts(1_000));
    refuses(alerts(1_001), "422 alerts: 1001 alerts in one message; at most 1000");
    assert_eq!(offline("alertmanager", alerts(1_001)).unwrap_err().code(), "over-limit");
}

#[test]
fn refuses_bodies_that_would_cost_too_much() {
    let nested = |depth: usize| format!(r#"{{"alerts":[],"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(offline("alertmanager", nested(31)).is_ok());
    let error = offline("alertmanager", nested(32)).unwrap_err();
    assert_eq!(error.location(), Some(format!("x{}", "[0]".repeat(31)).as_str()));
    assert!(error.to_string().ends_with("nested deeper than 32 levels"), "{error}");
    for bomb in ["[".repeat(4_000_000), "{\"a\":".repeat(800_000)] {
        assert_eq!(offline("alertmanager", bomb).unwrap_err().code(), "over-limit");
    }

    let many = format!("[{}0]", "0,".repeat(262_144));
    let error = offline("prometheus", many).unwrap_err();
    assert!(error.to_string().ends_with("the body holds more than 262144 values"), "{error}");

    let large = format!("[]{}", " ".repeat(4 * 1024 * 1024 - 1));
    check("generic", large, "413 the body has 4194305 bytes; at most 4194304 are taken");
    let small =
        mapped("{ format: generic, authenticate: none, max_body: 1KiB }", &" ".repeat(1_025)).unwrap_err();
    assert_eq!(small, IntakeError::TooLarge { size: 1_025, limit: 1_024 });
}
