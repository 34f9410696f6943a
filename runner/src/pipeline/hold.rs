//! Holds runs that a halt covers where they are, and asks everything again after the release.
//!
//! A run that was not permitted to act stays queued, planning, waiting or parked. One that acts gets no further
//! effect: that is the ledger's business.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Decision, Reason};
use staunch_core::gate;
use staunch_core::permit::PlanPermit;
use staunch_core::run::{Outcome, Run, State};

use super::Refusal;
use super::drive::{End, Interrupted, end, end_or_give_up, next_turn, refused, turn_or_end};
use super::live::{LiveRun, Wait};
use super::planning;
use super::requests;
use super::shared::Shared;
use super::turns::{Place, Turn};

/// Waits at the entrance until the run has its turn and nothing halts it; asks the pre-gate again when anything but
/// the first question lies behind it. `None` when the run is over.
pub(super) async fn enter(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    permit: Option<PlanPermit>,
    place: Place,
) -> Result<Option<(PlanPermit, Option<Turn>)>, Interrupted> {
    let mut permit = permit;
    let mut turn = match place {
        Place::Now(turn) => turn,
        Place::Full => {
            let message = "too many runs wait for their turn at the target";
            end(live, End::new(Outcome::Refused, Code::QueueFull, message)).await?;
            return Ok(None);
        }
        Place::Later(receiver) => {
            permit = None;
            let Some(turn) = turn_or_end(live, receiver).await else { return Ok(None) };
            Some(turn)
        }
    };
    loop {
        if is_held(shared, live).await {
            // Others, whom the halt does not cover, may have the target meanwhile.
            drop(turn.take());
            if !released(shared, live).await? {
                return Ok(None);
            }
            permit = None;
            let Some(next) = turn_anew(shared, live).await else { return Ok(None) };
            turn = next;
            continue;
        }
        let admitted = match permit.take() {
            Some(permit) => permit,
            None => match shared.pre_gate_again(live).await {
                Ok(permit) => permit,
                Err(refusals) if only_halts(&refusals) => continue,
                Err(refusals) => {
                    end(live, refused(refusals)).await?;
                    return Ok(None);
                }
            },
        };
        if live.look(|run| run.state).await == State::Queued {
            live.record(vec![planning::planning_fact()], Wait::Rides).await?;
        }
        return Ok(Some((admitted, turn)));
    }
}

/// Whether a halt covers the run.
pub(super) async fn is_held(shared: &Shared, live: &LiveRun) -> bool {
    live.look(|run| shared.halted_run(run)).await.is_some()
}

/// Whether the pre-gate has nothing but halts against it: then it is a question of time.
pub(super) fn only_halts(refusals: &[Decision]) -> bool {
    refusals.iter().all(|decision| decision.code == Code::Halt)
}

/// Waits until nothing halts the run any more; false when it is over.
async fn released(shared: &Shared, live: &LiveRun) -> Result<bool, Interrupted> {
    let mut changes = shared.halts.changes();
    loop {
        changes.borrow_and_update();
        let (state, why) = live.look(|run| (run.state, shared.halted_run(run))).await;
        if matches!(state, State::Ended | State::Verifying) {
            return Ok(false);
        }
        let Some(why) = why else { return Ok(true) };
        if shared.alert_is_over(live).await {
            let message = "the alert was over while the run was halted";
            end(live, End::new(Outcome::Cancelled, Code::NoLongerNeeded, message)).await?;
            return Ok(false);
        }
        tracing::info!(run.id = %live.id(), "run {} is held: {why}", live.id());
        tokio::select! {
            changed = changes.changed() => {
                // The switch lives as long as what holds it here.
                debug_assert!(changed.is_ok(), "the kill switch is gone");
            }
            () = live.woken() => {}
        }
    }
}

/// The turn at the target, asked for anew; `None` when the run is over.
async fn turn_anew(shared: &Shared, live: &LiveRun) -> Option<Option<Turn>> {
    loop {
        let (turn, come) = next_turn(shared, live).await;
        if live.look(|run| run.state).await == State::Ended {
            return None;
        }
        if come {
            return Some(turn);
        }
    }
}

/// After a release: an approved run is planned anew, so that what was approved is still what would be done. Where it
/// is not, people are asked again.
pub(super) async fn look_again(shared: &Arc<Shared>, live: &Arc<LiveRun>) -> Result<(), Interrupted> {
    let run = live.snapshot().await;
    match requests::replan(shared, live, &run).await {
        Ok(()) | Err(Refusal::PlanChanged { .. }) => Ok(()),
        Err(Refusal::Record(error)) => Err(error),
        Err(refusal) => {
            if live.look(|run| run.state).await == State::Ended {
                return Ok(());
            }
            let reason = match refusal {
                Refusal::Conflict(reason) => reason,
                other => Reason::new(Code::Internal, other.to_string()),
            };
            end_or_give_up(live, End::because(Outcome::Refused, reason)).await
        }
    }
}

/// Until when a person may have the run in hand; after that nobody gives it back any more, and it comes to its end.
/// `None`: it did, or nobody has it in hand.
pub(super) async fn in_hand(shared: &Shared, live: &LiveRun) -> Result<Option<DateTime<Utc>>, Interrupted> {
    let Some(held) = live.look(|run| run.held.clone()).await else { return Ok(None) };
    let until = held.at + gate::PARKED_FOR;
    if shared.now() < until {
        return Ok(Some(until));
    }
    let reason = Reason::new(Code::TakenOver, format!("{} had it in hand and did not give it back", held.by));
    end_or_give_up(live, End::because(Outcome::Cancelled, reason)).await?;
    Ok(None)
}

/// Whether everything in doubt was settled while a halt kept the run parked.
pub(super) fn is_settled(run: &Run) -> bool {
    run.state == State::Parked
        && run.ask.is_none()
        && run.question.is_none()
        && run.in_doubt().is_empty()
        && run.reason.as_ref().is_some_and(|reason| reason.code == Code::InDoubt)
}
