use serde_json::{Value, json};
use staunch_plugin::fake::FakeHost;
use staunch_plugin::{Error, Outcome};

use crate::HttpRequest;

const URL: &str = "http://web-7:9000/restart/web";

fn answering(status: u16, body: &str) -> FakeHost {
    let answer = json!({ "status": status, "headers": [], "body": body });
    FakeHost::new().answer_always("http.send", answer.clone()).answer_always("http.read", answer)
}

fn run(host: &FakeHost, input: &Value) -> Result<Outcome, Error> {
    // By way of text, as in the component: the body is raw JSON, which a parsed value cannot give.
    let input = serde_json::from_str(&input.to_string()).map_err(|e| Error::invalid_input(e.to_string()))?;
    <HttpRequest as staunch_plugin::Remediation>::remediate(input, host)
}

#[test]
fn a_post_is_an_effect_with_its_reason() {
    let host = answering(202, "");
    let input = json!({ "method": "post", "url": URL, "reason": "the unit is down", "timeout": 5 });
    let outcome = run(&host, &input).unwrap();
    assert!(outcome.is_changed());
    assert_eq!(outcome.summary(), format!("POST {URL}: 202"));
    assert_eq!(outcome.details(), Some("{\"status\":202}"));
    let effects = host.effects();
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].call, "http.send");
    assert_eq!(effects[0].reason.as_deref(), Some("the unit is down"));
    let arguments = json!({ "method": "POST", "url": URL, "headers": [], "body": null, "timeout_ms": 5000 });
    assert_eq!(effects[0].arguments, arguments);
}

#[test]
fn without_a_reason_it_is_the_request_itself() {
    let host = answering(200, "");
    run(&host, &json!({ "method": "DELETE", "url": URL })).unwrap();
    assert_eq!(host.effects()[0].reason.as_deref(), Some(format!("DELETE {URL}").as_str()));
}

#[test]
fn get_and_head_are_readings() {
    for method in ["GET", "head"] {
        let host = answering(200, "fine");
        let outcome = run(&host, &json!({ "method": method, "url": URL })).unwrap();
        assert!(!outcome.is_changed());
        assert_eq!(host.calls()[0].call, "http.read");
        assert!(host.effects().is_empty());
    }
}

#[test]
fn bodies_go_out_as_they_came() {
    let content_type = json!([["content-type", "application/json"]]);
    let cases = [
        (json!("plain \"text\""), "plain \"text\"", json!([])),
        (json!({ "b": [1, 2.50], "a": null }), "{\"a\":null,\"b\":[1,2.5]}", content_type.clone()),
        (json!([]), "[]", content_type.clone()),
        (json!(7), "7", content_type),
    ];
    for (body, sent, headers) in cases {
        let host = answering(200, "");
        run(&host, &json!({ "method": "PUT", "url": URL, "body": body })).unwrap();
        assert_eq!(host.effects()[0].arguments["body"], sent);
        assert_eq!(host.effects()[0].arguments["headers"], headers, "{body}");
    }
}

#[test]
fn own_headers_stand() {
    let host = answering(200, "");
    let headers =
        json!({ "Content-Type": "application/merge-patch+json", "authorization": "secret://token" });
    run(&host, &json!({ "method": "PATCH", "url": URL, "headers": headers, "body": {} })).unwrap();
    let sent = &host.effects()[0].arguments["headers"];
    let sent: Vec<(String, String)> = serde_json::from_value(sent.clone()).unwrap();
    assert_eq!(sent.len(), 2);
    assert!(sent.contains(&("Content-Type".to_owned(), "application/merge-patch+json".to_owned())));
    assert!(sent.contains(&("authorization".to_owned(), "secret://token".to_owned())));
}

#[test]
fn statuses_are_judged() {
    let cases = [
        (json!(null), 204, None),
        (json!(null), 302, Some("302, not 2xx")),
        (json!(404), 404, None),
        (json!(404), 200, Some("200, not 404")),
        (json!([200, 409]), 409, None),
        (json!([200, 409]), 500, Some("500, not 200 or 409")),
    ];
    for (expect_status, status, refusal) in cases {
        let host = answering(status, "the body");
        let result = run(&host, &json!({ "method": "POST", "url": URL, "expect_status": expect_status }));
        match refusal {
            None => assert!(result.is_ok(), "{expect_status} {status}"),
            Some(text) => {
                let error = result.unwrap_err();
                assert_eq!(error.code(), "unexpected-status");
                assert_eq!(error.message(), format!("the answer was {text}: the body"));
            }
        }
    }
}

#[test]
fn an_unexpected_body_is_cut_to_200_characters() {
    let error = run(&answering(500, &"x".repeat(5000)), &json!({ "method": "GET", "url": URL })).unwrap_err();
    assert!(error.is_retryable());
    assert!(error.message().ends_with(&format!(": {}", "x".repeat(200))));
}

#[test]
fn a_plan_assumes_an_expected_status() {
    let cases =
        [(json!(null), None), (json!(201), Some(201)), (json!([202, 200]), None), (json!([301]), Some(301))];
    for (expect_status, assumed) in cases {
        let host = FakeHost::new().planning();
        run(&host, &json!({ "method": "POST", "url": URL, "expect_status": expect_status })).unwrap();
        let assume = host.effects()[0].assume.as_ref().map(|answer| answer["status"].clone());
        assert_eq!(assume, assumed.map(|status| json!(status)));
    }
}

#[test]
fn a_refusal_is_handed_on() {
    let denied = Error::new("access-denied", "http.send is not granted for this address");
    let host = FakeHost::new().fail("http.send", denied.clone());
    assert_eq!(run(&host, &json!({ "method": "POST", "url": URL })).unwrap_err(), denied);
}

#[test]
fn refuses_what_is_no_request() {
    let cases = [
        json!({ "url": URL }),
        json!({ "method": "POST" }),
        json!({ "method": "POST", "url": "ftp://a/" }),
        json!({ "method": "POST", "url": URL, "expect_status": 99 }),
        json!({ "method": "POST", "url": URL, "expect_status": "200" }),
        json!({ "method": "POST", "url": URL, "headers": { "a": 1 } }),
        json!({ "method": "POST", "url": URL, "unknown": 1 }),
    ];
    for input in cases {
        let error = run(&FakeHost::new(), &input).unwrap_err();
        assert_eq!(error.code(), "invalid-input", "{input}");
    }
}

fn undo(host: &FakeHost, undo: &Value) -> Result<String, Error> {
    let mut input = json!({ "method": "POST", "url": URL });
    if !undo.is_null() {
        input["undo"] = undo.clone();
    }
    let input = serde_json::from_str(&input.to_string()).map_err(|e| Error::invalid_input(e.to_string()))?;
    <HttpRequest as staunch_plugin::Undo>::undo(input, None, host)
}

#[test]
fn another_request_takes_it_back() {
    let host = answering(200, "");
    let back = json!({ "method": "post", "url": format!("{URL}/off"), "body": { "on": false } });
    assert_eq!(undo(&host, &back).unwrap(), format!("POST {URL}/off: 200"));
    let effects = host.effects();
    assert_eq!((effects.len(), &effects[0].arguments["body"]), (1, &json!("{\"on\":false}")));
    let broken = undo(&answering(500, "no"), &back).unwrap_err();
    assert_eq!(broken.code(), "unexpected-status");
}

#[test]
fn what_takes_it_back_is_said_and_not_guessed() {
    let host = answering(200, "");
    assert_eq!(undo(&host, &json!("nothing")).unwrap(), "there is nothing to take back");
    for wrong in [
        Value::Null,
        json!("something"),
        json!({ "method": "POST" }),
        json!({ "method": "POST", "url": "x" }),
        json!({ "method": "head", "url": URL }),
    ] {
        assert_eq!(undo(&host, &wrong).unwrap_err().code(), "invalid-input", "{wrong}");
    }
    assert!(host.calls().is_empty());
}

#[test]
fn what_is_kept_is_a_placeholder_in_the_plan_and_a_value_behind_it() {
    let keep = crate::keep::Keep::from([
        ("id".to_owned(), "/data/id".to_owned()),
        ("odd".to_owned(), "/data/a~1b".to_owned()),
    ]);
    let assumed = crate::keep::assumed(&keep);
    assert_eq!(assumed, json!({ "data": { "id": "{{staunch:id}}", "a/b": "{{staunch:odd}}" } }));
    let input = json!({ "method": "POST", "url": URL, "keep": { "id": "/data/id" } });
    let outcome = run(&answering(200, r#"{"data":{"id":7}}"#), &input).unwrap();
    assert_eq!(outcome.details(), Some(r#"{"kept":{"id":"7"},"status":200}"#));
    for body in ["{}", r#"{"data":{"id":null}}"#] {
        assert_eq!(run(&answering(200, body), &input).unwrap_err().code(), "not-in-answer", "{body}");
    }
    let kept = crate::keep::Kept::from([("id".to_owned(), "7".to_owned())]);
    assert_eq!(crate::keep::fill("/a/${id}/${id}?${", &kept).unwrap(), "/a/7/7?${");
    assert_eq!(crate::keep::fill("/a/${other}", &kept).unwrap_err().code(), "invalid-input");
}
