//! Storms: so many targets in trouble at once that acting on each alone would be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::{GlobalLimits, Storm};
use super::ledger::{Horizon, Ledger, Request};
use super::tally::Of;
use crate::policy::duration;

/// The subject of what is said of the storm brake over everything. No runbook can have such a name.
pub(super) const ALL_RUNBOOKS: &str = "all runbooks";

/// The most targets that are remembered of one runbook; beyond it the oldest are dropped.
const MOST_TARGETS: usize = 1_024;

/// The most targets that a question names.
const MOST_NAMED: usize = 20;

/// Which targets runbooks answered for lately, whether or not they then acted; and the latest moment of which the
/// ledger is sure, so that what it forgot is not undone by a clock that is set back over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sightings {
    latest: Option<DateTime<Utc>>,
    runbooks: BTreeMap<String, BTreeMap<String, DateTime<Utc>>>,
}

impl Sightings {
    pub(super) fn note(&mut self, now: DateTime<Utc>, runbook: &str, target: &str) {
        self.latest = self.latest.max(Some(now));
        let targets = self.runbooks.entry(runbook.to_owned()).or_default();
        targets.insert(target.to_owned(), now);
        if targets.len() > MOST_TARGETS {
            let oldest = targets.iter().min_by_key(|(_, at)| **at).map(|(target, _)| target.clone());
            if let Some(oldest) = oldest {
                targets.remove(&oldest);
            }
        }
    }

    pub(super) fn forget(&mut self, now: DateTime<Utc>, horizon: &Horizon) {
        self.latest = self.latest.max(Some(now));
        self.runbooks.retain(|runbook, targets| {
            let keep = horizon.of(runbook);
            targets.retain(|_, at| duration::after(*at, keep) > now);
            !targets.is_empty()
        });
    }

    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        self.latest
    }

    fn since<'a>(&'a self, start: DateTime<Utc>, runbook: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        let chosen =
            self.runbooks.iter().filter(move |(name, _)| runbook.is_none_or(|wanted| wanted == *name));
        let seen = chosen.flat_map(|(_, targets)| targets);
        seen.filter(move |(_, at)| **at > start).map(|(target, _)| target.as_str())
    }
}

/// The one question that is asked in a storm, for all targets together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StormQuestion {
    /// The runbook whose storm brake it is; `None`: the one over everything.
    pub runbook: Option<String>,
    /// The brake.
    pub storm: Storm,
    /// How many distinct targets there were within its time.
    pub count: usize,
    /// Some of them, in order.
    pub targets: Vec<String>,
}

impl StormQuestion {
    /// What runs that wait on the same question have in common: the runbook, or that it is about all of them.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.runbook.as_deref().unwrap_or(ALL_RUNBOOKS)
    }
}

impl fmt::Display for StormQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = self.runbook.as_deref().unwrap_or("all runbooks together");
        write!(
            f,
            "{} targets were in trouble within {} ({}), more than the {} that {whose} may act on alone: \
             one decision for all of them is needed",
            self.count,
            duration::print(self.storm.within),
            self.targets.join(", "),
            self.storm.targets,
        )?;
        if self.count > self.targets.len() {
            write!(f, " (the first {} are named)", self.targets.len())?;
        }
        Ok(())
    }
}

/// The question that a request meets, if there is a storm: the runbook's own first.
pub(super) fn question(
    ledger: &Ledger,
    now: DateTime<Utc>,
    global: &GlobalLimits,
    request: &Request<'_>,
) -> Option<StormQuestion> {
    let own =
        request.limits.storm.and_then(|storm| brake(ledger, now, storm, request, Some(request.runbook)));
    own.or_else(|| global.storm.and_then(|storm| brake(ledger, now, storm, request, None)))
}

fn brake(
    ledger: &Ledger,
    now: DateTime<Utc>,
    storm: Storm,
    request: &Request<'_>,
    runbook: Option<&str>,
) -> Option<StormQuestion> {
    let of = runbook.map_or(Of::All, Of::Runbook);
    let seen = ledger.sightings().since(duration::before(now, storm.within), runbook).count();
    if ledger.at_most(of) + seen < storm.targets as usize {
        return None;
    }
    let mut targets = troubled(ledger, now, storm.within, runbook);
    targets.extend(request.target);
    (targets.len() > storm.targets as usize).then(|| StormQuestion {
        runbook: runbook.map(str::to_owned),
        storm,
        count: targets.len(),
        targets: targets.into_iter().take(MOST_NAMED).map(str::to_owned).collect(),
    })
}

/// The distinct targets that a runbook, or any, acted on or answered for within a time.
pub(super) fn troubled<'a>(
    ledger: &'a Ledger,
    now: DateTime<Utc>,
    within: Duration,
    runbook: Option<&'a str>,
) -> BTreeSet<&'a str> {
    let acted = ledger.counting(now, within).filter(|row| runbook.is_none_or(|wanted| wanted == row.runbook));
    let seen = ledger.sightings().since(duration::before(now, within), runbook);
    acted.filter_map(|row| row.target.as_deref()).chain(seen).collect()
}
