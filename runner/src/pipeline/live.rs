//! A run in memory: its state, which always equals the fold of what was written, and who wakes it.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use staunch_core::alert::Alert;
use staunch_core::decision::{Code, Reason};
use staunch_core::event::Fact;
use staunch_core::id::{AlertId, RunId};
use staunch_core::run::{IllegalTransition, Run};
use tokio::sync::{Mutex, Notify};

use super::scribe::{Line, Scribe, ScribeError};
use super::views;

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
    about: Option<Alert>,
    run: Mutex<Run>,
    scribe: Scribe,
    wake: Notify,
    stop: StdMutex<Option<Reason>>,
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
    /// A run whose beginning is in the journal.
    #[must_use]
    pub fn new(run: Run, about: Option<Alert>, scribe: Scribe) -> Arc<Self> {
        Arc::new(Self {
            id: run.id.clone(),
            alert: run.alert.clone(),
            about,
            run: Mutex::new(run),
            scribe,
            wake: Notify::new(),
            stop: StdMutex::new(None),
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
        self.about.as_ref()
    }

    /// The run as it is now.
    pub async fn snapshot(&self) -> Run {
        self.run.lock().await.clone()
    }

    /// Looks at the run without copying it.
    pub async fn look<T>(&self, at: impl FnOnce(&Run) -> T) -> T {
        at(&*self.run.lock().await)
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
        Ok(run.clone())
    }

    async fn record_locked(&self, run: &mut Run, facts: Vec<Fact>, wait: Wait) -> Result<(), RecordError> {
        let mut next = run.clone();
        let mut lines = Vec::with_capacity(facts.len());
        for fact in facts {
            let event = self.scribe.event(Some(&self.id), self.alert.as_ref(), fact);
            next.apply(&event)?;
            lines.push(Line { event: Arc::new(event), views: Vec::new() });
        }
        // Rows of one transaction are coalesced: the last line brings the run as it is after all of them.
        if let Some(line) = lines.last_mut() {
            line.views.push(views::run(&next));
        }
        match wait {
            Wait::Durable => self.scribe.commit(lines).await?,
            Wait::Rides => self.scribe.submit(lines).await?,
        }
        *run = next;
        Ok(())
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
        stop.get_or_insert_with(|| Reason::new(code, message));
        drop(stop);
        self.wake();
    }

    /// Why the run gets no further effect, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<Reason> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
