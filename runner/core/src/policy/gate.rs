//! Decides how far a planned run may go: observe, act, ask people, or nothing.
//!
//! The autonomy in force is the lowest of what the runbook, the standing of its plugins and the guardrails allow.
//! Halts, windows, breakers and limits are the pre-gate's; permits are made elsewhere, from what is decided here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::facts::{Autonomy, Effects, PluginFacts};
use super::guardrails::{self, ActQuestion, Allowed, EffectQuestion, Guardrails};
use super::runbook::{Gate, Runbook};
use crate::alert::Alert;
use crate::decision::{Code, Decision, Outcome, Reason, Stage};
use crate::effect::Call;
use crate::window::Ruling;

/// A planned run.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The time.
    pub now: DateTime<Utc>,
    /// The runbook.
    pub runbook: &'a Runbook,
    /// The canonical target.
    pub target: &'a str,
    /// The alert; `None` in a run started by hand or by the clock.
    pub alert: Option<&'a Alert>,
    /// Whether a person started it.
    pub manual: bool,
    /// The labels, of the alert or the request.
    pub labels: &'a BTreeMap<String, String>,
    /// What each step of the runbook would do, in the same order.
    pub steps: &'a [PlannedStep<'a>],
    /// What windows say about it now; `None` where they were not asked.
    pub windows: Option<&'a Ruling>,
}

/// What one step would do.
#[derive(Debug, Clone, Copy)]
pub struct PlannedStep<'a> {
    /// Its plugin.
    pub plugin: &'a PluginFacts,
    /// The effects of its plan.
    pub effects: &'a [Call],
}

/// How far the run may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It ends after the plan.
    Observe,
    /// It acts.
    Act,
    /// It waits for people, as this gate says.
    Ask(Gate),
    /// It ends here.
    Refuse(Reason),
}

/// A verdict and its trace: standing and policy of each step, then the gate.
#[derive(Debug, Clone)]
pub struct Gated {
    /// How far the run may go.
    pub verdict: Verdict,
    /// Everything that had a say.
    pub decisions: Vec<Decision>,
}

/// The standing of a plugin, as the pre-gate and the gate see it.
#[must_use]
pub fn standing(plugin: &PluginFacts, now: DateTime<Utc>) -> Decision {
    let PluginFacts { name, version, standing, .. } = plugin;
    let message = format!("{name} {version} is {}", standing.as_str());
    match standing.autonomy() {
        Some(Autonomy::Automatic | Autonomy::Approve | Autonomy::Observe) => {
            Decision::pass(now, Stage::Standing, name, message)
        }
        None => Decision::refuse(now, Stage::Standing, name, Code::Standing, message),
    }
}

/// The lowest autonomy so far, and who holds it down.
struct Lowest {
    autonomy: Autonomy,
    holder: String,
}

impl Lowest {
    fn lower(&mut self, autonomy: Autonomy, holder: impl FnOnce() -> String) {
        if autonomy < self.autonomy {
            *self = Self { autonomy, holder: holder() };
        }
    }
}

/// Decides about a planned run.
#[must_use]
pub fn decide(guardrails: &Guardrails, question: &Question<'_>) -> Gated {
    let Question { now, runbook, .. } = *question;
    let mut decisions = Vec::with_capacity(2 * question.steps.len() + 2);
    let mut lowest = Lowest {
        autonomy: runbook.autonomy,
        holder: format!("the runbook says {}", runbook.autonomy.as_str()),
    };
    let mut refused = question.windows.and_then(|ruling| windows(ruling, &mut lowest, &mut decisions));
    for (index, step) in question.steps.iter().enumerate() {
        let decision = standing(step.plugin, now);
        let refusal = (decision.code == Code::Standing).then(|| decision.reason());
        decisions.push(decision);
        if let Some(autonomy) = step.plugin.standing.autonomy() {
            lowest.lower(autonomy, || {
                format!("{} {} stands at {}", step.plugin.name, step.plugin.version, autonomy.as_str())
            });
        }
        let refusal = refusal.or_else(|| policy(guardrails, question, index, &mut lowest, &mut decisions));
        refused = refused.or(refusal);
    }
    // A run that only observes does nothing that a rule could forbid; what the rules would say is in the trace.
    let observes = runbook.autonomy == Autonomy::Observe || lowest.autonomy == Autonomy::Observe;
    let verdict = match refused {
        Some(reason) if matches!(reason.code, Code::Standing | Code::Window | Code::Silence) || !observes => {
            Verdict::Refuse(reason)
        }
        _ => gate(runbook, &lowest, now, &mut decisions),
    };
    Gated { verdict, decisions }
}

/// What windows leave of autonomy: the reason of the one that refuses, if any does.
fn windows(ruling: &Ruling, lowest: &mut Lowest, decisions: &mut Vec<Decision>) -> Option<Reason> {
    decisions.extend(ruling.decisions.iter().filter(|said| said.result != Outcome::Pass).cloned());
    let of = |result: Outcome| ruling.decisions.iter().find(|said| said.result == result);
    let Some(most) = ruling.autonomy else { return of(Outcome::Refuse).map(Decision::reason) };
    lowest.lower(most, || of(Outcome::Ask).map(|said| said.message.to_string()).unwrap_or_default());
    None
}

/// Asks the guardrails about one step and each of its effects.
fn policy(
    guardrails: &Guardrails,
    question: &Question<'_>,
    index: usize,
    lowest: &mut Lowest,
    decisions: &mut Vec<Decision>,
) -> Option<Reason> {
    let Question { now, runbook, target, .. } = *question;
    let PlannedStep { plugin, effects } = question.steps[index];
    let irreversible = is_irreversible(runbook, index, plugin);
    let allowed = guardrails.may_act(&ActQuestion {
        runbook: &runbook.name,
        autonomy: runbook.autonomy,
        plugin,
        target,
        alert: question.alert,
        labels: question.labels,
        effects_count: effects.len(),
        irreversible,
        manual: question.manual,
    });
    let decision = act_decision(&allowed, plugin, runbook, now);
    if matches!(allowed, Allowed::ActWithApproval { .. }) {
        lowest.lower(Autonomy::Approve, || decision.message.to_string());
    }
    let refusal = (decision.code == Code::Policy).then(|| decision.reason());
    decisions.push(decision);
    refusal.or_else(|| {
        let denied = effects.iter().find_map(|call| {
            let answer = guardrails.may_effect(&EffectQuestion {
                runbook: &runbook.name,
                plugin,
                target,
                call,
                irreversible,
                unplanned: false,
            });
            (!answer.permitted).then(|| {
                let effect = format!("{}.{} on {}", call.capability, call.function, call.target);
                let message =
                    format!("{} may not do {effect}: {}", plugin.name, answer.why(guardrails::FILE));
                Decision::refuse(now, Stage::Policy, &effect, Code::Policy, message)
            })
        })?;
        let reason = denied.reason();
        decisions.push(denied);
        Some(reason)
    })
}

/// Whether the effects of a step count as irreversible: by the plugin's manifest, or because the runbook says so.
#[must_use]
pub fn is_irreversible(runbook: &Runbook, step: usize, plugin: &PluginFacts) -> bool {
    let declared = plugin.effects;
    let effects = runbook.steps.get(step).map_or(declared, |step| step.effects(declared));
    effects == Effects::Irreversible
}

fn act_decision(allowed: &Allowed, plugin: &PluginFacts, runbook: &Runbook, now: DateTime<Utc>) -> Decision {
    let (file, name) = (guardrails::FILE, plugin.name.as_str());
    match allowed {
        Allowed::ActAlone(answer) => {
            let message = format!("{name} may act alone: {}", answer.why(file));
            Decision::pass(now, Stage::Policy, name, message)
        }
        Allowed::ActWithApproval { permitted, alone } => {
            let message = format!(
                "{name} may act with approval: {}; not alone: {}",
                permitted.why(file),
                alone.why(file)
            );
            // Where the runbook asks people anyway, the guardrails ask for nothing beyond it.
            if runbook.autonomy == Autonomy::Automatic {
                Decision::ask(now, Stage::Policy, name, Code::ApprovalNeeded, message)
            } else {
                Decision::pass(now, Stage::Policy, name, message)
            }
        }
        Allowed::Neither(answer) => {
            let message = format!("{name} may not act in {}: {}", runbook.name, answer.why(file));
            Decision::refuse(now, Stage::Policy, name, Code::Policy, message)
        }
    }
}

fn gate(runbook: &Runbook, lowest: &Lowest, now: DateTime<Utc>, decisions: &mut Vec<Decision>) -> Verdict {
    let name = runbook.name.as_str();
    let (verdict, decision) = match lowest.autonomy {
        Autonomy::Observe => {
            let message = format!("it plans and no more: {}", lowest.holder);
            (Verdict::Observe, Decision::refuse(now, Stage::Gate, name, Code::Observe, message))
        }
        Autonomy::Automatic => {
            let message = "it acts alone: runbook, standing and guardrails allow it";
            (Verdict::Act, Decision::pass(now, Stage::Gate, name, message))
        }
        Autonomy::Approve => {
            let Gate { approvals, roles, expires, .. } = &runbook.gate;
            let noun = if *approvals == 1 { "approval" } else { "approvals" };
            let message = format!(
                "it needs {approvals} {noun} by {} within {}: {}",
                roles.join(" or "),
                super::duration::print(*expires),
                lowest.holder
            );
            let decision = Decision::ask(now, Stage::Gate, name, Code::ApprovalNeeded, message);
            (Verdict::Ask(runbook.gate.clone()), decision)
        }
    };
    decisions.push(decision);
    verdict
}

#[cfg(test)]
mod tests;
