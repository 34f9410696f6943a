//! Alerts that were recorded: in a file, or in the journal.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use staunch_core::alert::{Alert, Status};
use staunch_core::backtest::{MOST_ALERTS, Recorded};
use staunch_core::policy::duration;

use super::super::Failure;

/// Largest file of alerts, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// What `/v1/alerts` says of an alert beside the normalised members.
const BESIDE: [&str; 5] = ["received_at", "last_seen", "repeats", "runs", "unanswered"];

/// The time that `--since` names.
pub(super) fn since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let span = duration::parse(text).ok().and_then(|span| TimeDelta::from_std(span).ok());
    span.map(|span| now - span).ok_or_else(|| {
        let message =
            format!("--since {text:?}: a time as in 2026-03-01T12:00:00Z, or a duration as in 24h, is valid");
        Failure::Usage(message)
    })
}

/// The alerts of a file.
pub(super) fn read(file: &Path) -> Result<Vec<Alert>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    let shown = file.display();
    result.map_err(|error| Failure::Usage(format!("--alerts {shown}: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::Refused(format!("{shown}: is larger than {MAX_FILE} bytes")));
    }
    let alerts = parse(&bytes).map_err(|error| {
        let hint = "alerts as `staunch alerts parse` prints them are valid: an array, or one a line";
        Failure::Refused(format!("{shown}: {error}; {hint}"))
    })?;
    if alerts.len() > MOST_ALERTS {
        return Err(Failure::Refused(format!("{shown}: has more than {MOST_ALERTS} alerts")));
    }
    Ok(alerts)
}

/// Arrays of alerts one after the other, or alerts one after the other.
fn parse(bytes: &[u8]) -> Result<Vec<Alert>, serde_json::Error> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Ok(stream::<Vec<Alert>>(bytes)?.into_iter().flatten().collect()),
        Some(_) | None => stream(bytes),
    }
}

fn stream<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    serde_json::Deserializer::from_slice(bytes).into_iter().collect()
}

/// When a listed alert was received.
pub(super) fn received_at(item: &Value) -> Option<DateTime<Utc>> {
    item.get("received_at")?.as_str()?.parse().ok()
}

/// What was heard of an alert that the API lists: that it fired, when it was received, and that it was over, when
/// it was. `None` where its payload was removed.
pub(super) fn heard(item: &Value) -> Option<Vec<Recorded>> {
    let received_at = received_at(item)?;
    let mut shape = item.as_object()?.clone();
    let last_seen = shape.get("last_seen").and_then(Value::as_str).and_then(|text| text.parse().ok());
    BESIDE.iter().for_each(|name| drop(shape.remove(*name)));
    let over = shape.get("status")? != "firing";
    // A stale one is over, too, as far as anybody knew.
    let word = if over { "resolved" } else { "firing" };
    shape.insert("status".to_owned(), Value::from(word));
    let alert: Alert = serde_json::from_value(Value::Object(shape)).ok()?;
    // One that was over when it was first heard of was never heard of again.
    let never_fired = over && last_seen == Some(received_at);
    if !over || never_fired {
        return Some(vec![Recorded { at: received_at, alert }]);
    }
    let fired = Alert { status: Status::Firing, ends_at: None, ..alert.clone() };
    let ended_at = alert.ends_at.or(last_seen).unwrap_or(received_at).max(received_at);
    Some(vec![Recorded { at: received_at, alert: fired }, Recorded { at: ended_at, alert }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use staunch_core::id::Digest;

    use super::*;

    fn item(status: &str, last_seen: &str) -> Value {
        json!({
            "id": "al_00000000000000000000000000000001", "source": "s", "fingerprint": "f", "status": status,
            "severity": "error", "title": null, "description": null, "service": null, "target": null,
            "labels": { "alertname": "Down" }, "annotations": {}, "starts_at": "2026-03-01T11:59:00Z",
            "ends_at": if status == "firing" { Value::Null } else { json!("2026-03-01T13:00:00Z") },
            "links": [], "raw_digest": Digest::of(b""),
            "received_at": "2026-03-01T12:00:00Z", "last_seen": last_seen, "repeats": 3, "runs": [],
        })
    }

    #[test]
    fn what_the_journal_lists_was_heard_when_it_was_received_and_when_it_ended() {
        let check = |status, last_seen: &str, wanted: &[(&str, Status)]| {
            let heard = heard(&item(status, last_seen)).unwrap();
            let heard: Vec<_> =
                heard.iter().map(|one| (one.at.format("%H:%M").to_string(), one.alert.status)).collect();
            let wanted: Vec<_> = wanted.iter().map(|(at, status)| ((*at).to_owned(), *status)).collect();
            assert_eq!(heard, wanted);
        };
        check("firing", "2026-03-01T12:30:00Z", &[("12:00", Status::Firing)]);
        check("resolved", "2026-03-01T13:00:00Z", &[("12:00", Status::Firing), ("13:00", Status::Resolved)]);
        check("stale", "2026-03-01T12:30:00Z", &[("12:00", Status::Firing), ("13:00", Status::Resolved)]);
        check("resolved", "2026-03-01T12:00:00Z", &[("12:00", Status::Resolved)]);
        assert_eq!(heard(&json!({ "removed": true, "received_at": "2026-03-01T12:00:00Z" })), None);
    }

    #[test]
    fn reads_arrays_and_lines_and_names_the_place_of_what_is_neither() {
        let alert = {
            let mut item = item("firing", "2026-03-01T12:30:00Z");
            BESIDE.iter().for_each(|name| drop(item.as_object_mut().unwrap().remove(*name)));
            item.to_string()
        };
        for (text, count) in [
            (String::new(), 0),
            ("[]".to_owned(), 0),
            (format!("[{alert},{alert}]"), 2),
            (format!("[{alert}]\n[{alert}]\n"), 2),
            (format!("{alert}\n{alert}\n\n"), 2),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().len(), count, "{text}");
        }
        for text in [format!("{alert}\n{{\"source\": 1}}"), format!("{alert}\nnonsense"), "[1]".to_owned()] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.line(), text.lines().count(), "{error}");
        }
    }

    #[test]
    fn since_is_a_time_or_a_duration() {
        let now = "2026-03-02T00:00:00Z".parse().unwrap();
        for text in ["2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00", "24h"] {
            assert_eq!(since(text, now).unwrap().to_rfc3339(), "2026-03-01T00:00:00+00:00", "{text}");
        }
        assert!(since("yesterday", now).unwrap_err().to_string().contains("24h"));
    }
}
