//! The conductor: takes one run along its road, from its turn at the target to its end.
//!
//! `turn -> plan -> ruling -> (people) -> act permit -> baseline probes -> act -> probes -> verdict -> ended`.
//! Each step is a function of this room; each thing that happens is recorded before the next one begins.

use std::sync::Arc;
use std::time::Duration;

use staunch_core::decision::{Code, Decision, Reason, Stage};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::permit::{ActPermit, PlanPermit};
use staunch_core::policy::Person;
use staunch_core::run::{Ask, Mode, Outcome, Run, State};
use tokio::sync::{oneshot, watch};

use super::act::{self, Acted, Question};
use super::books::Blocked;
use super::doubt;
use super::escalation;
use super::history::Resend;
use super::hold;
use super::ladder;
use super::live::{LiveRun, RecordError, Wait};
use super::planning::{self, Planned};
use super::rule::{self, Ruling};
use super::shared::{Shared, Waits};
use super::storms;
use super::turns::{Place, Turn};
use super::undo;
use super::verification;

/// Why a run cannot be driven on: it stays as it is in the journal, and the next start takes it up again.
pub(super) type Interrupted = RecordError;

/// Where the drive begins.
#[derive(Debug)]
pub(super) enum Start {
    /// At the beginning: the run was just made, or was never planned.
    Fresh(PlanPermit, Place),
    /// It waits for its people.
    Waiting,
    /// It acted and can go on by replay.
    Acting,
    /// It was cut off in the middle of an effect.
    InDoubt,
    /// It is parked.
    Parked,
    /// Its probes are being watched.
    Verifying,
    /// What it did is being taken back.
    Undoing,
}

/// What ends a run, and how.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) verdict: Option<staunch_core::run::Verdict>,
    pub(super) reason: Reason,
    pub(super) decisions: Vec<Decision>,
}

impl End {
    pub(super) fn new(outcome: Outcome, code: Code, message: impl Into<String>) -> Self {
        Self::because(outcome, Reason::new(code, message))
    }

    /// An end whose reason was given before.
    pub(super) fn because(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, verdict: None, reason, decisions: Vec::new() }
    }

    /// The fact that it is.
    pub(super) fn fact(self, by: Option<&str>, comment: Option<String>) -> Fact {
        let leaf = event::RunEnded { outcome: self.outcome, verdict: self.verdict, code: self.reason.code };
        let outside = payload::RunEnded {
            message: self.reason.message,
            by: by.map(str::to_owned),
            comment,
            decisions: self.decisions,
        };
        Fact::RunEnded(leaf, Outside::Kept(outside))
    }
}

/// The fact that nobody waits for a run any more, with what was done as it is.
pub(super) fn given_up(reason: Reason, by: Option<&Person>, comment: Option<String>) -> Fact {
    let by = by.map(|person| person.name.clone());
    let outside = payload::RunGivenUp { message: reason.message, by, comment };
    Fact::RunGivenUp(event::RunGivenUp { code: reason.code }, Outside::Kept(outside))
}

/// Drives a run until it has ended, or the journal fails.
pub(super) async fn drive(shared: Arc<Shared>, live: Arc<LiveRun>, start: Start) {
    let mut result = road(&shared, &live, start).await;
    // A person may have given the run up between two steps, so that the next one was no longer legal: then the
    // probes have the word, or the undo comes to its end.
    let given_up = |run: &Run| match run.state {
        State::Verifying if run.given_up.is_some() => Some(Acted::Done),
        State::Undoing if run.undo.as_ref().is_some_and(|undo| undo.given_up.is_some()) => {
            Some(Acted::Undoing)
        }
        _ => None,
    };
    if result.is_err()
        && let Some(acted) = live.look(given_up).await
    {
        result = Box::pin(finish(&shared, &live, acted, None)).await;
    }
    if let Err(error) = result {
        // A person may have ended the run between two steps: then there is nothing left to do.
        if live.look(|run| run.state).await != State::Ended && !live.never_was() {
            tracing::error!(run.id = %live.id(), error = %error, "run {} stands still", live.id());
            return;
        }
    }
    shared.forget(&live).await;
    Box::pin(ladder::climb(&shared, &live)).await;
}

async fn road(shared: &Arc<Shared>, live: &Arc<LiveRun>, start: Start) -> Result<(), Interrupted> {
    let mut turn = None;
    let acted = match start {
        Start::Fresh(permit, place) => {
            let (mut permit, mut place) = (Some(permit), place);
            let permit = loop {
                let Some((admitted, granted)) =
                    Box::pin(hold::enter(shared, live, permit.take(), place)).await?
                else {
                    return Ok(());
                };
                turn = granted;
                // The plan and what was needed to make it are not kept while people are waited for.
                match Box::pin(first_plan(shared, live, admitted, &mut turn)).await? {
                    Ready::Act(permit) => break permit,
                    Ready::Asks(waits) => match wait_for_people(shared, live, &mut turn, waits).await? {
                        Some(permit) => break permit,
                        None => return Ok(()),
                    },
                    Ready::Held => place = Place::Now(turn.take()),
                    Ready::Over => return Ok(()),
                }
            };
            Box::pin(begin(shared, live, permit)).await?
        }
        Start::Waiting => {
            // Other rules than when the daemon stopped: what was approved under those is decided again.
            if live.look(|run| shared.rules_changed(run)).await {
                Box::pin(hold::look_again(shared, live)).await?;
            }
            match wait_for_people(shared, live, &mut turn, shared.waits()).await? {
                Some(permit) => Box::pin(begin(shared, live, permit)).await?,
                None => over_or_done(live).await,
            }
        }
        Start::Acting => {
            turn = turn_again(shared, live).await;
            Box::pin(go_on(shared, live, &[])).await?
        }
        Start::InDoubt => {
            // Before its turn: what became of it does not depend on others.
            let resends = Box::pin(doubt::ask(shared, live)).await?;
            turn = turn_again(shared, live).await;
            match resends {
                Some(resends) => Box::pin(go_on(shared, live, &resends)).await?,
                None => Acted::Parked,
            }
        }
        Start::Parked => {
            turn = turn_again(shared, live).await;
            Acted::Parked
        }
        Start::Verifying => Acted::Done,
        Start::Undoing => Box::pin(undo::take_up(shared, live, &mut turn)).await?,
    };
    Box::pin(finish(shared, live, acted, turn)).await
}

/// The turn, or nothing when the run was ended while it waited.
pub(super) async fn turn_or_end(live: &LiveRun, mut receiver: oneshot::Receiver<Turn>) -> Option<Turn> {
    loop {
        tokio::select! {
            turn = &mut receiver => return turn.ok(),
            () = live.woken() => {
                if live.look(|run| run.state).await == State::Ended {
                    return None;
                }
            }
        }
    }
}

async fn turn_again(shared: &Shared, live: &LiveRun) -> Option<Turn> {
    match shared.ask_turn(&*live.snapshot().await) {
        Place::Now(turn) => turn,
        Place::Later(receiver) => turn_or_end(live, receiver).await,
        Place::Full => None,
    }
}

pub(super) fn refused(refusals: Vec<Decision>) -> End {
    let reason = refusals.first().map_or_else(|| Reason::new(Code::Internal, "refused"), Decision::reason);
    let outcome = if reason.code == Code::NoLongerNeeded { Outcome::Cancelled } else { Outcome::Refused };
    End { outcome, verdict: None, reason, decisions: refusals }
}

pub(super) async fn end(live: &LiveRun, end: End) -> Result<(), Interrupted> {
    live.record(vec![end.fact(None, None)], Wait::Durable).await
}

/// What came of the first plan.
enum Ready {
    /// It may act.
    Act(ActPermit),
    /// People are asked.
    Asks(Waits),
    /// It was halted while it was planned: all of it is asked again after the release.
    Held,
    /// It has ended, or is no longer for this task to drive.
    Over,
}

/// Plans, rules over the plan, and gives the permit to act, if it is to be had without people or from them.
async fn first_plan(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    permit: PlanPermit,
    turn: &mut Option<Turn>,
) -> Result<Ready, Interrupted> {
    let run = live.snapshot().await;
    let planned = match planning::plan(shared, live, &run, permit).await {
        Ok(planned) => planned,
        Err(failed) => {
            end(live, failed).await?;
            return Ok(Ready::Over);
        }
    };
    let ruling = rule::rule(shared, live, &run, &planned.plan);
    match after_plan(&run, &planned, ruling) {
        Next::End(decisions, over) => {
            let facts = vec![planned.fact(None, decisions, Vec::new()), over.fact(None, None)];
            live.record(facts, Wait::Durable).await?;
            Ok(Ready::Over)
        }
        Next::Ask(ask, decisions) => ask_people(shared, live, &planned, ask, decisions, turn).await,
        Next::Act(_) if hold::is_held(shared, live).await => Ok(Ready::Held),
        Next::Act(mut decisions) => match act_alone(shared, live, &run, &planned, &mut decisions).await? {
            Ok(permit) => Ok(Ready::Act(permit)),
            Err(Stopped::Ask) => {
                let ask = shared.question_for(&run);
                ask_people(shared, live, &planned, ask, decisions, turn).await
            }
            Err(Stopped::Refused(reason)) => {
                let over = End::because(Outcome::Refused, reason).fact(None, None);
                live.record(vec![planned.fact(None, decisions, Vec::new()), over], Wait::Durable).await?;
                Ok(Ready::Over)
            }
        },
    }
}

/// Why a run does not act alone that the policy lets act alone.
enum Stopped {
    /// People are asked.
    Ask,
    /// It does not act at all.
    Refused(Reason),
}

/// Takes the run's part of the limits and writes down plan and permit, in one transaction.
async fn act_alone(
    shared: &Shared,
    live: &LiveRun,
    run: &Run,
    planned: &Planned,
    decisions: &mut Vec<Decision>,
) -> Result<Result<ActPermit, Stopped>, Interrupted> {
    let permit = match gate::permit_alone(run, planned.plan.digest, true) {
        Ok(permit) => permit,
        Err(reason) => return Ok(Err(Stopped::Refused(reason))),
    };
    match shared.take_part(run, false, live.beginning()).await? {
        Ok(()) => {}
        Err(Blocked::Asks(question)) => {
            decisions.push(question);
            return Ok(Err(Stopped::Ask));
        }
        Err(Blocked::Refused(refusal) | Blocked::Full(refusal)) => {
            let reason = refusal.reason();
            decisions.push(refusal);
            return Ok(Err(Stopped::Refused(reason)));
        }
    }
    let facts = vec![planned.fact(None, std::mem::take(decisions), Vec::new()), permitted_fact(&permit)];
    record_permit(shared, live, facts).await?;
    Ok(Ok(permit))
}

/// Writes down what lets a run act; what was reserved for it is given back where that is not possible.
async fn record_permit(shared: &Shared, live: &LiveRun, facts: Vec<Fact>) -> Result<(), Interrupted> {
    let recorded = live.record(facts, Wait::Rides).await;
    if recorded.is_err() {
        shared.books.limits.give_back(shared.now(), live.id());
    }
    recorded
}

/// Puts the question to people.
async fn ask_people(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    planned: &Planned,
    ask: Ask,
    decisions: Vec<Decision>,
    turn: &mut Option<Turn>,
) -> Result<Ready, Interrupted> {
    // Before anybody can see that it waits.
    let waits = shared.waits();
    live.record(vec![planned.fact(Some(ask), decisions, Vec::new())], Wait::Durable).await?;
    *turn = None;
    live.rest().await;
    shared.announce_waiting(live);
    Ok(Ready::Asks(waits))
}

pub(super) fn permitted_fact(permit: &ActPermit) -> Fact {
    let leaf = event::RunPermitted { plan: permit.plan(), approved: permit.approved() };
    Fact::RunPermitted(leaf, Outside::Kept(payload::RunPermitted {}))
}

enum Next {
    End(Vec<Decision>, End),
    Ask(Ask, Vec<Decision>),
    Act(Vec<Decision>),
}

/// What follows from a plan and the ruling over it.
fn after_plan(run: &Run, planned: &Planned, ruling: Ruling) -> Next {
    let at = planned.at;
    let observed = |message: &str| End::new(Outcome::Observed, Code::Observe, message);
    if run.mode == Mode::Plan {
        return Next::End(ruling.decisions, observed("the run was to plan only"));
    }
    if let Some(reason) = ruling.refused {
        let over = End::because(Outcome::Refused, reason);
        return Next::End(ruling.decisions, over);
    }
    if ruling.observe {
        return Next::End(ruling.decisions, observed("nothing lets it do more than plan"));
    }
    if planned.plan.effects() == 0 {
        let mut decisions = ruling.decisions;
        decisions.push(Decision::pass(at, Stage::Plan, &run.runbook, "the plan has no effect"));
        return Next::End(decisions, planned.without_effects());
    }
    match ruling.ask {
        Some(ask) => Next::Ask(ask, ruling.decisions),
        None => Next::Act(ruling.decisions),
    }
}

/// Waits until people approved, rejected, or nobody did in time; then for the turn at the target. What is approved
/// and halted waits for the release, and is looked at again then.
async fn wait_for_people(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    turn: &mut Option<Turn>,
    _waits: Waits,
) -> Result<Option<ActPermit>, Interrupted> {
    let mut its_turn = turn.is_some();
    let mut halts = shared.halts.changes();
    let mut held = false;
    loop {
        halts.borrow_and_update();
        let (state, expires) = live.look(|run| (run.state, run.ask.as_ref().map(|ask| ask.expires))).await;
        if nobody_decides(shared, live, state).await? {
            return Ok(None);
        }
        let now = shared.now();
        let mut next = expires;
        match live.look(|run| shared.permit_of_people(run)).await {
            Ok(_) if hold::is_held(shared, live).await => {
                held = true;
                if state == State::Waiting {
                    // Others, whom the halt does not cover, may have the target meanwhile.
                    (*turn, its_turn) = (None, false);
                }
            }
            Ok(_) if held => {
                held = false;
                Box::pin(hold::look_again(shared, live)).await?;
                continue;
            }
            Ok(_) if its_turn => match Box::pin(cross(shared, live)).await? {
                Crossed::Act(permit) => return Ok(Some(permit)),
                Crossed::Held => continue,
                Crossed::Full => {
                    // Others may have the target meanwhile.
                    (*turn, its_turn) = (None, false);
                    storms::room(live).await;
                    continue;
                }
                Crossed::Over => return Ok(None),
            },
            // All of it is asked once more when the turn has come.
            Ok(_) => {
                (*turn, its_turn) = Box::pin(next_turn(shared, live)).await;
                continue;
            }
            Err(reason) if reason.code == Code::Expired => {
                Box::pin(end_or_give_up(live, End::because(Outcome::Expired, reason))).await?;
                return Ok(None);
            }
            Err(reason) if reason.code == Code::TakenOver => {
                next = Box::pin(hold::in_hand(shared, live)).await?;
                if next.is_none() {
                    continue;
                }
            }
            Err(_) => {
                held = false;
                if state == State::Waiting {
                    // Enough had approved, and somebody of them does not count any more.
                    (*turn, its_turn) = (None, false);
                }
                next = Box::pin(escalation::tell(shared, live)).await?;
            }
        }
        let rest = next.map_or(Duration::from_secs(3600), |at| (at - now).to_std().unwrap_or_default());
        pause(live, rest, held.then_some(&mut halts)).await;
    }
}

/// Whether there is nothing left to wait for: the run went on without people, or its alert is over and it ends.
async fn nobody_decides(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    state: State,
) -> Result<bool, Interrupted> {
    if state == State::Waiting && Box::pin(shared.alert_is_over(live)).await {
        let message = "the alert was over before anybody approved, or before the run's turn came";
        Box::pin(end(live, End::new(Outcome::Cancelled, Code::NoLongerNeeded, message))).await?;
        return Ok(true);
    }
    Ok(matches!(state, State::Ended | State::Verifying | State::Undoing))
}

/// Waits until the run is woken, for a while at most, and where a halt holds it, until the halts change.
async fn pause<T>(live: &LiveRun, rest: Duration, halts: Option<&mut watch::Receiver<T>>) {
    let changed = async {
        match halts {
            Some(halts) => drop(halts.changed().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = live.woken() => {}
        () = tokio::time::sleep(rest) => {}
        () = changed => {}
    }
}

/// The turn at the run's target, and whether it has come. When too many wait, it is asked for again a little later.
pub(super) async fn next_turn(shared: &Shared, live: &LiveRun) -> (Option<Turn>, bool) {
    match shared.ask_turn(&*live.snapshot().await) {
        Place::Now(turn) => (turn, true),
        Place::Later(receiver) => (turn_or_end(live, receiver).await, true),
        Place::Full => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (None, false)
        }
    }
}

/// What came of crossing from a permit of people into acting.
enum Crossed {
    Act(ActPermit),
    /// Not now: halted meanwhile, or the approvals do not count any more.
    Held,
    /// Not now: others of the same storm act, as many as may at once.
    Full,
    Over,
}

/// From a permit of people into acting: halts, standing and the alert have their say once more, and the approvals are
/// counted once more, with nobody in between.
async fn cross(shared: &Arc<Shared>, live: &Arc<LiveRun>) -> Result<Crossed, Interrupted> {
    if let Err(refusals) = shared.pre_gate_again(live).await {
        if hold::only_halts(&refusals) {
            return Ok(Crossed::Held);
        }
        let over = refused(refusals);
        if live.look(|run| run.state).await == State::Waiting {
            end(live, over).await?;
        } else {
            // What was done stays done, and the probes have the word about it.
            live.record(vec![given_up(over.reason, None, None)], Wait::Durable).await?;
        }
        return Ok(Crossed::Over);
    }
    let run = live.snapshot().await;
    match shared.take_part(&run, true, live.beginning()).await? {
        Ok(()) => {}
        Err(Blocked::Full(_)) => return Ok(Crossed::Full),
        Err(Blocked::Refused(refusal) | Blocked::Asks(refusal)) => {
            let over = End::because(Outcome::Refused, refusal.reason());
            end_or_give_up(live, End { decisions: vec![refusal], ..over }).await?;
            return Ok(Crossed::Over);
        }
    }
    let mut granted = None;
    let permit = |run: &Run| -> Result<Vec<Fact>, Interrupted> {
        granted = shared.permit_of_people(run).ok();
        Ok(granted.iter().map(permitted_fact).collect())
    };
    let recorded = live.decide(Wait::Rides, permit).await;
    if recorded.is_err() || granted.is_none() {
        shared.books.limits.give_back(shared.now(), live.id());
    }
    recorded?;
    Ok(granted.map_or(Crossed::Held, Crossed::Act))
}

/// Ends a run; where it acted before, what was done stays done, and the probes have the word about it.
pub(super) async fn end_or_give_up(live: &LiveRun, over: End) -> Result<(), Interrupted> {
    if live.look(Run::touched_the_world).await {
        return live.record(vec![given_up(over.reason, None, None)], Wait::Durable).await;
    }
    end(live, over).await
}

/// Baseline probes, then the plugins.
async fn begin(shared: &Arc<Shared>, live: &Arc<LiveRun>, permit: ActPermit) -> Result<Acted, Interrupted> {
    if let Some(over) = verification::baseline(shared, live).await? {
        end(live, over).await?;
        return Ok(Acted::Over);
    }
    act::act(shared, live, permit, None).await
}

/// Goes on by replay, under the permit that the run had; people are asked again when it holds no longer.
async fn go_on(shared: &Arc<Shared>, live: &Arc<LiveRun>, resends: &[Resend]) -> Result<Acted, Interrupted> {
    if let Err(refusals) = shared.pre_gate_again(live).await {
        let reason = refused(refusals).reason;
        live.record(vec![given_up(reason, None, None)], Wait::Durable).await?;
        return Ok(Acted::Done);
    }
    match live.look(|run| shared.permit_resumed(run)).await {
        Ok(permit) => {
            let run = live.snapshot().await;
            // Its storm, if there was one, was asked about when it was first permitted.
            let part = shared.take_part(&run, true, live.beginning()).await?;
            if let Err(Blocked::Refused(refusal) | Blocked::Asks(refusal) | Blocked::Full(refusal)) = part {
                live.record(vec![given_up(refusal.reason(), None, None)], Wait::Durable).await?;
                return Ok(Acted::Done);
            }
            act::act(shared, live, permit, Some(resends)).await
        }
        Err(reason) if matches!(reason.code, Code::Expired | Code::Quorum) => {
            act::ask_anew(shared, live, reason, Question::Always).await?;
            Ok(Acted::Parked)
        }
        Err(reason) => {
            let over = End::because(Outcome::Failed, reason);
            end(live, over).await?;
            Ok(Acted::Over)
        }
    }
}

/// From the end of the plugins to the end of the run, with as many parkings between as it takes.
async fn finish(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    mut acted: Acted,
    turn: Option<Turn>,
) -> Result<(), Interrupted> {
    let mut turn = turn;
    loop {
        match acted {
            Acted::Over => return Ok(()),
            Acted::Parked => {
                if live.look(|run| run.state).await == State::Parked {
                    shared.announce_waiting(live);
                }
                acted = parked(shared, live, &mut turn).await?;
            }
            Acted::Done => {
                let Some(over) = verification::verify(shared, live).await? else { return Ok(()) };
                if let Some(over) = undo::after_verdict(shared, live, over).await? {
                    return end(live, over).await;
                }
                acted = Acted::Undoing;
            }
            Acted::Undoing => acted = undo::take_back(shared, live, &mut turn, &[]).await?,
        }
    }
}

/// Whether a run that people no longer decide about has ended, has an undo to be ended, or is for the probes to judge.
async fn over_or_done(live: &LiveRun) -> Acted {
    match live.look(|run| run.state).await {
        State::Ended => Acted::Over,
        State::Undoing => Acted::Undoing,
        _ => Acted::Done,
    }
}

/// The fact that a parked run goes on.
pub(super) fn resumed() -> Fact {
    Fact::RunResumed(event::RunResumed {}, Outside::Kept(payload::RunResumed {}))
}

/// Waits at a parked run for an approval of its new plan, or for the effects in doubt to be settled.
async fn parked(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    turn: &mut Option<Turn>,
) -> Result<Acted, Interrupted> {
    let waits = shared.waits();
    let mut halts = shared.halts.changes();
    loop {
        halts.borrow_and_update();
        let run = live.snapshot().await;
        if run.state == State::Ended {
            return Ok(Acted::Over);
        }
        if matches!(run.state, State::Verifying | State::Undoing) {
            return Ok(over_or_done(live).await);
        }
        if run.state == State::Running {
            drop(waits);
            // Settled: everything in doubt has an answer now.
            return go_on(shared, live, &[]).await;
        }
        let doubt = !run.in_doubt().is_empty();
        if run.ask.is_some() && !doubt {
            return match wait_for_people(shared, live, turn, waits).await? {
                Some(permit) if live.look(Run::undoes).await => {
                    // The undo has permits of its own, one for each step.
                    drop(permit);
                    Ok(Acted::Undoing)
                }
                Some(permit) => act::act(shared, live, permit, Some(&[])).await,
                None => Ok(over_or_done(live).await),
            };
        }
        let settled = hold::is_settled(&run);
        if settled && !hold::is_held(shared, live).await {
            live.record(vec![resumed()], Wait::Durable).await?;
            continue;
        }
        let parked_until = run.parked_at.unwrap_or(run.created_at) + gate::PARKED_FOR;
        let now = shared.now();
        if now >= parked_until {
            let reason = Reason::new(Code::Expired, format!("nobody decided before {parked_until}"));
            end_or_give_up(live, End::because(Outcome::Expired, reason)).await?;
            return Ok(over_or_done(live).await);
        }
        tokio::select! {
            () = live.woken() => {}
            () = tokio::time::sleep((parked_until - now).to_std().unwrap_or_default()) => {}
            _ = halts.changed(), if settled => {}
        }
    }
}
