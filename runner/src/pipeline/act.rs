//! Acts: executes the steps of a run under its permit, and says what came of it.

use std::sync::Arc;

use staunch_core::decision::{Code, Reason};
use staunch_core::effect::EffectStatus;
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::permit::{ActPermit, Permit};
use staunch_core::plan::{Cover, PlannedEffect};
use staunch_core::run::{EffectRecord, Outcome, Run, State, Step};

use super::drive::{End, Interrupted, end, resumed};
use super::history::{History, Past, Resend};
use super::job::{self, Part, Purpose};
use super::live::{LiveRun, Wait};
use super::planning::{self, describe, lines, reading_changed};
use super::retry;
use super::rule;
use super::shared::Shared;
use crate::sandbox::{Ending, Mode, Report};

/// What came of acting.
#[derive(Debug)]
pub(super) enum Acted {
    /// The plugins came to their end, well or badly; the probes have the word.
    Done,
    /// The run is parked.
    Parked,
    /// What the run did is taken back.
    Undoing,
    /// The run has ended.
    Over,
}

/// What came of one step, or of its undo.
#[derive(Debug)]
pub(super) enum StepEnd {
    /// It is written down how its plugin came to its end; the run says what follows.
    Ended,
    /// The run is parked.
    Parked,
    /// The run has ended.
    Over,
}

/// Executes the steps that have not come to their end yet, in order, each behind the calls that it made already.
/// A run that acts for the first time has no `resends`; of one that goes on, those effects in doubt are sent again.
pub(super) async fn act(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    permit: ActPermit,
    resends: Option<&[Resend]>,
) -> Result<Acted, Interrupted> {
    let run = live.snapshot().await;
    let events = if resends.is_some() { shared.events_of(&run.id).await? } else { Vec::new() };
    let resends = resends.unwrap_or_default();
    for permit in permit.split(run.steps.len()) {
        let run = live.snapshot().await;
        let Some(index) = run.next_step() else { break };
        if let Some(fact) = left_out(live, &run, index) {
            live.record(vec![fact], Wait::Rides).await?;
            continue;
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let resends: Vec<Resend> = resends.iter().copied().filter(|resend| resend.step == number).collect();
        let past = History::of(&events, &run, number).past(&run.steps[index], shared.now(), &resends);
        match act_step(shared, live, index, permit, past).await? {
            StepEnd::Ended => {}
            StepEnd::Parked => return Ok(Acted::Parked),
            StepEnd::Over => return Ok(Acted::Over),
        }
    }
    Ok(Acted::Done)
}

/// The fact that a step is not done, because its condition does not hold, or cannot be told.
fn left_out(live: &LiveRun, run: &Run, index: usize) -> Option<Fact> {
    let step = u32::try_from(index).unwrap_or(u32::MAX);
    match run.wants_step(index, live.about()) {
        Ok(true) => None,
        Ok(false) => {
            let message = format!("{:?} does not hold", run.condition(index).unwrap_or_default());
            let outside = payload::StepSkipped { message };
            Some(Fact::StepSkipped(event::StepSkipped { step }, Outside::Kept(outside)))
        }
        Err(error) => {
            let code = Code::Template.as_str();
            Some(step_ended(step, code, 0, None, Some(error.to_string()), Vec::new()))
        }
    }
}

/// Executes a step, and again where it failed in a way that may pass and the runbook says so.
async fn act_step(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    index: usize,
    permit: ActPermit,
    past: Past,
) -> Result<StepEnd, Interrupted> {
    let (mut permit, mut past) = (permit, past);
    // A restart may have come between a failure and its retry.
    retry::wait(shared, live, index).await;
    loop {
        if let Some(ended) = try_step(shared, live, index, permit, past).await? {
            return Ok(ended);
        }
        (permit, past) = match retry::again(shared, live, index).await? {
            Ok(again) => again,
            Err(ended) => return Ok(ended),
        };
    }
}

/// Executes a step once. `None`: it is tried again.
async fn try_step(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    index: usize,
    permit: ActPermit,
    past: Past,
) -> Result<Option<StepEnd>, Interrupted> {
    let run = live.snapshot().await;
    let step = &run.steps[index];
    let plugin = match shared.plugins.exactly(&step.plugin, step.plugin_digest) {
        Ok(plugin) => plugin,
        Err(reason) => return fail(live, &run, reason).await.map(Some),
    };
    let planned = planned_effects(step);
    let count = u32::try_from(planned.len()).unwrap_or(u32::MAX);
    let mode = Mode::Act { cover: Cover::new(planned), planned: count };
    let part = Part::Step(index);
    let job = match job::make(shared, live, &run, &part, &plugin, Purpose::Act(past), mode) {
        Ok(job) => job,
        Err(over) => {
            end(live, over).await?;
            return Ok(Some(StepEnd::Over));
        }
    };
    let report = shared.execute(Permit::Act(permit), job).await;
    if let Some(fact) = retry::due(shared, live, &run, index, &report.ending) {
        live.record(vec![fact], Wait::Durable).await?;
        return Ok(None);
    }
    after_step(shared, live, &part, report).await.map(Some)
}

/// The effects that the plan holds for a step.
pub(super) fn planned_effects(step: &Step) -> Vec<PlannedEffect> {
    let planned = step.effects.iter().filter_map(|effect| {
        Some(PlannedEffect {
            call: effect.call.clone()?,
            reason: effect.reason.clone(),
            assumed: effect.assumed.clone()?,
            repeat: effect.repeat,
        })
    });
    planned.collect()
}

async fn fail(live: &LiveRun, run: &Run, reason: Reason) -> Result<StepEnd, Interrupted> {
    if run.touched_the_world() {
        // The probes have the word about what was done; the reason stands with the step.
        let fact = step_ended(run.at_step(), reason.code.as_str(), 0, None, Some(reason.message), Vec::new());
        live.record(vec![fact], Wait::Rides).await?;
        return Ok(StepEnd::Ended);
    }
    end(live, End::because(Outcome::Refused, reason)).await?;
    Ok(StepEnd::Over)
}

/// Writes down how the plugin of a step, or of its undo, came to its end, and says how the run goes on.
pub(super) async fn after_step(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    part: &Part,
    report: Report,
) -> Result<StepEnd, Interrupted> {
    let log = lines(&report.log, report.log_dropped);
    let number = part.number();
    match report.ending {
        Ending::Returned(result) => {
            let fact = step_ended(number, "returned", report.fuel, Some(result), None, log);
            live.record(vec![fact], Wait::Rides).await?;
            Ok(StepEnd::Ended)
        }
        Ending::Parked { call, reason } => {
            let question = EffectRecord {
                call: Some(call.clone()),
                reason: reason.clone(),
                repeat: staunch_core::effect::Repeat::Once,
                assumed: None,
                key: None,
                status: EffectStatus::Planned,
            };
            let message = format!("{}.{} on {}: {reason}", call.capability, call.function, call.target);
            park(live, number, Code::Unplanned, message, Some(question)).await?;
            plan_anew(shared, live, Question::Always).await
        }
        ending @ Ending::ReadingChanged { .. } => {
            let (code, message) = describe(&ending);
            let changed = reading_changed(number, &ending);
            live.record(changed.into_iter().collect(), Wait::Rides).await?;
            ask_anew(shared, live, Reason::new(code, message), Question::WhereThereIsOne).await?;
            Ok(StepEnd::Parked)
        }
        Ending::InDoubt { .. } => {
            let (code, message) = describe(&report.ending);
            park(live, number, code, message, None).await?;
            Ok(StepEnd::Parked)
        }
        Ending::LedgerUnavailable(message) => {
            tracing::error!(run.id = %live.id(), error = %message, "the journal failed under run {}", live.id());
            Ok(StepEnd::Over)
        }
        ending => {
            let (code, message) = describe(&ending);
            let fact = step_ended(number, code.as_str(), report.fuel, None, Some(message), log);
            live.record(vec![fact], Wait::Rides).await?;
            Ok(StepEnd::Ended)
        }
    }
}

/// The fact that the plugin of a step came to its end.
pub(super) fn step_ended(
    step: u32,
    ending: &str,
    fuel: u64,
    result: Option<serde_json::Value>,
    error: Option<String>,
    log: Vec<String>,
) -> Fact {
    let leaf = event::StepEnded { step, ending: ending.to_owned(), fuel };
    Fact::StepEnded(leaf, Outside::Kept(payload::StepEnded { result, error, log }))
}

async fn park(
    live: &LiveRun,
    step: u32,
    code: Code,
    message: String,
    question: Option<EffectRecord>,
) -> Result<(), Interrupted> {
    let outside = payload::RunParked { message, question, asked: None };
    let fact = Fact::RunParked(event::RunParked { code, step }, Outside::Kept(outside));
    live.record(vec![fact], Wait::Durable).await
}

/// Whether people are asked about a new plan that has nothing left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Always,
    WhereThereIsOne,
}

/// Parks a run whose permit does not carry it on, plans it anew and asks people.
pub(super) async fn ask_anew(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    reason: Reason,
    question: Question,
) -> Result<(), Interrupted> {
    let step = live.look(Run::at_step).await;
    park(live, step, reason.code, reason.message, None).await?;
    plan_anew(shared, live, question).await.map(drop)
}

/// Makes the new plan of a parked run: what was done stands in it as done, and people are asked about the whole of
/// it.
async fn plan_anew(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    question: Question,
) -> Result<StepEnd, Interrupted> {
    let run = live.snapshot().await;
    let permit = match gate::permit_replan(&run) {
        Ok(permit) => permit,
        Err(reason) => return fail(live, &run, reason).await,
    };
    let events = shared.events_of(&run.id).await?;
    let planned = match planning::plan_again(shared, live, &run, permit, &events).await {
        Ok(planned) => planned,
        Err(over) => {
            // It stays parked: a person can reject it, and what was done is told by its effects.
            tracing::warn!(run.id = %run.id, reason = %over.reason, "run {} cannot be planned anew", run.id);
            return Ok(StepEnd::Parked);
        }
    };
    let ruling = rule::rule(shared, live, &run, &planned.plan);
    if planned.left == 0 && question == Question::WhereThereIsOne {
        let facts = vec![planned.fact(None, ruling.decisions, Vec::new()), resumed()];
        live.record(facts, Wait::Durable).await?;
        return Ok(StepEnd::Parked);
    }
    let mut ask = shared.question_for(&run);
    ask.expires = shared.now() + gate::PARKED_FOR;
    let fact = planned.fact(Some(ask), ruling.decisions, Vec::new());
    live.record(vec![fact], Wait::Durable).await?;
    Ok(StepEnd::Parked)
}

/// How a run ends that has no probes, or whose plugin failed before it did anything; `None` when the probes
/// have the word.
pub(super) fn conclude(run: &Run, kind: staunch_core::policy::PluginKind) -> Option<End> {
    use staunch_core::policy::PluginKind;
    let failed = run.failed_step();
    let code = failed.and_then(|step| step.ending.as_deref()?.parse::<Code>().ok());
    let message = failed.and_then(|step| step.error.clone());
    if let Some(reason) = run.given_up.clone().filter(|_| !run.touched_the_world()) {
        let nothing_done = matches!(reason.code, Code::Cancelled | Code::Halt | Code::TakenOver);
        let outcome = if nothing_done { Outcome::Cancelled } else { Outcome::Unknown };
        return Some(End::because(outcome, reason));
    }
    if run.touched_the_world() {
        return match (kind, failed) {
            (PluginKind::Connector | PluginKind::Check, None) => {
                Some(End::new(Outcome::Done, Code::Completed, summary(run)))
            }
            _ => None,
        };
    }
    if let Some(code) = code {
        let unwanted = matches!(code, Code::Halt | Code::NoLongerNeeded);
        let outcome = if unwanted { Outcome::Cancelled } else { Outcome::Failed };
        return Some(End::new(outcome, code, message.unwrap_or_default()));
    }
    let tried = run
        .steps
        .iter()
        .flat_map(|step| &step.effects)
        .any(|effect| matches!(effect.status, EffectStatus::Failed | EffectStatus::Denied));
    Some(if tried {
        End::new(Outcome::Failed, Code::PluginError, format!("no effect was done: {}", summary(run)))
    } else if kind == PluginKind::Check {
        End::new(Outcome::Done, Code::Completed, summary(run))
    } else {
        End::new(Outcome::Cancelled, Code::NothingToDo, summary(run))
    })
}

/// What the plugins said of their work.
pub(super) fn summary(run: &Run) -> String {
    let last = run.steps.iter().rev().find_map(|step| step.result.as_ref());
    last.map_or_else(|| "the plugins came to their end".to_owned(), planning::summary_of)
}

/// Whether a run that was running when the daemon stopped can go on by replay: nothing of it is in doubt.
pub(super) fn can_replay(run: &Run) -> bool {
    run.state == State::Running && run.in_doubt().is_empty()
}
