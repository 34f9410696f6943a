//! What a record says to people and programs.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::count::{Class, Intervention};
use super::moves::Move;
use super::record::{Counted, Record};
use super::settings::Settings;
use super::wilson::{Interval, interval};
use crate::id::{Digest, RunId};
use crate::policy::duration;
use crate::policy::facts::Standing;

/// What a record says, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The plugin's name.
    pub plugin: String,
    /// Its exact bytes.
    pub digest: Digest,
    /// Where it stands.
    pub standing: Standing,
    /// What it is treated as: lower than its standing while it is a canary.
    pub in_force: Standing,
    /// How many runs need approval still, although it stands at `automatic`.
    pub canary: u32,
    /// Since when runs count.
    pub since: DateTime<Utc>,
    /// The success rate with its 95 % interval; `None` without a counted run.
    pub rate: Option<Interval>,
    /// How many runs count.
    pub sample: u32,
    /// Those that fixed it.
    pub fixed: u32,
    /// Those that did not, also because a person had to step in.
    pub not_fixed: u32,
    /// Those of them that had fixed it until a person had to step in, or the alert fired again.
    pub intervened: Vec<Intervened>,
    /// Those in which the plugin trapped.
    pub trapped: u32,
    /// Those of which nobody can tell. Not counted.
    pub unknown: u32,
    /// Those that failed while most plugins did. Not counted.
    pub excused: u32,
    /// Its moves, newest first.
    pub moves: Vec<Move>,
}

/// A run that was thought to have fixed it, and what happened after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intervened {
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What happened.
    pub how: Intervention,
}

impl Record {
    /// What it says now.
    #[must_use]
    pub fn report(&self, settings: &Settings, now: DateTime<Utc>) -> Report {
        let now = self.latest.max(now);
        let (fixed, sample) = self.tally(settings, now);
        let start = duration::before(now, settings.within);
        // What was before the last move is told by the move.
        let count = |wanted: &dyn Fn(&Counted) -> bool| {
            let found = self.runs.iter().filter(|run| !run.past && run.at > start && wanted(run)).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        let trapped = count(&|run| run.counts() && run.class == Class::Trapped);
        Report {
            plugin: self.plugin.clone(),
            digest: self.digest,
            standing: self.standing,
            in_force: self.in_force(),
            canary: self.canary,
            since: self.since,
            rate: interval(fixed, sample),
            sample,
            fixed,
            not_fixed: sample.saturating_sub(fixed).saturating_sub(trapped),
            intervened: self
                .runs
                .iter()
                .filter(|run| run.counts() && run.at > start)
                .filter_map(turned)
                .collect(),
            trapped,
            unknown: count(&|run| run.class == Class::Unknown),
            excused: count(&|run| run.excused),
            moves: self.moves.iter().rev().cloned().collect(),
        }
    }
}

fn turned(run: &Counted) -> Option<Intervened> {
    Some(Intervened { run: run.run.clone(), at: run.at, how: run.intervention? })
}
