//! Storms at work: what one storm holds, shown as one item and answered at once.
//!
//! An answer is given to each run in the one way in which runs are answered, with all that this asks: rights, roles,
//! separation, quorum, halts, windows and a fresh plan. What may not be answered so stays as it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use staunch_core::decision::{Code, Reason};
use staunch_core::id::{Digest, RunId};
use staunch_core::limit::{HeldRun, HeldStorm, Stop, held, waits_for_room};
use staunch_core::policy::Person;
use staunch_core::run::Run;

use super::live::LiveRun;
use super::shared::Shared;
use super::{Pipeline, Refusal, Yes, requests};

/// How many runs of a storm are answered at once: each may be planned anew.
const AT_ONCE: usize = 16;

/// How long a run that found no room waits before it asks again.
const ROOM: Duration = Duration::from_secs(1);

/// What a person says to all runs of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Approves the plans that were shown.
    Approve,
    /// Says no.
    Reject,
}

/// What became of one run.
pub type Answered = (HeldRun, Result<Run, Refusal>);

/// What stops a run that stands before its gate; one that only lacks room, and waits for it, is asked there.
pub(super) fn but_for_room(run: &Run, stop: Option<Stop>) -> Option<Stop> {
    stop.filter(|stop| !matches!(stop, Stop::Refused(refusal) if waits_for_room(run, refusal)))
}

/// Waits a little for room, or until somebody has something to say about the run.
pub(super) async fn room(live: &LiveRun) {
    tokio::select! {
        () = live.woken() => {}
        () = tokio::time::sleep(ROOM) => {}
    }
}

impl Pipeline {
    /// What storms hold now, by their names.
    pub async fn storms(&self) -> Vec<HeldStorm> {
        let mut runs = Vec::new();
        for live in self.0.runs.all() {
            runs.push(live.snapshot().await);
        }
        held(runs.iter().map(AsRef::as_ref), self.0.now(), |run| self.0.permit_of_people(run).is_err())
    }

    /// Answers each of these runs of a storm; `shown` is the digest over all that was shown with them. Each answer
    /// is durable when it returns.
    ///
    /// # Errors
    /// When the request broke. What became of each run is in the answer.
    pub async fn answer_storm(
        &self,
        runs: Vec<HeldRun>,
        shown: Digest,
        person: Person,
        answer: Answer,
        comment: Option<String>,
    ) -> Result<Vec<Answered>, Refusal> {
        let shared = Arc::clone(&self.0);
        self.whole(async move {
            let answers = runs.into_iter().map(|held| {
                let (shared, person, comment) = (&shared, &person, comment.clone());
                async move {
                    let yes = Yes { plan: held.plan, comment, envelope: None, storm: Some(shown) };
                    let said = one(shared, &held.run, person, answer, yes).await;
                    (held, said)
                }
            });
            let mut all: Vec<Answered> = stream::iter(answers).buffer_unordered(AT_ONCE).collect().await;
            all.sort_unstable_by(|(one, _), (other, _)| one.run.cmp(&other.run));
            Ok(all)
        })
        .await
    }
}

async fn one(
    shared: &Arc<Shared>,
    id: &RunId,
    person: &Person,
    answer: Answer,
    yes: Yes,
) -> Result<Run, Refusal> {
    let Some(live) = shared.runs.get(id) else {
        let over = Reason::new(Code::AlreadyEnded, format!("run {id} has ended meanwhile"));
        return Err(Refusal::Conflict(over));
    };
    match answer {
        Answer::Approve => requests::approve(shared, &live, person, yes).await,
        Answer::Reject => requests::reject(shared, &live, person, yes.comment).await,
    }
}
