//! What takes back what a run does: planned with it, under the same digest, and done after the verdict, step by
//! step in reverse.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Outcome, Run, SKIPPED, State, Step, Verdict};
use crate::decision::{Code, Decision, Outcome as Passed, Reason, Stage};
use crate::effect::{Effect, EffectStatus};
use crate::event::{Fact, Outside, payload};
use crate::plan::StepPlan;
use crate::policy::Undo;

/// The number under which entries of the journal tell of the undo of step 0; that of step 1 follows. A runbook has
/// far fewer steps.
pub const UNDO_STEPS: u32 = 1000;

/// Where the undo of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoState {
    /// Nothing was decided about it yet.
    Planned,
    /// It is done when the alert is over.
    Waiting,
    /// It is under way.
    Undoing,
    /// What was done is taken back.
    Done,
    /// It came to no good end; the reason says why.
    Failed,
    /// It was not wanted.
    Skipped,
}

impl UndoState {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Waiting => "waiting",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// How a run ends when its undo is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// How.
    pub outcome: Outcome,
    /// What the probes said.
    pub verdict: Option<Verdict>,
    /// Why.
    pub reason: Reason,
}

/// The undo of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoRecord {
    /// Where it stands.
    pub state: UndoState,
    /// What takes back each step, in the order of the run's steps. It is done in reverse.
    pub steps: Vec<Step>,
    /// Why it stands there.
    pub reason: Option<Reason>,
    /// How the run ends afterwards, once it was decided.
    pub then: Option<Pending>,
    /// Why it is to come to its end, with what was done as it is.
    pub given_up: Option<Reason>,
}

impl UndoRecord {
    fn of(steps: &[Step]) -> Self {
        let steps = steps.iter().map(|step| Step {
            plugin: step.plugin.clone(),
            plugin_digest: step.plugin_digest,
            input: None,
            effects: Vec::new(),
            ending: None,
            result: None,
            error: None,
            retries: 0,
            retry_at: None,
        });
        Self { state: UndoState::Planned, steps: steps.collect(), reason: None, then: None, given_up: None }
    }

    /// Its effects in the order in which they are done, as the API shows them.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.steps.iter().rev().flat_map(Step::shown).collect()
    }

    /// Whether an effect of it was intended.
    #[must_use]
    pub fn began(&self) -> bool {
        self.steps.iter().flat_map(|step| &step.effects).any(|effect| effect.key.is_some())
    }
}

/// What follows for the undo from the verdict of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterVerdict {
    /// There is nothing to decide: none was planned.
    None,
    /// It is not done, for this reason.
    Skip(Reason),
    /// It is done now.
    Now(Reason),
    /// It is done when the alert is over.
    Later(Reason),
}

/// What is known of the alert of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertNow {
    /// The run answers none.
    None,
    /// It fires.
    Firing,
    /// It is over.
    Over,
    /// It was not heard of for too long.
    Stale,
}

/// What the undo does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextUndo {
    /// It takes back this step.
    Step(usize),
    /// It is over.
    Over(UndoState, Reason),
}

/// Whether a run that ended so was ended by a person: then nothing more is done by itself, not even taken back.
#[must_use]
pub fn by_a_person(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::TakenOver | Code::Rejected | Code::InDoubt)
}

impl Run {
    /// The number under which entries of the journal tell of the undo of a step.
    #[must_use]
    pub fn undo_number(step: usize) -> u32 {
        UNDO_STEPS.saturating_add(u32::try_from(step).unwrap_or(u32::MAX))
    }

    /// The step, or the undo of one, that entries of the journal tell of under this number.
    #[must_use]
    pub fn step(&self, number: u32) -> Option<&Step> {
        match number.checked_sub(UNDO_STEPS) {
            Some(step) => self.undo.as_ref()?.steps.get(step as usize),
            None => self.steps.get(number as usize),
        }
    }

    pub(super) fn step_mut(&mut self, number: u32) -> Option<&mut Step> {
        match number.checked_sub(UNDO_STEPS) {
            Some(step) => self.undo.as_mut()?.steps.get_mut(step as usize),
            None => self.steps.get_mut(number as usize),
        }
    }

    /// All steps and their undos, by their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Step)> {
        let undo = self.undo.iter().flat_map(|undo| &undo.steps);
        (0u32..).zip(&self.steps).chain((UNDO_STEPS..).zip(undo))
    }

    /// Whether it was decided that what was done is taken back, now or later.
    #[must_use]
    pub fn undoes(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.then.is_some()) && self.state != State::Ended
    }

    /// The number of the step that it is at.
    #[must_use]
    pub fn at_step(&self) -> u32 {
        if self.undoes() {
            return match self.next_undo() {
                NextUndo::Step(step) => Self::undo_number(step),
                NextUndo::Over(..) => UNDO_STEPS,
            };
        }
        let unended = self.steps.iter().position(|step| step.ending.is_none());
        u32::try_from(unended.unwrap_or_default()).unwrap_or(u32::MAX)
    }

    /// What follows for the undo from how the run would end.
    #[must_use]
    pub fn after_verdict(&self, verdict: Option<Verdict>, alert: AlertNow) -> AfterVerdict {
        if self.undo.is_none() {
            return AfterVerdict::None;
        }
        let skip = |message: &str| AfterVerdict::Skip(Reason::new(Code::NotUndone, message));
        let done = self.steps.iter().flat_map(|step| &step.effects);
        if !done.clone().any(|effect| effect.status == EffectStatus::Done) {
            return skip("nothing was done");
        }
        if let Some(reason) = self.given_up.as_ref().filter(|reason| by_a_person(reason.code)) {
            return AfterVerdict::Skip(Reason::new(Code::NotUndone, reason.message.clone()));
        }
        if !self.in_doubt().is_empty() {
            return skip("an effect stayed in doubt");
        }
        let now = |message: String| AfterVerdict::Now(Reason::new(Code::Undone, message));
        if let Some(step) = self.failed_to_be_undone() {
            return now(format!("step {} failed, and its on_failure is undo", step + 1));
        }
        match (self.flow.undo, verdict, alert) {
            (Undo::WhenNotFixed, Some(Verdict::NotFixed), _) => now("it did not fix it".to_owned()),
            (Undo::WhenNotFixed, _, _) => skip("the probes do not say that it did not help"),
            (Undo::WhenResolved, _, AlertNow::Over) => now("the alert is over".to_owned()),
            (Undo::WhenResolved, _, AlertNow::None) => skip("the run answers no alert that could be over"),
            (Undo::WhenResolved, _, AlertNow::Stale) => skip(STALE),
            (Undo::WhenResolved, _, AlertNow::Firing) => {
                let message = "what was done is taken back when the alert is over";
                AfterVerdict::Later(Reason::new(Code::Undone, message))
            }
            (Undo::Never, _, _) => skip("no step failed that wants it"),
        }
    }

    /// Why an undo that waits for the end of its alert waits no more; `None` while it does.
    #[must_use]
    pub fn undo_waits_no_more(&self, alert: AlertNow) -> Option<Result<(), Reason>> {
        let undo = self.undo.as_ref()?;
        if let Some(reason) = &undo.given_up {
            return Some(Err(reason.clone()));
        }
        match alert {
            AlertNow::Over => Some(Ok(())),
            AlertNow::Stale | AlertNow::None => Some(Err(Reason::new(Code::NotUndone, STALE))),
            AlertNow::Firing => None,
        }
    }

    /// What the undo does next: steps in reverse, those that did something, until one cannot be taken back.
    #[must_use]
    pub fn next_undo(&self) -> NextUndo {
        let Some(undo) = &self.undo else {
            return NextUndo::Over(UndoState::Skipped, Reason::new(Code::NotUndone, "none was planned"));
        };
        if let Some(reason) = &undo.given_up {
            let state = if undo.began() { UndoState::Failed } else { UndoState::Skipped };
            return NextUndo::Over(state, reason.clone());
        }
        let mut summaries = Vec::new();
        for (index, (step, back)) in self.steps.iter().zip(&undo.steps).enumerate().rev() {
            if !step.effects.iter().any(|effect| effect.status == EffectStatus::Done) {
                continue;
            }
            if back.failed() {
                let code = back.ending.as_deref().and_then(|word| word.parse().ok());
                let error = back.error.clone().unwrap_or_default();
                let message = format!("step {} is not taken back: {error}", index + 1);
                let reason = Reason::new(code.unwrap_or(Code::Internal), message);
                return NextUndo::Over(UndoState::Failed, reason);
            }
            if back.ending.is_none() {
                return NextUndo::Step(index);
            }
            if back.ending.as_deref() == Some(SKIPPED) {
                summaries.push(format!("step {} stays as it is", index + 1));
            }
            let summary = back.result.as_ref().and_then(|result| result.get("summary")?.as_str());
            summaries.extend(summary.map(str::to_owned));
        }
        let message = if summaries.is_empty() { "taken back".to_owned() } else { summaries.join("; ") };
        NextUndo::Over(UndoState::Done, Reason::new(Code::Undone, message))
    }

    /// Takes over what a plan says about the undo: in the order in which it is done.
    pub(super) fn plan_undo(&mut self, planned: &[StepPlan]) {
        if planned.is_empty() {
            return;
        }
        let undo = self.undo.get_or_insert_with(|| UndoRecord::of(&self.steps));
        for (step, planned) in undo.steps.iter_mut().rev().zip(planned) {
            step.replan(planned);
        }
    }

    pub(super) fn legal_undo(&self, fact: &Fact) -> bool {
        let Some(undo) = &self.undo else { return false };
        match fact {
            Fact::RunUndoing(..) => matches!(self.state, State::Running | State::Verifying),
            Fact::UndoBegun(..) => self.state == State::Undoing && undo.state == UndoState::Waiting,
            Fact::UndoEnded(..) => self.state == State::Undoing,
            _ => false,
        }
    }

    /// Whether something may happen in the step of this number: in one of the run while it acts, in the undo of one
    /// while that is under way.
    pub(super) fn acts_in(&self, number: u32) -> bool {
        if number < UNDO_STEPS {
            return self.state == State::Running;
        }
        self.state == State::Undoing
            && self.undo.as_ref().is_some_and(|undo| undo.state == UndoState::Undoing)
    }

    /// Whether an effect of the undo would come after somebody ended it.
    pub(super) fn undo_given_up(&self, number: u32) -> bool {
        number >= UNDO_STEPS && self.undo.as_ref().is_some_and(|undo| undo.given_up.is_some())
    }

    pub(super) fn apply_undo(&mut self, at: DateTime<Utc>, fact: &Fact) {
        match fact {
            Fact::RunUndoing(leaf, outside) => self.undoing(at, leaf, outside),
            Fact::UndoBegun(..) => {
                self.undo_is(at, UndoState::Undoing, Reason::new(Code::Undone, "the alert is over"));
            }
            Fact::UndoEnded(leaf, outside) => {
                let message = outside.get().map_or(super::REMOVED, |outside| outside.message.as_str());
                self.undo_is(at, leaf.state, Reason::new(leaf.code, message));
            }
            _ => {}
        }
    }

    fn undoing(
        &mut self,
        at: DateTime<Utc>,
        leaf: &crate::event::RunUndoing,
        outside: &Outside<payload::RunUndoing>,
    ) {
        let removed = || super::REMOVED.to_owned();
        let reason = Reason::new(leaf.code, outside.get().map_or_else(removed, |o| o.message.clone()));
        let why = outside.get().map_or_else(removed, |o| o.why.clone());
        self.state = State::Undoing;
        self.verdict = leaf.verdict;
        self.reason = Some(reason.clone());
        let state = if leaf.waits { UndoState::Waiting } else { UndoState::Undoing };
        if let Some(undo) = &mut self.undo {
            undo.then = Some(Pending { outcome: leaf.outcome, verdict: leaf.verdict, reason });
        }
        self.undo_is(at, state, Reason::new(Code::Undone, why));
    }

    fn undo_is(&mut self, at: DateTime<Utc>, state: UndoState, reason: Reason) {
        let Some(undo) = &mut self.undo else { return };
        undo.state = state;
        let (result, message) = match state {
            UndoState::Failed | UndoState::Skipped => {
                (Passed::Refuse, format!("not undone: {}", reason.message))
            }
            _ => (Passed::Pass, format!("undo {}: {}", state.as_str(), reason.message)),
        };
        let code = reason.code;
        undo.reason = Some(reason);
        let decision = Decision::new(at, Stage::Act, &self.runbook, result, code, message);
        self.trace(&[decision]);
    }

    /// Nobody waits for the undo any more; false when there is none under way.
    pub(super) fn give_up_undo(&mut self, reason: &Reason) -> bool {
        if !self.undoes() {
            return false;
        }
        if let Some(undo) = &mut self.undo {
            undo.given_up.get_or_insert_with(|| reason.clone());
        }
        self.state = State::Undoing;
        true
    }

    /// The run is over: an undo that never began will not be.
    pub(super) fn end_undo(&mut self) {
        let Some(undo) = &mut self.undo else { return };
        match undo.state {
            UndoState::Planned | UndoState::Waiting => undo.state = UndoState::Skipped,
            UndoState::Undoing => undo.state = UndoState::Failed,
            UndoState::Done | UndoState::Failed | UndoState::Skipped => {}
        }
        for effect in undo.steps.iter_mut().flat_map(|step| &mut step.effects) {
            if effect.status == EffectStatus::Planned {
                effect.status = EffectStatus::Skipped;
            }
        }
    }
}

const STALE: &str = "nobody said for too long whether the alert is over";

#[cfg(test)]
mod tests;
