//! Plans a run: its plugins read and announce, and nothing happens.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Decision, Reason, Stage};
use staunch_core::event::Event;
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::id::Digest;
use staunch_core::permit::{Permit, PlanPermit};
use staunch_core::plan::{Plan, StepPlan};
use staunch_core::policy::{OnFailure, PluginKind};
use staunch_core::run::{Ask, Outcome, Run, SKIPPED, Step};

use super::drive::End;
use super::history::{History, Past, past_of};
use super::job::{self, Part, Purpose};
use super::live::{Judged, LiveRun, Wait};
use super::plugins::Loaded;
use super::shared::Shared;
use crate::causes::chain;
use crate::sandbox::{Denial, Ending, LogLine, Mode, Report};

mod undo;

use undo::Before;

/// A plan, and what its making showed.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) at: DateTime<Utc>,
    policy: Digest,
    log: Vec<String>,
    kind: PluginKind,
    summary: String,
    /// How many effects of the plan have not been done.
    pub(super) left: usize,
}

impl Planned {
    /// The fact that the run has this plan.
    pub(super) fn fact(&self, asked: Option<Ask>, decisions: Vec<Decision>, changes: Vec<String>) -> Fact {
        let leaf = event::RunPlanned {
            plan: self.plan.digest,
            effects: u32::try_from(self.plan.effects()).unwrap_or(u32::MAX),
            ask: asked.is_some(),
            policy: self.policy,
        };
        let mut decisions = decisions;
        let count = self.plan.effects();
        let undo: usize = self.plan.undo.iter().map(|step| step.effects.len()).sum();
        let undo = if undo == 0 { String::new() } else { format!(", and {undo} that would undo them") };
        let message = format!("planned {count} {}{undo}", if count == 1 { "effect" } else { "effects" });
        let subject = self.plan.steps.first().map_or("", |step| step.plugin.as_str());
        decisions.insert(0, Decision::pass(self.at, Stage::Plan, subject, message));
        let outside = payload::RunPlanned {
            steps: self.plan.steps.clone(),
            asked,
            decisions,
            log: self.log.clone(),
            changes,
            undo: self.plan.undo.clone(),
        };
        Fact::RunPlanned(leaf, Outside::Kept(outside))
    }

    /// The plan of an undo that was planned anew.
    fn anew(shared: &Shared, run: &Run, plan: Plan, log: Vec<String>, left: usize) -> Self {
        let policy =
            shared.runbook(&run.runbook).map_or(run.policy, |runbook| shared.policy_digest(&runbook));
        let (kind, summary) = (PluginKind::Remediation, String::new());
        Self { plan, at: shared.now(), policy, log, kind, summary, left }
    }

    /// How a run ends whose plan has no effect: a check has recorded, everything else had nothing to do.
    pub(super) fn without_effects(&self) -> End {
        match self.kind {
            PluginKind::Check => End::new(Outcome::Done, Code::Completed, self.summary.clone()),
            PluginKind::Remediation | PluginKind::Connector => {
                End::new(Outcome::Cancelled, Code::NothingToDo, self.summary.clone())
            }
        }
    }
}

/// The fact that planning begins.
pub(super) fn planning_fact() -> Fact {
    Fact::RunPlanning(event::RunPlanning {}, Outside::Kept(payload::RunPlanning {}))
}

/// Plans all steps of a run from its beginning.
///
/// # Errors
/// How the run ends that cannot be planned.
pub(super) async fn plan(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    permit: PlanPermit,
) -> Result<Planned, End> {
    plan_after(shared, live, run, permit, Vec::new()).await
}

/// Plans all steps of a run, each behind the calls that it made already: what was done stands in the plan as it
/// was done, and what follows is new. Where an old reading among those calls answers otherwise now, the plugin is
/// asked anew from there, and that is written down.
///
/// # Errors
/// How the run ends that cannot be planned.
pub(super) async fn plan_after(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    permit: PlanPermit,
    mut done: Vec<Past>,
) -> Result<Planned, End> {
    done.resize_with(run.steps.len(), Past::default);
    let mut steps = Vec::with_capacity(run.steps.len());
    let mut log = Vec::new();
    let mut kind = PluginKind::Remediation;
    let mut summary = String::new();
    let policies = Arc::clone(&shared.rules().policies);
    let mut plugins = Vec::with_capacity(run.steps.len());
    // One to plan each step, and one to plan its undo.
    let mut permits = permit.split(2 * run.steps.len());
    let undo_permits = permits.split_off(run.steps.len());
    let mut before = Vec::with_capacity(run.steps.len());
    let mut left = 0;
    for (((index, step), permit), past) in run.steps.iter().enumerate().zip(permits).zip(done) {
        let plugin = shared.plugins.exactly(&step.plugin, step.plugin_digest).map_err(unusable)?;
        kind = plugin.kind();
        plugins.push(shared.plugins.facts(&plugin));
        if is_left_out(live, run, index)? {
            steps.push(undo::nothing(step));
            before.push(Before { acts: false, details: None });
            continue;
        }
        let report = plan_step(shared, live, (run, &Part::Step(index)), &plugin, permit, past).await?;
        if !is_tolerated(live, run, index, &report) {
            summary = check_ending(run, &report)?;
        }
        before.push(Before::of(&report.ending, report.effects.len()));
        steps.push(planned_step(step, report, &mut log, &mut left));
    }
    let undo = undo::plan(shared, live, run, undo_permits.into_iter(), &before, Vec::new()).await?;
    log.extend(undo.log);
    let plan = Plan::with_undo(&run.id, &run.runbook, steps, undo.steps);
    live.judged(Judged { plan: plan.digest, policies, plugins });
    let policy = shared.runbook(&run.runbook).map_or(run.policy, |runbook| shared.policy_digest(&runbook));
    Ok(Planned { plan, at: shared.now(), policy, log, kind, summary, left })
}

/// Plans a run again of which something may have been done: of its undo only what is left of that, once it was
/// decided.
///
/// # Errors
/// How the run ends that cannot be planned.
pub(super) async fn plan_again(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    permit: PlanPermit,
    events: &[Event],
) -> Result<Planned, End> {
    if run.undoes() {
        return undo::plan_again(shared, live, run, permit, events).await;
    }
    let done = past_of(events, run, shared.now());
    plan_after(shared, live, run, permit, done).await
}

/// What a step or its undo would do, by the pass that planned it; what it logged, and how many effects are left to do.
fn planned_step(step: &Step, report: Report, log: &mut Vec<String>, left: &mut usize) -> StepPlan {
    *left += report.effects.iter().filter(|effect| !effect.replayed).count();
    log.extend(lines(&report.log, report.log_dropped));
    let (effects, readings) = report.into_plan();
    StepPlan { effects, readings, ..undo::nothing(step) }
}

/// Whether a step has no part in the plan: it was left out, or will be, however those before it end. A step whose
/// condition depends on these is planned, so that what it may do is covered.
fn is_left_out(live: &LiveRun, run: &Run, index: usize) -> Result<bool, End> {
    if run.steps[index].ending.as_deref() == Some(SKIPPED) {
        return Ok(true);
    }
    let will = run.will_want_step(index, live.about());
    let unclear =
        |error: &dyn std::error::Error| End::new(Outcome::Refused, Code::Template, error.to_string());
    will.map(|will| will == Some(false)).map_err(|error| unclear(&error))
}

/// Whether it does not matter that the plugin of a step failed while it planned: the rest is done all the same, or
/// the step may never be, or it failed when it acted and that is over.
fn is_tolerated(live: &LiveRun, run: &Run, index: usize, report: &Report) -> bool {
    let failed = matches!(report.ending, Ending::Failed(_)) && report.denials.is_empty();
    let unclear = || matches!(run.will_want_step(index, live.about()), Ok(None));
    let may = run.flow.on_failure(index) == OnFailure::Continue || unclear();
    run.steps[index].failed() || (failed && may)
}

async fn plan_step(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    (run, part): (&Run, &Part),
    plugin: &Arc<Loaded>,
    mut permit: PlanPermit,
    mut past: Past,
) -> Result<Report, End> {
    loop {
        let job = job::make(shared, live, run, part, plugin, Purpose::Plan(past), Mode::Plan)?;
        let report = shared.execute(Permit::Plan(permit), job).await;
        let Some(fact) = reading_changed(part.number(), &report.ending) else { return Ok(report) };
        let unwritten = |message: String| End::new(Outcome::Failed, Code::Journal, message);
        live.record(vec![fact], Wait::Durable).await.map_err(|error| unwritten(chain(&error)))?;
        let events = shared.events_of(&run.id).await.map_err(|error| unwritten(chain(&error)))?;
        permit = gate::permit_replan(run).map_err(unusable)?;
        // Fewer calls are replayed each time, so that this comes to an end.
        let step = run.step(part.number()).unwrap_or(&run.steps[part.index()]);
        past = History::of(&events, run, part.number()).past(step, shared.now(), &[]);
    }
}

/// The fact that a reading of a step answers otherwise now, if that is how an execution ended.
pub(super) fn reading_changed(step: u32, ending: &Ending) -> Option<Fact> {
    let Ending::ReadingChanged { calls, call, before, now } = ending else { return None };
    let leaf = event::ReadingChanged {
        step,
        calls: *calls,
        capability: call.capability.clone(),
        function: call.function.clone(),
    };
    let outside = payload::ReadingChanged { call: call.clone(), before: before.clone(), now: now.clone() };
    Some(Fact::ReadingChanged(leaf, Outside::Kept(outside)))
}

/// A plugin that cannot be used refuses the run.
pub(super) fn unusable(reason: Reason) -> End {
    End::because(Outcome::Refused, reason)
}

/// The result's summary, or how a run ends whose plugin did not return.
fn check_ending(run: &Run, report: &Report) -> Result<String, End> {
    match &report.ending {
        Ending::Returned(result) => Ok(summary_of(result)),
        ending => {
            let (code, message) = describe(ending);
            // A plugin that gave up because a call was refused was refused by a rule.
            let refused = |denial: &&Denial| denial.error.code != "invalid-argument";
            let denied = report.denials.iter().find(refused).filter(|_| code == Code::PluginError);
            Err(match denied {
                Some(denial) if denial.error.code == "target-unknown" => {
                    let target = run.target.as_deref().unwrap_or_default();
                    let message = format!("target {target:?}: {}", denial.error.message);
                    End::new(Outcome::Refused, Code::TargetUnknown, message)
                }
                Some(denial) => End::new(Outcome::Refused, Code::Grant, denial.error.message.clone()),
                None => End::new(Outcome::Failed, code, message),
            })
        }
    }
}

/// The summary in a plugin's result.
pub(super) fn summary_of(result: &serde_json::Value) -> String {
    result.get("summary").and_then(serde_json::Value::as_str).unwrap_or("the plugin returned").to_owned()
}

/// An ending other than a return, as code and sentence.
pub(super) fn describe(ending: &Ending) -> (Code, String) {
    match ending {
        Ending::Returned(result) => (Code::Completed, summary_of(result)),
        Ending::Failed(error) => {
            (Code::PluginError, format!("the plugin failed: {}: {}", error.code, error.message))
        }
        Ending::Trapped { code, message } => {
            let word = match *code {
                "deadline" => Code::Deadline,
                "fuel" | "memory" | "table" | "stack" | "calls" | "journal" | "result" => Code::Exhausted,
                _ => Code::Trap,
            };
            (word, format!("the plugin was ended ({code}): {message}"))
        }
        Ending::Parked { call, reason } => {
            (Code::Unplanned, format!("{}.{} on {}: {reason}", call.capability, call.function, call.target))
        }
        Ending::InDoubt { call, message, .. } => (
            Code::InDoubt,
            format!(
                "nobody knows whether {}.{} on {} happened: {message}",
                call.capability, call.function, call.target
            ),
        ),
        Ending::Halted(reason) => (Code::Halt, reason.clone()),
        Ending::ReadingChanged { call, .. } => (
            Code::ReadingChanged,
            format!("{}.{} on {} answers otherwise than before", call.capability, call.function, call.target),
        ),
        Ending::Diverged { call, .. } => (
            Code::Diverged,
            format!(
                "the plugin called {}.{} where its journal holds something else",
                call.capability, call.function
            ),
        ),
        Ending::LedgerUnavailable(message) => (Code::Journal, message.clone()),
        Ending::NotPermitted(message) => (Code::Internal, message.clone()),
    }
}

/// A plugin's log as texts.
pub(super) fn lines(log: &[LogLine], dropped: u32) -> Vec<String> {
    let mut lines: Vec<String> =
        log.iter().map(|line| format!("{}: {}", line.level.as_str(), line.message)).collect();
    if dropped > 0 {
        lines.push(format!("warn: {dropped} more lines had no room"));
    }
    lines
}
