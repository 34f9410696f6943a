//! Bodies as Alertmanager sends them.

use serde_json::{Value, json};

/// One alert of a webhook message.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The label `alertname`.
    pub name: String,
    /// The label `instance`.
    pub instance: String,
    /// When this firing began.
    pub starts_at: String,
    /// When it ended, if it did.
    pub ends_at: Option<String>,
}

impl Firing {
    /// An alert that fires.
    #[must_use]
    pub fn new(name: &str, instance: &str) -> Self {
        Self {
            name: name.to_owned(),
            instance: instance.to_owned(),
            starts_at: "2026-05-04T09:00:00.000Z".to_owned(),
            ends_at: None,
        }
    }

    /// The same one, but fired at another time.
    #[must_use]
    pub fn from(&self, starts_at: &str) -> Self {
        Self { starts_at: starts_at.to_owned(), ends_at: None, ..self.clone() }
    }

    /// The same one, over.
    #[must_use]
    pub fn resolved(&self, ends_at: &str) -> Self {
        Self { ends_at: Some(ends_at.to_owned()), ..self.clone() }
    }

    fn status(&self) -> &'static str {
        if self.ends_at.is_some() { "resolved" } else { "firing" }
    }

    fn entry(&self) -> Value {
        json!({
            "status": self.status(),
            "labels": { "alertname": self.name, "instance": self.instance, "severity": "critical" },
            "annotations": { "summary": format!("{} is down", self.instance) },
            "startsAt": self.starts_at,
            "endsAt": self.ends_at.as_deref().unwrap_or("0001-01-01T00:00:00Z"),
            "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=shop_up",
            "fingerprint": fingerprint(&self.name, &self.instance),
        })
    }
}

/// Sixteen hexadecimal digits, as Alertmanager's own are, different for different alerts.
fn fingerprint(name: &str, instance: &str) -> String {
    let bytes = name.bytes().chain([0]).chain(instance.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A webhook message of version 4 with these alerts.
#[must_use]
pub fn webhook(alerts: &[Firing]) -> Value {
    let firing = alerts.iter().any(|alert| alert.ends_at.is_none());
    json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"Test\"}",
        "truncatedAlerts": 0,
        "status": if firing { "firing" } else { "resolved" },
        "receiver": "staunch",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "alerts": alerts.iter().map(Firing::entry).collect::<Vec<_>>(),
    })
}
