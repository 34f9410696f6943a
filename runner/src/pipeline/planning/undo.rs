//! Plans what would take back the steps of a run: on the answers that its own plan assumed, and before anything is
//! done.

use std::sync::Arc;

use serde_json::Value;
use staunch_core::decision::Code;
use staunch_core::effect::EffectStatus;
use staunch_core::event::Event;
use staunch_core::permit::PlanPermit;
use staunch_core::plan::{Plan, StepPlan};
use staunch_core::run::{Outcome, Run, Step};

use super::{Planned, describe, plan_step, planned_step};
use crate::pipeline::act::planned_effects;
use crate::pipeline::drive::End;
use crate::pipeline::history::{History, Past};
use crate::pipeline::job::Part;
use crate::pipeline::live::LiveRun;
use crate::pipeline::shared::Shared;
use crate::sandbox::{Ending, Export};

/// What would take back the steps, in the order in which it is done.
#[derive(Debug, Default)]
pub(super) struct UndoPlan {
    pub(super) steps: Vec<StepPlan>,
    pub(super) log: Vec<String>,
    left: usize,
}

/// What the plan of a step says that its undo needs.
#[derive(Debug)]
pub(super) struct Before {
    /// Whether it has an effect at all.
    pub(super) acts: bool,
    /// What it would leave for its undo.
    pub(super) details: Option<Value>,
}

impl Before {
    pub(super) fn of(ending: &Ending, effects: usize) -> Self {
        let details = match ending {
            Ending::Returned(result) => result.get("details").filter(|details| !details.is_null()).cloned(),
            _ => None,
        };
        Self { acts: effects > 0, details }
    }
}

/// A step that has no part in a plan.
pub(super) fn nothing(step: &Step) -> StepPlan {
    StepPlan {
        plugin: step.plugin.clone(),
        plugin_digest: step.plugin_digest,
        input: step.input.clone().unwrap_or_default(),
        effects: Vec::new(),
        readings: Vec::new(),
    }
}

/// Plans the undo of all steps, the last one first, each behind the calls that it made already. Nothing, where the
/// runbook wants none.
///
/// # Errors
/// How the run ends whose undo cannot be planned.
pub(super) async fn plan(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    permits: impl Iterator<Item = PlanPermit>,
    before: &[Before],
    mut done: Vec<Past>,
) -> Result<UndoPlan, End> {
    let mut undo = UndoPlan::default();
    if !run.flow.wants_undo() {
        return Ok(undo);
    }
    done.resize_with(run.steps.len(), Past::default);
    let parts = run.steps.iter().zip(before).zip(done).enumerate().rev();
    for ((index, ((step, before), past)), permit) in parts.zip(permits) {
        let plugin = shared.plugins.exactly(&step.plugin, step.plugin_digest).map_err(super::unusable)?;
        if !before.acts || !plugin.prepared().exports(Export::Undo) {
            undo.steps.push(nothing(step));
            continue;
        }
        let part = Part::Undo(index, before.details.as_ref().map(Value::to_string));
        let report = plan_step(shared, live, (run, &part), &plugin, permit, past).await?;
        if !matches!(report.ending, Ending::Returned(_)) {
            let (code, message) = describe(&report.ending);
            let message = format!("the undo of step {} cannot be planned: {message}", index + 1);
            return Err(End::new(Outcome::Failed, code, message));
        }
        undo.steps.push(planned_step(step, report, &mut undo.log, &mut undo.left));
    }
    Ok(undo)
}

/// Plans anew what is left of an undo that is under way. The run's own part of the plan stays as it is.
///
/// # Errors
/// Why it cannot be planned.
pub(super) async fn plan_again(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    permit: PlanPermit,
    events: &[Event],
) -> Result<Planned, End> {
    let Some(record) = &run.undo else {
        return Err(End::new(Outcome::Failed, Code::Internal, "the run has no undo"));
    };
    let did = |step: &Step| step.effects.iter().any(|effect| effect.status == EffectStatus::Done);
    let before: Vec<Before> =
        run.steps.iter().map(|step| Before { acts: did(step), details: step.details().cloned() }).collect();
    let past =
        record.steps.iter().enumerate().map(|(index, step)| {
            History::of(events, run, Run::undo_number(index)).past(step, shared.now(), &[])
        });
    let past: Vec<Past> = past.collect();
    let permits = permit.split(run.steps.len()).into_iter();
    let undo = plan(shared, live, run, permits, &before, past).await?;
    let steps = run.steps.iter().map(|step| StepPlan { effects: planned_effects(step), ..nothing(step) });
    let plan = Plan::with_undo(&run.id, &run.runbook, steps.collect(), undo.steps);
    Ok(Planned::anew(shared, run, plan, undo.log, undo.left))
}
