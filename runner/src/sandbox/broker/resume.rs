//! From replay to what is live: old readings are made again, because what was decided on them may no longer hold.

use std::time::Duration;

use staunch_core::effect::Answer;
use staunch_core::plan::Recorded;
use tokio::time::Instant;

use super::{Function, Site, leave_for, perform};
use crate::sandbox::run::Run;
use crate::sandbox::stop::Stop;

/// How long one reading is tried.
const LOOK: Duration = Duration::from_secs(5);

/// Makes a replayed reading again; `before` calls were replayed before it. Ends the run when it answers otherwise.
pub(super) async fn read_again<F: Function>(
    run: &Run,
    mut function: F,
    recorded: &Recorded,
    before: u32,
) -> wasmtime::Result<()> {
    let Some(answer) = &recorded.answer else { return Ok(()) };
    function.hurry();
    let now = match leave_for(&function, run) {
        Ok(leave) => {
            let deadline = run.deadline.min(Instant::now() + LOOK);
            let site = Site { world: &run.world, leave: &leave, deadline, key: None };
            perform(&function, site).await?.0
        }
        Err(error) => Answer::Err(error),
    };
    if same::<F>(answer, &now) {
        return Ok(());
    }
    let call = Box::new(recorded.call.clone());
    let (answer, now) = (Box::new(answer.clone()), Box::new(now));
    Err(Stop::ReadingChanged { calls: before, call, before: answer, now }.into())
}

/// Errors are told apart by their codes: their sentences may hold times and addresses.
fn same<F: Function>(before: &Answer, now: &Answer) -> bool {
    match (before, now) {
        (Answer::Ok(before), Answer::Ok(now)) => F::same(before, now),
        (Answer::Err(before), Answer::Err(now)) => before.code == now.code,
        (Answer::Ok(_), Answer::Err(_)) | (Answer::Err(_), Answer::Ok(_)) => false,
    }
}
