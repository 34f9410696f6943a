//! Runs in the hands of people: taken over, and let through by breaking the glass, for which a reason is owed until a
//! second person has looked at it.

use std::sync::Arc;

use staunch_core::decision::{Code, Reason};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::{Digest, RunId};
use staunch_core::policy::Person;
use staunch_core::run::{Outcome, Passes, Run, State};

use super::live::{LiveRun, Wait};
use super::quorum::question;
use super::requests::{as_shown, asks_nobody, given_up, up_to_date};
use super::shared::Shared;
use super::views::{self, Justification};
use super::{Cursor, Listed, Listing, Pipeline, ReadError, Refusal};

/// Which justifications are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JustificationQuery {
    /// Those that a second person has to look at yet.
    #[default]
    Owed,
    /// Those that a second person looked at.
    Reviewed,
}

/// Ends a run because a person does it by hand. One that acts gets no further effect and ends by itself; where
/// something was done, the probes have the word.
async fn take_over(live: &LiveRun, person: &Person, comment: Option<String>) -> Result<Run, Refusal> {
    // First of all it gets no further effect; what else follows is written down then.
    live.stop(Code::TakenOver, format!("taken over by {}", person.name));
    let run = live
        .decide(Wait::Durable, |run| {
            if let Some(held) = &run.held {
                let message = format!("{} took it over already", held.by);
                return Err(Refusal::Conflict(Reason::new(Code::TakenOver, message)));
            }
            if run.state == State::Ended {
                return Err(asks_nobody(run));
            }
            let outside = payload::RunTakenOver { by: person.name.clone(), comment: comment.clone() };
            let taken = Fact::RunTakenOver(event::RunTakenOver {}, Outside::Kept(outside));
            let why = (Code::TakenOver, "a person took it over");
            Ok(vec![taken, given_up(run, person, Outcome::Cancelled, why, comment)])
        })
        .await?;
    live.wake();
    Ok(run)
}

/// Lets a run act without the approvals that it lacks, for exactly the plan that was shown.
async fn break_glass(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    person: &Person,
    shown: Digest,
    reason: String,
) -> Result<Run, Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::Invalid { field: "reason", message: "a reason is needed".to_owned() });
    }
    let run = live.snapshot().await;
    let _ask = question(shared, &run)?;
    shared.still_asks(&run)?;
    up_to_date(shared, live, &run, shown).await?;
    let broken = live
        .decide(Wait::Durable, |run| {
            let _ask = question(shared, run)?;
            let plan = as_shown(shared, run, shown)?;
            shared.still_asks(run)?;
            let leaf = event::GlassBroken { passes: Passes::Quorum, plan: Some(plan) };
            let outside = payload::GlassBroken { by: person.name.clone(), reason };
            Ok::<_, Refusal>(vec![Fact::GlassBroken(leaf, Outside::Kept(outside))])
        })
        .await?;
    let (id, by) = (live.id(), &person.name);
    tracing::error!(run.id = %id, person = by, "{by} broke the glass for run {id}: a second person has to review why");
    live.wake();
    Ok(broken)
}

/// What a second person found about all the times that others broke the glass of a run.
async fn review(
    shared: &Shared,
    id: &RunId,
    person: &Person,
    justified: bool,
    comment: String,
) -> Result<Run, Refusal> {
    if comment.trim().is_empty() {
        return Err(Refusal::Invalid { field: "comment", message: "a comment is needed".to_owned() });
    }
    let _one_at_a_time = shared.reviews.lock().await;
    let live = match shared.runs.get(id) {
        Some(live) => live,
        None => {
            let run = shared.run(id).await?;
            let run = run.ok_or_else(|| Refusal::NotFound { what: "run", id: id.to_string() })?;
            shared.live(run, None)
        }
    };
    live.decide(Wait::Durable, |run| {
        let owed: Vec<_> = run.justifications_owed().collect();
        if owed.is_empty() {
            return Err(Refusal::NotFound { what: "justification owed for run", id: id.to_string() });
        }
        let others = owed.iter().filter(|(_, glass)| glass.by != person.name);
        let facts: Vec<Fact> = others
            .map(|(glass, _)| {
                let leaf = event::JustificationReviewed { glass: *glass, justified };
                let by = person.name.clone();
                let outside = payload::JustificationReviewed { by, comment: Some(comment.clone()) };
                Fact::JustificationReviewed(leaf, Outside::Kept(outside))
            })
            .collect();
        if facts.is_empty() {
            let message = format!("{} broke the glass, and a second person reviews why", person.name);
            return Err(Refusal::Conflict(Reason::new(Code::Separation, message)));
        }
        Ok(facts)
    })
    .await
}

impl Pipeline {
    /// Ends a run because a person does it by hand.
    ///
    /// # Errors
    /// When the run has ended, or somebody took it over already.
    pub async fn take_over(
        &self,
        id: &RunId,
        person: Person,
        comment: Option<String>,
    ) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move {
            let run = take_over(&live, &person, comment).await?;
            shared.taken_over(&run, &person.name).await?;
            Ok(run)
        })
        .await
    }

    /// Lets a run act without the approvals that it lacks. The reason stays on the list of what is owed until a
    /// second person has reviewed it.
    ///
    /// # Errors
    /// When nobody is asked about the run, it is halted, or the plan is no longer the shown one.
    pub async fn break_glass(
        &self,
        id: &RunId,
        person: Person,
        shown: Digest,
        reason: String,
    ) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { break_glass(&shared, &live, &person, shown, reason).await }).await
    }

    /// Writes down what a second person found about why the glass was broken, also after the run has ended.
    ///
    /// # Errors
    /// When nothing is owed, or it is the person themselves who broke it.
    pub async fn review(
        &self,
        id: &RunId,
        person: Person,
        justified: bool,
        comment: String,
    ) -> Result<Run, Refusal> {
        let (shared, id) = (Arc::clone(&self.0), id.clone());
        self.whole(async move { review(&shared, &id, &person, justified, comment).await }).await
    }

    /// Reasons for which somebody broke the glass, newest first.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn justifications(
        &self,
        which: JustificationQuery,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Listed<Justification>, ReadError> {
        let state = match which {
            JustificationQuery::Owed => views::OWED,
            JustificationQuery::Reviewed => views::REVIEWED,
        };
        let listing = Listing { state: Some(state.to_owned()), after, limit, ..Listing::default() };
        self.list(views::JUSTIFICATION, listing).await
    }
}
