//! What a backtest comes to in numbers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Decided, Heard, Judged, Rehearsed};

/// How often a runbook, or all of them, came to what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Acted alone.
    pub act: u64,
    /// Asked people.
    pub ask: u64,
    /// Planned and no more.
    pub observe: u64,
    /// Refused.
    pub refuse: u64,
    /// Why they were refused, by the code.
    pub refused_by: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn note(&mut self, run: &Rehearsed) {
        match run.decided {
            Decided::Act => self.act += 1,
            Decided::Ask => self.ask += 1,
            Decided::Observe => self.observe += 1,
            Decided::Refuse => {
                self.refuse += 1;
                *self.refused_by.entry(run.code.as_str()).or_default() += 1;
            }
            Decided::NoMatch | Decided::Duplicate | Decided::Resolved => {}
        }
    }
}

/// What all alerts of a backtest came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many alerts were heard.
    pub alerts: u64,
    /// Of them, firings that were not known.
    pub new: u64,
    /// Of them, repeats.
    pub repeats: u64,
    /// Of them, ends.
    pub resolved: u64,
    /// How many alerts were tried again when a window or silence ended.
    pub taken_up: u64,
    /// The new ones, and those tried again, that at least one runbook answered to.
    pub matched: u64,
    /// The new ones that no runbook answered to.
    pub unmatched: u64,
    /// What runbooks came to, all together.
    pub decided: Counts,
    /// The same for each runbook that answered.
    pub runbooks: BTreeMap<String, Counts>,
    /// The time of the first decision.
    pub from: Option<DateTime<Utc>>,
    /// The time of the last one.
    pub until: Option<DateTime<Utc>>,
}

impl Summary {
    /// Counts what came of an alert.
    pub fn note(&mut self, judged: &Judged) {
        match judged.heard {
            Heard::New => self.new += 1,
            Heard::Repeat => self.repeats += 1,
            Heard::Resolved => self.resolved += 1,
            Heard::TakenUp => self.taken_up += 1,
        }
        self.alerts += u64::from(judged.heard != Heard::TakenUp);
        self.matched += u64::from(!judged.runbooks.is_empty());
        self.unmatched += u64::from(judged.decided == Decided::NoMatch);
        for run in &judged.runbooks {
            self.decided.note(run);
            match self.runbooks.get_mut(&run.runbook) {
                Some(counts) => counts.note(run),
                None => self.runbooks.entry(run.runbook.clone()).or_default().note(run),
            }
        }
        self.from = self.from.or(Some(judged.at));
        self.until = self.until.max(Some(judged.at));
    }
}
