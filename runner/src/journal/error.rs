//! What can go wrong with the journal.

use std::io;
use std::path::{Path, PathBuf};

use staunch_core::tlog::NoteError;

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal cannot be written now. Nothing of the call was stored, or, after an error of the disk,
    /// a restart will tell; nothing may act on it.
    #[error("the journal cannot be written: {0}")]
    Unavailable(String),
    /// The journal was shut down.
    #[error("the journal is shut down")]
    Closed,
    /// An entry is larger than the journal takes.
    #[error("a {what} of {bytes} bytes is more than the journal takes, {max}")]
    TooLarge {
        /// `leaf` or `payload`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More entries in one call than one transaction takes.
    #[error("{count} entries in one call are more than the journal takes, {max}")]
    TooMany {
        /// Entries in the call.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// An index or size beyond the journal's end, or sizes in the wrong order.
    #[error("{what} {value} is not within the journal's {size} entries")]
    OutOfRange {
        /// Which argument.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Entries in the journal.
        size: u64,
    },
    /// Another process works on the same data.
    #[error("{} is in use by process {pid}; one daemon works on one data directory", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// What the lock file says; `unknown` when it says nothing.
        pid: String,
    },
    /// Others could read or write the journal.
    #[error(
        "{} has mode {mode:04o}, so that others may touch it; mend with: chmod {mend} '{}'",
        path.display(), path.display()
    )]
    Mode {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The mode that it should have.
        mend: &'static str,
    },
    /// The data directory is of another log.
    #[error("{} holds the journal `{found}`, not `{expected}`", dir.display())]
    Origin {
        /// The data directory.
        dir: PathBuf,
        /// The origin that is stored.
        found: String,
        /// The origin that was asked for.
        expected: String,
    },
    /// The stored log is not the one whose checkpoint was signed last.
    #[error(
        "the journal in {} does not continue its last signed checkpoint: {reason}. Signing on would fork the \
         log. Put the matching journal back, or start a new log that names the old one's last checkpoint with: \
         staunch audit new-epoch --reason '...'",
        dir.display()
    )]
    Forked {
        /// The data directory.
        dir: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A schema that this version does not know.
    #[error("{} was written by a newer version: schema {found}, this version knows {known}", dir.display())]
    Schema {
        /// The data directory.
        dir: PathBuf,
        /// The version found.
        found: String,
        /// The version known.
        known: &'static str,
    },
    /// The fold that rebuilds the views refused an entry.
    #[error("entry {index} cannot be folded into the views")]
    Fold {
        /// The entry.
        index: u64,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The stored rows contradict each other.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// The origin is not the name of a key.
    #[error("`{0}` cannot be a log's origin: it must not be empty nor hold white space or `+`")]
    BadOrigin(String),
    /// A checkpoint could not be written as a note.
    #[error("a checkpoint could not be made")]
    Note(#[source] NoteError),
    /// A file of the data directory or an export.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database.
    #[error("could not {operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
}

impl JournalError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    pub(super) fn database(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { operation, source }
    }
}
