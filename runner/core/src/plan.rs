//! Plans: what a run would do, their digest, and whether an effect is covered by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effect::{Access, Answer, Call, Repeat};
use crate::id::{Digest, RunId};

mod canonical;

use canonical::Sorted;

/// Version of the digest's document.
const DIGEST_VERSION: u32 = 1;

/// An effect as a plugin announced it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedEffect {
    /// What would be done.
    pub call: Call,
    /// Why, in the plugin's words.
    pub reason: String,
    /// What the plugin was told that the call answered.
    pub assumed: Answer,
    /// What may be done when it is in doubt.
    pub repeat: Repeat,
}

/// A reading that was made for a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedReading {
    /// What was read.
    pub call: Call,
    /// What it answered.
    pub answer: Answer,
    /// How many effects had been planned before it: with some, it shows the world without them.
    pub after_effects: u32,
    /// Whether the host assumed the answer, because it waits for a planned effect.
    pub assumed: bool,
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The plugin's name.
    pub plugin: String,
    /// The exact plugin.
    pub plugin_digest: Digest,
    /// Its rendered input.
    pub input: Arc<Value>,
    /// What it would do, in order.
    pub effects: Vec<PlannedEffect>,
    /// What it looked at.
    pub readings: Vec<PlannedReading>,
}

/// What a run would do, in order, under a digest that approvals are bound to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// See [`digest`].
    pub digest: Digest,
    /// One for each step of the runbook.
    pub steps: Vec<StepPlan>,
    /// What would take the steps back, in the order in which that is done: the last step first. Empty where the
    /// runbook wants no undo; else one for each step, without effects where its plugin has none to offer.
    #[serde(default)]
    pub undo: Vec<StepPlan>,
}

impl Plan {
    /// A plan and its digest.
    #[must_use]
    pub fn new(run: &RunId, runbook: &str, steps: Vec<StepPlan>) -> Self {
        Self::with_undo(run, runbook, steps, Vec::new())
    }

    /// As [`Plan::new`], with what would take the steps back.
    #[must_use]
    pub fn with_undo(run: &RunId, runbook: &str, steps: Vec<StepPlan>, undo: Vec<StepPlan>) -> Self {
        Self { digest: digest(run, runbook, &steps, &undo), steps, undo }
    }

    /// How many effects it holds.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.steps.iter().map(|step| step.effects.len()).sum()
    }

    /// What differs from an earlier plan of the same run, in sentences for the approver; empty if nothing that
    /// the digest covers.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let Some(before) = earlier.steps.get(index) else {
                changes.push(format!("step {} ({}) is new", index + 1, step.plugin));
                continue;
            };
            if before.plugin_digest != step.plugin_digest {
                changes.push(format!("step {}: plugin {} is another build", index + 1, step.plugin));
            }
            if before.input != step.input {
                changes.push(format!("step {}: the input of {} changed", index + 1, step.plugin));
            }
            changes.extend(effect_changes(&format!("step {}", index + 1), &before.effects, &step.effects));
        }
        for index in 0..self.undo.len().max(earlier.undo.len()) {
            let effects =
                |plan: &Self| plan.undo.get(index).map(|step| step.effects.clone()).unwrap_or_default();
            let step = self.steps.len().saturating_sub(index);
            changes.extend(effect_changes(
                &format!("undo of step {step}"),
                &effects(earlier),
                &effects(self),
            ));
        }
        changes
    }
}

fn effect_changes(step: &str, before: &[PlannedEffect], after: &[PlannedEffect]) -> Vec<String> {
    let place = |index: usize| format!("{step}, effect {}", index + 1);
    let name = |effect: &PlannedEffect| {
        format!("{}.{} on {}", effect.call.capability, effect.call.function, effect.call.target)
    };
    let mut changes = Vec::new();
    for index in 0..before.len().max(after.len()) {
        match (before.get(index), after.get(index)) {
            (Some(old), Some(new)) if old.call != new.call => {
                changes.push(format!("{}: {} instead of {}", place(index), name(new), name(old)));
            }
            (None, Some(new)) => changes.push(format!("{}: {} is new", place(index), name(new))),
            (Some(old), None) => changes.push(format!("{}: {} is gone", place(index), name(old))),
            _ => {}
        }
    }
    changes
}

/// SHA-256 of the RFC 8785 JSON of `{v, run, runbook, steps: [{plugin_digest, input, effects: [{capability,
/// function, target, arguments}]}], undo: [...]}`, `undo` being like `steps`, the last step first. Readings, reasons,
/// keys, expiry and times are not in it.
#[must_use]
pub fn digest(run: &RunId, runbook: &str, steps: &[StepPlan], undo: &[StepPlan]) -> Digest {
    let (steps, undo) = (digested(steps), digested(undo));
    Digest::of(&canonical::bytes(&Digested { run, runbook, steps, undo, v: DIGEST_VERSION }))
}

/// What the digest covers of a plan. Here and below the members stand in the order of their names.
#[derive(Serialize)]
struct Digested<'a> {
    run: &'a RunId,
    runbook: &'a str,
    steps: Vec<DigestedStep<'a>>,
    undo: Vec<DigestedStep<'a>>,
    v: u32,
}

#[derive(Serialize)]
struct DigestedStep<'a> {
    effects: Vec<DigestedCall<'a>>,
    input: Sorted<'a>,
    plugin_digest: Digest,
}

#[derive(Serialize)]
struct DigestedCall<'a> {
    arguments: Sorted<'a>,
    capability: &'a str,
    function: &'a str,
    target: &'a str,
}

fn digested(steps: &[StepPlan]) -> Vec<DigestedStep<'_>> {
    fn call(call: &Call) -> DigestedCall<'_> {
        let Call { capability, function, target, arguments } = call;
        DigestedCall { arguments: Sorted(arguments), capability, function, target }
    }
    steps
        .iter()
        .map(|step| DigestedStep {
            effects: step.effects.iter().map(|effect| call(&effect.call)).collect(),
            input: Sorted(&step.input),
            plugin_digest: step.plugin_digest,
        })
        .collect()
}

/// One call that a run made, as its journal tells: what a replay is fed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The call.
    pub call: Call,
    /// Its answer; `None` for an effect in doubt, at which a replay stops.
    pub answer: Option<Answer>,
    /// Reading or effect.
    pub access: Access,
    /// The fuel that was left when the call was made.
    pub fuel: u64,
    /// For effects, the index among the step's effects.
    pub index: Option<u32>,
}

/// Tells whether an effect is one of the planned ones.
///
/// The effects performed are a subsequence of the planned ones, equal in all four members of the call, each
/// used once. Where a planned effect came after an assumed answer with placeholders (`{{staunch:NAME}}`), the
/// real answer is filled in before it is compared.
#[derive(Debug, Clone)]
pub struct Cover {
    planned: Vec<PlannedEffect>,
    next: usize,
    bound: BTreeMap<String, String>,
}

impl Cover {
    /// The cover that a step's plan gives.
    #[must_use]
    pub fn new(planned: Vec<PlannedEffect>) -> Self {
        Self { planned, next: 0, bound: BTreeMap::new() }
    }

    /// The place in the plan of the effect that `call` is, if it is covered. Planned effects before it are
    /// skipped for good.
    pub fn admit(&mut self, call: &Call) -> Option<u32> {
        let offset = self.planned.iter().skip(self.next).position(|effect| self.same(&effect.call, call))?;
        let place = self.next + offset;
        self.next = place + 1;
        u32::try_from(place).ok()
    }

    /// Learns what the placeholders in other answers, assumed and real, really were.
    #[must_use]
    pub fn knowing<'a>(mut self, answers: impl IntoIterator<Item = (&'a Answer, &'a Answer)>) -> Self {
        for pair in answers {
            if let (Answer::Ok(assumed), Answer::Ok(real)) = pair {
                bind(assumed, real, &mut self.bound);
            }
        }
        self
    }

    /// Learns what the placeholders of the assumed answer at `place` really were.
    pub fn answered(&mut self, place: u32, answer: &Answer) {
        let Some(effect) = self.planned.get(place as usize) else { return };
        if let (Answer::Ok(assumed), Answer::Ok(real)) = (&effect.assumed, answer) {
            bind(assumed, real, &mut self.bound);
        }
    }

    fn same(&self, planned: &Call, call: &Call) -> bool {
        planned.capability == call.capability
            && planned.function == call.function
            && (planned.target == call.target || *fill_text(&planned.target, &self.bound) == *call.target)
            && (planned.arguments == call.arguments
                || (!self.bound.is_empty() && fill(&planned.arguments, &self.bound) == *call.arguments))
    }
}

const OPEN: &str = "{{staunch:";
const CLOSE: &str = "}}";

fn fill(value: &Value, bound: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, bound)),
        Value::Array(items) => items.iter().map(|item| fill(item, bound)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), fill(member, bound))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn fill_text(text: &str, bound: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = split_placeholder(rest) {
        filled.push_str(before);
        match bound.get(name) {
            Some(real) => filled.push_str(real),
            None => filled.extend([OPEN, name, CLOSE]),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The text before the first placeholder, its name, and the text behind it.
fn split_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(OPEN)?;
    let (name, after) = rest.split_once(CLOSE)?;
    Some((before, name, after))
}

fn bind(assumed: &Value, real: &Value, bound: &mut BTreeMap<String, String>) {
    match (assumed, real) {
        (Value::String(pattern), real) => bind_text(pattern, real, bound),
        (Value::Array(assumed), Value::Array(real)) => {
            assumed.iter().zip(real).for_each(|(assumed, real)| bind(assumed, real, bound));
        }
        (Value::Object(assumed), Value::Object(real)) => {
            for (name, assumed) in assumed {
                if let Some(real) = real.get(name) {
                    bind(assumed, real, bound);
                }
            }
        }
        _ => {}
    }
}

fn bind_text(pattern: &str, real: &Value, bound: &mut BTreeMap<String, String>) {
    let Some((before, name, after)) = split_placeholder(pattern) else { return };
    let real_text = match real {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    // A body is a text that holds JSON: its members are compared, so that the real one may hold more.
    if let (Ok(pattern), Ok(real)) = (serde_json::from_str(pattern), serde_json::from_str(&real_text))
        && matches!(pattern, Value::Object(_) | Value::Array(_))
    {
        bind(&pattern, &real, bound);
        return;
    }
    if let Some(value) = real_text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
        bound.insert(name.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests;
