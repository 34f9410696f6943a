//! What a monitoring system said, normalised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{AlertId, Digest, push_hex};

/// Whether the condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The condition holds.
    Firing,
    /// The condition is over.
    Resolved,
}

/// How bad it is, worst first. A sender that says nothing means `warning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Users are hurt now.
    Critical,
    /// Something is broken.
    Error,
    /// Something will break.
    #[default]
    Warning,
    /// For the record.
    Info,
}

impl Severity {
    /// The word for it, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One alert, whatever system it came from. All members are there, `null` where unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Given by Staunch when it is received; `None` in offline output.
    pub id: Option<AlertId>,
    /// The name of the source in the configuration; offline, the name of the format.
    pub source: String,
    /// The sender's own, or [`fingerprint`] of the identity labels.
    pub fingerprint: String,
    /// Firing or resolved.
    pub status: Status,
    /// `warning` where the sender has none.
    pub severity: Severity,
    /// One line for people.
    pub title: Option<String>,
    /// More lines for people.
    pub description: Option<String>,
    /// The service that it is about.
    pub service: Option<String>,
    /// The host, instance or resource that it is about.
    pub target: Option<String>,
    /// The labels that identify and route it.
    pub labels: BTreeMap<String, String>,
    /// Texts beside the labels.
    pub annotations: BTreeMap<String, String>,
    /// Start of this firing, where the sender tells.
    pub starts_at: Option<DateTime<Utc>>,
    /// End of this firing, when it is over.
    pub ends_at: Option<DateTime<Utc>>,
    /// Addresses of pages about it.
    pub links: Vec<String>,
    /// Digest of the body that it came in.
    pub raw_digest: Digest,
}

/// The fingerprint of senders that have none: the first 16 hexadecimal digits of SHA-256 over
/// `name 00 value 00` of the identity labels, sorted by name.
#[must_use]
pub fn fingerprint<'a>(identity: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeMap<&str, &str> = identity.into_iter().collect();
    let mut text = Vec::new();
    for (name, value) in sorted {
        for part in [name, value] {
            text.extend_from_slice(part.as_bytes());
            text.push(0);
        }
    }
    let mut digits = String::with_capacity(16);
    push_hex(&mut digits, &Digest::of(&text).as_bytes()[..8]);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_ignores_the_order_of_labels() {
        let forth = fingerprint([("a", "1"), ("b", "2")]);
        let back = fingerprint([("b", "2"), ("a", "1")]);
        assert_eq!(forth, back);
        assert_eq!(forth.len(), 16);
        assert_ne!(forth, fingerprint([("a", "12"), ("b", "")]));
    }
}
