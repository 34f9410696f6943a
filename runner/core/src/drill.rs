//! Drills: the road of a runbook's alert, walked with a synthetic one.
//!
//! A drill is asked everything that a real run is asked, and takes nothing: no limit, breaker or standing counts it.
//! It plans, and where it is to act, it acts only at targets that the operator marked for it, and so does each of its
//! effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity, Status, fingerprint};
use crate::decision::{Code, Decision, Reason, Stage};
use crate::effect::Call;
use crate::id::Digest;
use crate::policy::Runbook;

/// The source of synthetic alerts.
pub const SOURCE: &str = "drill";

/// The most targets that can be marked for drills.
pub const MOST_TARGETS: usize = 1_000;

/// What makes a run a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// The synthetic alert; none when its payload was removed.
    pub alert: Option<Arc<Alert>>,
}

/// What drills may act on, by canonical names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(BTreeSet<String>);

impl FromIterator<String> for Targets {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Targets {
    /// Whether drills may act on a run's target.
    ///
    /// # Errors
    /// Why not, with what they may act on.
    pub fn hold(&self, target: &str) -> Result<(), Reason> {
        if self.0.contains(target) {
            return Ok(());
        }
        let marked = match self.0.len() {
            0 => "none is marked".to_owned(),
            _ => format!("marked are {}", self.0.iter().take(20).cloned().collect::<Vec<_>>().join(", ")),
        };
        let message = format!(
            "a drill acts only at targets that staunch.yaml marks under drill.targets, and {target} is not one: {marked}"
        );
        Err(Reason::new(Code::Drill, message))
    }

    /// Whether drills may do an effect: on something at a marked host, or on what is itself marked.
    #[must_use]
    pub fn cover(&self, effect_target: &str) -> bool {
        let host = effect_target.split_once('/').map(|(host, _)| host);
        self.0.contains(effect_target) || host.is_some_and(|host| self.0.contains(host))
    }

    /// Why drills may not do an effect.
    ///
    /// # Errors
    /// The reason, with the effect.
    pub fn permit(&self, call: &Call) -> Result<(), Reason> {
        if self.cover(&call.target) {
            return Ok(());
        }
        let Call { capability, function, target, .. } = call;
        let message = format!(
            "a drill may not do {capability}.{function} on {target}, which staunch.yaml does not mark under drill.targets"
        );
        Err(Reason::new(Code::Drill, message))
    }

    /// The refusal of a drill's plan, if it has an effect that drills may not do.
    #[must_use]
    pub fn refuse<'c>(
        &self,
        now: DateTime<Utc>,
        runbook: &str,
        mut effects: impl Iterator<Item = &'c Call>,
    ) -> Option<Decision> {
        let reason = effects.find_map(|call| self.permit(call).err())?;
        Some(Decision::refuse(now, Stage::Policy, runbook, reason.code, reason.message))
    }
}

/// An alert that a runbook could answer to: the labels that its equality matchers demand, and these, which win.
#[must_use]
pub fn alert(runbook: &Runbook, labels: &BTreeMap<String, String>, now: DateTime<Utc>) -> Alert {
    let demanded = runbook
        .matchers
        .iter()
        .filter_map(|matcher| Some((matcher.label().to_owned(), matcher.required_value()?.to_owned())));
    let mut all: BTreeMap<String, String> = demanded.collect();
    all.extend(labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    let severities = [Severity::Critical, Severity::Error, Severity::Warning, Severity::Info];
    let said = all.get("severity");
    let severity = severities.into_iter().find(|word| said.is_some_and(|said| said == word.as_str()));
    Alert {
        id: None,
        source: SOURCE.to_owned(),
        fingerprint: fingerprint(all.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        status: Status::Firing,
        severity: severity.unwrap_or_default(),
        title: Some(format!("Drill of {}", runbook.name)),
        description: None,
        service: all.get(crate::limit::SERVICE).cloned(),
        target: all.get("instance").cloned(),
        labels: all,
        annotations: BTreeMap::new(),
        starts_at: Some(now),
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(b""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::policy::runbook::read;

    #[test]
    fn acts_only_on_what_is_marked() {
        let targets: Targets = ["drill-1".to_owned(), "http:127.0.0.1:9000".to_owned()].into_iter().collect();
        for (target, covered) in [
            ("drill-1", true),
            ("drill-1/service:web.service", true),
            ("http:127.0.0.1:9000", true),
            ("drill-10/service:web.service", false),
            ("web-7/service:drill-1", false),
            ("web-7/file:/x/drill-1/", false),
            ("http:127.0.0.1:90", false),
            ("", false),
        ] {
            assert_eq!(targets.cover(target), covered, "{target}");
        }
        assert!(targets.hold("drill-1").is_ok());
        let reason = targets.hold("web-7").unwrap_err();
        assert_eq!(reason.code, Code::Drill);
        assert!(reason.message.contains("marked are drill-1, http:127.0.0.1:9000"), "{reason}");
        assert!(Targets::default().hold("x").unwrap_err().message.contains("none is marked"));
        let call = |target: &str| Call {
            capability: "http".into(),
            function: "send".into(),
            target: target.to_owned().into(),
            arguments: Value::Null.into(),
        };
        let (good, bad) = (call("http:127.0.0.1:9000"), call("http:shop:80"));
        assert_eq!(targets.refuse(DateTime::UNIX_EPOCH, "r", [&good].into_iter()), None);
        let refusal = targets.refuse(DateTime::UNIX_EPOCH, "r", [&good, &bad].into_iter()).unwrap();
        assert!(refusal.message.contains("http.send on http:shop:80"), "{}", refusal.message);
    }

    #[test]
    fn a_synthetic_alert_has_what_the_matchers_demand_and_what_is_given() {
        let text = "runbook: r\nmatch: ['alertname=\"Down\"', 'severity=\"critical\"', 'env=~\"a|b\"']\nsteps: [{ plugin: p }]\n";
        let runbook = read("r.yaml", text).unwrap().0;
        let given = BTreeMap::from([
            ("env".to_owned(), "a".to_owned()),
            ("instance".to_owned(), "drill-1".to_owned()),
        ]);
        let alert = alert(&runbook, &given, DateTime::UNIX_EPOCH);
        assert_eq!(alert.severity, Severity::Critical);
        assert_eq!(alert.target.as_deref(), Some("drill-1"));
        let labels: Vec<&str> = alert.labels.values().map(String::as_str).collect();
        assert_eq!(labels, ["Down", "a", "drill-1", "critical"]);
        assert!(runbook.matchers.iter().all(|matcher| matcher.matches(&alert.labels)));
    }
}
