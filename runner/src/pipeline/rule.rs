//! Asks the policy about a plan, and says it in the run's words.

use std::sync::Arc;

use staunch_core::decision::{Code, Decision, Reason};
use staunch_core::effect::Call;
use staunch_core::plan::Plan;
use staunch_core::policy::gate::{self, PlannedStep, Question, Verdict};
use staunch_core::run::{Ask, Mode, Run};

use super::live::LiveRun;
use super::plugins::Loaded;
use super::shared::Shared;

/// What the policy says about a plan.
#[derive(Debug, Default)]
pub(super) struct Ruling {
    /// Everything that had a say.
    pub(super) decisions: Vec<Decision>,
    /// A rule said no.
    pub(super) refused: Option<Reason>,
    /// It may plan and no more.
    pub(super) observe: bool,
    /// People decide.
    pub(super) ask: Option<Ask>,
}

/// Rules over a plan, with the policies as they are now.
pub(super) fn rule(shared: &Shared, live: &LiveRun, run: &Run, plan: &Plan) -> Ruling {
    let rules = shared.rules();
    let now = shared.now();
    let refuse = |reason: Reason| Ruling { refused: Some(reason), ..Ruling::default() };
    let Some(runbook) = shared.runbook(&run.runbook) else {
        let message = format!("runbook {} is no longer in the policies", run.runbook);
        return refuse(Reason::new(Code::Policy, message));
    };
    let plugins: Result<Vec<Arc<Loaded>>, Reason> =
        plan.steps.iter().map(|step| shared.plugins.exactly(&step.plugin, step.plugin_digest)).collect();
    let plugins = match plugins {
        Ok(plugins) => plugins,
        Err(reason) => return refuse(reason),
    };
    let calls: Vec<Vec<Call>> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            // What would be taken back is an effect of the same plugin, and judged with it.
            let undo = plan.undo.iter().rev().nth(index);
            let effects = step.effects.iter().chain(undo.into_iter().flat_map(|undo| &undo.effects));
            effects.map(|effect| effect.call.clone()).collect()
        })
        .collect();
    let facts: Vec<_> = plugins.iter().map(|plugin| shared.plugins.facts(plugin)).collect();
    let steps: Vec<PlannedStep<'_>> =
        facts.iter().zip(&calls).map(|(plugin, effects)| PlannedStep { plugin, effects }).collect();
    let windows = shared.windows_over_run(run);
    let question = Question {
        now,
        runbook: &runbook,
        target: run.target.as_deref().unwrap_or_default(),
        alert: live.about(),
        // A drill walks the road of an alert, whoever asked for it.
        manual: run.by.is_some() && run.drill.is_none(),
        labels: &run.labels,
        steps: &steps,
        windows: Some(&windows),
    };
    let gated = gate::decide(rules.policies.guardrails(), &question);
    let mut ruling = Ruling { decisions: gated.decisions, ..Ruling::default() };
    if run.drill.is_some() && run.mode == Mode::Act {
        let refusal = shared.drill_targets().refuse(now, &run.runbook, calls.iter().flatten());
        if let Some(refusal) = refusal {
            ruling.refused = Some(refusal.reason());
            ruling.decisions.push(refusal);
            return ruling;
        }
    }
    match gated.verdict {
        Verdict::Observe => ruling.observe = true,
        Verdict::Act => {}
        Verdict::Ask(gate) => ruling.ask = Some(Ask::new(&gate, now)),
        Verdict::Refuse(reason) => ruling.refused = Some(reason),
    }
    ruling
}
