//! Observing compared: what a plan would have done, beside what people then did about the same thing.
//!
//! Both are read from runs that are over, so nothing is counted in between and nothing can be lost: a run that
//! `observe` kept from acting, and the runs that a person started, approved or took over at its target within the
//! time. Nobody can tell what somebody did by hand: a takeover differs from every plan.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::effect::{Call, EffectStatus};
use crate::id::RunId;
use crate::policy::duration;
use crate::run::{Mode, Outcome, Run};

/// How a plan compares with what people did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// They had done what it would have done.
    Agreed,
    /// They did something else.
    Differed,
    /// They did nothing.
    NobodyActed,
}

/// One plan beside what people did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The run that planned.
    pub run: RunId,
    /// When it was over.
    pub at: DateTime<Utc>,
    /// What it was about.
    pub target: Option<String>,
    /// How they compare; `None` while there is time to act.
    pub result: Option<Agreement>,
    /// The run in which people acted.
    pub acted: Option<RunId>,
}

/// What the plans of a plugin came to beside what people did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Observed {
    /// How often people did what it would have done.
    pub agreed: u32,
    /// How often they did something else.
    pub differed: u32,
    /// How often they did nothing.
    pub nobody_acted: u32,
    /// How often there is still time.
    pub open: u32,
    /// Each plan, newest first.
    pub runs: Vec<Compared>,
}

impl Observed {
    /// Counts comparisons.
    #[must_use]
    pub fn of(runs: Vec<Compared>) -> Self {
        let count = |wanted: Option<Agreement>| {
            let found = runs.iter().filter(|compared| compared.result == wanted).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        Self {
            agreed: count(Some(Agreement::Agreed)),
            differed: count(Some(Agreement::Differed)),
            nobody_acted: count(Some(Agreement::NobodyActed)),
            open: count(None),
            runs,
        }
    }
}

/// Whether the run made its plan, and nothing but observing kept it from acting.
#[must_use]
pub fn is_observed(run: &Run) -> bool {
    run.outcome == Some(Outcome::Observed) && run.mode == Mode::Act && run.by.is_none()
}

/// Compares a run that [`is_observed`] with the other runs at its target. `within`: how long people had.
#[must_use]
pub fn compare<'a>(
    observed: &Run,
    others: impl IntoIterator<Item = &'a Run>,
    within: Duration,
    now: DateTime<Utc>,
) -> Compared {
    let at = observed.ended_at.unwrap_or(observed.created_at);
    let planned =
        sorted(observed.steps.iter().flat_map(|step| &step.effects).filter_map(|e| e.call.as_ref()));
    let mut result = (duration::before(now, within) >= at).then_some(Agreement::NobodyActed);
    let mut acted = None;
    for other in others.into_iter().filter(|other| other.id != observed.id) {
        let Some(then) = by_people(other).filter(|then| *then >= observed.created_at) else { continue };
        if duration::before(then, within) > at || !same_thing(observed, other) {
            continue;
        }
        let agrees = other.held.is_none() && done(other) == planned;
        if agrees || acted.is_none() {
            result = Some(if agrees { Agreement::Agreed } else { Agreement::Differed });
            acted = Some(other.id.clone());
        }
        if agrees {
            break;
        }
    }
    Compared { run: observed.id.clone(), at, target: observed.target.clone(), result, acted }
}

fn same_thing(one: &Run, other: &Run) -> bool {
    (one.target.is_some() && one.target == other.target) || (one.alert.is_some() && one.alert == other.alert)
}

/// When people acted by a run; `None` where they did not.
fn by_people(run: &Run) -> Option<DateTime<Utc>> {
    if let Some(held) = &run.held {
        return Some(held.at);
    }
    let theirs = run.by.is_some() || run.approved;
    run.started_at.filter(|_| theirs && run.touched_the_world())
}

fn done(run: &Run) -> Vec<String> {
    let effects = run.steps.iter().flat_map(|step| &step.effects);
    sorted(effects.filter(|effect| effect.status == EffectStatus::Done).filter_map(|e| e.call.as_ref()))
}

/// Calls that can be compared, whatever their order.
fn sorted<'a>(calls: impl Iterator<Item = &'a Call>) -> Vec<String> {
    let text =
        |call: &Call| format!("{} {} {} {}", call.capability, call.function, call.target, call.arguments);
    let mut calls: Vec<String> = calls.map(text).collect();
    calls.sort_unstable();
    calls
}

#[cfg(test)]
mod tests;
