//! What real senders sent.

use staunch_core::alert::{Severity, Status, fingerprint};
use staunch_core::id::Digest;

use super::{NOW, at, headers, offline, payloads, shared};
use crate::intake::prometheus::label_hash;
use crate::intake::{IntakeError, parse_offline};

/// The essentials of every alert of a folder, a line each.
fn essentials(folder: &str) -> String {
    let mut text = String::new();
    for (name, body) in payloads(folder) {
        text.push_str(&format!("{name}\n"));
        for alert in offline("alertmanager", &body).unwrap_or_else(|error| panic!("{name}: {error}")) {
            assert_eq!(alert.raw_digest, Digest::of(&body));
            text.push_str(&format!(
                "  {} {:?} {:?} title={:?} service={:?} target={:?} starts={:?} ends={:?} labels={} annotations={} links={:?}\n",
                alert.fingerprint,
                alert.status,
                alert.severity,
                alert.title,
                alert.service,
                alert.target,
                alert.starts_at,
                alert.ends_at,
                alert.labels.len(),
                alert.annotations.len(),
                alert.links,
            ));
        }
    }
    text
}

#[test]
fn reads_what_alertmanager_sent() {
    if shared("payloads/alertmanager-captured").is_some() {
        insta::assert_snapshot!(essentials("alertmanager-captured"));
    }
}

#[test]
fn reads_what_compatible_senders_sent() {
    if shared("payloads/alertmanager").is_some() {
        insta::assert_snapshot!(essentials("alertmanager"));
    }
}

#[test]
fn label_hash_is_alertmanagers_own_fingerprint() {
    for (name, body) in payloads("alertmanager-captured") {
        for alert in offline("alertmanager", &body).unwrap() {
            assert_eq!(label_hash(&alert.labels), alert.fingerprint, "{name}");
        }
    }
}

#[test]
fn hostile_text_passes_unchanged() {
    for (name, body) in payloads("alertmanager-captured") {
        if name != "021-hostile-labels.json" {
            continue;
        }
        let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let alert = &offline("alertmanager", &body).unwrap()[1];
        for (pairs, member) in [(&alert.labels, "labels"), (&alert.annotations, "annotations")] {
            assert_eq!(serde_json::to_value(pairs).unwrap(), message["alerts"][1][member]);
        }
        assert_eq!(alert.title.as_deref(), message["alerts"][1]["annotations"]["summary"].as_str());
    }
}

const MIXED: &str = r#"{"version":"4","status":"firing","truncatedAlerts":2,"groupKey":"{}","alerts":[
    {"status":"resolved","labels":{"alertname":"Down","host":"a"},"annotations":{},
     "startsAt":"2026-11-21T02:00:00Z","endsAt":"2026-11-21T02:08:26Z"},
    {"status":"firing","labels":{"alertname":"Down","host":"b","severity":"page"},"annotations":null,
     "startsAt":"2026-11-21T02:00:00.5+01:00","endsAt":"0001-01-01T00:00:00Z","fingerprint":"b5"}]}"#;

#[test]
fn status_is_each_alerts_own() {
    let alerts = offline("alertmanager", MIXED).unwrap();
    let [resolved, firing] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(resolved.status, Status::Resolved);
    assert_eq!(resolved.ends_at, Some(at("2026-11-21T02:08:26Z")));
    assert_eq!(resolved.fingerprint, fingerprint([("host", "a"), ("alertname", "Down")]));
    assert_eq!(firing.status, Status::Firing);
    assert_eq!(firing.ends_at, None);
    assert_eq!(firing.starts_at, Some(at("2026-11-21T01:00:00.5Z")));
    assert_eq!((firing.fingerprint.as_str(), firing.severity), ("b5", Severity::Critical));
    assert_eq!((firing.source.as_str(), &firing.id), ("alertmanager", &None));
}

#[test]
fn status_follows_the_end_where_an_alert_tells_none() {
    let check = |group: &str, ends: &str, expected: Status| {
        let body = format!(r#"{{{group}"alerts":[{{"labels":{{"a":"1"}}{ends}}}]}}"#);
        assert_eq!(offline("alertmanager", &body).unwrap()[0].status, expected, "{body}");
    };
    check("", "", Status::Firing);
    check(r#""status":"resolved","#, "", Status::Resolved);
    check(r#""status":"resolved","#, r#","endsAt":"2026-11-21T04:00:00Z""#, Status::Firing);
    check(r#""status":"firing","#, r#","endsAt":"2026-11-21T02:00:00Z""#, Status::Resolved);
    check("", r#","endsAt":"0001-01-01T00:00:00Z""#, Status::Firing);
}

#[test]
fn prometheus_alerts_fire_until_their_end() {
    let body = |ends: &str| {
        format!(
            r#"[{{"labels":{{"alertname":"Basic","host":"h1","empty":""}},"annotations":{{"summary":"direct"}},
                "startsAt":"2026-11-21T02:06:56.396853481Z"{ends},"generatorURL":"http://example.test/g"}}]"#
        )
    };
    let check = |ends: &str, expected: Status| {
        let alerts = offline("prometheus", body(ends)).unwrap();
        let alert = &alerts[0];
        assert_eq!(alert.status, expected, "{ends}");
        // The fingerprint that a real Alertmanager gave these labels.
        assert_eq!(alert.fingerprint, "a7ceb156e7b8cc01");
        assert_eq!(alert.labels.len(), 2);
        assert_eq!(alert.links, ["http://example.test/g"]);
        assert_eq!(alert.ends_at.is_some(), expected == Status::Resolved);
        assert_eq!(alert.starts_at, Some(at("2026-11-21T02:06:56.396853481Z")));
    };
    check("", Status::Firing);
    check(r#","endsAt":"0001-01-01T00:00:00Z""#, Status::Firing);
    check(r#","endsAt":"2026-11-21T03:00:00.000000001Z""#, Status::Firing);
    check(&format!(r#","endsAt":"{NOW}""#), Status::Resolved);
    check(r#","endsAt":"2026-11-21T02:10:00Z""#, Status::Resolved);
}

#[test]
fn genuine_messages_without_alerts_are_empty() {
    for (format, body) in
        [("alertmanager", r#"{"version":"4","alerts":[]}"#), ("prometheus", " [ ] "), ("generic", "[]")]
    {
        assert_eq!(offline(format, body), Ok(Vec::new()), "{format}");
    }
}

#[test]
fn generic_bodies_in_our_own_shape_need_little() {
    let alerts = offline(
        "generic",
        r#"[{"title":"Queue is stuck"},
            {"title":"x","status":"Resolved","severity":"P1","labels":{"n":1,"b":true,"f":1.5,"nothing":null},
             "starts_at":1614265330,"ends_at":"2026-11-21T02:00:00Z","links":["https://h/x","no"],"fingerprint":77}]"#,
    )
    .unwrap();
    let [little, much] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((little.status, little.severity), (Status::Firing, Severity::Warning));
    assert_eq!(little.fingerprint, fingerprint([("title", "Queue is stuck")]));
    assert_eq!((much.status, much.severity), (Status::Resolved, Severity::Critical));
    assert_eq!(much.fingerprint, "77");
    assert_eq!(much.labels.values().map(String::as_str).collect::<Vec<_>>(), ["true", "1.5", "1"]);
    assert_eq!(much.starts_at, Some(at("2021-02-25T15:02:10Z")));
    assert_eq!(much.links, ["https://h/x"]);
}

#[test]
fn what_is_printed_offline_can_be_sent_to_a_generic_source() {
    let alerts = offline("alertmanager", MIXED).unwrap();
    let again = offline("generic", serde_json::to_vec(&alerts).unwrap()).unwrap();
    for (first, second) in alerts.iter().zip(&again) {
        assert_eq!((&first.fingerprint, first.status), (&second.fingerprint, second.status));
        assert_eq!((first.starts_at, first.ends_at), (second.starts_at, second.ends_at));
        assert_eq!((&first.labels, &first.title), (&second.labels, &second.title));
    }
}

#[test]
fn offline_tells_wrong_usage_from_wrong_bodies() {
    for (format, code) in [("grafana", "format-not-available"), ("nonsense", "unknown-format")] {
        let error = parse_offline(format, &headers(&[]), b"not even JSON", at(NOW)).unwrap_err();
        assert!(error.is_wrong_usage());
        assert_eq!(error.code(), code);
    }
    let error: IntakeError = offline("generic", "x").unwrap_err();
    assert!(!error.is_wrong_usage());
}
