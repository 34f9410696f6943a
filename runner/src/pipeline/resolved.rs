//! Ends runs that are no longer needed, because their alert is over, where the runbook says `cancel_when_resolved`.

use std::sync::Arc;

use staunch_core::decision::{Code, Reason};
use staunch_core::run::{Outcome, Run, State};

use super::drive::{End, given_up};
use super::live::{LiveRun, RecordError, Wait};
use super::shared::Shared;

const MESSAGE: &str = "the alert was over, and the runbook says cancel_when_resolved";

/// Ends a run whose alert is over, if its runbook says so. One that acts gets no further effect and ends by itself;
/// one that is parked or verified is not touched: its effects are for people, or for the probes, to judge.
pub(super) async fn cancel(shared: Arc<Shared>, live: Arc<LiveRun>) {
    let (runbook, state) = live.look(|run| (run.runbook.clone(), run.state)).await;
    let wanted = shared.runbook(&runbook).is_some_and(|runbook| runbook.cancel_when_resolved);
    if !wanted || !is_early(state) {
        return;
    }
    live.stop(Code::NoLongerNeeded, MESSAGE);
    let ended = live.decide(Wait::Durable, |run| Ok(fact(run).into_iter().collect())).await;
    if let Err(error) = ended.map(drop) {
        let error: RecordError = error;
        tracing::warn!(run.id = %live.id(), error = %error, "run {} is not cancelled", live.id());
    }
    live.wake();
}

fn is_early(state: State) -> bool {
    matches!(state, State::Queued | State::Planning | State::Waiting | State::Running)
}

fn fact(run: &Run) -> Option<staunch_core::event::Fact> {
    if !is_early(run.state) {
        return None;
    }
    if run.state != State::Running && !run.touched_the_world() {
        return Some(End::new(Outcome::Cancelled, Code::NoLongerNeeded, MESSAGE).fact(None, None));
    }
    Some(given_up(Reason::new(Code::NoLongerNeeded, MESSAGE), None, None))
}
