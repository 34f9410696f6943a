//! Moves on the ladder, and out of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::settings::MOST_RUNS;
use crate::id::RunId;
use crate::policy::facts::Standing;

/// The most moves that a record keeps: the newest.
pub(super) const MOST_MOVES: usize = 100;

/// The longest reason that it keeps, in bytes.
const MOST_REASON: usize = 1_000;

/// Why a plugin moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was installed.
    Installed,
    /// It succeeded too seldom.
    Rate,
    /// It was demoted too often.
    Demotions,
    /// A person reinstated it.
    Reinstated,
    /// A person revoked it.
    Revoked,
}

/// One move on the ladder, or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// When.
    pub at: DateTime<Utc>,
    /// Where it stood; `None` before its installation.
    pub from: Option<Standing>,
    /// Where it stands.
    pub to: Standing,
    /// Why, for programs.
    pub cause: Cause,
    /// Why, for people: the numbers, or the person's reason.
    pub message: String,
    /// The person, if one did it.
    pub by: Option<String>,
    /// The runs that caused it.
    pub runs: Vec<RunId>,
}

impl Move {
    /// Whether its runs brought it down.
    #[must_use]
    pub fn is_demotion(&self) -> bool {
        matches!(self.cause, Cause::Rate | Cause::Demotions)
    }
}

/// A move that a person asked for and that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// They did not say why.
    #[error("a reason is needed")]
    NoReason,
    /// There is no higher step.
    #[error("it stands at automatic already, the highest step")]
    AtTop,
    /// It is out of service by a person's hand already.
    #[error("it is revoked already")]
    Revoked,
    /// First runs that need approval were asked for where every run needs it.
    #[error("the next step up is {}, where every run needs approval or does nothing; a canary is for automatic", .0.as_str())]
    NoCanary(Standing),
    /// More first runs than are counted.
    #[error("a canary is from 0 to {MOST_RUNS} runs")]
    CanaryTooLong,
}

pub(super) fn step_down(standing: Standing) -> Option<Standing> {
    match standing {
        Standing::Automatic => Some(Standing::Approve),
        Standing::Approve => Some(Standing::Observe),
        Standing::Observe | Standing::Deprecated | Standing::Revoked => None,
    }
}

pub(super) fn why(reason: &str) -> Result<String, MoveError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(MoveError::NoReason);
    }
    let end = reason.floor_char_boundary(MOST_REASON);
    Ok(reason.get(..end).unwrap_or(reason).to_owned())
}
