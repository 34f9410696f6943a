//! Takes back what a run did, after its verdict: step by step in reverse, as it was planned and approved with the run.
//!
//! It begins at once, or when the alert is over. While a halt or window covers it, it waits. What differs from the plan
//! parks, and a crash in the middle goes on as a crash of the run itself does. How the run ends was decided before.

use std::sync::Arc;
use std::time::Duration;

use staunch_core::decision::{Code, Decision, Outcome as Passed, Reason, Stage};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::permit::Permit;
use staunch_core::plan::Cover;
use staunch_core::record::{Standing, is_quiet};
use staunch_core::run::{AfterVerdict, AlertNow, NextUndo, Run, State, UndoState, by_a_person};

use super::act::{Acted, StepEnd, after_step, planned_effects, step_ended};
use super::doubt;
use super::drive::{End, Interrupted, end, next_turn};
use super::history::{History, Resend};
use super::job::{self, Part, Purpose};
use super::live::{LiveRun, Wait};
use super::shared::Shared;
use super::turns::Turn;
use crate::sandbox::{Ending, Export, Mode};

/// How long the word of whoever stopped a run is waited for.
const STOPPED: Duration = Duration::from_millis(200);

/// How often windows are looked at while one covers the run.
const LOOK: Duration = Duration::from_secs(5);

/// How often an alert is looked at that may have become stale; of its end the run is told.
const LOOK_AT_ALERT: Duration = Duration::from_secs(60);

/// Decides what follows from how a run would end. The end, unless something is taken back first.
pub(super) async fn after_verdict(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    over: End,
) -> Result<Option<End>, Interrupted> {
    if live.look(|run| run.undo.is_none()).await {
        return Ok(Some(over));
    }
    let alert = alert_now(shared, live).await;
    let (why, waits) = match live.look(|run| run.after_verdict(over.verdict, alert)).await {
        AfterVerdict::None => return Ok(Some(over)),
        AfterVerdict::Skip(reason) => {
            let mut over = over;
            let message = format!("not undone: {}", reason.message);
            let subject = live.look(|run| run.runbook.clone()).await;
            over.decisions.push(Decision::new(
                shared.now(),
                Stage::Act,
                &subject,
                Passed::Pass,
                reason.code,
                message,
            ));
            return Ok(Some(over));
        }
        AfterVerdict::Now(reason) => (reason, false),
        AfterVerdict::Later(reason) => (reason, true),
    };
    let (outcome, verdict, code) = (over.outcome, over.verdict, over.reason.code);
    let leaf = event::RunUndoing { outcome, verdict, code, waits };
    let outside = payload::RunUndoing { message: over.reason.message, why: why.message };
    live.record(vec![Fact::RunUndoing(leaf, Outside::Kept(outside))], Wait::Durable).await?;
    Ok(None)
}

async fn alert_now(shared: &Shared, live: &LiveRun) -> AlertNow {
    let Some(id) = live.alert() else { return AlertNow::None };
    match shared.alert(id).await {
        Ok(Some(record)) => match record.status {
            Standing::Firing => AlertNow::Firing,
            Standing::Resolved => AlertNow::Over,
            Standing::Stale => AlertNow::Stale,
        },
        Ok(None) => AlertNow::None,
        // It is asked again.
        Err(_) => AlertNow::Firing,
    }
}

/// Takes up an undo that was under way when the daemon stopped.
pub(super) async fn take_up(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    turn: &mut Option<Turn>,
) -> Result<Acted, Interrupted> {
    let resends = match live.look(|run| run.in_doubt().is_empty()).await {
        true => Vec::new(),
        false => match doubt::ask(shared, live).await? {
            Some(resends) => resends,
            None => return Ok(Acted::Parked),
        },
    };
    take_back(shared, live, turn, &resends).await
}

/// Takes back step after step, and ends the run.
pub(super) async fn take_back(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    turn: &mut Option<Turn>,
    resends: &[Resend],
) -> Result<Acted, Interrupted> {
    // What ended the run's own steps does not keep them from being taken back, unless a person did it.
    live.forgive(|reason| !by_a_person(reason.code));
    if let Err(reason) = wait_for_the_alert(shared, live, turn).await? {
        return finish(live, UndoState::Skipped, reason).await;
    }
    loop {
        let run = live.snapshot().await;
        if run.state != State::Undoing {
            return Ok(if run.state == State::Parked { Acted::Parked } else { Acted::Over });
        }
        let index = match run.next_undo() {
            NextUndo::Over(state, reason) => return finish(live, state, reason).await,
            NextUndo::Step(index) => index,
        };
        if let Some(reason) = live.stopped() {
            // Who stopped it is about to write that down.
            tokio::time::sleep(STOPPED).await;
            if live.look(|run| run.undo.as_ref().is_some_and(|undo| undo.given_up.is_some())).await {
                continue;
            }
            return finish(live, UndoState::Failed, reason).await;
        }
        if let Some(reason) = wait_until_free(shared, live).await {
            let fact = failed(index, reason);
            live.record(vec![fact], Wait::Rides).await?;
            continue;
        }
        while turn.is_none() && !has_turn(shared, live, turn).await {}
        match take_back_step(shared, live, index, resends).await? {
            StepEnd::Ended => {}
            StepEnd::Parked => return Ok(Acted::Parked),
            StepEnd::Over => return Ok(Acted::Over),
        }
    }
}

/// Whether the run has the turn at its target, which it needs for its undo as it did for its steps.
async fn has_turn(shared: &Shared, live: &LiveRun, turn: &mut Option<Turn>) -> bool {
    let come;
    (*turn, come) = next_turn(shared, live).await;
    come
}

fn failed(index: usize, reason: Reason) -> Fact {
    let number = Run::undo_number(index);
    step_ended(number, reason.code.as_str(), 0, None, Some(reason.message), Vec::new())
}

/// Ends undo and run.
async fn finish(live: &LiveRun, state: UndoState, reason: Reason) -> Result<Acted, Interrupted> {
    let leaf = event::UndoEnded { state, code: reason.code };
    let outside = payload::UndoEnded { message: reason.message };
    let fact = Fact::UndoEnded(leaf, Outside::Kept(outside));
    let then = live.look(|run| run.undo.as_ref().and_then(|undo| undo.then.clone())).await;
    let Some(then) = then else { return Ok(Acted::Over) };
    live.record(vec![fact], Wait::Rides).await?;
    let over = End::because(then.outcome, then.reason);
    end(live, End { verdict: then.verdict, ..over }).await?;
    Ok(Acted::Over)
}

/// Waits, where the undo does, until the alert is over; others may act on the target meanwhile. `Err`: it is not done,
/// for this reason.
async fn wait_for_the_alert(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    turn: &mut Option<Turn>,
) -> Result<Result<(), Reason>, Interrupted> {
    // Those that wait do not fill the queue.
    let mut counted = None;
    loop {
        let waits = |run: &Run| run.undo.as_ref().is_some_and(|undo| undo.state == UndoState::Waiting);
        if !live.look(waits).await {
            return Ok(Ok(()));
        }
        drop(turn.take());
        counted.get_or_insert_with(|| shared.waits());
        let alert = alert_now(shared, live).await;
        match live.look(|run| run.undo_waits_no_more(alert)).await {
            Some(Ok(())) => {
                let begun = Fact::UndoBegun(event::UndoBegun {}, Outside::Kept(payload::UndoBegun {}));
                live.record(vec![begun], Wait::Rides).await?;
                return Ok(Ok(()));
            }
            Some(Err(reason)) => return Ok(Err(reason)),
            None => {}
        }
        tokio::select! {
            () = live.woken() => {}
            () = tokio::time::sleep(LOOK_AT_ALERT) => {}
        }
    }
}

/// Waits while a halt, window or silence covers the run. What else keeps it from being taken back is answered; also
/// that a person ended it.
async fn wait_until_free(shared: &Arc<Shared>, live: &Arc<LiveRun>) -> Option<Reason> {
    let mut halts = shared.halts.changes();
    loop {
        halts.borrow_and_update();
        if let Some(reason) = live.stopped() {
            return Some(reason);
        }
        let refusals = shared.pre_gate_again(live).await.err()?;
        let passes = |decision: &Decision| decision.code == Code::Halt || is_quiet(decision.code);
        if let Some(refusal) = refusals.iter().find(|decision| !passes(decision)) {
            return Some(refusal.reason());
        }
        tokio::select! {
            changed = halts.changed() => {
                // The switch lives as long as what holds it here.
                debug_assert!(changed.is_ok(), "the kill switch is gone");
            }
            () = live.woken() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn take_back_step(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    index: usize,
    resends: &[Resend],
) -> Result<StepEnd, Interrupted> {
    let run = live.snapshot().await;
    let number = Run::undo_number(index);
    let (Some(step), Some(back)) = (run.steps.get(index), run.step(number)) else { return Ok(StepEnd::Over) };
    let plugin = shared.plugins.exactly(&step.plugin, step.plugin_digest);
    let permit = gate::permit_undo(&run);
    let (plugin, permit) = match (plugin, permit) {
        (Ok(plugin), Ok(permit)) => (plugin, permit),
        (Err(reason), _) | (_, Err(reason)) => {
            live.record(vec![failed(index, reason)], Wait::Rides).await?;
            return Ok(StepEnd::Ended);
        }
    };
    if !plugin.prepared().exports(Export::Undo) {
        let message = format!("{} cannot take back what it does", step.plugin);
        let outside = payload::StepSkipped { message };
        let fact = Fact::StepSkipped(event::StepSkipped { step: number }, Outside::Kept(outside));
        live.record(vec![fact], Wait::Rides).await?;
        return Ok(StepEnd::Ended);
    }
    let events = shared.events_of(&run.id).await?;
    let own: Vec<Resend> = resends.iter().copied().filter(|resend| resend.step == number).collect();
    let past = History::of(&events, &run, number).past(back, shared.now(), &own);
    let part = Part::Undo(index, step.details().map(ToString::to_string));
    let mode = mode_of(&run, index, &events);
    let job = match job::make(shared, live, &run, &part, &plugin, Purpose::Act(past), mode) {
        Ok(job) => job,
        Err(over) => {
            live.record(vec![failed(index, over.reason)], Wait::Rides).await?;
            return Ok(StepEnd::Ended);
        }
    };
    let report = shared.execute(Permit::Act(permit), job).await;
    match &report.ending {
        // It waits for the release, and goes on from what it did.
        Ending::Halted(_) => Ok(StepEnd::Ended),
        _ => after_step(shared, live, &part, report).await,
    }
}

/// Acts as the undo was planned, with what the step's answers really were filled in.
fn mode_of(run: &Run, index: usize, events: &[event::Event]) -> Mode {
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    let planned = run.step(Run::undo_number(index)).map(planned_effects).unwrap_or_default();
    let count = u32::try_from(planned.len()).unwrap_or(u32::MAX);
    let history = History::of(events, run, number);
    let effects = &run.steps[index].effects;
    let answers = history.answers().filter_map(|(place, real)| {
        let assumed = effects.get(place as usize)?.assumed.as_ref()?;
        Some((assumed, real))
    });
    Mode::Act { cover: Cover::new(planned).knowing(answers), planned: count }
}
