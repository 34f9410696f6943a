//! Which runbooks answer to an alert, in which order, and why the others do not.
//!
//! Runbooks are found through one equality matcher each (`alertname` first), so that an alert is held against a
//! few of them, however many there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::matcher::Matcher;
use super::runbook::Runbook;
use crate::alert::{Alert, Status};
use crate::decision::{Code, Decision, Stage};

/// How many runbooks a trace explains when none matched.
const MOST_EXPLAINED: usize = 32;

/// All runbooks, in the order in which they are asked: higher priority first, then by name.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    runbooks: Vec<Arc<Runbook>>,
    by_name: HashMap<String, usize>,
    by_value: BTreeMap<String, HashMap<String, Vec<usize>>>,
    unindexed: Vec<usize>,
}

/// The answer of one runbook.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'r> {
    /// All its matchers fit.
    Matched,
    /// This matcher does not fit.
    Unfit(&'r Matcher),
    /// It has no matchers: it is started by hand only.
    ByHandOnly,
}

/// What an alert was routed to, and the trace of it.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The runbooks that answer, in order.
    pub runbooks: Vec<Arc<Runbook>>,
    /// One decision for each runbook that was close; never empty.
    pub decisions: Vec<Decision>,
}

impl Routing {
    /// An index over runbooks with different names.
    #[must_use]
    pub fn new(mut runbooks: Vec<Runbook>) -> Self {
        runbooks.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        let mut routing = Self::default();
        for (index, runbook) in runbooks.into_iter().enumerate() {
            routing.by_name.insert(runbook.name.clone(), index);
            match index_key(&runbook.matchers) {
                Some((label, value)) => {
                    let values = routing.by_value.entry(label.to_owned()).or_default();
                    values.entry(value.to_owned()).or_default().push(index);
                }
                None if !runbook.matchers.is_empty() => routing.unindexed.push(index),
                None => {}
            }
            routing.runbooks.push(Arc::new(runbook));
        }
        routing
    }

    /// All runbooks, in order.
    #[must_use]
    pub fn runbooks(&self) -> &[Arc<Runbook>] {
        &self.runbooks
    }

    /// A runbook by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Runbook>> {
        self.by_name.get(name).map(|index| &self.runbooks[*index])
    }

    /// The runbooks that could answer to these labels, in order.
    fn candidates(&self, labels: &BTreeMap<String, String>) -> Vec<usize> {
        let mut candidates = self.unindexed.clone();
        for (label, values) in &self.by_value {
            if let Some(found) = labels.get(label).and_then(|value| values.get(value)) {
                candidates.extend(found);
            }
        }
        candidates.sort_unstable();
        candidates
    }

    /// Routes a firing alert. A resolved one is never matched.
    #[must_use]
    pub fn route(&self, alert: &Alert, now: DateTime<Utc>) -> Routed {
        if alert.status == Status::Resolved {
            let message = "the alert is resolved, and only firing alerts are matched";
            let decision = Decision::refuse(now, Stage::Match, &alert.fingerprint, Code::Resolved, message);
            return Routed { runbooks: Vec::new(), decisions: vec![decision] };
        }
        let mut routed = Routed { runbooks: Vec::new(), decisions: Vec::new() };
        for index in self.candidates(&alert.labels) {
            let runbook = &self.runbooks[index];
            let candidate = ask(runbook, &alert.labels);
            if matches!(candidate, Candidate::Matched) {
                routed.runbooks.push(Arc::clone(runbook));
            }
            routed.decisions.push(decide(runbook, candidate, &alert.labels, now));
        }
        if routed.runbooks.is_empty() {
            routed.decisions = self.explain_none(alert, now);
        }
        routed
    }

    /// Why no runbook answers: the sum of it, then a decision for each of the first runbooks.
    fn explain_none(&self, alert: &Alert, now: DateTime<Utc>) -> Vec<Decision> {
        let asked: Vec<_> = self.runbooks.iter().filter(|runbook| !runbook.matchers.is_empty()).collect();
        let message = match asked.len() {
            0 => "there is no runbook with matchers".to_owned(),
            1 => "the one runbook with matchers does not answer to this alert".to_owned(),
            count => format!("none of {count} runbooks answers to this alert"),
        };
        let subject = alert.labels.get("alertname").unwrap_or(&alert.fingerprint);
        let sum = Decision::refuse(now, Stage::Match, subject, Code::NoMatch, message);
        let each = asked.into_iter().take(MOST_EXPLAINED);
        let each = each.map(|runbook| decide(runbook, ask(runbook, &alert.labels), &alert.labels, now));
        std::iter::once(sum).chain(each).collect()
    }

    /// What one runbook says to a firing alert; `None` where there is no such runbook.
    #[must_use]
    pub fn answer(&self, runbook: &str, alert: &Alert, now: DateTime<Utc>) -> Option<Decision> {
        let runbook = self.get(runbook)?;
        Some(decide(runbook, ask(runbook, &alert.labels), &alert.labels, now))
    }

    /// The answer of every runbook to these labels, in order.
    pub fn explain<'r>(
        &'r self,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'r Arc<Runbook>, Candidate<'r>)> {
        self.runbooks.iter().map(move |runbook| (runbook, ask(runbook, labels)))
    }
}

/// The label and value through which a runbook is found.
fn index_key(matchers: &[Matcher]) -> Option<(&str, &str)> {
    let mut keys = matchers.iter().filter_map(|matcher| Some((matcher.label(), matcher.required_value()?)));
    keys.clone().find(|(label, _)| *label == "alertname").or_else(|| keys.next())
}

fn ask<'r>(runbook: &'r Runbook, labels: &BTreeMap<String, String>) -> Candidate<'r> {
    if runbook.matchers.is_empty() {
        return Candidate::ByHandOnly;
    }
    let unfit = runbook.matchers.iter().find(|matcher| !matcher.matches(labels));
    unfit.map_or(Candidate::Matched, Candidate::Unfit)
}

fn decide(
    runbook: &Runbook,
    candidate: Candidate<'_>,
    labels: &BTreeMap<String, String>,
    now: DateTime<Utc>,
) -> Decision {
    match candidate {
        Candidate::Matched => {
            let count = runbook.matchers.len();
            let message =
                if count == 1 { "its matcher fits".to_owned() } else { format!("all {count} matchers fit") };
            Decision::pass(now, Stage::Match, &runbook.name, message)
        }
        Candidate::Unfit(matcher) => {
            let actual = labels.get(matcher.label());
            let actual = actual.map_or_else(|| "is missing".to_owned(), |value| format!("is {value:?}"));
            let message = format!("{matcher} does not fit: {} {actual}", matcher.label());
            Decision::refuse(now, Stage::Match, &runbook.name, Code::NoMatch, message)
        }
        Candidate::ByHandOnly => {
            let message = "it has no matchers and is started by hand only";
            Decision::refuse(now, Stage::Match, &runbook.name, Code::NoMatch, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::Severity;
    use crate::decision::Outcome;
    use crate::id::Digest;
    use crate::policy::runbook::read;

    fn alert(pairs: &[(&str, &str)]) -> Alert {
        Alert {
            id: None,
            source: "s".to_owned(),
            fingerprint: "f".to_owned(),
            status: Status::Firing,
            severity: Severity::Warning,
            title: None,
            description: None,
            service: None,
            target: None,
            labels: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            annotations: BTreeMap::new(),
            starts_at: None,
            ends_at: None,
            links: Vec::new(),
            raw_digest: Digest::of(b""),
        }
    }

    fn routing(runbooks: &[(&str, i64, &str)]) -> Routing {
        let read = |(name, priority, matchers): &(&str, i64, &str)| {
            let text = format!(
                "runbook: {name}\npriority: {priority}\nmatch: {matchers}\nsteps: [{{ plugin: p }}]\n"
            );
            read("r.yaml", &text).unwrap().0
        };
        Routing::new(runbooks.iter().map(read).collect())
    }

    fn sample() -> Routing {
        routing(&[
            ("b", 0, "['alertname=Down']"),
            ("a", 0, "['alertname=Down', 'severity=~\"error|critical\"']"),
            ("first", 9, "['job=web', 'alertname!=\"\"']"),
            ("regex", 0, "['alertname=~\"D.*\"']"),
            ("hand", 0, "[]"),
        ])
    }

    fn names(routed: &Routed) -> Vec<&str> {
        routed.runbooks.iter().map(|runbook| runbook.name.as_str()).collect()
    }

    #[test]
    fn several_answer_in_order_of_priority_and_name() {
        let routing = sample();
        let all = routing.route(
            &alert(&[("alertname", "Down"), ("severity", "error"), ("job", "web")]),
            DateTime::UNIX_EPOCH,
        );
        assert_eq!(names(&all), ["first", "a", "b", "regex"]);
        let some = routing.route(&alert(&[("alertname", "Down")]), DateTime::UNIX_EPOCH);
        assert_eq!(names(&some), ["b", "regex"]);
        let a = some.decisions.iter().find(|decision| decision.subject == "a").unwrap();
        assert_eq!((a.result, a.code), (Outcome::Refuse, Code::NoMatch));
        assert_eq!(a.message, "severity=~\"error|critical\" does not fit: severity is missing");
    }

    #[test]
    fn no_match_explains_each_runbook() {
        let routed = sample().route(&alert(&[("alertname", "Up")]), DateTime::UNIX_EPOCH);
        assert!(routed.runbooks.is_empty());
        assert_eq!(routed.decisions[0].message, "none of 4 runbooks answers to this alert");
        assert_eq!(routed.decisions[0].subject, "Up");
        assert_eq!(routed.decisions.len(), 5);
        assert!(routed.decisions.iter().all(|decision| decision.code == Code::NoMatch));
    }

    #[test]
    fn resolved_alerts_are_never_matched() {
        let mut alert = alert(&[("alertname", "Down")]);
        alert.status = Status::Resolved;
        let routed = sample().route(&alert, DateTime::UNIX_EPOCH);
        assert!(routed.runbooks.is_empty());
        assert_eq!(routed.decisions[0].code, Code::Resolved);
    }

    proptest! {
        #[test]
        fn the_index_finds_what_asking_each_would(
            pairs in prop::collection::btree_map("alertname|severity|job", "Down|Up|web|error", 0..4),
        ) {
            let routing = sample();
            let mut alert = alert(&[]);
            alert.labels = pairs;
            let routed = routing.route(&alert, DateTime::UNIX_EPOCH);
            let each: Vec<_> = routing
                .explain(&alert.labels)
                .filter(|(_, candidate)| matches!(candidate, Candidate::Matched))
                .map(|(runbook, _)| runbook.name.as_str())
                .collect();
            prop_assert_eq!(names(&routed), each);
        }
    }
}
