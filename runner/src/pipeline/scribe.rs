//! Events to journal entries: one place that encodes, salts and appends.

use std::sync::Arc;

use staunch_core::event::{Event, EventError, Fact};
use staunch_core::id::{AlertId, RunId};

use crate::clock::{Clock, quick_random};
use crate::journal::{Beginning, Begun, Entry, Journal, JournalError, Payload, ViewRow};

/// Why an event is not in the journal.
#[derive(Debug, thiserror::Error)]
pub enum ScribeError {
    /// The event has no written form.
    #[error("event cannot be written down")]
    Event(#[from] EventError),
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Writes events into the journal.
#[derive(Debug, Clone)]
pub struct Scribe {
    journal: Journal,
    clock: Clock,
}

/// One event and the rows of the views that it changes.
#[derive(Debug)]
pub struct Line {
    /// What happened.
    pub event: Arc<Event>,
    /// The rows as they are after it.
    pub views: Vec<ViewRow>,
}

impl Scribe {
    /// A scribe for a journal.
    #[must_use]
    pub fn new(journal: Journal, clock: Clock) -> Self {
        Self { journal, clock }
    }

    /// The journal that it writes to.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The time that its events bear.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// An event that happens now.
    #[must_use]
    pub fn event(&self, run: Option<&RunId>, alert: Option<&AlertId>, fact: Fact) -> Event {
        Event { at: self.clock.now(), run: run.cloned(), alert: alert.cloned(), fact }
    }

    /// Appends in one transaction; durable when it returns.
    ///
    /// # Errors
    /// When the journal cannot be written: nothing of it is in the journal then.
    pub async fn commit(&self, lines: Vec<Line>) -> Result<(), ScribeError> {
        self.commit_after(lines, None).await
    }

    /// As [`Scribe::commit`], of what follows from something that may not be durable yet.
    ///
    /// # Errors
    /// As [`Scribe::commit`], and when that was refused.
    pub async fn commit_after(&self, lines: Vec<Line>, after: Option<&Beginning>) -> Result<(), ScribeError> {
        self.journal.commit_after(entries(lines)?, after).await?;
        Ok(())
    }

    /// Begins to append, in one transaction; with `company`, together with what follows at once.
    ///
    /// # Errors
    /// When the journal cannot be written: nothing of it is in the journal then.
    pub async fn begin(&self, lines: Vec<Line>, company: bool) -> Result<Begun, ScribeError> {
        Ok(self.journal.begin(entries(lines)?, company).await?)
    }

    /// Appends in order; durable with the next commit.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn submit(&self, lines: Vec<Line>) -> Result<(), ScribeError> {
        self.submit_after(lines, None).await
    }

    /// As [`Scribe::submit`], of what follows from something that may not be durable yet.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn submit_after(&self, lines: Vec<Line>, after: Option<&Beginning>) -> Result<(), ScribeError> {
        self.journal.submit_after(entries(lines)?, after).await?;
        Ok(())
    }
}

fn entries(lines: Vec<Line>) -> Result<Vec<Entry>, EventError> {
    lines.into_iter().map(entry).collect()
}

/// The journal entry of a line.
///
/// # Errors
/// When the event has no written form.
pub fn entry(line: Line) -> Result<Entry, EventError> {
    let mut salt = [0; 16];
    quick_random(&mut salt);
    let encoded = line.event.encode(salt)?;
    Ok(Entry {
        leaf: encoded.leaf,
        payload: encoded.payload.map(|(salt, bytes)| Payload { salt, bytes }),
        run: line.event.run.as_ref().map(ToString::to_string),
        views: line.views,
    })
}
