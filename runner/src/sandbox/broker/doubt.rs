//! Effects in doubt: the world is asked first, where it can tell.

use std::time::Duration;

use serde_json::Value;
use staunch_core::effect::{Answer, CallError, EffectStatus, Repeat};
use tokio::time::{Instant, timeout_at};

use super::{Effect, Failure, Function, Site, encode};
use crate::sandbox::run::Run;
use crate::sandbox::stop::Stop;

/// How long the world is asked, past the run's own deadline if it must be.
const ASK: Duration = Duration::from_secs(2);

/// What the world says of an effect in doubt.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// It happened, with this result.
    Done(T),
    /// It was tried, and failed with this error.
    Failed(CallError),
    /// It did not happen.
    NotDone,
    /// It cannot tell, or not yet.
    Unknown,
}

/// What became of one attempt, as far as can be told.
pub(super) struct Tried<T> {
    pub(super) answer: Answer,
    pub(super) output: Result<T, Failure>,
    pub(super) status: EffectStatus,
    /// The world says that it did not happen.
    undone: bool,
}

impl<T> Tried<T> {
    fn failed(error: CallError, undone: bool) -> Self {
        let answer = Answer::Err(error.clone());
        let output = Err(Failure { error, in_doubt: false });
        Self { answer, output, status: EffectStatus::Failed, undone }
    }

    /// Whether another attempt can do no harm.
    pub(super) fn may_be_sent_again(&self, repeat: Repeat) -> bool {
        self.undone || (self.status == EffectStatus::Unknown && repeat == Repeat::Repeatable)
    }
}

/// Looks at what performing gave; when that leaves it in doubt, asks the world.
pub(super) async fn look<F: Function>(
    function: &F,
    mut site: Site<'_, F::Leave>,
    before: Option<&Value>,
    (answer, output): (Answer, Result<F::Output, Failure>),
) -> wasmtime::Result<Tried<F::Output>> {
    let (status, error) = match output {
        Ok(output) => {
            return Ok(Tried { answer, output: Ok(output), status: EffectStatus::Done, undone: false });
        }
        Err(Failure { error, in_doubt: false }) => return Ok(Tried::failed(error, false)),
        Err(Failure { error, in_doubt: true }) => (EffectStatus::Unknown, error),
    };
    site.deadline = Instant::now() + ASK;
    let found = match before {
        Some(before) => {
            let asking = timeout_at(site.deadline, function.reconcile(before, site));
            asking.await.unwrap_or(Found::Unknown)
        }
        None => Found::Unknown,
    };
    Ok(match found {
        Found::Done(output) => Tried {
            answer: Answer::Ok(encode(&output)?.into()),
            output: Ok(output),
            status: EffectStatus::Done,
            undone: false,
        },
        Found::Failed(error) => Tried::failed(error, false),
        Found::NotDone => Tried::failed(CallError { retryable: true, ..error }, true),
        Found::Unknown => {
            Tried { answer, output: Err(Failure { error, in_doubt: true }), status, undone: false }
        }
    })
}

/// How often an effect was sent by executions before this one. One that must not be sent twice ends the run, unless
/// the world says that it did not happen.
pub(super) fn sent_before(run: &mut Run, effect: &Effect) -> Result<u32, Stop> {
    let fits =
        |again: &mut crate::sandbox::job::Again| again.index == effect.index && again.call == effect.call;
    let Some(again) = run.job.resume.again.take_if(fits) else { return Ok(0) };
    if effect.repeat == Repeat::Once && !again.undone {
        let message = "its outcome is not known since the run was interrupted".to_owned();
        return Err(Stop::InDoubt { index: effect.index, call: Box::new(again.call), message });
    }
    Ok(again.sends)
}
