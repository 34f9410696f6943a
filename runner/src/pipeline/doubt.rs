//! Effects that were in doubt when the daemon stopped: the world is asked first, then what may be repeated is sent
//! again, and the rest waits for a person. Nothing is repeated silently.

use std::sync::Arc;
use std::time::Duration;

use staunch_core::decision::Code;
use staunch_core::effect::{Answer, CallError, EffectStatus, Repeat};
use staunch_core::event::{self, Fact, Outside, payload};

use super::drive::Interrupted;
use super::history::{Doubt, History, Resend};
use super::live::{LiveRun, Wait};
use super::shared::Shared;
use crate::sandbox::{Found, MAX_SENDS};

/// How long the world is asked about one effect: a restart is to leave no run hanging.
const ASK: Duration = Duration::from_secs(2);

/// What follows for one effect.
enum Fate {
    Settled(EffectStatus, Answer, &'static str),
    Again { undone: bool },
    Parked,
}

/// Settles what can be settled of the effects in doubt. Answers which are to be sent again; `None` when the run is
/// parked, because at least one of them is a person's to settle.
pub(super) async fn ask(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
) -> Result<Option<Vec<Resend>>, Interrupted> {
    let run = live.snapshot().await;
    let events = shared.events_of(&run.id).await?;
    let mut facts = Vec::new();
    let mut resends = Vec::new();
    let mut parked = None;
    // Nothing is sent while it is halted; a person settles it after the release.
    let halted = shared.halted_run(&run).is_some();
    for (step, effect) in run.in_doubt() {
        let fate = match History::of(&events, &run, step).doubt(effect) {
            Some(doubt) => fate(shared, &doubt).await,
            None => Fate::Parked,
        };
        facts.push(match fate {
            Fate::Settled(status, answer, how) => settled((step, effect), status, Some(answer), Some(how)),
            Fate::Again { undone } if !halted => {
                resends.push(Resend { step, effect, undone });
                settled((step, effect), EffectStatus::Unknown, None, undone.then_some(UNDONE))
            }
            Fate::Again { .. } | Fate::Parked => {
                parked = parked.or(Some(step));
                settled((step, effect), EffectStatus::Unknown, None, None)
            }
        });
    }
    if let Some(step) = parked {
        let message = "the daemon stopped before the outcome of an effect was known".to_owned();
        let outside = payload::RunParked { message, question: None, asked: None };
        facts.push(Fact::RunParked(event::RunParked { code: Code::InDoubt, step }, Outside::Kept(outside)));
    }
    live.record(facts, Wait::Durable).await?;
    Ok(parked.is_none().then_some(resends))
}

/// What the comment of a settlement says when the host found out by itself.
const HAPPENED: &str = "the host found that it happened";
const UNDONE: &str = "the host found that it did not happen";

async fn fate(shared: &Shared, doubt: &Doubt) -> Fate {
    let found = match &doubt.before {
        Some(before) => shared.sandbox.reconcile(&doubt.call, before, ASK).await,
        None => Found::Unknown,
    };
    let may_be_sent = doubt.sends < MAX_SENDS;
    match found {
        Found::Done(result) => Fate::Settled(EffectStatus::Done, Answer::Ok(result.into()), HAPPENED),
        Found::Failed(error) => Fate::Settled(EffectStatus::Failed, Answer::Err(error), HAPPENED),
        Found::NotDone if may_be_sent => Fate::Again { undone: true },
        Found::NotDone => {
            let message = format!("it was sent {MAX_SENDS} times and did not happen");
            let error = CallError { code: "not-done".to_owned(), message, retryable: true };
            Fate::Settled(EffectStatus::Failed, Answer::Err(error), UNDONE)
        }
        Found::Unknown if may_be_sent && doubt.repeat == Repeat::Repeatable => Fate::Again { undone: false },
        Found::Unknown => Fate::Parked,
    }
}

fn settled(
    (step, effect): (u32, u32),
    status: EffectStatus,
    answer: Option<Answer>,
    comment: Option<&str>,
) -> Fact {
    let leaf = event::EffectSettled { step, effect, status };
    let outside = payload::EffectSettled { answer, by: None, comment: comment.map(str::to_owned) };
    Fact::EffectSettled(leaf, Outside::Kept(outside))
}
