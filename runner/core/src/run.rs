//! A run: the state machine of one execution of a runbook, folded from its events.
//!
//! [`Run::apply`] is total: it says for each event whether it is legal in the state that the run is in. A
//! terminal state is never left. What is in memory always equals the fold of what is in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decision::{Code, Decision, Outcome as Passed, Reason, Stage};
use crate::drill::Drill;
use crate::effect::{Answer, Call, Effect, EffectStatus, Repeat};
use crate::event::{Event, Fact, payload};
use crate::id::{AlertId, Digest, RunId};
use crate::plan::StepPlan;
use crate::policy::ReadyProbe;

mod asking;
mod flow;
mod hands;
mod undo;

pub use asking::{Approval, Ask, AskDeputies, AskRung, Granted};
pub use flow::{Flow, RETURNED, SKIPPED, StepFlow};
pub use hands::{Glass, Held, Passes, Review};
pub use undo::{AfterVerdict, AlertNow, NextUndo, Pending, UNDO_STEPS, UndoRecord, UndoState, by_a_person};

/// Where a run is on its road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// Its plugins plan.
    Planning,
    /// It waits for people, before any effect.
    Waiting,
    /// Its plugins act.
    Running,
    /// It waits for people, after an effect was possible.
    Parked,
    /// The probes look whether the world recovered.
    Verifying,
    /// What it did is taken back.
    Undoing,
    /// It is over.
    Ended,
}

impl State {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Planning,
        Self::Waiting,
        Self::Running,
        Self::Parked,
        Self::Verifying,
        Self::Undoing,
        Self::Ended,
    ];

    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Verifying => "verifying",
            Self::Undoing => "undoing",
            Self::Ended => "ended",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The probes say that the world recovered.
    Fixed,
    /// A probe says that it is still broken.
    NotFixed,
    /// It can't be told.
    Unknown,
    /// A connector delivered, a check recorded.
    Done,
    /// It was to plan only.
    Observed,
    /// A rule said no.
    Refused,
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// It was no longer wanted.
    Cancelled,
    /// Plugin or host failed, and no effect was done.
    Failed,
}

impl Outcome {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not-fixed",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Observed => "observed",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What the probes say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All passed for long enough, and one had failed before.
    Fixed,
    /// One still failed at the end.
    NotFixed,
    /// Neither can be said.
    Unknown,
}

impl Verdict {
    /// The outcome of a remediation whose verdict it is.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Fixed => Outcome::Fixed,
            Self::NotFixed => Outcome::NotFixed,
            Self::Unknown => Outcome::Unknown,
        }
    }
}

/// What one probe says once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeAnswer {
    /// It is as it should be.
    Passed,
    /// Positive evidence that it is broken.
    Failed,
    /// It can't be told.
    NoAnswer,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// To show its plan.
    Plan,
    /// To act.
    Act,
}

/// How the recovery of one run is verified, with everything rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPlan {
    /// Milliseconds that recovery may take.
    pub within_ms: u64,
    /// Milliseconds for which the probes must pass without a break.
    pub stable_for_ms: u64,
    /// Milliseconds from one round of probes to the next.
    pub interval_ms: u64,
    /// What is looked at.
    pub probes: Vec<ReadyProbe>,
}

/// An effect, planned, done, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// The call; none when its payload was removed.
    pub call: Option<Call>,
    /// Why, in the plugin's words.
    pub reason: String,
    /// What may be done when it is in doubt.
    pub repeat: Repeat,
    /// What the plan assumed of its answer; none for an effect outside the plan.
    pub assumed: Option<Answer>,
    /// Fixed at the first intent.
    pub key: Option<String>,
    /// Where it stands.
    pub status: EffectStatus,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The plugin's name.
    pub plugin: String,
    /// Its exact bytes.
    pub plugin_digest: Digest,
    /// Its rendered input; none when its payload was removed.
    pub input: Option<Arc<Value>>,
    /// Planned ones first, in the plan's order, then those outside it.
    pub effects: Vec<EffectRecord>,
    /// `returned`, `skipped`, `failed` or a trap's word, once its plugin came to its end.
    pub ending: Option<String>,
    /// What it returned.
    pub result: Option<Value>,
    /// The error that it ended with.
    pub error: Option<String>,
    /// How often it was tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Not before then is it tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One execution of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The runbook's name.
    pub runbook: String,
    /// Digest of the policy that it was made under.
    pub policy: Digest,
    /// Plan only, or act.
    pub mode: Mode,
    /// Whether an effect of it cannot be taken back.
    pub irreversible: bool,
    /// The alert that it answers.
    pub alert: Option<AlertId>,
    /// What it is about, as the runbook's template gives it.
    pub target: Option<String>,
    /// The host that the target denotes.
    pub host: Option<String>,
    /// The labels that its templates see.
    pub labels: Arc<BTreeMap<String, String>>,
    /// How recovery is verified.
    pub verify: Option<VerifyPlan>,
    /// Who started it by hand.
    pub by: Option<String>,
    /// What makes it a drill, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
    /// Where it is.
    pub state: State,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What the probes said.
    pub verdict: Option<Verdict>,
    /// Why it is as it is.
    pub reason: Option<Reason>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// How they follow each other, and what follows them.
    #[serde(default, skip_serializing_if = "Flow::is_silent")]
    pub flow: Flow,
    /// What takes back what it does, where its runbook wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoRecord>,
    /// The plan's digest, once there is one.
    pub plan: Option<Digest>,
    /// When it was planned last.
    pub planned_at: Option<DateTime<Utc>>,
    /// Whom it waits for.
    pub ask: Option<Ask>,
    /// Who said yes to the plan as it is now.
    pub approvals: Vec<Approval>,
    /// How many rungs of the ladder were told.
    #[serde(default)]
    pub told: u32,
    /// Who took it over, to do it by hand.
    #[serde(default)]
    pub held: Option<Held>,
    /// Every time that somebody broke the glass for it.
    #[serde(default)]
    pub glass: Vec<Glass>,
    /// Why it is to come to its end, with what was done as it is.
    pub given_up: Option<Reason>,
    /// When it was parked last.
    pub parked_at: Option<DateTime<Utc>>,
    /// Whether the permit that it acts under was given by people.
    pub approved: bool,
    /// Until when what people said holds, for a run that is taken up again under their permit.
    #[serde(default)]
    pub approved_until: Option<DateTime<Utc>>,
    /// Who gave that permit, where it was enough people.
    #[serde(default)]
    pub granted_by: Option<Granted>,
    /// The effect outside the plan that it is parked on.
    pub question: Option<EffectRecord>,
    /// What the probes said before the first effect.
    pub baseline: Option<Vec<ProbeAnswer>>,
    /// Its decision trace.
    pub decisions: Vec<Decision>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was first permitted to act.
    pub started_at: Option<DateTime<Utc>>,
    /// When its latest effect was intended.
    #[serde(default)]
    pub acted_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
}

/// An event that is not legal where the run is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is not legal for run {run} in state {state}")]
pub struct IllegalTransition {
    run: RunId,
    state: &'static str,
    kind: &'static str,
}

/// What stands where a text was removed.
pub const REMOVED: &str = "[removed]";

/// Longest decision trace that a run or an alert keeps; the journal has all.
pub const MAX_DECISIONS: usize = 200;

/// The decisions at the beginning of a trace that are never dropped.
const FIRST_DECISIONS: usize = 50;

/// Adds to a trace; where it would grow too long, the oldest after the first ones are dropped.
pub(crate) fn keep_decisions(trace: &mut Vec<Decision>, new: &[Decision]) {
    trace.extend_from_slice(new);
    let excess = trace.len().saturating_sub(MAX_DECISIONS);
    if excess > 0 {
        trace.drain(FIRST_DECISIONS..FIRST_DECISIONS + excess);
    }
}

impl Run {
    /// The run that a `run-created` event begins; `None` for any other event.
    #[must_use]
    pub fn begin(event: &Event) -> Option<Self> {
        let (Fact::RunCreated(leaf, outside), Some(id)) = (&event.fact, &event.run) else { return None };
        let outside = outside.get();
        let steps = leaf.plugins.iter().enumerate().map(|(index, (plugin, digest))| Step {
            plugin: plugin.clone(),
            plugin_digest: *digest,
            input: outside.and_then(|o| o.inputs.get(index)).cloned(),
            effects: Vec::new(),
            ending: None,
            result: None,
            error: None,
            retries: 0,
            retry_at: None,
        });
        Some(Self {
            id: id.clone(),
            runbook: leaf.runbook.clone(),
            policy: leaf.policy,
            mode: leaf.mode,
            irreversible: leaf.irreversible,
            alert: event.alert.clone(),
            target: outside.and_then(|o| o.target.clone()),
            host: outside.and_then(|o| o.host.clone()),
            labels: outside.map(|o| o.labels.clone()).unwrap_or_default(),
            verify: outside.and_then(|o| o.verify.clone()),
            by: outside.and_then(|o| o.by.clone()),
            drill: leaf.drill.then(|| Drill { alert: outside.and_then(|o| o.drill.clone()) }),
            state: if leaf.queued { State::Queued } else { State::Planning },
            outcome: None,
            verdict: None,
            reason: None,
            steps: steps.collect(),
            flow: outside.map(|o| o.flow.clone()).unwrap_or_default(),
            undo: None,
            plan: None,
            planned_at: None,
            ask: None,
            approvals: Vec::new(),
            told: 0,
            held: None,
            glass: Vec::new(),
            given_up: None,
            parked_at: None,
            approved: false,
            approved_until: None,
            granted_by: None,
            question: None,
            baseline: None,
            decisions: outside.map(|o| o.decisions.clone()).unwrap_or_default(),
            created_at: event.at,
            started_at: None,
            acted_at: None,
            ended_at: None,
        })
    }

    /// What the event makes of the run.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the event cannot happen in this state; the run is unchanged then.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if !self.legal(&event.fact) {
            return Err(IllegalTransition {
                run: self.id.clone(),
                state: self.state.as_str(),
                kind: event.fact.kind(),
            });
        }
        match &event.fact {
            Fact::RunPlanning(..) => self.state = State::Planning,
            Fact::RunPlanned(leaf, outside) => self.planned(event.at, leaf, outside.get()),
            Fact::RunApproved(_, outside) => self.approvals.extend(outside.get().map(|o| o.approval.clone())),
            Fact::RunPermitted(leaf, _) => self.permitted(event.at, leaf.approved),
            Fact::RunResumed(..) => self.state = self.state_of_acting(),
            Fact::EffectIntended(leaf, outside) => {
                if leaf.step < UNDO_STEPS {
                    self.acted_at = Some(event.at);
                }
                self.intended(leaf, outside.get());
            }
            Fact::EffectSettled(leaf, _) => {
                if let Some(effect) = self.effect_mut(leaf.step, leaf.effect) {
                    effect.status = leaf.status;
                }
            }
            Fact::StepEnded(leaf, outside) => self.step_ended(leaf.step, &leaf.ending, outside.get()),
            Fact::RunParked(leaf, outside) => self.parked(event.at, leaf.code, outside.get()),
            Fact::RunVerifying(..) => self.state = State::Verifying,
            Fact::RunGivenUp(leaf, outside) => self.give_up(leaf.code, outside.get()),
            Fact::CallDenied(leaf, outside) => self.denied(leaf.step, outside.get()),
            Fact::RunProbed(leaf, _) if leaf.baseline => self.baseline = Some(leaf.answers.clone()),
            Fact::RunEnded(leaf, outside) => self.ended(event.at, leaf, outside.get()),
            Fact::RunEscalated(leaf, _) => self.told = self.told.max(leaf.rung.saturating_add(1)),
            Fact::StepSkipped(leaf, outside) => self.step_skipped(event.at, leaf.step, outside.get()),
            Fact::StepRetried(leaf, outside) => self.step_retried(event.at, leaf, outside.get()),
            Fact::RunUndoing(..) | Fact::UndoBegun(..) | Fact::UndoEnded(..) => {
                self.apply_undo(event.at, &event.fact);
            }
            fact => self.by_hand(event.at, fact),
        }
        Ok(())
    }

    /// Which events may happen where: the whole state machine on one page.
    fn legal(&self, fact: &Fact) -> bool {
        use State::{Ended, Parked, Planning, Queued, Running, Undoing, Verifying, Waiting};
        let state = self.state;
        if self.held.is_some() && hands::acts(fact) {
            return false;
        }
        match fact {
            Fact::RunPlanning(..) => matches!(state, Queued | Waiting),
            Fact::RunPlanned(..) => matches!(state, Planning | Waiting | Parked),
            Fact::RunApproved(..) => matches!(state, Waiting | Parked),
            Fact::RunPermitted(..) => matches!(state, Planning | Waiting | Parked) && self.plan.is_some(),
            Fact::RunResumed(..) => state == Parked,
            Fact::EffectIntended(leaf, _) => self.acts_in(leaf.step) && !self.undo_given_up(leaf.step),
            Fact::ReadingMade(leaf, _) => self.acts_in(leaf.step),
            Fact::CallDenied(leaf, _) => self.acts_in(leaf.step),
            Fact::StepEnded(leaf, _) => self.acts_in(leaf.step),
            Fact::StepSkipped(leaf, _) => self.acts_in(leaf.step),
            Fact::StepRetried(..) | Fact::RunVerifying(..) => state == Running,
            Fact::EffectSettled(..) | Fact::ReadingChanged(..) => matches!(state, Running | Parked | Undoing),
            Fact::RunGivenUp(..) => matches!(state, Running | Parked | Waiting | Verifying | Undoing),
            Fact::RunParked(..) => matches!(state, Running | Verifying | Undoing),
            Fact::RunUndoing(..) | Fact::UndoBegun(..) | Fact::UndoEnded(..) => self.legal_undo(fact),
            Fact::RunProbed(..) => matches!(state, Running | Verifying),
            Fact::RunEnded(..) => state != Ended,
            Fact::RunEscalated(leaf, _) => matches!(state, Waiting | Parked) && leaf.rung >= self.told,
            fact => self.legal_by_hand(fact),
        }
    }

    fn planned(
        &mut self,
        at: DateTime<Utc>,
        leaf: &crate::event::RunPlanned,
        outside: Option<&payload::RunPlanned>,
    ) {
        let asked = outside.and_then(|outside| outside.asked.as_ref());
        let same_question = match (&self.ask, asked) {
            (Some(before), Some(now)) => before.same_question(now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if self.plan != Some(leaf.plan) || !same_question {
            self.approvals.clear();
            self.told = 0;
        }
        for kept in &mut self.approvals {
            // The question and the plan are the same under the rules of now: the approval holds for these too.
            kept.policy = Some(leaf.policy);
        }
        self.plan = Some(leaf.plan);
        self.policy = leaf.policy;
        self.planned_at = Some(at);
        let Some(outside) = outside else { return };
        for (step, planned) in self.steps.iter_mut().zip(&outside.steps) {
            step.replan(planned);
        }
        self.plan_undo(&outside.undo);
        self.trace(&outside.decisions);
        self.ask.clone_from(&outside.asked);
        if self.state == State::Parked {
            // The question that it parked on stays: the new plan is what people may answer it with.
            return;
        }
        self.question = None;
        if outside.asked.is_some() {
            self.state = State::Waiting;
        }
        self.reason =
            outside.decisions.iter().rev().find(|d| d.code == Code::ApprovalNeeded).map(Decision::reason);
    }

    fn permitted(&mut self, at: DateTime<Utc>, approved: bool) {
        if approved {
            let granted = self.granted(at);
            self.trace(&[granted]);
        }
        self.state = self.state_of_acting();
        self.approved = approved;
        self.approved_until = self.ask.as_ref().filter(|_| approved).map(|ask| ask.expires);
        let by_people = approved && self.passes_quorum().is_none();
        self.granted_by = self.ask.take().filter(|_| by_people).map(|ask| {
            let approvals = self.approvals.clone();
            Granted { ask, approvals }
        });
        self.started_at = self.started_at.or(Some(at));
        self.question = None;
        self.reason = None;
    }

    /// The state in which it acts: in that of its undo, once that was decided.
    fn state_of_acting(&self) -> State {
        if self.undoes() { State::Undoing } else { State::Running }
    }

    /// Who let it act.
    fn granted(&self, at: DateTime<Utc>) -> Decision {
        let (code, message) = match self.passes_quorum() {
            Some(by) => (Code::GlassBroken, format!("{by} broke the glass")),
            None => {
                let names: Vec<&str> = self.approvals.iter().map(|approval| approval.by.as_str()).collect();
                (Code::Approved, format!("approved by {}", names.join(", ")))
            }
        };
        Decision::new(at, Stage::Gate, &self.runbook, Passed::Pass, code, message)
    }

    fn intended(&mut self, leaf: &crate::event::EffectIntended, outside: Option<&payload::EffectIntended>) {
        let Some(step) = self.step_mut(leaf.step) else { return };
        let index = leaf.effect as usize;
        if let Some(effect) = step.effects.get_mut(index) {
            effect.status = EffectStatus::Intended;
            effect.key = Some(leaf.key.clone());
            if effect.call != outside.map(|o| o.call.clone()) {
                effect.call = outside.map(|o| o.call.clone());
            }
            return;
        }
        step.effects.push(EffectRecord {
            call: outside.map(|o| o.call.clone()),
            reason: outside.map_or_else(|| REMOVED.into(), |o| o.reason.clone()),
            repeat: leaf.repeat,
            assumed: None,
            key: Some(leaf.key.clone()),
            status: EffectStatus::Intended,
        });
    }

    fn step_ended(&mut self, step: u32, ending: &str, outside: Option<&payload::StepEnded>) {
        let Some(step) = self.step_mut(step) else { return };
        step.ending = Some(ending.to_owned());
        if let Some(outside) = outside {
            step.result.clone_from(&outside.result);
            step.error.clone_from(&outside.error);
        }
    }

    /// The condition of a step does not hold.
    fn step_skipped(&mut self, at: DateTime<Utc>, number: u32, outside: Option<&payload::StepSkipped>) {
        let Some(step) = self.step_mut(number) else { return };
        step.ending = Some(SKIPPED.to_owned());
        let plugin = step.plugin.clone();
        let why = outside.map_or(REMOVED, |o| o.message.as_str());
        let (code, message) = match number.checked_sub(UNDO_STEPS) {
            Some(step) => (Code::NotUndone, format!("step {} stays as it is: {why}", step + 1)),
            None => (Code::Skipped, format!("step {} is left out: {why}", number + 1)),
        };
        self.trace(&[Decision::new(at, Stage::Act, &plugin, Passed::Pass, code, message)]);
    }

    /// A step failed in a way that may pass.
    fn step_retried(
        &mut self,
        at: DateTime<Utc>,
        leaf: &crate::event::StepRetried,
        outside: Option<&payload::StepRetried>,
    ) {
        let Some(step) = self.step_mut(leaf.step) else { return };
        step.retries = leaf.retry;
        step.retry_at = Some(leaf.due);
        let plugin = step.plugin.clone();
        let error = outside.map_or(REMOVED, |o| o.message.as_str());
        let message = format!("step {} is tried again (retry {}): {error}", leaf.step + 1, leaf.retry);
        self.trace(&[Decision::new(at, Stage::Act, &plugin, Passed::Pass, Code::Retried, message)]);
    }

    fn parked(&mut self, at: DateTime<Utc>, code: Code, outside: Option<&payload::RunParked>) {
        self.state = State::Parked;
        self.parked_at = Some(at);
        self.reason = Some(Reason::new(code, outside.map_or(REMOVED, |o| o.message.as_str())));
        self.question = outside.and_then(|o| o.question.clone());
        self.ask = outside.and_then(|o| o.asked.clone());
        self.approvals.clear();
        self.told = 0;
    }

    /// Nobody waits for it any more. What was done is still looked at by the probes.
    fn give_up(&mut self, code: Code, outside: Option<&payload::RunGivenUp>) {
        let message = outside.map_or_else(|| REMOVED.into(), payload::RunGivenUp::sentence);
        let reason = Reason::new(code, message);
        self.ask = None;
        self.question = None;
        if self.give_up_undo(&reason) {
            return;
        }
        self.given_up.get_or_insert(reason);
        if self.state != State::Running {
            self.state = State::Verifying;
        }
    }

    /// A planned effect that the broker refused when its turn came.
    fn denied(&mut self, step: u32, outside: Option<&payload::CallDenied>) {
        let (Some(step), Some(outside)) = (self.step_mut(step), outside) else { return };
        let planned = |effect: &&mut EffectRecord| {
            effect.status == EffectStatus::Planned && effect.call.as_ref() == Some(&outside.call)
        };
        if let Some(effect) = step.effects.iter_mut().find(planned) {
            effect.status = EffectStatus::Denied;
        }
    }

    fn ended(
        &mut self,
        at: DateTime<Utc>,
        leaf: &crate::event::RunEnded,
        outside: Option<&payload::RunEnded>,
    ) {
        self.state = State::Ended;
        self.outcome = Some(leaf.outcome);
        self.verdict = leaf.verdict;
        self.reason = Some(Reason::new(leaf.code, outside.map_or(REMOVED, |o| o.message.as_str())));
        self.ended_at = Some(at);
        self.ask = None;
        self.question = None;
        if let Some(outside) = outside {
            self.trace(&outside.decisions);
        }
        if self.started_at.is_some() {
            for effect in self.steps.iter_mut().flat_map(|step| &mut step.effects) {
                if effect.status == EffectStatus::Planned {
                    effect.status = EffectStatus::Skipped;
                }
            }
        }
        self.end_undo();
        let next = self.says_next(at);
        self.trace(next.as_slice());
    }

    fn trace(&mut self, decisions: &[Decision]) {
        keep_decisions(&mut self.decisions, decisions);
    }

    fn effect_mut(&mut self, step: u32, effect: u32) -> Option<&mut EffectRecord> {
        self.step_mut(step)?.effects.get_mut(effect as usize)
    }

    /// Whether an effect was, or may have been, done.
    #[must_use]
    pub fn touched_the_world(&self) -> bool {
        self.steps.iter().flat_map(|step| &step.effects).any(|effect| {
            matches!(effect.status, EffectStatus::Done | EffectStatus::Unknown | EffectStatus::Intended)
        })
    }

    /// Whether an effect was intended, whatever became of it.
    #[must_use]
    pub fn touched_or_tried(&self) -> bool {
        self.steps.iter().flat_map(|step| &step.effects).any(|effect| effect.key.is_some())
    }

    /// The effects in doubt, as (step, effect).
    #[must_use]
    pub fn in_doubt(&self) -> Vec<(u32, u32)> {
        let mut places = Vec::new();
        for (step, numbered) in self.numbered() {
            for (index, effect) in (0u32..).zip(&numbered.effects) {
                if matches!(effect.status, EffectStatus::Intended | EffectStatus::Unknown) {
                    places.push((step, index));
                }
            }
        }
        places
    }

    /// All effects, as the API shows them.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.steps.iter().flat_map(Step::shown).collect()
    }
}

impl Step {
    /// Takes over a new plan. What was tried already stays as it is: where the plan holds the same call, there;
    /// else behind it, as what is outside the plan.
    fn replan(&mut self, planned: &StepPlan) {
        let mut tried = std::mem::take(&mut self.effects);
        tried.retain(|effect| effect.status != EffectStatus::Planned);
        self.effects = planned
            .effects
            .iter()
            .map(|effect| {
                let place = tried.iter().position(|old| old.call.as_ref() == Some(&effect.call));
                let old = place.map(|place| tried.remove(place));
                EffectRecord {
                    call: Some(effect.call.clone()),
                    reason: effect.reason.clone(),
                    repeat: effect.repeat,
                    assumed: Some(effect.assumed.clone()),
                    status: old.as_ref().map_or(EffectStatus::Planned, |old| old.status),
                    key: old.and_then(|old| old.key),
                }
            })
            .collect();
        self.effects.extend(tried.into_iter().map(|old| EffectRecord { assumed: None, ..old }));
        self.input = Some(planned.input.clone());
    }

    /// The step's effects, as the API shows them.
    #[must_use]
    pub fn shown(&self) -> Vec<Effect> {
        (0u32..)
            .zip(&self.effects)
            .map(|(index, effect)| {
                let call = effect.call.clone().unwrap_or_else(|| Call {
                    capability: REMOVED.into(),
                    function: REMOVED.into(),
                    target: REMOVED.into(),
                    arguments: Value::Null.into(),
                });
                Effect {
                    index,
                    capability: call.capability,
                    function: call.function,
                    target: call.target,
                    arguments: call.arguments,
                    reason: effect.reason.clone(),
                    idempotency_key: effect.key.clone(),
                    status: effect.status,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
