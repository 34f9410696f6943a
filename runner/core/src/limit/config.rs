//! What operators write under `limits:`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::duration;

/// The longest window of a rate, cooldown or storm: a month. What lies within a window is kept in memory.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 86_400);

/// The largest number that a limit may name.
pub(super) const MOST: u32 = 1_000_000;

/// At most so many actions in any window of this length: `1 per 10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How many. At least one.
    pub most: u32,
    /// The length of the window. Longer than nothing, at most 31 days.
    pub per: Duration,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It does not have the form.
    #[error("{0:?} is not a rate; write a number and a duration, as in 1 per 10m or 30 per 1h")]
    Form(String),
    /// The number is out of bounds.
    #[error("{0:?} must allow from 1 to {MOST} actions; what may not act at all has autonomy: observe")]
    Number(String),
    /// The duration is out of bounds.
    #[error("{0:?} must have a window longer than 0s and at most 31d")]
    Window(String),
    /// What stands behind `per` is no duration.
    #[error("the window of a rate is wrong")]
    Duration(#[source] duration::DurationError),
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let shown = || text.chars().take(80).collect::<String>();
        let words: Vec<&str> = text.split_ascii_whitespace().take(4).collect();
        let [number, "per", window] = words.as_slice() else { return Err(RateError::Form(shown())) };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RateError::Form(shown()));
        }
        let most = number.parse().ok().filter(|most| (1..=MOST).contains(most));
        let most = most.ok_or_else(|| RateError::Number(shown()))?;
        let per = duration::parse(window).map_err(RateError::Duration)?;
        if per.is_zero() || per > LONGEST_WINDOW {
            return Err(RateError::Window(shown()));
        }
        Ok(Self { most, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.most, duration::print(self.per))
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// A part of a group, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, from 1 to 100.
    Percent(u8),
}

impl Share {
    /// How many of a population it is: never more than the share, so a share of less than one is none.
    #[must_use]
    pub fn of(self, population: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => population.saturating_mul(usize::from(percent)) / 100,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The storm brake: with more distinct targets than this within this time, people decide for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// How many distinct targets are still no storm.
    pub targets: u32,
    /// Within how long.
    pub within: Duration,
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} targets within {}", self.targets, duration::print(self.within))
    }
}

/// For how long a runbook leaves a target alone after a run there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// After one that fixed it.
    pub after_success: Option<Duration>,
    /// After one that acted and is not known to have fixed it.
    pub after_failure: Option<Duration>,
}

/// The limits of one runbook. None at all unless the file says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Actions of the runbook at one target.
    pub per_target: Option<Rate>,
    /// Actions of the runbook.
    pub per_runbook: Option<Rate>,
    /// Actions with any one of the runbook's plugins, whichever runbook they are of.
    pub per_plugin: Option<Rate>,
    /// Actions of the runbook for one value of the label `service`.
    pub per_service: Option<Rate>,
    /// Runs of the runbook that act at once.
    pub concurrent: Option<u32>,
    /// Targets that are acted on at once: as a number, by the runbook; as a percentage, members of its group, by
    /// whichever runbook.
    pub concurrent_targets: Option<Share>,
    /// How many members of the group must be healthy besides the target and those that are acted on.
    pub at_least_healthy: Option<u32>,
    /// How long a target is left alone after a run.
    pub cooldown: Cooldown,
    /// When the runbook no longer acts alone.
    pub storm: Option<Storm>,
}

impl Limits {
    /// Whether they can only be judged with the population of a group.
    #[must_use]
    pub fn need_group(&self) -> bool {
        self.at_least_healthy.is_some() || matches!(self.concurrent_targets, Some(Share::Percent(_)))
    }

    /// The longest time for which an action of this runbook counts against this runbook.
    pub(super) fn longest(&self) -> Duration {
        let rates = [self.per_target, self.per_runbook, self.per_service];
        let rates = rates.into_iter().flatten().map(|rate| rate.per);
        let cooldowns = [self.cooldown.after_success, self.cooldown.after_failure].into_iter().flatten();
        rates.chain(cooldowns).chain(self.storm.map(|storm| storm.within)).max().unwrap_or_default()
    }
}

/// The limits over everything, from `limits:` of `staunch.yaml`. None at all unless the file says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalLimits {
    /// Actions, all together.
    pub actions: Option<Rate>,
    /// Actions at one target, of all runbooks together.
    pub per_target: Option<Rate>,
    /// Actions of any one runbook.
    pub per_runbook: Option<Rate>,
    /// Actions with any one plugin.
    pub per_plugin: Option<Rate>,
    /// Actions for one value of the label `service`, of all runbooks together.
    pub per_service: Option<Rate>,
    /// Runs that act at once.
    pub concurrent: Option<u32>,
    /// When nothing acts alone any more.
    pub storm: Option<Storm>,
}

impl GlobalLimits {
    /// The longest time for which an action counts against them.
    pub(super) fn longest(&self) -> Duration {
        let rates = [self.actions, self.per_target, self.per_runbook, self.per_plugin, self.per_service];
        let rates = rates.into_iter().flatten().map(|rate| rate.per);
        rates.chain(self.storm.map(|storm| storm.within)).max().unwrap_or_default()
    }
}
