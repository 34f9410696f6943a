//! What a storm holds: the runs that wait for people because of it, as one question for all of them.
//!
//! Nothing of it is stored. Which storm a run is held by stands in its decision trace; who belongs together is
//! gathered from the runs that wait now. An answer is about exactly the runs and plans that were shown, which is what
//! the [digest](HeldStorm::digest) is over; and it is one ordinary approval, or no, for each of the runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::judge::{LimitName, Refusal};
use super::storm::ALL_RUNBOOKS;
use crate::decision::{Code, Decision, Outcome};
use crate::id::{Digest, RunId};
use crate::run::{Run, State};

/// The most runs that one question is about: the oldest. The others are shown when these have been answered.
pub const MOST_HELD: usize = 500;

/// Whose storm brake it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StormId {
    /// The one over everything.
    All,
    /// A runbook's own.
    Runbook(String),
}

impl fmt::Display for StormId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Runbook(name) => write!(f, "runbook={name}"),
        }
    }
}

/// A text that is no name of a storm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no storm; `all` and `runbook=NAME` are valid")]
pub struct NoStormId(String);

impl FromStr for StormId {
    type Err = NoStormId;

    fn from_str(text: &str) -> Result<Self, NoStormId> {
        match text.strip_prefix("runbook=") {
            Some(name) if !name.is_empty() => Ok(Self::Runbook(name.to_owned())),
            None if text == "all" => Ok(Self::All),
            Some(_) | None => Err(NoStormId(text.chars().take(80).collect())),
        }
    }
}

/// The storm that stands in the trace of a run, the latest one, and what was said of it.
#[must_use]
pub fn storm_of(run: &Run) -> Option<(StormId, &Decision)> {
    let asks = |said: &&Decision| said.code == Code::Storm && said.result == Outcome::Ask;
    let said = run.decisions.iter().rev().find(asks)?;
    let id =
        if said.subject == ALL_RUNBOOKS { StormId::All } else { StormId::Runbook(said.subject.to_string()) };
    Some((id, said))
}

/// One run that a storm holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRun {
    /// The run.
    pub run: RunId,
    /// Its runbook.
    pub runbook: String,
    /// What it is about.
    pub target: Option<String>,
    /// The plan that is shown.
    pub plan: Digest,
    /// How many effects the plan has, without those of an undo.
    pub effects: usize,
    /// When its question expires.
    pub expires: DateTime<Utc>,
}

impl HeldRun {
    /// The run as one that waits for people now; `None` where it asks nobody, or somebody has it in hand.
    fn of(run: &Run, now: DateTime<Utc>) -> Option<Self> {
        let ask = run.ask.as_ref().filter(|ask| now < ask.expires)?;
        if run.state != State::Waiting || run.held.is_some() {
            return None;
        }
        Some(Self {
            run: run.id.clone(),
            runbook: run.runbook.clone(),
            target: run.target.clone(),
            plan: run.plan?,
            effects: run.steps.iter().map(|step| step.effects.len()).sum(),
            expires: ask.expires,
        })
    }
}

/// The runs that one storm holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldStorm {
    /// Whose brake it is.
    pub id: StormId,
    /// What was said of it last.
    pub question: String,
    /// When the first of the runs was held.
    pub since: DateTime<Utc>,
    /// The runs, oldest first.
    pub runs: Vec<HeldRun>,
    /// How many more there are than one question is about.
    pub left_out: usize,
}

impl HeldStorm {
    /// What an answer is about: SHA-256 over the storm's name and, in order, each run with the digest of its plan,
    /// a line each.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut pairs: Vec<String> =
            self.runs.iter().map(|held| format!("{} {}\n", held.run, held.plan)).collect();
        pairs.sort_unstable();
        Digest::of(format!("storm {}\n{}", self.id, pairs.concat()).as_bytes())
    }

    /// All effects of all plans.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.runs.iter().map(|held| held.effects).sum()
    }
}

/// Gathers what storms hold, by their names. `asks`: whether a run still lacks what its gate wants; one that was
/// approved by enough people goes on by itself.
pub fn held<'a>(
    runs: impl IntoIterator<Item = &'a Run>,
    now: DateTime<Utc>,
    mut asks: impl FnMut(&Run) -> bool,
) -> Vec<HeldStorm> {
    let mut storms: BTreeMap<StormId, (HeldStorm, DateTime<Utc>)> = BTreeMap::new();
    for run in runs {
        let (Some((id, said)), Some(held)) = (storm_of(run), HeldRun::of(run, now)) else { continue };
        if !asks(run) {
            continue;
        }
        let begun = || {
            let (question, since) = (said.message.to_string(), said.at);
            (HeldStorm { id: id.clone(), question, since, runs: Vec::new(), left_out: 0 }, said.at)
        };
        let (storm, latest) = storms.entry(id.clone()).or_insert_with(begun);
        storm.since = storm.since.min(said.at);
        if said.at > *latest {
            *latest = said.at;
            storm.question = said.message.to_string();
        }
        storm.runs.push(held);
    }
    let mut storms: Vec<HeldStorm> = storms.into_values().map(|(storm, _)| storm).collect();
    for storm in &mut storms {
        // Ids begin with the time.
        storm.runs.sort_unstable_by(|one, other| one.run.cmp(&other.run));
        storm.left_out = storm.runs.len().saturating_sub(MOST_HELD);
        storm.runs.truncate(MOST_HELD);
    }
    storms
}

/// Whether a run that was approved as one of a storm waits for room instead of being refused: where a limit on what
/// happens at once says no, and others of the storm will end.
#[must_use]
pub fn waits_for_room(run: &Run, refusal: &Refusal) -> bool {
    let at_once = matches!(
        refusal.limit,
        LimitName::Concurrent | LimitName::ConcurrentTargets | LimitName::AtLeastHealthy
    );
    at_once && refusal.code == Code::Limit && run.approvals.iter().any(|approval| approval.storm.is_some())
}

#[cfg(test)]
mod tests;
