//! Whether the journal can be written, and what an error of the disk means for that.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::JournalError;

/// The state of the disk under the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// All is well.
    Good,
    /// The disk was full; the reserve was given up, and what was accepted is still written.
    Tight,
    /// Full, without a reserve: nothing is written until there is space.
    Full,
    /// An error after which nobody knows what is on the disk. Final: a second sync could report success for
    /// pages that the kernel has dropped, so only a restart, which reads what is there, goes on.
    Failed,
}

/// What an error of the database means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No space left; the transaction was rolled back whole.
    Full,
    /// Someone else holds the database's lock; the transaction did not begin.
    Busy,
    /// Anything else.
    Fatal,
}

const SQLITE_BUSY: i32 = 5;
const SQLITE_FULL: i32 = 13;
/// The index of the write-ahead log is grown by writing to it, and this is how that reports a full disk.
const SQLITE_IOERR_SHMSIZE: i32 = 4874;

impl Trouble {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let code =
            error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse().ok());
        match code {
            Some(SQLITE_IOERR_SHMSIZE) => Self::Full,
            Some(code) if code & 0xff == SQLITE_FULL => Self::Full,
            Some(code) if code & 0xff == SQLITE_BUSY => Self::Busy,
            Some(_) | None => Self::Fatal,
        }
    }
}

/// The health that the writer sets and everyone reads.
#[derive(Debug)]
pub(super) struct HealthCell {
    state: AtomicU8,
    reason: Mutex<String>,
}

impl HealthCell {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(0), reason: Mutex::new(String::new()) }
    }

    pub(super) fn get(&self) -> Health {
        match self.state.load(Ordering::Acquire) {
            0 => Health::Good,
            1 => Health::Tight,
            2 => Health::Full,
            _ => Health::Failed,
        }
    }

    /// Sets the state and tells people once; [`Health::Failed`] stays.
    pub(super) fn set(&self, health: Health, reason: &str) {
        if self.get() == Health::Failed || self.get() == health {
            return;
        }
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        let state = match health {
            Health::Good => 0,
            Health::Tight => 1,
            Health::Full => 2,
            Health::Failed => 3,
        };
        self.state.store(state, Ordering::Release);
        match health {
            Health::Good => tracing::info!("the journal has space again and accepts alerts"),
            Health::Tight => tracing::warn!(reason, "the disk is full: alerts are refused, runs go on"),
            Health::Full => tracing::error!(reason, "the disk is full and so is the reserve: nothing acts"),
            Health::Failed => tracing::error!(reason, "the journal failed: nothing acts until a restart"),
        }
    }

    /// The error for whoever wanted to write.
    pub(super) fn unavailable(&self) -> JournalError {
        JournalError::Unavailable(self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
