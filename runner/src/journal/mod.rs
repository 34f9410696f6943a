//! The journal: append, read, prove, recover.
//!
//! For: the pipeline and the broker, which write down what happens, and everyone who wants to know or prove
//! what happened. An entry is a leaf of an append-only Merkle log (bytes, kept for ever), perhaps a payload
//! beside it (removable; the leaf commits to it), and the changes that it makes to the views. All three are
//! written in one transaction.
//!
//! Never: looks into a leaf, decides, updates or deletes an entry, or answers before the disk has it.
//!
//! ```text
//!  commit, submit --> bounded queue --> writer task --> one transaction a batch --> callers answered
//!  (Journal)                            (writer, batch)  leaf, payload, views, tree       |
//!                                            |                                            v
//!                                            | full disk: health, reserve           new head of the tree
//!                                                                                         |
//!  entry, views, tile, inclusion <-- read-only pool (read, tree)      at most once a second v
//!                                                            sign, store, sync the file, then serve
//!                                                                                   (checkpoint)
//!  export --> a directory --> verify, with the public key alone; prove --> .tlog-proof files
//! ```
//!
//! Beside the log, `answers` keeps what repeated requests were answered, and `uses` when tokens were used last: tables
//! that are no part of it.
//!
//! Reading order: this file, `writer`, `batch`, `open`, then what is needed. The tree and the outside formats
//! are `staunch_core::tlog`.

mod answers;
mod batch;
mod begun;
mod checkpoint;
mod data_dir;
mod epoch;
mod error;
mod export;
mod health;
mod note;
mod open;
mod proof_file;
mod read;
mod rebuild;
mod reserve;
mod segment;
mod sql;
mod tree;
mod uses;
mod verify;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::SqlitePool;
use staunch_core::event::Encoded;
use staunch_core::tlog::{Frontier, MAX_LEAF_BYTES, VerifierKey};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use answers::{MAX_ANSWER_BYTES, REQUESTS_KEPT_FOR, TakenAnswer, TakenRequest};
pub use begun::{Beginning, Begun};
pub use data_dir::holder;
pub use epoch::{Epoch, base_origin, begin_epoch};
pub use error::JournalError;
pub use export::{ExportProgress, LOG_VKEY, PAYLOADS};
pub use note::{open_checkpoint, verifier_key};
pub use open::{DEFAULT_HEARTBEAT, MakeHeartbeat, Options, RESERVE_BYTES};
pub use proof_file::{MAX_PROOFS, PROOF_EXTENSION, ProofFault, Proved, check_proof};
pub use read::{MAX_PAGE, StoredEntry, StoredPayload, ViewCursor, ViewQuery, WithPayload};
pub use rebuild::{FoldError, Rebuilt};
pub use verify::{EpochSeen, MAX_PROBLEMS, Problem, Report, VerifyError, verify, verify_with};

use begun::Along;
use health::{Health, HealthCell};
use note::NoteSigner;
use writer::{Append, Command, Reply};

/// The longest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
/// The most entries in one call: all of them are one transaction.
pub const MAX_CALL_ENTRIES: usize = 4096;
/// Calls that wait for the writer at most.
const QUEUE_CALLS: usize = 4096;
/// Memory that waiting entries take at most, in KiB.
const QUEUE_KIB: usize = 64 * 1024;
/// How long those who read have at the end.
const READERS_LEAVE: Duration = Duration::from_secs(2);
const RESERVE_FILE: &str = "reserve";
const CHECKPOINT_FILE: &str = "checkpoint";
const DATABASE_FILE: &str = "journal.db";
const WAL_FILE: &str = "journal.db-wal";

/// What a leaf commits to: outside text that can be removed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Fresh randomness, lest the commitment be guessed.
    pub salt: [u8; 16],
    /// The text, at most [`MAX_PAYLOAD_BYTES`].
    pub bytes: Vec<u8>,
}

/// One row of a view, as the fold over the journal has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRow {
    /// Which view: `run`, `alert`, ...
    pub kind: &'static str,
    /// Its id, unique in its kind; listings go by it, so ids that begin with a time list by time.
    pub id: String,
    /// Its state, for listings by state; empty where nobody lists by it, which is the cheapest.
    pub state: String,
    /// Up to three further values to list by; they stay what they were when the row was new, until an erasure.
    pub keys: [Option<String>; 3],
    /// The row itself, in the form that the reader of this kind expects.
    pub doc: Vec<u8>,
}

/// Something to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The leaf's exact bytes, 1 to 65,535.
    pub leaf: Vec<u8>,
    /// The payload to which the leaf commits already.
    pub payload: Option<Payload>,
    /// The run that the leaf names, if any: its entries can be listed and proved.
    pub run: Option<String>,
    /// The rows that the views hold from now on.
    pub views: Vec<ViewRow>,
}

impl Entry {
    /// An entry from an event's bytes.
    pub fn new(event: Encoded, run: Option<String>, views: Vec<ViewRow>) -> Self {
        let payload = event.payload.map(|(salt, bytes)| Payload { salt, bytes });
        Self { leaf: event.leaf, payload, run, views }
    }

    fn bytes(&self) -> usize {
        let views: usize = self.views.iter().map(|row| row.doc.len()).sum();
        self.leaf.len() + self.payload.as_ref().map_or(0, |payload| payload.bytes.len()) + views
    }

    fn check(&self) -> Result<(), JournalError> {
        let too_large = |what, bytes, max| Err(JournalError::TooLarge { what, bytes, max });
        match &self.payload {
            _ if self.leaf.len() > MAX_LEAF_BYTES => too_large("leaf", self.leaf.len(), MAX_LEAF_BYTES),
            Some(payload) if payload.bytes.len() > MAX_PAYLOAD_BYTES => {
                too_large("payload", payload.bytes.len(), MAX_PAYLOAD_BYTES)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A checkpoint as it is served.
#[derive(Clone, Debug)]
pub struct SignedCheckpoint {
    /// The entries that it covers.
    pub size: u64,
    /// The signed note, exactly.
    pub note: Bytes,
}

/// The handle of an open journal; clones are the same journal.
///
/// When the last handle goes without [`Journal::shutdown`], what is queued is still written.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    pool: SqlitePool,
    signer: NoteSigner,
    /// Lets one checkpoint be signed at a time.
    signing: tokio::sync::Mutex<()>,
    /// The lock on the data goes with the writer, not with the handles.
    dir: Weak<data_dir::DataDir>,
    closing: AtomicBool,
}

/// What the writer tells the handles.
#[derive(Debug)]
struct Shared {
    health: HealthCell,
    /// Everyone who holds entries for what follows at once has a copy.
    holds: Arc<()>,
    head: Mutex<Frontier>,
    size: watch::Sender<u64>,
    checkpoint: Mutex<SignedCheckpoint>,
}

impl Shared {
    /// Whether more entries will come at once.
    fn expects_more(&self) -> bool {
        Arc::strong_count(&self.holds) > 1
    }

    fn set_head(&self, frontier: Frontier) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = frontier;
    }

    fn head(&self) -> Frontier {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Journal {
    /// Appends entries and returns the index of the first, once all of them are on the disk. They are one
    /// transaction and stand one after the other. Without entries it waits for everything submitted before.
    ///
    /// Dropping the future does not take the entries back.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when the journal cannot be written: then nothing may act on these
    /// entries. [`JournalError::TooLarge`], [`JournalError::TooMany`], [`JournalError::Closed`].
    pub async fn commit(&self, entries: Vec<Entry>) -> Result<u64, JournalError> {
        self.commit_after(entries, None).await
    }

    /// [`Journal::commit`] of entries that follow from others: they are refused if those were.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn commit_after(
        &self,
        entries: Vec<Entry>,
        after: Option<&Beginning>,
    ) -> Result<u64, JournalError> {
        let (reply, answer) = oneshot::channel();
        let along = self.queue(entries, Some(reply), after).await?;
        let answer = answer.await.map_err(|_| JournalError::Closed)?;
        along.tell(&answer);
        answer
    }

    /// Begins to append entries: what follows from them can be made and queued while they are on their way to the
    /// disk. With `company` they are held a moment for the first of it that is waited for, so that one wait for the
    /// disk does for both; somebody has to wait for [`Begun::durable`] then, since that ends the moment.
    ///
    /// # Errors
    /// As [`Journal::commit`], of which those of the disk come with [`Begun::durable`].
    pub async fn begin(&self, entries: Vec<Entry>, company: bool) -> Result<Begun, JournalError> {
        self.may_append(&entries)?;
        let (reply, answer) = oneshot::channel();
        let beginning = Beginning::default();
        let mut append = self.inner.with_room(entries, Some(reply)).await?;
        append.begins = Some(beginning.clone());
        if company {
            beginning.hold(append, &self.inner.shared.holds);
        } else {
            let _nobody = self.inner.send(append, None).await?;
        }
        Ok(Begun::new(beginning, answer, Arc::clone(&self.inner)))
    }

    /// Appends entries that nobody waits for: they ride in the next commit, in order, and are on the disk
    /// before any later one. Waits only while the queue is full.
    ///
    /// # Errors
    /// As [`Journal::commit`]; an error of the disk that comes later is met by the next commit.
    pub async fn submit(&self, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.submit_after(entries, None).await
    }

    /// [`Journal::submit`] of entries that follow from others: they are dropped if those were refused.
    ///
    /// # Errors
    /// As [`Journal::submit`].
    pub async fn submit_after(
        &self,
        entries: Vec<Entry>,
        after: Option<&Beginning>,
    ) -> Result<(), JournalError> {
        if matches!(self.inner.shared.health.get(), Health::Full | Health::Failed) {
            return Err(self.inner.shared.health.unavailable());
        }
        self.queue(entries, None, after).await.map(drop)
    }

    /// Removes payloads and appends the entries that say so, in one transaction. The leaves and their
    /// proofs stay. Views that showed the payloads are among the entries' rows.
    ///
    /// # Errors
    /// As [`Journal::commit`], and [`JournalError::OutOfRange`].
    pub async fn erase(&self, removed: Vec<u64>, entries: Vec<Entry>) -> Result<u64, JournalError> {
        self.check(&entries)?;
        for index in &removed {
            self.within("index", *index, self.size())?;
        }
        self.ask(|reply| Command::Erase { removed, entries, reply }).await
    }

    /// Whether new work should be taken in: the disk is not full.
    pub fn accepting(&self) -> bool {
        self.inner.shared.health.get() == Health::Good && !self.inner.closing.load(Ordering::Acquire)
    }

    /// Whether anything can be written at all; when not, nothing may act.
    pub fn writable(&self) -> bool {
        matches!(self.inner.shared.health.get(), Health::Good | Health::Tight)
    }

    /// Whether the queue has room for new work: a quarter is kept for what is under way.
    pub fn try_room(&self) -> bool {
        self.accepting()
            && self.inner.queue.capacity() > QUEUE_CALLS / 4
            && self.inner.room.available_permits() > QUEUE_KIB / 4
    }

    /// Calls that wait for the writer now.
    pub fn queued(&self) -> usize {
        QUEUE_CALLS - self.inner.queue.capacity()
    }

    /// Entries on the disk.
    pub fn size(&self) -> u64 {
        *self.inner.shared.size.borrow()
    }

    /// Tells of every growth; the value is the size.
    pub fn growth(&self) -> watch::Receiver<u64> {
        self.inner.shared.size.subscribe()
    }

    /// The key under which the log's checkpoints verify; `log.vkey` holds it as text.
    pub fn verifier_key(&self) -> &VerifierKey {
        self.inner.signer.public()
    }

    /// Writes all that is queued, signs a last checkpoint and closes the database. Other handles get
    /// [`JournalError::Closed`] from then on.
    pub async fn shutdown(&self) {
        if self.inner.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        // Everything queued before this command is written when it is answered; should the journal be out of
        // order, there is nothing left to do but to close it.
        let flushed = self.flush().await;
        if flushed.is_ok()
            && let Err(error) = self.inner.sign_checkpoint().await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the last checkpoint was not signed");
        }
        // The last connection to go takes the write-ahead log with it; readers cannot do that.
        let readers = tokio::time::timeout(READERS_LEAVE, self.inner.pool.close());
        if readers.await.is_err() {
            tracing::warn!(
                "somebody still reads in the journal; the next start reads its write-ahead log again"
            );
        }
        if let Err(error) = self.ask(|reply| Command::Close { reply }).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal was closed already");
        }
    }

    async fn flush(&self) -> Result<u64, JournalError> {
        let (reply, answer) = oneshot::channel();
        let _nobody = self.inner.append(Vec::new(), Some(reply), None).await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    async fn queue(
        &self,
        entries: Vec<Entry>,
        reply: Option<Reply<u64>>,
        after: Option<&Beginning>,
    ) -> Result<Along, JournalError> {
        self.may_append(&entries)?;
        self.inner.append(entries, reply, after).await
    }

    fn may_append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.inner.closing.load(Ordering::Acquire) {
            return Err(JournalError::Closed);
        }
        self.check(entries)
    }

    fn check(&self, entries: &[Entry]) -> Result<(), JournalError> {
        if entries.len() > MAX_CALL_ENTRIES {
            return Err(JournalError::TooMany { count: entries.len(), max: MAX_CALL_ENTRIES });
        }
        entries.iter().try_for_each(Entry::check)
    }

    fn within(&self, what: &'static str, value: u64, end: u64) -> Result<(), JournalError> {
        let size = self.size();
        if value < end { Ok(()) } else { Err(JournalError::OutOfRange { what, value, size }) }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        self.inner.ask(command).await
    }
}

impl Inner {
    async fn append(
        &self,
        entries: Vec<Entry>,
        reply: Option<Reply<u64>>,
        after: Option<&Beginning>,
    ) -> Result<Along, JournalError> {
        let append = self.with_room(entries, reply).await?;
        self.send(append, after).await
    }

    /// Entries that have their room in memory.
    async fn with_room(
        &self,
        entries: Vec<Entry>,
        reply: Option<Reply<u64>>,
    ) -> Result<Append, JournalError> {
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        let kib = u32::try_from((bytes / 1024 + 1).min(QUEUE_KIB)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| JournalError::Closed)?;
        Ok(Append::new(entries, bytes, room, reply))
    }

    /// Sends entries to the writer, behind those that they follow from.
    async fn send(&self, entries: Append, after: Option<&Beginning>) -> Result<Along, JournalError> {
        let place = self.queue.reserve().await.map_err(|_| JournalError::Closed)?;
        let send = |entries| place.send(Command::Append(entries));
        Ok(match after {
            Some(beginning) => beginning.send(Some(entries.following(beginning)), send),
            None => {
                send(entries);
                Along::default()
            }
        })
    }

    /// Sends the entries of a beginning, if they are still held.
    async fn let_go(&self, beginning: &Beginning) -> Result<(), JournalError> {
        let place = self.queue.reserve().await.map_err(|_| JournalError::Closed)?;
        let _nobody = beginning.send(None, |entries| place.send(Command::Append(entries)));
        Ok(())
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }
}

#[cfg(test)]
mod tests;
