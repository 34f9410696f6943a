//! The broker's journal and judge for one step of one run.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use staunch_core::drill::Targets;
use staunch_core::effect::{Answer, Call, EffectStatus};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::halt::Subject;
use staunch_core::policy::guardrails::EffectQuestion;
use staunch_core::policy::{PluginFacts, Policies};

use super::halts::KillSwitch;
use super::live::{LiveRun, Wait};
use crate::causes::chain;
use crate::sandbox::{Intent, Ledger, LedgerError, Outcome, Reading, Verdict};

/// Stack for one question to the guardrails, in bytes: several times what Cedar insists on.
const JUDGE_STACK: usize = 512 << 10;

/// What the judge needs to know.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) policies: Arc<Policies>,
    pub(super) runbook: String,
    pub(super) plugin: PluginFacts,
    pub(super) target: String,
    pub(super) irreversible: bool,
    /// What it may act on, where it is a drill that acts.
    pub(super) drill: Option<Targets>,
}

impl Judge {
    /// What the guardrails say about an effect; an irreversible one outside the plan waits for people.
    pub(super) fn judge(&self, call: &Call, unplanned: bool) -> Verdict {
        let answer = self.policies.guardrails().may_effect(&EffectQuestion {
            runbook: &self.runbook,
            plugin: &self.plugin,
            target: &self.target,
            call,
            irreversible: self.irreversible,
            unplanned,
        });
        if !answer.permitted {
            return Verdict::Deny(answer.why(staunch_core::policy::guardrails::FILE));
        }
        if let Some(Err(reason)) = self.drill.as_ref().map(|targets| targets.permit(call)) {
            return Verdict::Deny(reason.message);
        }
        if unplanned && self.irreversible {
            return Verdict::Park("an effect that cannot be taken back is not in the plan".to_owned());
        }
        Verdict::Allow
    }
}

/// The ledger of one step.
#[derive(Debug)]
pub(super) struct StepLedger {
    pub(super) live: Arc<LiveRun>,
    pub(super) step: u32,
    pub(super) judge: Judge,
    /// What may halt the run.
    pub(super) halts: Arc<KillSwitch>,
    /// The plugins of all steps of the run.
    pub(super) plugins: Vec<String>,
    /// Further names of the run's target.
    pub(super) aliases: Vec<String>,
    /// Whether the planned effects were judged already, by the same policies about the same plugin.
    pub(super) judged: bool,
    /// In a plan nothing is written down call by call: the plan holds it all.
    pub(super) planning: bool,
}

impl StepLedger {
    async fn note(&self, fact: Fact, wait: Wait) -> Result<(), LedgerError> {
        if self.planning {
            return Ok(());
        }
        self.live.record(vec![fact], wait).await.map_err(|error| LedgerError::Unavailable(chain(&error)))
    }

    /// Writes down an intent, unless the run is halted. Whoever halts waits until it is durable.
    async fn intend_unless_halted(&self, fact: Fact) -> Result<(), LedgerError> {
        if self.planning {
            return Ok(());
        }
        let _pass = self.halts.pass().await;
        self.halts.look();
        match self.halted() {
            Some(reason) => Err(LedgerError::Halted(reason)),
            None => self.note(fact, Wait::Durable).await,
        }
    }
}

impl Ledger for StepLedger {
    fn halted(&self) -> Option<String> {
        if let Some(reason) = self.live.stopped() {
            return Some(reason.message);
        }
        if self.halts.is_clear() {
            return None;
        }
        let plugins: Vec<&str> = self.plugins.iter().map(String::as_str).collect();
        let aliases: Vec<&str> = self.aliases.iter().map(String::as_str).collect();
        self.halts.why(&Subject {
            runbook: &self.judge.runbook,
            plugins: &plugins,
            target: Some(&self.judge.target),
            aliases: &aliases,
        })
    }

    fn judge(&self, call: &Call, unplanned: bool) -> Verdict {
        if self.judged && !unplanned {
            return Verdict::Allow;
        }
        // This is asked on the guest's own stack, of which Cedar cannot tell how much is left: it would refuse to
        // evaluate. So the question is put on a stack of its own.
        stacker::grow(JUDGE_STACK, || self.judge.judge(call, unplanned))
    }

    fn intend<'a>(&'a self, intent: Intent<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        let leaf = event::EffectIntended {
            step: self.step,
            effect: intent.index,
            capability: intent.call.capability.clone(),
            function: intent.call.function.clone(),
            key: intent.key.to_owned(),
            repeat: intent.repeat,
            planned: !intent.unplanned,
            fuel: intent.fuel,
        };
        let outside = payload::EffectIntended {
            call: intent.call.clone(),
            reason: intent.reason.to_owned(),
            before: intent.before.cloned(),
        };
        Box::pin(self.intend_unless_halted(Fact::EffectIntended(leaf, Outside::Kept(outside))))
    }

    fn settle<'a>(&'a self, outcome: Outcome<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        let leaf = event::EffectSettled { step: self.step, effect: outcome.index, status: outcome.status };
        let answer = (outcome.status != EffectStatus::Unknown).then(|| outcome.answer.clone());
        let outside = payload::EffectSettled { answer, by: None, comment: None };
        Box::pin(self.note(Fact::EffectSettled(leaf, Outside::Kept(outside)), Wait::Rides))
    }

    fn reading<'a>(&'a self, reading: Reading<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        let leaf = event::ReadingMade {
            step: self.step,
            capability: reading.call.capability.clone(),
            function: reading.call.function.clone(),
            fuel: reading.fuel,
            polls: reading.polls,
        };
        let outside = payload::ReadingMade { call: reading.call.clone(), answer: reading.answer.clone() };
        Box::pin(self.note(Fact::ReadingMade(leaf, Outside::Kept(outside)), Wait::Rides))
    }

    fn denied<'a>(
        &'a self,
        call: &'a Call,
        answer: &'a Answer,
        fuel: u64,
    ) -> BoxFuture<'a, Result<(), LedgerError>> {
        let leaf = event::CallDenied {
            step: self.step,
            capability: call.capability.clone(),
            function: call.function.clone(),
            fuel,
        };
        let outside = payload::CallDenied { call: call.clone(), answer: answer.clone() };
        Box::pin(self.note(Fact::CallDenied(leaf, Outside::Kept(outside)), Wait::Rides))
    }
}
