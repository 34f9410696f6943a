//! How the steps of a run follow each other, as its runbook said when the run was made.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Outcome, Run, Step, by_a_person};
use crate::alert::Alert;
use crate::decision::{Code, Decision, Outcome as Passed, Stage};
use crate::policy::template::{StepValues, TemplateError, Templates, Values};
use crate::policy::{OnFailure, Retry, Runbook, Undo};

/// The ending of a step whose plugin came to its end and returned.
pub const RETURNED: &str = "returned";
/// The ending of a step that was left out.
pub const SKIPPED: &str = "skipped";

/// What a runbook says of the order of its steps, and of what follows them. It is kept with the run, so that
/// another runbook of the same name changes nothing of a run that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// When what was done is taken back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub undo: Undo,
    /// One for each step; none at all where no step says anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepFlow>,
    /// The runbook that follows when this one did not fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a runbook says of one step beside its plugin and input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFlow {
    /// The condition under which it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// How it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What its failure means for the rest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Flow {
    /// What a runbook says.
    #[must_use]
    pub fn of(runbook: &Runbook) -> Self {
        let silent = runbook.steps.iter().all(|step| {
            step.when.is_none() && step.retry.is_none() && step.on_failure == OnFailure::default()
        });
        let steps = runbook.steps.iter().filter(|_| !silent).map(|step| StepFlow {
            when: step.when.as_ref().map(|condition| condition.source().to_owned()),
            retry: step.retry,
            on_failure: step.on_failure,
        });
        let next = runbook.next.as_ref().map(|(name, _)| name.clone());
        Self { undo: runbook.undo, steps: steps.collect(), next }
    }

    /// Whether nothing is said at all.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        is_default(self)
    }

    /// Whether what the run does may be taken back.
    #[must_use]
    pub fn wants_undo(&self) -> bool {
        self.undo != Undo::Never || self.steps.iter().any(|step| step.on_failure == OnFailure::Undo)
    }

    /// What the failure of a step means.
    #[must_use]
    pub fn on_failure(&self, step: usize) -> OnFailure {
        self.steps.get(step).map(|step| step.on_failure).unwrap_or_default()
    }

    /// How a step is tried again.
    #[must_use]
    pub fn retry(&self, step: usize) -> Option<Retry> {
        self.steps.get(step)?.retry
    }

    fn when(&self, step: usize) -> Option<&str> {
        self.steps.get(step)?.when.as_deref()
    }
}

impl Step {
    /// Whether its plugin came to a bad end.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.ending.as_deref().is_some_and(|word| word != RETURNED && word != SKIPPED)
    }

    /// The word that conditions see: `done`, `failed` or `skipped`; `None` before its end.
    fn status(&self) -> Option<&'static str> {
        Some(match self.ending.as_deref()? {
            RETURNED => "done",
            SKIPPED => "skipped",
            _ => "failed",
        })
    }

    /// What its plugin left for the record, for conditions and for its undo.
    #[must_use]
    pub fn details(&self) -> Option<&Value> {
        self.result.as_ref()?.get("details").filter(|details| !details.is_null())
    }
}

impl Run {
    /// The step whose turn it is; `None` when all came to their ends, or one failed that stops the rest.
    #[must_use]
    pub fn next_step(&self) -> Option<usize> {
        for (index, step) in self.steps.iter().enumerate() {
            if step.ending.is_none() {
                return Some(index);
            }
            if step.failed() && self.stops_at(index) {
                return None;
            }
        }
        None
    }

    /// Whether the failure of a step stops the rest. A halted run does nothing more, whatever its runbook says.
    fn stops_at(&self, step: usize) -> bool {
        let halted = self.steps[step].ending.as_deref() == Some(Code::Halt.as_str());
        halted || self.flow.on_failure(step) != OnFailure::Continue
    }

    /// The step that makes the run a failure: one that stopped the rest, or the last one.
    #[must_use]
    pub fn failed_step(&self) -> Option<&Step> {
        let stopped = |(index, step): &(usize, &Step)| step.failed() && self.stops_at(*index);
        let last = self.steps.iter().rev().find(|step| step.status().is_some_and(|word| word != "skipped"));
        let stopping = self.steps.iter().enumerate().find(stopped).map(|(_, step)| step);
        stopping.or(last.filter(|step| step.failed()))
    }

    /// The first step that failed and says that what was done is then taken back.
    #[must_use]
    pub fn failed_to_be_undone(&self) -> Option<usize> {
        let wants =
            |index: &usize| self.steps[*index].failed() && self.flow.on_failure(*index) == OnFailure::Undo;
        (0..self.steps.len()).find(wants)
    }

    /// The runbook that follows, when this run did not fix what its alert tells of, and no person ended it.
    #[must_use]
    pub fn next_rung(&self) -> Option<&str> {
        let next = self.flow.next.as_deref()?;
        let ended = self.given_up.iter().chain(&self.reason);
        let by_hand = self.by.is_some() || ended.into_iter().any(|reason| by_a_person(reason.code));
        let failed = matches!(self.outcome, Some(Outcome::NotFixed | Outcome::Unknown));
        (failed && !by_hand && self.alert.is_some()).then_some(next)
    }

    /// What the trace says of the runbook that follows.
    pub(super) fn says_next(&self, at: DateTime<Utc>) -> Option<Decision> {
        let next = self.next_rung()?;
        let outcome = self.outcome.map_or("", Outcome::as_str);
        let message = format!("it ended {outcome}: {next} is next, if the alert still fires");
        Some(Decision::new(at, Stage::Act, next, Passed::Pass, Code::Next, message))
    }

    /// The condition of a step, as the runbook has it.
    #[must_use]
    pub fn condition(&self, step: usize) -> Option<&str> {
        self.flow.when(step)
    }

    /// Whether a step is to be done, now that those before it came to their ends.
    ///
    /// # Errors
    /// When its condition cannot be told: then it must not be done.
    pub fn wants_step(&self, step: usize, alert: Option<&Alert>) -> Result<bool, TemplateError> {
        let Some(source) = self.flow.when(step) else { return Ok(true) };
        let before: Vec<StepValues<'_>> = self.steps[..step.min(self.steps.len())]
            .iter()
            .map(|step| StepValues {
                plugin: &step.plugin,
                status: step.status().unwrap_or(SKIPPED),
                result: step.result.as_ref(),
            })
            .collect();
        let values = Values::new(&self.labels, alert, Some(&self.id), self.target.as_deref());
        let mut templates = Templates::new(&self.runbook);
        let condition = templates.compile_condition(&format!("steps[{step}].when"), source)?;
        templates.holds(&condition, &values.with_steps(&before))
    }

    /// As [`Run::wants_step`], before any step was done: `None` when that depends on how those before it end.
    ///
    /// # Errors
    /// When the condition cannot be told.
    pub fn will_want_step(&self, step: usize, alert: Option<&Alert>) -> Result<Option<bool>, TemplateError> {
        match self.flow.when(step) {
            Some(source) if source.contains("steps") => Ok(None),
            _ => self.wants_step(step, alert).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
