//! Tries a step again whose plugin failed and says that this may pass: as often as the runbook says, later each time.
//!
//! The plugin is asked anew from its beginning. What it did is answered as it was, but for the last effect, after which it
//! failed: that is sent again with the idempotency key that it had.

use std::sync::Arc;

use chrono::TimeDelta;
use staunch_core::decision::{Code, Reason};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::permit::ActPermit;
use staunch_core::run::Run;

use super::act::{Question, StepEnd, ask_anew, step_ended};
use super::drive::{Interrupted, refused};
use super::history::{History, Past};
use super::live::{LiveRun, Wait};
use super::planning::describe;
use super::shared::Shared;
use crate::sandbox::Ending;

/// The fact that a step is tried again, if it is.
pub(super) fn due(shared: &Shared, live: &LiveRun, run: &Run, index: usize, ending: &Ending) -> Option<Fact> {
    let Ending::Failed(error) = ending else { return None };
    let retry = run.flow.retry(index).filter(|_| error.retryable && live.stopped().is_none())?;
    let step = u32::try_from(index).unwrap_or(u32::MAX);
    let number = run.steps[index].retries + 1;
    let delay = TimeDelta::from_std(retry.delay(&run.id, step, number)?).unwrap_or(TimeDelta::MAX / 2);
    let leaf = event::StepRetried { step, retry: number, due: shared.now() + delay };
    let outside = payload::StepRetried { message: describe(ending).1 };
    Some(Fact::StepRetried(leaf, Outside::Kept(outside)))
}

/// Waits until it is time to try a step again, or until the run gets no further effect.
pub(super) async fn wait(shared: &Shared, live: &LiveRun, index: usize) {
    let due = live.look(|run| run.steps.get(index).and_then(|step| step.retry_at)).await;
    while let Some(rest) =
        due.and_then(|due| (due - shared.now()).to_std().ok()).filter(|rest| !rest.is_zero())
    {
        if live.stopped().is_some() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = live.woken() => {}
        }
    }
}

/// From the failure into the retry: what may stop a run is asked again.
pub(super) async fn again(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    index: usize,
) -> Result<Result<(ActPermit, Past), StepEnd>, Interrupted> {
    wait(shared, live, index).await;
    let stopped = match live.stopped() {
        Some(reason) => Some(reason),
        None => shared.pre_gate_again(live).await.err().map(|refusals| refused(refusals).reason),
    };
    if let Some(reason) = stopped {
        return end(live, index, reason).await.map(Err);
    }
    let run = live.snapshot().await;
    match shared.permit_resumed(&run) {
        Ok(permit) => {
            let events = shared.events_of(&run.id).await?;
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let past = History::of(&events, &run, number).past(&run.steps[index], shared.now(), &[]);
            Ok(Ok((permit, past)))
        }
        Err(reason) if reason.code == Code::Expired => {
            ask_anew(shared, live, reason, Question::Always).await?;
            Ok(Err(StepEnd::Parked))
        }
        Err(reason) => end(live, index, reason).await.map(Err),
    }
}

/// The step failed, and is not tried again for this reason.
async fn end(live: &LiveRun, index: usize, reason: Reason) -> Result<StepEnd, Interrupted> {
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    let fact = step_ended(number, reason.code.as_str(), 0, None, Some(reason.message), Vec::new());
    live.record(vec![fact], Wait::Rides).await?;
    Ok(StepEnd::Ended)
}
