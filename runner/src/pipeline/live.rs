//! A run in memory: its state, which always equals the fold of what was written, and who wakes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use staunch_core::alert::Alert;
use staunch_core::decision::{Code, Reason};
use staunch_core::event::Fact;
use staunch_core::id::{AlertId, Digest, RunId};
use staunch_core::policy::{PluginFacts, Policies};
use staunch_core::run::{IllegalTransition, Run, by_a_person};
use tokio::sync::{Mutex, Notify};

use super::books::Books;
use super::scribe::{Line, Scribe, ScribeError};
use super::views;
use crate::journal::Beginning;

/// Why something about a run was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot happen where the run is.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The journal did not take it.
    #[error(transparent)]
    Scribe(#[from] ScribeError),
}

/// An unended run.
#[derive(Debug)]
pub struct LiveRun {
    id: RunId,
    alert: Option<AlertId>,
    /// The alert as it was received, for templates and guardrails.
    about: Option<Arc<Alert>>,
    run: Mutex<Arc<Run>>,
    scribe: Scribe,
    books: Arc<Books>,
    wake: Notify,
    stop: StdMutex<Option<Reason>>,
    judged: StdMutex<Option<Judged>>,
    over: AtomicBool,
    /// Its first entry, which may not be on the disk yet.
    beginning: Option<Beginning>,
}

/// Under what the effects of the plan in force were permitted, one by one, when it was made.
#[derive(Debug)]
pub(super) struct Judged {
    /// The plan.
    pub(super) plan: Digest,
    /// The policies that were asked.
    pub(super) policies: Arc<Policies>,
    /// What was known of the plugin of each step.
    pub(super) plugins: Vec<PluginFacts>,
}

/// Whether to wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it is durable.
    Durable,
    /// Not: it rides in the next commit.
    Rides,
}

impl LiveRun {
    /// A run whose beginning is in the journal, or on its way there.
    #[must_use]
    pub(super) fn new(
        run: Run,
        about: Option<Arc<Alert>>,
        scribe: Scribe,
        books: Arc<Books>,
        beginning: Option<Beginning>,
    ) -> Arc<Self> {
        Arc::new(Self {
            beginning,
            id: run.id.clone(),
            alert: run.alert.clone(),
            about,
            run: Mutex::new(Arc::new(run)),
            scribe,
            books,
            wake: Notify::new(),
            stop: StdMutex::new(None),
            judged: StdMutex::new(None),
            over: AtomicBool::new(false),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The alert that it answers.
    #[must_use]
    pub fn alert(&self) -> Option<&AlertId> {
        self.alert.as_ref()
    }

    /// The alert as it was received.
    #[must_use]
    pub fn about(&self) -> Option<&Alert> {
        self.about.as_deref()
    }

    /// The run as it is now; what happens to it later does not show.
    pub async fn snapshot(&self) -> Arc<Run> {
        Arc::clone(&*self.run.lock().await)
    }

    /// Looks at the run without copying it.
    pub async fn look<T>(&self, at: impl FnOnce(&Run) -> T) -> T {
        let run = self.run.lock().await;
        at(&run)
    }

    /// Writes down what happened, in order and in one transaction, and makes it true in memory.
    ///
    /// # Errors
    /// When it cannot happen where the run is, or the journal did not take it; nothing changed then.
    pub async fn record(&self, facts: Vec<Fact>, wait: Wait) -> Result<(), RecordError> {
        let mut run = self.run.lock().await;
        self.record_locked(&mut run, facts, wait).await
    }

    /// Decides over the run and writes the decision down, with nobody in between.
    ///
    /// # Errors
    /// The decision's own, or as [`LiveRun::record`].
    pub async fn decide<E: From<RecordError>>(
        &self,
        wait: Wait,
        decide: impl FnOnce(&Run) -> Result<Vec<Fact>, E>,
    ) -> Result<Run, E> {
        let mut run = self.run.lock().await;
        let facts = decide(&run)?;
        self.record_locked(&mut run, facts, wait).await?;
        Ok(Run::clone(&run))
    }

    async fn record_locked(
        &self,
        run: &mut Arc<Run>,
        facts: Vec<Fact>,
        wait: Wait,
    ) -> Result<(), RecordError> {
        let mut next = Run::clone(run);
        let mut lines = Vec::with_capacity(facts.len());
        let (mut acted, mut ended) = (false, false);
        for fact in facts {
            acted |= matches!(fact, Fact::EffectIntended(..));
            ended |= matches!(fact, Fact::RunEnded(..));
            let event = self.scribe.event(Some(&self.id), self.alert.as_ref(), fact);
            next.apply(&event)?;
            let views = views::of_run(&next, &event.fact);
            lines.push(Line { event: Arc::new(event), views });
        }

        if ended {
            lines.extend(self.books.ends(&self.scribe, &next));
        }
        match wait {
            Wait::Durable => self.scribe.commit_after(lines, self.beginning.as_ref()).await?,
            Wait::Rides => self.scribe.submit_after(lines, self.beginning.as_ref()).await?,
        }
        if ended {
            self.over.store(true, Ordering::Release);
        }
        if acted {
            self.books.acted(&next);
        }
        if ended {
            self.books.ended(&next);
        }
        *run = Arc::new(next);
        Ok(())
    }

    /// Its first entry, where that may not be on the disk yet.
    pub(super) fn beginning(&self) -> Option<&Beginning> {
        self.beginning.as_ref()
    }

    /// Whether its beginning could not be written: then it is in no journal, and nobody was told of it.
    #[must_use]
    pub fn never_was(&self) -> bool {
        self.beginning.as_ref().is_some_and(Beginning::refused)
    }

    /// Whether it has ended. Never said later than anybody can see it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Remembers under what a plan's effects were permitted.
    pub(super) fn judged(&self, judged: Judged) {
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
    }

    /// Keeps no more than it needs while people are asked: many may wait, and for long. What was judged is asked again
    /// when they have answered, and a copy has no room to spare.
    pub(super) async fn rest(&self) {
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut run = self.run.lock().await;
        *run = Arc::new(Run::clone(&run));
    }

    /// Whether the planned effects of a step were permitted by the very same policies about the very same plugin:
    /// the answers would be the same again.
    pub(super) fn was_judged(
        &self,
        plan: Option<Digest>,
        policies: &Arc<Policies>,
        step: usize,
        plugin: &PluginFacts,
    ) -> bool {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.as_ref().is_some_and(|judged| {
            Some(judged.plan) == plan
                && Arc::ptr_eq(&judged.policies, policies)
                && judged.plugins.get(step) == Some(plugin)
        })
    }

    /// Wakes the task that drives the run: something about it was decided.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody wakes the run.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Lets the run get no further effect.
    pub fn stop(&self, code: Code, message: impl Into<String>) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        // What a person says outweighs what was found by itself.
        if stop.as_ref().is_none_or(|before| by_a_person(code) && !by_a_person(before.code)) {
            *stop = Some(Reason::new(code, message));
        }
        drop(stop);
        self.wake();
    }

    /// Lets it get effects again, if what keeps it from that is such a reason.
    pub(super) fn forgive(&self, such: impl FnOnce(&Reason) -> bool) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.take_if(|reason| such(reason));
    }

    /// Why the run gets no further effect, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<Reason> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
