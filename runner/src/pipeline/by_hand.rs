//! Runs in the hands of people: taken over, and let through by breaking the glass, for which a reason is owed until a
//! second person has looked at it.

use std::sync::Arc;

use staunch_core::decision::{self, Code, Reason};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::{Digest, RunId};
use staunch_core::policy::Person;
use staunch_core::run::{Outcome, Passes, Run, State};

use super::live::{LiveRun, Wait};
use super::quorum::question;
use super::requests::{as_shown, asks_nobody, given_up, replan, up_to_date};
use super::shared::Shared;
use super::views::{self, Justification};
use super::{Cursor, Listed, Listing, Pipeline, ReadError, Refusal};

/// A glass that a person breaks.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The plan that was shown.
    pub plan: Digest,
    /// Why it cannot wait.
    pub reason: String,
    /// What is to be passed: a change freeze, or missing approvals; whatever holds the run when absent.
    pub only: Option<Passes>,
}

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
            let taken = taken_over(run, person, comment.clone())?;
            let why = (Code::TakenOver, "a person took it over");
            Ok::<_, Refusal>(vec![taken, given_up(run, person, Outcome::Cancelled, why, comment)])
        })
        .await?;
    live.wake();
    Ok(run)
}

/// Keeps a run that asks people where it is, because a person does it by hand and may give it back.
async fn hold(live: &LiveRun, person: &Person, comment: Option<String>) -> Result<Run, Refusal> {
    let run = live
        .decide(Wait::Durable, |run| {
            if !matches!(run.state, State::Waiting | State::Parked | State::Ended) {
                let state = run.state.as_str();
                let message = format!("the run is {state}: only one that waits or is parked can be held");
                return Err(Refusal::Conflict(Reason::new(Code::NotWaiting, message)));
            }
            Ok(vec![taken_over(run, person, comment)?])
        })
        .await?;
    live.wake();
    Ok(run)
}

fn taken_over(run: &Run, person: &Person, comment: Option<String>) -> Result<Fact, Refusal> {
    if let Some(held) = &run.held {
        let message = format!("{} took it over already", held.by);
        return Err(Refusal::Conflict(Reason::new(Code::TakenOver, message)));
    }
    if run.state == State::Ended {
        return Err(asks_nobody(run));
    }
    let outside = payload::RunTakenOver { by: person.name.clone(), comment };
    Ok(Fact::RunTakenOver(event::RunTakenOver {}, Outside::Kept(outside)))
}

/// Gives a run back that a person had in hand: it is planned anew, since the world may be another one, and people are
/// asked anew.
async fn give_back(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    person: &Person,
    comment: Option<String>,
) -> Result<Run, Refusal> {
    let run = live
        .decide(Wait::Durable, |run| {
            if run.state == State::Ended {
                return Err(asks_nobody(run));
            }
            // One that was taken over for good comes to its end.
            let waits = matches!(run.state, State::Waiting | State::Parked);
            if run.held.is_none() || live.stopped().is_some() || !waits {
                let message = "nobody holds the run: only what was taken over with `hold` can be given back";
                return Err(Refusal::Conflict(Reason::new(Code::NotWaiting, message)));
            }
            let outside = payload::RunGivenBack { by: person.name.clone(), comment };
            Ok(vec![Fact::RunGivenBack(event::RunGivenBack {}, Outside::Kept(outside))])
        })
        .await?;
    if run.ask.is_some() {
        match replan(shared, live, &run).await {
            Ok(()) | Err(Refusal::PlanChanged { .. }) => {}
            Err(Refusal::Record(error)) => return Err(error.into()),
            // It asks on its old plan, and is planned again when somebody approves that.
            Err(error) => {
                tracing::warn!(run.id = %run.id, error = %error, "run {} is not planned anew", run.id)
            }
        }
    }
    live.wake();
    Ok(Run::clone(&*live.snapshot().await))
}

/// What holds a run that somebody breaks the glass for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lacks {
    freeze: bool,
    quorum: bool,
}

/// What of that which was asked to be passed holds the run now; never maintenance, silences or halts.
fn lacks(shared: &Shared, run: &Run, by: &str, only: Option<Passes>) -> Result<Lacks, Refusal> {
    let refuses = |broken: Option<&str>| {
        let said = shared.windows_over_run_for(run, broken).decisions;
        said.into_iter().find(|said| said.result == decision::Outcome::Refuse)
    };
    let covered = refuses(run.passes_freezes());
    let wants = |what: Passes| only.is_none_or(|only| only == what);
    let still = if wants(Passes::Freeze) { refuses(Some(by)) } else { covered.clone() };
    if let Some(said) = still {
        return Err(Refusal::Conflict(said.reason()));
    }
    let quorum = wants(Passes::Quorum) && shared.still_asks(run).is_ok();
    let lacks = Lacks { freeze: covered.is_some(), quorum };
    if lacks.freeze || lacks.quorum {
        return Ok(lacks);
    }
    // Nothing that was asked for is in the way.
    shared.still_asks(run)?;
    let message = "no change freeze covers the run: there is nothing to pass";
    Err(Refusal::Conflict(Reason::new(Code::Window, message)))
}

/// Lets a run act without the approvals that it lacks, for exactly the plan that was shown, and through a change
/// freeze.
async fn break_glass(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    person: &Person,
    broken: Broken,
) -> Result<Run, Refusal> {
    let Broken { plan: shown, reason, only } = broken;
    if reason.trim().is_empty() {
        return Err(Refusal::Invalid { field: "reason", message: "a reason is needed".to_owned() });
    }
    let glass = |passes: Passes, plan: Option<Digest>| {
        let outside = payload::GlassBroken { by: person.name.clone(), reason: reason.clone() };
        Fact::GlassBroken(event::GlassBroken { passes, plan }, Outside::Kept(outside))
    };
    let run = live.snapshot().await;
    let _ask = question(shared, &run)?;
    if let Some(why) = shared.halted_run(&run) {
        return Err(Refusal::Conflict(Reason::new(Code::Halt, why)));
    }
    if run.plan != Some(shown) {
        return Err(Refusal::PlanChanged { run: Box::new(Run::clone(&run)), changes: Vec::new() });
    }
    let mut after = Run::clone(&run);
    if lacks(shared, &run, &person.name, only)?.freeze {
        // First the freeze: the plan is made anew under it.
        after = live
            .decide(Wait::Durable, |run| {
                let _ask = question(shared, run)?;
                Ok::<_, Refusal>(vec![glass(Passes::Freeze, run.plan)])
            })
            .await?;
        tell(live, person, "passes the change freeze");
    }
    if only != Some(Passes::Freeze) && shared.still_asks(&after).is_ok() {
        up_to_date(shared, live, &after, shown).await?;
        after = live
            .decide(Wait::Durable, |run| {
                let _ask = question(shared, run)?;
                let plan = as_shown(shared, run, shown)?;
                shared.still_asks(run)?;
                Ok::<_, Refusal>(vec![glass(Passes::Quorum, Some(plan))])
            })
            .await?;
        tell(live, person, "acts without the approvals that it lacks");
    }
    live.wake();
    Ok(after)
}

fn tell(live: &LiveRun, person: &Person, what: &str) {
    let (id, by) = (live.id(), &person.name);
    tracing::error!(
        run.id = %id, person = by,
        "{by} broke the glass for run {id}, which {what}: a second person has to review why"
    );
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
    /// Ends a run because a person does it by hand. `holds`: it is kept instead, to be given back.
    ///
    /// # Errors
    /// When the run has ended, or somebody took it over already; when it is to be held and asks nobody.
    pub async fn take_over(
        &self,
        id: &RunId,
        person: Person,
        comment: Option<String>,
        holds: bool,
    ) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move {
            let run = if holds {
                hold(&live, &person, comment).await?
            } else {
                take_over(&live, &person, comment).await?
            };
            shared.taken_over(&run, &person.name).await?;
            Ok(run)
        })
        .await
    }

    /// Gives back a run that somebody holds: it is planned and asks anew.
    ///
    /// # Errors
    /// When nobody holds it.
    pub async fn give_back(
        &self,
        id: &RunId,
        person: Person,
        comment: Option<String>,
    ) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { give_back(&shared, &live, &person, comment).await }).await
    }

    /// Lets a run act without the approvals that it lacks, and through a change freeze. The reason stays on the list
    /// of what is owed until a second person has reviewed it.
    ///
    /// # Errors
    /// When nobody is asked about the run, it is halted, the plan is no longer the shown one, or nothing that can be
    /// passed so is in the way.
    pub async fn break_glass(&self, id: &RunId, person: Person, broken: Broken) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { break_glass(&shared, &live, &person, broken).await }).await
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
