//! The record of one plugin version: where it stands, what its runs came to, and how it moved.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::count::{Class, Ended, Intervention, classify};
use super::moves::{Cause, MOST_MOVES, Move, MoveError, step_down, why};
use super::settings::{MOST_RUNS, Settings};
use super::wilson::{Interval, interval};
use crate::id::{Digest, RunId};
use crate::policy::duration;
use crate::policy::facts::Standing;

/// One run that it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What it came to.
    pub class: Class,
    /// Whether it failed while most plugins did, and is not held against this one.
    pub excused: bool,
    /// What happened after it that turned its `fixed` into a `not-fixed`.
    pub intervention: Option<Intervention>,
    /// Whether the plugin moved since it began: then it was judged, or forgiven, with that move.
    pub past: bool,
}

impl Counted {
    pub(super) fn is_good(&self) -> bool {
        self.class == Class::Fixed && self.intervention.is_none()
    }

    pub(super) fn is_bad(&self) -> bool {
        self.class.counts() && !self.is_good()
    }

    pub(super) fn counts(&self) -> bool {
        self.class.counts() && !self.excused && !self.past
    }

    fn would_turn(&self, settings: &Settings, now: DateTime<Utc>, run: &RunId) -> bool {
        let earliest = duration::before(now, settings.fires_again_within);
        self.run == *run && self.is_good() && !self.past && self.at >= earliest
    }
}

/// The record of one plugin version. A row that is stored with the events that change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub(super) plugin: String,
    pub(super) digest: Digest,
    pub(super) standing: Standing,
    /// Runs that began earlier do not count.
    pub(super) since: DateTime<Utc>,
    pub(super) runs: VecDeque<Counted>,
    pub(super) moves: VecDeque<Move>,
    /// How many runs need approval still, although it stands at `automatic`.
    pub(super) canary: u32,
    pub(super) latest: DateTime<Utc>,
}

impl Record {
    /// The record of a version that is installed now. It starts at the lower of where its predecessor stands and
    /// the initial standing, unless a person chose another; `chosen` is that standing, who, and why.
    ///
    /// # Errors
    /// When a person chose and gave no reason.
    pub fn begin(
        settings: &Settings,
        now: DateTime<Utc>,
        plugin: &str,
        digest: Digest,
        predecessor: Option<Standing>,
        chosen: Option<(Standing, &str, &str)>,
    ) -> Result<Self, MoveError> {
        let (standing, message, by) = match (chosen, predecessor) {
            (Some((standing, by, reason)), _) => (standing, why(reason)?, Some(by.to_owned())),
            (None, Some(before)) => {
                let standing = before.lower(settings.initial);
                let (before, initial) = (before.as_str(), settings.initial.as_str());
                (standing, format!("the lower of its predecessor's {before} and the initial {initial}"), None)
            }
            (None, None) => (settings.initial, "the initial standing".to_owned(), None),
        };
        let cause = Cause::Installed;
        let begun = Move { at: now, from: None, to: standing, cause, message, by, runs: Vec::new() };
        Ok(Self {
            plugin: plugin.to_owned(),
            digest,
            standing,
            since: now,
            runs: VecDeque::new(),
            moves: VecDeque::from([begun]),
            canary: 0,
            latest: now,
        })
    }

    /// The plugin's name.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Its exact bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What decisions are to treat it as: a canary needs approval.
    #[must_use]
    pub fn in_force(&self) -> Standing {
        if self.canary > 0 { self.standing.lower(Standing::Approve) } else { self.standing }
    }

    /// Its moves, oldest first.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.moves.iter()
    }

    fn tick(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Notes the end of a run, and moves down if that is one too many. `outage`: what [`outage`] says.
    pub fn note(
        &mut self,
        settings: &Settings,
        now: DateTime<Utc>,
        ended: &Ended,
        outage: bool,
    ) -> Option<&Move> {
        let now = self.tick(now);
        let class = classify(ended)?;
        if self.runs.iter().any(|known| known.run == ended.run) {
            return None;
        }
        let past = ended.began_at < self.since;
        let (run, at) = (ended.run.clone(), ended.ended_at);
        let mut counted = Counted { run, at, class, excused: false, intervention: None, past };
        counted.excused = outage && counted.is_bad();
        self.runs.push_back(counted);
        // What does not count moves nothing, also no demotion that an outage held back.
        if past || !class.counts() {
            self.trim(settings, now);
            return None;
        }
        self.canary = self.canary.saturating_sub(1);
        self.judge(settings, now, outage)
    }

    /// Whether what happens now, after a run, would turn its `fixed` into a `not-fixed`.
    #[must_use]
    pub fn would_turn(&self, settings: &Settings, now: DateTime<Utc>, run: &RunId) -> bool {
        let now = self.latest.max(now);
        self.runs.iter().any(|known| known.would_turn(settings, now, run))
    }

    /// Notes what happened after a run: if it was counted as `fixed` and ended not too long ago, it no longer is.
    pub fn intervened(
        &mut self,
        settings: &Settings,
        now: DateTime<Utc>,
        run: &RunId,
        how: Intervention,
        outage: bool,
    ) -> Option<&Move> {
        let now = self.tick(now);
        let turned = self.runs.iter_mut().find(|known| known.would_turn(settings, now, run))?;
        turned.intervention = Some(how);
        turned.excused = outage;
        self.judge(settings, now, outage)
    }

    fn judge(&mut self, settings: &Settings, now: DateTime<Utc>, outage: bool) -> Option<&Move> {
        self.trim(settings, now);
        if outage || self.standing.autonomy().is_none() {
            return None;
        }
        let (fixed, sample) = self.tally(settings, now);
        if sample < settings.sample {
            return None;
        }
        let Interval { high, .. } = interval(fixed, sample)?;
        let below = |percent: u8| high * 100.0 < f64::from(percent);
        if !below(settings.demote_below) {
            return None;
        }
        let start = duration::before(now, settings.demotions_within);
        let earlier = self.moves.iter().filter(|earlier| earlier.is_demotion() && earlier.at > start).count();
        let rate = format!(
            "{fixed} of {sample} runs fixed it: with 95 % confidence at most {:.1} % do",
            (high * 1000.0).floor() / 10.0
        );
        let (to, cause, message) = if below(settings.deprecate_below) {
            let message = format!("{rate}, and below {} % it is deprecated", settings.deprecate_below);
            (Standing::Deprecated, Cause::Rate, message)
        } else if earlier + 1 >= settings.demotions as usize {
            let within = duration::print(settings.demotions_within);
            let message = format!("{rate}, which is demotion {} within {within}", earlier + 1);
            (Standing::Deprecated, Cause::Demotions, message)
        } else {
            let message = format!("{rate}, and {} % must", settings.demote_below);
            (step_down(self.standing)?, Cause::Rate, message)
        };
        let runs = self.runs.iter().filter(|run| run.counts() && run.is_bad()).map(|run| run.run.clone());
        let runs = runs.collect();
        Some(self.go(now, to, cause, message, None, runs))
    }

    /// Forgets what cannot count any more: too old, or more than are counted.
    fn trim(&mut self, settings: &Settings, now: DateTime<Utc>) {
        let start = duration::before(now, settings.within);
        self.runs.retain(|run| run.at > start);
        for counting in [true, false] {
            let of_kind = |run: &Counted| run.counts() == counting;
            let mut excess = self.runs.iter().filter(|run| of_kind(run)).count();
            self.runs.retain(|run| {
                let drop = of_kind(run) && excess > settings.runs as usize;
                excess -= usize::from(drop);
                !drop
            });
        }
    }

    /// How many runs fixed it, and how many count.
    pub(super) fn tally(&self, settings: &Settings, now: DateTime<Utc>) -> (u32, u32) {
        let start = duration::before(now, settings.within);
        let counting = self.runs.iter().rev().filter(|run| run.counts() && run.at > start);
        counting
            .take(settings.runs as usize)
            .fold((0, 0), |(good, sample), run| (good + u32::from(run.is_good()), sample + 1))
    }

    fn go(
        &mut self,
        at: DateTime<Utc>,
        to: Standing,
        cause: Cause,
        message: String,
        by: Option<String>,
        runs: Vec<RunId>,
    ) -> &Move {
        let from = Some(std::mem::replace(&mut self.standing, to));
        self.since = at;
        for run in &mut self.runs {
            run.past = true;
        }
        self.canary = 0;
        if self.moves.len() >= MOST_MOVES {
            self.moves.pop_front();
        }
        self.moves.push_back(Move { at, from, to, cause, message, by, runs });
        self.moves.back().expect("a move was just put there")
    }

    /// One step up, by a person: back to `observe` from out of the ladder, then `approve`, then `automatic`, where
    /// its first runs need approval still: so many as the person says, else as the settings do.
    ///
    /// # Errors
    /// When there is no reason, or no higher step; when runs are to need approval that need it anyway.
    pub fn reinstate(
        &mut self,
        settings: &Settings,
        now: DateTime<Utc>,
        by: &str,
        reason: &str,
        canary: Option<u32>,
    ) -> Result<&Move, MoveError> {
        let message = why(reason)?;
        let to = match self.standing {
            Standing::Revoked | Standing::Deprecated => Standing::Observe,
            Standing::Observe => Standing::Approve,
            Standing::Approve => Standing::Automatic,
            Standing::Automatic => return Err(MoveError::AtTop),
        };
        if let Some(canary) = canary {
            if canary > MOST_RUNS {
                return Err(MoveError::CanaryTooLong);
            }
            if to != Standing::Automatic {
                return Err(MoveError::NoCanary(to));
            }
        }
        let now = self.tick(now);
        self.go(now, to, Cause::Reinstated, message, Some(by.to_owned()), Vec::new());
        self.canary = if to == Standing::Automatic { canary.unwrap_or(settings.canary) } else { 0 };
        Ok(self.moves.back().expect("a move was just put there"))
    }

    /// Takes it out of service.
    ///
    /// # Errors
    /// When there is no reason, or it is revoked already.
    pub fn revoke(&mut self, now: DateTime<Utc>, by: &str, reason: &str) -> Result<&Move, MoveError> {
        let message = why(reason)?;
        if self.standing == Standing::Revoked {
            return Err(MoveError::Revoked);
        }
        let now = self.tick(now);
        Ok(self.go(now, Standing::Revoked, Cause::Revoked, message, Some(by.to_owned()), Vec::new()))
    }
}
