//! What all formats share: from what a sender said to a normalised alert.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use staunch_core::alert::{Alert, Severity, Status, fingerprint};

use super::Context;
use super::error::IntakeError;
use super::read::{Path, wrong};

/// Labels that name what an alert is about, the first one present wins.
const TARGET_LABELS: [&str; 5] = ["instance", "host", "hostname", "node", "pod"];
/// Labels that name the service.
const SERVICE_LABELS: [&str; 2] = ["service", "job"];
/// Annotations that hold addresses of pages.
const LINK_ANNOTATIONS: [&str; 2] = ["runbook_url", "dashboard_url"];

/// An alert as a format's reader found it; `None` where the sender said nothing.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) status: Status,
    pub(super) fingerprint: Option<String>,
    pub(super) severity: Option<Severity>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) service: Option<String>,
    pub(super) target: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) starts_at: Option<DateTime<Utc>>,
    pub(super) ends_at: Option<DateTime<Utc>>,
    /// Candidates: what is no absolute http(s) address is left out.
    pub(super) links: Vec<String>,
}

impl Draft {
    /// A draft with nothing but a status.
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            fingerprint: None,
            severity: None,
            title: None,
            description: None,
            service: None,
            target: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            starts_at: None,
            ends_at: None,
            links: Vec::new(),
        }
    }

    /// The alert: what the sender left open is taken from labels and annotations.
    ///
    /// # Errors
    /// When there is nothing to make a fingerprint of; `path` is the alert's place.
    pub(super) fn finish(self, context: &Context<'_>, path: &Path<'_>) -> Result<Alert, IntakeError> {
        let title = self
            .title
            .or_else(|| first(&self.annotations, &["summary"]))
            .or_else(|| first(&self.labels, &["alertname"]));
        let description = self.description.or_else(|| first(&self.annotations, &["description", "message"]));
        let service = self.service.or_else(|| first(&self.labels, &SERVICE_LABELS));
        let target = self.target.or_else(|| first(&self.labels, &TARGET_LABELS));
        let severity = self
            .severity
            .or_else(|| self.labels.get("severity").and_then(|word| severity_word(word)))
            .unwrap_or_default();
        let fingerprint = match self.fingerprint {
            Some(fingerprint) => fingerprint,
            None => {
                let rest = [("title", &title), ("service", &service), ("target", &target)];
                identity(&self.labels, context.source.identity(), rest, path)?
            }
        };
        let links = links(self.links, &self.annotations, context);
        Ok(Alert {
            id: None,
            source: context.source.name().to_owned(),
            fingerprint,
            status: self.status,
            severity,
            title,
            description,
            service,
            target,
            labels: self.labels,
            annotations: self.annotations,
            starts_at: self.starts_at,
            ends_at: self.ends_at.filter(|_| self.status == Status::Resolved),
            links,
            raw_digest: context.raw_digest,
        })
    }
}

/// Status of an alert that tells only when it ends: over from the very moment of its end on.
pub(super) fn status_by_end(ends_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Status {
    match ends_at {
        Some(end) if end <= now => Status::Resolved,
        Some(_) | None => Status::Firing,
    }
}

/// The severity that a common word stands for, in any case; `None` for other words.
pub(super) fn severity_word(word: &str) -> Option<Severity> {
    const WORDS: [(Severity, &[&str]); 4] = [
        (Severity::Critical, &["critical", "crit", "page", "fatal", "p1"]),
        (Severity::Error, &["error", "err", "major", "high"]),
        (Severity::Warning, &["warning", "warn", "minor"]),
        (Severity::Info, &["info", "informational", "none", "low"]),
    ];
    let word = word.trim();
    WORDS
        .into_iter()
        .find(|(_, words)| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
        .map(|(severity, _)| severity)
}

fn first(pairs: &BTreeMap<String, String>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| pairs.get(*name)).filter(|value| !value.is_empty()).cloned()
}

/// The fingerprint of an alert that has none of its own.
///
/// An alert without labels is identified by what it is called and about; otherwise all alerts
/// without labels would be one.
fn identity(
    labels: &BTreeMap<String, String>,
    names: Option<&[String]>,
    rest: [(&str, &Option<String>); 3],
    path: &Path<'_>,
) -> Result<String, IntakeError> {
    let pairs: Vec<(&str, &str)> = match names {
        Some(names) => names
            .iter()
            .filter_map(|name| labels.get_key_value(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        None if labels.is_empty() => {
            rest.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
        }
        None => labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
    };
    if pairs.is_empty() {
        let problem = match names {
            Some(names) => format!("has none of the source's identity labels ({})", names.join(", ")),
            None => "needs a fingerprint, labels or a title, else it cannot be told from others".to_owned(),
        };
        return Err(wrong(path, problem));
    }
    Ok(fingerprint(pairs))
}

fn links(given: Vec<String>, annotations: &BTreeMap<String, String>, context: &Context<'_>) -> Vec<String> {
    let noted = LINK_ANNOTATIONS.iter().filter_map(|name| annotations.get(*name).cloned());
    let mut links: Vec<String> = Vec::new();
    for link in given.into_iter().chain(noted) {
        if links.len() < context.limits().links
            && is_link(&link, context.limits().link)
            && !links.contains(&link)
        {
            links.push(link);
        }
    }
    links
}

/// Whether people may be offered the text as a link: absolute, http or https, with a host.
fn is_link(text: &str, limit: usize) -> bool {
    // The parser forgives white space and control characters that other programs would not.
    text.len() <= limit
        && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_severity_words_in_any_case() {
        for (word, expected) in [
            ("CRITICAL", Some(Severity::Critical)),
            ("page", Some(Severity::Critical)),
            ("P1", Some(Severity::Critical)),
            ("Major", Some(Severity::Error)),
            ("warn", Some(Severity::Warning)),
            ("none", Some(Severity::Info)),
            ("severe", None),
            ("", None),
        ] {
            assert_eq!(severity_word(word), expected, "{word}");
        }
    }

    #[test]
    fn offers_only_absolute_web_addresses_as_links() {
        for (text, expected) in [
            ("https://runbooks.example/x", true),
            ("HTTP://h:9090/graph?g0.expr=up", true),
            ("my.prometheusserver.url", false),
            ("javascript:alert(1)", false),
            ("file:///etc/passwd", false),
            ("//evil.example/", false),
            ("https://", false),
            ("https://a b/", false),
            ("java\nscript:x", false),
            ("", false),
        ] {
            assert_eq!(is_link(text, 8_192), expected, "{text}");
        }
        assert!(!is_link(&format!("https://h/{}", "a".repeat(100)), 100));
    }
}
