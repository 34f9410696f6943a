use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::id::{AlertId, Digest, RunId};
use crate::run::{Approval, Ask, Mode};

fn sample() -> Event {
    Event {
        at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
        run: Some(RunId::from_bits(7)),
        alert: Some(AlertId::from_bits(8)),
        fact: Fact::RunCreated(
            RunCreated {
                runbook: "r".to_owned(),
                policy: Digest::of(b"p"),
                plugins: vec![("p".to_owned(), Digest::of(b"c"))],
                mode: Mode::Act,
                queued: false,
                irreversible: false,
                drill: false,
            },
            Outside::Kept(payload::RunCreated {
                target: Some("http://secret-customer.example".to_owned()),
                host: None,
                inputs: vec![json!({"url": "u"}).into()],
                labels: BTreeMap::from([("alertname".to_owned(), "X".to_owned())]).into(),
                verify: None,
                by: None,
                comment: None,
                decisions: Vec::new(),
                flow: Default::default(),
                drill: None,
            }),
        ),
    }
}

#[test]
fn reads_what_it_wrote() {
    let event = sample();
    let encoded = event.encode([7; 16]).unwrap();
    let (_, bytes) = encoded.payload.as_ref().unwrap();
    assert_eq!(Event::decode(&encoded.leaf, Some(bytes)).unwrap(), event);
}

#[test]
fn leaf_holds_no_outside_text_but_commits_to_it() {
    let encoded = sample().encode([7; 16]).unwrap();
    let leaf = String::from_utf8(encoded.leaf).unwrap();
    assert!(!leaf.contains("secret-customer"), "{leaf}");
    let (salt, bytes) = encoded.payload.unwrap();
    assert!(leaf.contains(&commitment(&salt, &bytes).to_string()), "{leaf}");
}

#[test]
fn removed_payload_folds_to_a_tombstone() {
    let encoded = sample().encode([7; 16]).unwrap();
    let event = Event::decode(&encoded.leaf, None).unwrap();
    assert!(matches!(event.fact, Fact::RunCreated(_, Outside::Removed)));
}

#[test]
fn refuses_unknown_kinds_and_members() {
    for leaf in [
        r#"{"v":1,"at":"2026-01-01T00:00:00Z","kind":"nonsense","fact":{}}"#,
        r#"{"v":1,"at":"2026-01-01T00:00:00Z","kind":"heartbeat","fact":{"x":1}}"#,
        r#"{"v":1,"at":"2026-01-01T00:00:00Z","kind":"delivered","fact":{"source":"s","body_digest":"sha256:00","alerts":1}}"#,
        "nonsense",
    ] {
        assert!(Event::decode(leaf.as_bytes(), None).is_err(), "{leaf}");
    }
}

#[test]
fn kinds_are_distinct() {
    let mut kinds = Fact::KINDS.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), Fact::KINDS.len());
}

#[test]
fn an_intent_reads_with_and_without_what_was_before() {
    let leaf = br#"{"v":1,"at":"2026-01-01T00:00:00Z","kind":"effect-intended","run":"@RUN@","fact":{"step":0,"effect":0,"capability":"service","function":"restart","key":"k","repeat":"once","planned":true,"fuel":1},"payload":"@DIGEST@"}"#;
    let leaf = String::from_utf8(leaf.to_vec())
        .unwrap()
        .replace("@RUN@", RunId::from_bits(7).as_str())
        .replace("@DIGEST@", &Digest::of(b"").to_string());
    let call = r#"{"capability":"service","function":"restart","target":"t","arguments":null}"#;
    for (more, wanted) in
        [("", None), (r#","before":{"active":"failed"}"#, Some(json!({ "active": "failed" })))]
    {
        let bytes = format!(r#"{{"call":{call},"reason":"r"{more}}}"#);
        let event = Event::decode(leaf.as_bytes(), Some(bytes.as_bytes())).unwrap();
        let Fact::EffectIntended(_, Outside::Kept(outside)) = &event.fact else { panic!("{event:?}") };
        assert_eq!(outside.before, wanted);
        let (_, written) = event.encode([0; 16]).unwrap().payload.unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), bytes, "nothing is written where nothing is known");
    }
}

/// Leaf and payload as they were first written: a later version must read them and write them alike.
const GOLDEN: [(&str, &str); 18] = [
    (r#"{"rung":1,"to":"oncall"}"#, ""),
    ("{}", r#"{"by":"ada","comment":"on it"}"#),
    ("{}", r#"{"by":"ada","comment":null}"#),
    (r#"{"passes":"quorum","plan":null}"#, r#"{"by":"ada","reason":"the site is down"}"#),
    (r#"{"glass":0,"justified":true}"#, r#"{"by":"bob","comment":null}"#),
    (
        r#"{"runbook":"r","occurrence":{"at":"2026-01-31T03:00:00Z","starts":"2026-01-31T03:04:05.006Z"},"made":"run_00000000000000000000000000000007"}"#,
        "",
    ),
    (
        r#"{"runbook":"r","occurrence":{"at":"2026-01-31T03:00:00Z","starts":"2026-01-31T03:00:00Z"},"code":"missed"}"#,
        r#"{"message":"m"}"#,
    ),
    (
        r#"{"id":"sil_00000000000000000000000000000007","starts_at":"2026-01-31T03:00:00Z","ends_at":"2026-01-31T04:00:00Z"}"#,
        r#"{"matchers":["a=\"b\""],"by":"ada","comment":"c"}"#,
    ),
    (r#"{"id":"sil_00000000000000000000000000000007"}"#, r#"{"by":"bob"}"#),
    ("{}", r#"{"decisions":[],"runs":["run_00000000000000000000000000000007"]}"#),
    (r#"{"runbook":"r","calendar":"0 3 * * * UTC","from":"2026-01-31T03:00:00Z"}"#, ""),
    (
        r#"{"plugin":"p","from":"closed","to":"open","of_run":"run_00000000000000000000000000000007"}"#,
        r#"{"target":"web-7","why":"w","by":null,"breaker":{"state":{"open":{"since":"2026-01-31T03:00:00Z","until":"2026-01-31T03:15:00Z","why":"w"}},"results":[],"opened":1,"latest":"2026-01-31T03:00:00Z"}}"#,
    ),
    (
        r#"{"plugin":"p","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000007","from":"approve","to":"revoked","cause":"revoked","runs":[]}"#,
        r#"{"message":"m","by":"ada","record":{"plugin":"p","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000007","standing":"revoked","since":"2026-01-31T03:00:00Z","runs":[],"moves":[],"canary":0,"latest":"2026-01-31T03:00:00Z"}}"#,
    ),
    (r#"{"how":"fired-again"}"#, r#"{"by":null}"#),
    ("{}", r#"{"reason":"it makes things worse"}"#),
    ("{}", ""),
    (r#"{"next_key":"00"}"#, r#"{"reason":"the key leaked"}"#),
    (
        r#"{"epoch":2,"before":{"origin":"o","size":7,"root":"00"},"continues":true}"#,
        r#"{"reason":"the key leaked","checkpoint":"o\n7\n"}"#,
    ),
];

#[test]
fn kinds_that_came_later_are_read_and_written_as_ever() {
    let kinds = [
        "run-escalated",
        "run-taken-over",
        "run-given-back",
        "glass-broken",
        "justification-reviewed",
        "occurrence-due",
        "occurrence-missed",
        "silence-created",
        "silence-expired",
        "alert-taken-up",
        "schedule-set",
        "breaker-changed",
        "plugin-moved",
        "run-intervened",
        "halt-file-seen",
        "halt-file-gone",
        "log-ended",
        "log-begun",
    ];
    for (kind, (fact, payload)) in kinds.into_iter().zip(GOLDEN) {
        let commits = match payload {
            "" => String::new(),
            text => format!(r#","payload":"{}""#, commitment(&[0; 16], text.as_bytes())),
        };
        let leaf = format!(
            r#"{{"v":1,"at":"2026-01-31T09:00:00Z","kind":"{kind}","run":"run_{:032x}","fact":{fact}{commits}}}"#,
            7
        );
        let bytes = (!payload.is_empty()).then_some(payload.as_bytes());
        let event = Event::decode(leaf.as_bytes(), bytes).unwrap();
        assert_eq!(event.fact.kind(), kind);
        let encoded = event.encode([0; 16]).unwrap();
        assert_eq!(String::from_utf8(encoded.leaf).unwrap(), leaf);
        assert_eq!(encoded.payload.map(|(_, bytes)| bytes).as_deref(), bytes);
    }
}

#[test]
fn questions_and_approvals_of_older_journals_are_still_read() {
    let ask: Ask = serde_json::from_value(json!({
        "approvals": 1, "roles": ["operator"], "expires": "2026-01-31T09:00:00Z", "separation": true
    }))
    .unwrap();
    assert!(ask.escalate.is_empty() && ask.deputies.is_none() && !ask.comment);
    let approval: Approval = serde_json::from_value(json!({
        "by": "ada", "at": "2026-01-31T09:00:00Z", "plan": Digest::of(b"p"), "comment": null
    }))
    .unwrap();
    assert!(approval.policy.is_none() && approval.roles.is_empty());
}
