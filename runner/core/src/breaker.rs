//! Circuit breakers: what does not help is not done again and again.
//!
//! There is one for each plugin and target, and one for each plugin; the same machine, with other settings.
//!
//! ```text
//!            enough failures in the window, or by hand
//!   closed ------------------------------------------------> open  (longer each time, up to a bound)
//!      ^                                                      | ^
//!      |  so many good trials          the cooldown is over   | |  a trial failed
//!      +--------------------------- half-open <---------------+ |
//!                                      +------------------------+
//!                                  one trial at a time
//! ```
//!
//! What a run's end says is judged at the end of the run, by its verdict, and never when it is started. Failures
//! that come in while it is open change nothing: the cooldown runs on. Opened by hand it stays open until a
//! person closes it.
//!
//! Never here: whose breaker it is. The shell keeps one [`Breaker`] for each and stores it as a row.

mod settings;

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use settings::{BreakerSettings, Settings, read};

use crate::decision::{Code, Decision, Reason, Stage};
use crate::id::RunId;
use crate::policy::duration;
use crate::run::Outcome;

/// The most results that a breaker remembers: the newest.
pub const MOST_RESULTS: usize = 256;

/// The longest comment that it keeps, in bytes.
const MOST_COMMENT: usize = 1_000;

/// What a run's end says about the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It helped.
    Good,
    /// It did not.
    Bad,
    /// Nothing: it did not come to act, or nobody can tell. A trial that ends so makes room for another.
    Neither,
}

impl Grade {
    /// What the end of a run says. `code` is that of its reason: a failure of the host itself is not the plugin's.
    #[must_use]
    pub fn of(outcome: Outcome, code: Code) -> Self {
        match outcome {
            Outcome::Fixed | Outcome::Done => Self::Good,
            Outcome::Failed if matches!(code, Code::Internal | Code::Journal) => Self::Neither,
            Outcome::NotFixed | Outcome::Failed => Self::Bad,
            Outcome::Unknown
            | Outcome::Observed
            | Outcome::Refused
            | Outcome::Rejected
            | Outcome::Expired
            | Outcome::Cancelled => Self::Neither,
        }
    }
}

/// One result that it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// When the run ended.
    pub at: DateTime<Utc>,
    /// The run.
    pub run: RunId,
    /// Whether it helped.
    pub good: bool,
}

/// Where a breaker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// Everything passes.
    Closed {},
    /// Nothing passes.
    Open {
        /// When it opened.
        since: DateTime<Utc>,
        /// When trials begin. `None`: a person opened it, and a person closes it.
        until: Option<DateTime<Utc>>,
        /// Why it opened.
        why: String,
    },
    /// One run at a time may try.
    HalfOpen {
        /// When the first trial began.
        since: DateTime<Utc>,
        /// How many trials in a row were good.
        good: u32,
        /// The run that tries now.
        trial: Option<RunId>,
        /// Why it had opened.
        why: String,
    },
}

impl State {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Closed {} => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

/// A change of state: something to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// When.
    pub at: DateTime<Utc>,
    /// The state that it left.
    pub from: &'static str,
    /// The state that it is in.
    pub to: &'static str,
    /// Why, in a sentence.
    pub why: String,
}

/// Something may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Whether it is the one trial of a half-open breaker.
    pub trial: bool,
}

impl Pass {
    /// The entry of the decision trace.
    #[must_use]
    pub fn decision(self, at: DateTime<Utc>, subject: &str) -> Decision {
        let message =
            if self.trial { "the breaker is half-open: this is the trial" } else { "the breaker is closed" };
        Decision::pass(at, Stage::Breaker, subject, message)
    }
}

/// One circuit breaker. A row that is stored with the events that change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    state: State,
    results: VecDeque<Recorded>,
    /// How often it opened since it was last closed: each time doubles the cooldown.
    opened: u32,
    latest: Option<DateTime<Utc>>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed {}, results: VecDeque::new(), opened: 0, latest: None }
    }
}

impl Breaker {
    /// A closed one that remembers nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it is, as it was last changed; an open one whose cooldown is over is still shown as open, until a
    /// run tries.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The results that it remembers, oldest first.
    pub fn results(&self) -> impl Iterator<Item = &Recorded> {
        self.results.iter()
    }

    /// Whether it says no more than a new one would, so that its row can be dropped.
    #[must_use]
    pub fn is_idle(&self, now: DateTime<Utc>, settings: &Settings) -> bool {
        let start = duration::before(self.time(now), settings.window);
        matches!(self.state, State::Closed {}) && self.results.iter().all(|result| result.at <= start)
    }

    fn time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.latest.map_or(now, |latest| latest.max(now))
    }

    fn tick(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now = self.time(now);
        self.latest = Some(now);
        now
    }

    /// Whether a run may pass now. Changes nothing: for the pre-gate, a backtest and explanations.
    ///
    /// # Errors
    /// The breaker's reason: why it is open, and since and until when.
    pub fn ask(&self, now: DateTime<Utc>, run: &RunId) -> Result<Pass, Reason> {
        let now = self.time(now);
        let refuse = |message: String| Err(Reason::new(Code::Breaker, message));
        match &self.state {
            State::Closed {} => Ok(Pass { trial: false }),
            State::Open { until: None, why, .. } => refuse(format!("open until a person closes it: {why}")),
            State::Open { until: Some(until), why, .. } if now < *until => {
                refuse(format!("open: {why}; a trial is let through at {}", duration::say(*until, now)))
            }
            State::HalfOpen { trial: Some(other), why, .. } if other != run => {
                refuse(format!("half-open, and run {other} tries already; it had opened because {why}"))
            }
            State::Open { .. } | State::HalfOpen { .. } => Ok(Pass { trial: true }),
        }
    }

    /// Lets a run pass that is about to act: where the breaker is half-open, the run takes the one trial. Asked
    /// in the transaction that makes the act permit; every run that passed so is recorded when it ends.
    ///
    /// # Errors
    /// As [`Breaker::ask`]. Then nothing changed.
    pub fn begin(&mut self, now: DateTime<Utc>, run: &RunId) -> Result<(Pass, Option<Move>), Reason> {
        let now = self.tick(now);
        let pass = self.ask(now, run)?;
        if !pass.trial {
            return Ok((pass, None));
        }
        match &mut self.state {
            State::HalfOpen { trial, .. } => {
                *trial = Some(run.clone());
                Ok((pass, None))
            }
            State::Open { why, .. } => {
                let why = std::mem::take(why);
                let next = State::HalfOpen { since: now, good: 0, trial: Some(run.clone()), why };
                let moved = self.enter(now, next, "the cooldown is over".to_owned());
                Ok((pass, Some(moved)))
            }
            State::Closed {} => Ok((pass, None)),
        }
    }

    /// Records the end of a run that had passed, whatever became of it.
    pub fn record(
        &mut self,
        settings: &Settings,
        now: DateTime<Utc>,
        run: &RunId,
        grade: Grade,
    ) -> Option<Move> {
        self.record_as(settings, now, (run, grade), "did not fix it or failed")
    }

    /// As [`Breaker::record`]; `bad` says what those runs have in common that count against it.
    pub fn record_as(
        &mut self,
        settings: &Settings,
        now: DateTime<Utc>,
        (run, grade): (&RunId, Grade),
        bad: &str,
    ) -> Option<Move> {
        let now = self.tick(now);
        if self.results.iter().any(|known| known.run == *run) {
            return None;
        }
        match &mut self.state {
            State::Open { .. } => None,
            State::HalfOpen { trial, .. } if trial.as_ref() != Some(run) => None,
            State::HalfOpen { trial, good, why, .. } => {
                *trial = None;
                match grade {
                    Grade::Neither => None,
                    Grade::Good => {
                        *good = good.saturating_add(1);
                        let good = *good;
                        (good >= settings.successes)
                            .then(|| self.close(now, format!("{good} trials were good")))
                    }
                    Grade::Bad => {
                        let why = format!("the trial of run {run} failed; before: {}", last_cause(why));
                        Some(self.open(settings, now, why))
                    }
                }
            }
            State::Closed {} if grade == Grade::Neither => None,
            State::Closed {} => {
                self.remember(settings, now, run, grade == Grade::Good);
                let why = self.fault(settings, bad)?;
                Some(self.open(settings, now, why))
            }
        }
    }

    fn remember(&mut self, settings: &Settings, now: DateTime<Utc>, run: &RunId, good: bool) {
        let start = duration::before(now, settings.window);
        self.results.retain(|result| result.at > start);
        self.results.push_back(Recorded { at: now, run: run.clone(), good });
        if self.results.len() > MOST_RESULTS {
            self.results.pop_front();
        }
    }

    /// Why it must open, if it must: enough failures, in enough runs, that are a large enough part of them.
    fn fault(&self, settings: &Settings, what: &str) -> Option<String> {
        let runs = self.results.len();
        let bad = self.results.iter().filter(|result| !result.good).count();
        let opens = bad >= settings.failures as usize
            && runs >= settings.sample as usize
            && bad.saturating_mul(100) >= runs.saturating_mul(usize::from(settings.failure_rate));
        opens.then(|| {
            let window = duration::print(settings.window);
            format!("{bad} of {runs} runs within {window} {what}")
        })
    }

    fn open(&mut self, settings: &Settings, now: DateTime<Utc>, why: String) -> Move {
        self.opened = self.opened.saturating_add(1);
        let until = Some(duration::after(now, settings.cooldown_after(self.opened)));
        self.results.clear();
        self.enter(now, State::Open { since: now, until, why: why.clone() }, why)
    }

    fn close(&mut self, now: DateTime<Utc>, why: String) -> Move {
        self.opened = 0;
        self.results.clear();
        self.enter(now, State::Closed {}, why)
    }

    fn enter(&mut self, at: DateTime<Utc>, next: State, why: String) -> Move {
        let from = std::mem::replace(&mut self.state, next).as_str();
        Move { at, from, to: self.state.as_str(), why }
    }

    /// Opens it by hand, until it is closed by hand.
    ///
    /// # Errors
    /// When there is no reason.
    pub fn trip(&mut self, now: DateTime<Utc>, by: &str, reason: &str) -> Result<Move, NoReason> {
        let why = by_hand("opened", by, reason)?;
        let now = self.tick(now);
        self.results.clear();
        Ok(self.enter(now, State::Open { since: now, until: None, why: why.clone() }, why))
    }

    /// Closes it by hand; what happened before no longer counts.
    ///
    /// # Errors
    /// When there is no reason.
    pub fn reset(&mut self, now: DateTime<Utc>, by: &str, reason: &str) -> Result<Move, NoReason> {
        let why = by_hand("closed", by, reason)?;
        let now = self.tick(now);
        Ok(self.close(now, why))
    }
}

/// A person moved a breaker and did not say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reason is needed")]
pub struct NoReason;

fn by_hand(done: &str, by: &str, reason: &str) -> Result<String, NoReason> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(NoReason);
    }
    let end = reason.floor_char_boundary(MOST_COMMENT);
    Ok(format!("{by} {done} it: {}", reason.get(..end).unwrap_or(reason)))
}

/// The first cause of a sentence that may name earlier ones, so that sentences do not grow with each trial.
fn last_cause(why: &str) -> &str {
    why.split_once("; before: ").map_or(why, |(_, first)| first)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
