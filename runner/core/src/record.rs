//! What is known of an alert: folded from its events, as runs are from theirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Status};
use crate::decision::{Code, Decision, Outcome, Stage};
use crate::event::{Event, Fact};
use crate::id::{AlertId, RunId};
use crate::run::keep_decisions;

mod unanswered;

pub use unanswered::{PATIENCE, unanswered};

/// Whether an alert still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
    /// It was not heard of for too long.
    Stale,
}

impl Standing {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Stale => "stale",
        }
    }
}

/// One firing of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Its id.
    pub id: AlertId,
    /// The source's name.
    pub source: String,
    /// The alert, as it was first received; none when its payload was removed.
    pub alert: Option<Arc<Alert>>,
    /// Whether it still stands.
    pub status: Standing,
    /// When it was first received.
    pub received_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_seen: DateTime<Utc>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// How often it was delivered again.
    pub repeats: u64,
    /// The runs that were made for it.
    pub runs: Vec<RunId>,
    /// The runbooks that matched and started nothing, for a reason that may pass.
    pub lost: BTreeSet<String>,
    /// Its decision trace.
    pub decisions: Vec<Decision>,
}

impl AlertRecord {
    /// The record that an `alert-received` event begins; `None` for any other event.
    #[must_use]
    pub fn begin(event: &Event) -> Option<Self> {
        let (Fact::AlertReceived(leaf, outside), Some(id)) = (&event.fact, &event.alert) else { return None };
        let outside = outside.get();
        let mut record = Self {
            id: id.clone(),
            source: leaf.source.clone(),
            alert: outside.map(|o| o.alert.clone()),
            status: match leaf.status {
                Status::Firing => Standing::Firing,
                Status::Resolved => Standing::Resolved,
            },
            received_at: event.at,
            last_seen: event.at,
            ended_at: None,
            repeats: 0,
            runs: outside.map(|o| o.runs.clone()).unwrap_or_default(),
            lost: BTreeSet::new(),
            decisions: outside.map(|o| o.decisions.clone()).unwrap_or_default(),
        };
        if let Some(outside) = outside {
            record.note_lost(&outside.decisions);
        }
        Some(record)
    }

    /// What the event makes of the record; events of other kinds leave it as it is.
    pub fn apply(&mut self, event: &Event) {
        match &event.fact {
            Fact::AlertRepeated(_, outside) => {
                self.repeats += 1;
                self.last_seen = event.at;
                if let Some(outside) = outside.get() {
                    self.runs.extend(outside.runs.iter().cloned());
                    self.note_lost(&outside.decisions);
                    self.trace(&outside.decisions);
                }
            }
            // Nobody sent it again: when it was last heard of stays as it is.
            Fact::AlertTakenUp(_, outside) => {
                if let Some(outside) = outside.get() {
                    self.runs.extend(outside.runs.iter().cloned());
                    self.note_lost(&outside.decisions);
                    self.trace(&outside.decisions);
                }
            }
            Fact::AlertResolved(leaf, _) => {
                self.status = Standing::Resolved;
                self.last_seen = event.at;
                self.ended_at = Some(leaf.ends_at.unwrap_or(event.at));
            }
            Fact::AlertStale(..) => {
                self.status = Standing::Stale;
                self.ended_at = Some(event.at);
            }
            _ => {}
        }
    }

    /// Which matches are lost, and which of the lost ones have started since.
    fn note_lost(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            match decision.result {
                Outcome::Refuse if may_pass(decision.code) => {
                    self.lost.insert(decision.subject.to_string());
                }
                Outcome::Pass if decision.stage == Stage::Dedup => {
                    self.lost.remove(decision.subject.as_str());
                }
                Outcome::Pass | Outcome::Refuse | Outcome::Ask => {}
            }
        }
    }

    /// The runbooks whose match was lost last to a window or a silence: they are taken up when it ends.
    #[must_use]
    pub fn lost_to_windows(&self) -> Vec<&str> {
        let lost = self.lost.iter().filter(|name| {
            let about = self.decisions.iter().filter(|decision| decision.subject == **name);
            let refusals = || about.clone().filter(|decision| decision.result == Outcome::Refuse);
            let last = refusals().map(|decision| decision.at).max();
            refusals().any(|decision| Some(decision.at) == last && is_quiet(decision.code))
        });
        lost.map(String::as_str).collect()
    }

    /// Adds to the trace; of repeats that decide nothing, only the last one stands there.
    fn trace(&mut self, decisions: &[Decision]) {
        let is_duplicate = |decision: &Decision| decision.code == Code::Duplicate;
        if let ([only], Some(last)) = (decisions, self.decisions.last_mut())
            && is_duplicate(only)
            && is_duplicate(last)
        {
            *last = only.clone();
            return;
        }
        keep_decisions(&mut self.decisions, decisions);
    }

    /// Whether it was last heard of longer than `stale_after` ago.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>, stale_after: TimeDelta) -> bool {
        self.status == Standing::Firing && now - self.last_seen > stale_after
    }
}

/// Whether a refusal is for a reason that passes by itself, so that the match is tried again with the next repeat.
#[must_use]
pub fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Busy
            | Code::Halt
            | Code::Limit
            | Code::PopulationUnknown
            | Code::Window
            | Code::Silence
            | Code::Breaker
            | Code::QueueFull
    )
}

/// Whether a refusal is a window's or a silence's, which end by themselves at a known time.
#[must_use]
pub fn is_quiet(code: Code) -> bool {
    matches!(code, Code::Window | Code::Silence)
}

/// What a delivered alert is to those received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A firing that was not known.
    New,
    /// The same firing again.
    Repeat,
    /// The end of a known firing.
    Resolves,
    /// The end of a firing that is over, or was never heard of.
    AlreadyOver,
}

/// The little that is needed of an alert to tell whether another delivery is the same firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: AlertId,
    /// Whether it still stands.
    pub status: Standing,
    /// Start of the firing, where the sender told.
    pub starts_at: Option<DateTime<Utc>>,
}

impl From<&AlertRecord> for Known {
    fn from(record: &AlertRecord) -> Self {
        Self {
            id: record.id.clone(),
            status: record.status,
            starts_at: record.alert.as_ref().and_then(|alert| alert.starts_at),
        }
    }
}

/// An alert is source, fingerprint and start of this firing; where the sender tells no start, the first firing
/// after a resolve. `known` is the latest one of the same source and fingerprint.
#[must_use]
pub fn identify(alert: &Alert, known: Option<&Known>) -> Identity {
    let same_start = |known: &Known| match (alert.starts_at, known.starts_at) {
        (Some(new), Some(old)) => new == old,
        _ => true,
    };
    // A late repeat of a firing that is known to be over starts nothing.
    let late_repeat = |known: &Known| known.starts_at.is_some() && alert.starts_at == known.starts_at;
    // What is said late about an earlier firing, of which nobody heard, says nothing about the known one.
    let earlier = |known: &Known| alert.starts_at.zip(known.starts_at).is_some_and(|(new, old)| new < old);
    match (alert.status, known) {
        (Status::Resolved, Some(known)) if earlier(known) => Identity::New,
        (Status::Firing, Some(known)) => match known.status {
            Standing::Firing if same_start(known) => Identity::Repeat,
            Standing::Resolved if late_repeat(known) => Identity::Repeat,
            Standing::Firing | Standing::Resolved | Standing::Stale => Identity::New,
        },
        (Status::Firing, None) => Identity::New,
        (Status::Resolved, Some(known)) if known.status != Standing::Resolved => Identity::Resolves,
        (Status::Resolved, _) => Identity::AlreadyOver,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::id::Digest;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn alert(status: Status, starts: Option<i64>) -> Alert {
        Alert {
            id: None,
            source: "s".to_owned(),
            fingerprint: "f".to_owned(),
            status,
            severity: Severity::Warning,
            title: None,
            description: None,
            service: None,
            target: None,
            labels: Default::default(),
            annotations: Default::default(),
            starts_at: starts.map(at),
            ends_at: None,
            links: Vec::new(),
            raw_digest: Digest::of(b""),
        }
    }

    fn record(status: Standing, starts: Option<i64>) -> AlertRecord {
        AlertRecord {
            id: AlertId::from_bits(1),
            source: "s".to_owned(),
            alert: Some(alert(Status::Firing, starts).into()),
            status,
            received_at: at(0),
            last_seen: at(0),
            ended_at: None,
            repeats: 0,
            runs: Vec::new(),
            lost: BTreeSet::new(),
            decisions: Vec::new(),
        }
    }

    #[test]
    fn an_alert_is_source_fingerprint_and_start() {
        let known = |status, starts| Some(record(status, starts));
        for (status, starts, known, wanted) in [
            (Status::Firing, Some(5), None, Identity::New),
            (Status::Firing, Some(5), known(Standing::Firing, Some(5)), Identity::Repeat),
            (Status::Firing, Some(6), known(Standing::Firing, Some(5)), Identity::New),
            (Status::Firing, None, known(Standing::Firing, None), Identity::Repeat),
            (Status::Firing, None, known(Standing::Resolved, None), Identity::New),
            (Status::Firing, Some(5), known(Standing::Resolved, Some(5)), Identity::Repeat),
            (Status::Firing, Some(5), known(Standing::Stale, Some(5)), Identity::New),
            (Status::Resolved, Some(5), known(Standing::Firing, Some(5)), Identity::Resolves),
            (Status::Resolved, Some(5), known(Standing::Stale, Some(5)), Identity::Resolves),
            (Status::Resolved, Some(4), known(Standing::Firing, Some(5)), Identity::New),
            (Status::Resolved, None, known(Standing::Firing, Some(5)), Identity::Resolves),
            (Status::Resolved, Some(5), known(Standing::Resolved, Some(5)), Identity::AlreadyOver),
            (Status::Resolved, Some(5), None, Identity::AlreadyOver),
            (Status::Resolved, Some(4), known(Standing::Firing, Some(5)), Identity::New),
            (Status::Resolved, Some(6), known(Standing::Firing, Some(5)), Identity::Resolves),
        ] {
            assert_eq!(
                identify(&alert(status, starts), known.as_ref().map(Known::from).as_ref()),
                wanted,
                "{status:?} {starts:?} {known:?}"
            );
        }
    }

    #[test]
    fn a_match_lost_to_a_window_is_known_until_something_else_loses_it() {
        let mut record = record(Standing::Firing, None);
        let mut taken_up = |second, code, stage| {
            let decision = Decision::refuse(at(second), stage, "r", code, "no");
            let outside = crate::event::payload::AlertTakenUp { decisions: vec![decision], runs: Vec::new() };
            let fact =
                Fact::AlertTakenUp(crate::event::AlertTakenUp {}, crate::event::Outside::Kept(outside));
            record.apply(&Event { at: at(second), run: None, alert: Some(record.id.clone()), fact });
            (record.lost_to_windows() == ["r"], record.lost.contains("r"), record.repeats, record.last_seen)
        };
        assert_eq!(taken_up(1, Code::Window, Stage::Window), (true, true, 0, at(0)));
        assert_eq!(taken_up(2, Code::Silence, Stage::Window), (true, true, 0, at(0)));
        assert_eq!(taken_up(3, Code::Limit, Stage::Limit), (false, true, 0, at(0)));
    }

    #[test]
    fn goes_stale_only_while_it_fires() {
        let day = TimeDelta::hours(12);
        assert!(record(Standing::Firing, None).is_stale(at(43_201), day));
        assert!(!record(Standing::Firing, None).is_stale(at(43_200), day));
        assert!(!record(Standing::Resolved, None).is_stale(at(99_999), day));
    }
}
