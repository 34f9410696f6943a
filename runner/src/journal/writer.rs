//! The one task that writes.
//!
//! It takes whatever is queued, up to a bound, writes it as one transaction and answers the callers after
//! the commit. Nothing waits for company: while one batch is written the next one gathers. Only a batch in
//! which nobody waits for the disk is held back a little, to ride in the next commit.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use staunch_core::tlog::Frontier;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answers::Change;
use super::batch::{Batch, MAX_BYTES, MAX_LEAVES, view_arguments};
use super::data_dir::DataDir;
use super::error::JournalError;
use super::health::{Health, Trouble};
use super::reserve::Reserve;
use super::sql::{self, BatchTexts};
use super::{Entry, Shared, ViewRow};

/// How long entries that nobody waits for stay in memory at most.
const SUBMIT_DELAY: Duration = Duration::from_millis(10);
/// How often a disk that was full is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes written between two foldings of the write-ahead log, which keeps that about four times as long.
const FOLD_BYTES: usize = 8 * 1024 * 1024;
/// What a transaction writes besides its rows' bytes: index pages, mostly.
const OVERHEAD_BYTES: usize = 8 * 1024;

type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the handle asks of the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Append; without `reply`, nobody waits.
    Append { entries: Vec<Entry>, bytes: usize, room: OwnedSemaphorePermit, reply: Option<Reply<u64>> },
    /// Append and remove payloads, in one transaction of their own.
    Erase { removed: Vec<u64>, entries: Vec<Entry>, reply: Reply<u64> },
    /// Keep a signed checkpoint.
    Checkpoint { size: u64, note: String, reply: Reply<()> },
    /// Change the rows that are kept beside the journal.
    Request { change: Change, reply: Reply<()> },
    /// Empty the rebuilt views.
    ClearRebuilt { reply: Reply<()> },
    /// Add to the rebuilt views, at most [`sql::MAX_ROWS`].
    AddRebuilt { rows: Vec<ViewRow>, reply: Reply<()> },
    /// Put the rebuilt views in the place of the views, if the journal still has this size.
    SwapRebuilt { size: u64, reply: Reply<()> },
    /// Everything before this is written; close the database.
    Close { reply: Reply<()> },
}

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) reserve: Reserve,
    /// Holds the lock on the data for as long as anything may be written.
    pub(super) dir: Arc<DataDir>,
    pub(super) frontier: Frontier,
    pub(super) texts: BatchTexts,
    /// Bytes written since the write-ahead log was folded.
    pub(super) unfolded: usize,
}

/// Callers of one batch and where their entries begin.
type Waiting = Vec<(Reply<u64>, u64)>;

impl Writer {
    /// Runs until the journal is closed or every handle is gone.
    pub(super) async fn run(mut self) {
        let mut held = None;
        loop {
            let command = match held.take() {
                Some(command) => Some(command),
                None => self.next().await,
            };
            match command {
                None => break,
                Some(Command::Close { reply }) => {
                    self.close().await;
                    answer(reply, Ok(()));
                    return;
                }
                Some(Command::Append { entries, bytes, room, reply }) => {
                    held = self.append(entries, bytes, room, reply).await;
                }
                Some(other) => self.other(other).await,
            }
        }
        self.close().await;
    }

    /// The next command; meanwhile a full disk is tried again now and then.
    async fn next(&mut self) -> Option<Command> {
        loop {
            if !matches!(self.shared.health.get(), Health::Tight | Health::Full) {
                return self.queue.recv().await;
            }
            tokio::select! {
                command = self.queue.recv() => return command,
                () = sleep_until(Instant::now() + PROBE_INTERVAL) => self.probe().await,
            }
        }
    }

    /// Gathers a batch that begins with these entries and writes it. Returns the first command that is not
    /// part of it.
    async fn append(
        &mut self,
        entries: Vec<Entry>,
        mut bytes: usize,
        room: OwnedSemaphorePermit,
        reply: Option<Reply<u64>>,
    ) -> Option<Command> {
        let mut batch = Batch::new(self.frontier.clone());
        let mut waiting = Waiting::new();
        let mut rooms = vec![room];
        let mut leaves = entries.len();
        let mut nobody_waits = reply.is_none();
        let first = batch.push(entries);
        waiting.extend(reply.map(|reply| (reply, first)));
        let give_up = Instant::now() + SUBMIT_DELAY;
        let mut held = None;
        while leaves < MAX_LEAVES && bytes < MAX_BYTES {
            let next = match self.queue.try_recv() {
                Ok(next) => Some(next),
                Err(_) if nobody_waits => timeout_at(give_up, self.queue.recv()).await.ok().flatten(),
                Err(_) => None,
            };
            let Some(next) = next else { break };
            let Command::Append { entries, bytes: more, room, reply } = next else {
                held = Some(next);
                break;
            };
            if leaves + entries.len() > MAX_LEAVES || bytes + more > MAX_BYTES {
                held = Some(Command::Append { entries, bytes: more, room, reply });
                break;
            }
            leaves += entries.len();
            bytes += more;
            nobody_waits &= reply.is_none();
            let first = batch.push(entries);
            rooms.push(room);
            waiting.extend(reply.map(|reply| (reply, first)));
        }
        self.finish(batch, waiting, bytes).await;
        held
    }

    async fn finish(&mut self, batch: Batch, waiting: Waiting, bytes: usize) {
        let written = self.write(&batch).await;
        if written.is_ok() {
            self.advance(batch.frontier);
        }
        for (reply, first) in waiting {
            answer(reply, if written.is_ok() { Ok(first) } else { Err(self.refusal(&written)) });
        }
        if written.is_ok() {
            self.unfolded += bytes + OVERHEAD_BYTES;
            self.fold().await;
        }
    }

    fn refusal(&self, written: &Result<(), Trouble>) -> JournalError {
        match written {
            Err(Trouble::Busy) => {
                JournalError::Unavailable("another program holds the database's lock".to_owned())
            }
            Ok(()) | Err(Trouble::Full | Trouble::Fatal) => self.shared.health.unavailable(),
        }
    }

    fn advance(&mut self, frontier: Frontier) {
        let size = frontier.size();
        self.shared.set_head(frontier.clone());
        self.frontier = frontier;
        self.shared.size.send_replace(size);
    }

    /// Writes a batch, on a full disk a second time in the space of the reserve.
    async fn write(&mut self, batch: &Batch) -> Result<(), Trouble> {
        let health = self.shared.health.get();
        if matches!(health, Health::Full | Health::Failed) {
            return Err(if health == Health::Full { Trouble::Full } else { Trouble::Fatal });
        }
        loop {
            let Err(error) = batch.write(&mut self.connection, &mut self.texts).await else { return Ok(()) };
            let trouble = Trouble::of(&error);
            self.fail(trouble, &error);
            if trouble == Trouble::Fatal {
                return Err(trouble);
            }
            self.roll_back().await;
            let retry =
                trouble == Trouble::Full && self.shared.health.get() == Health::Tight && !self.spent();
            if !retry {
                if trouble == Trouble::Full {
                    self.shared.health.set(Health::Full, &error.to_string());
                }
                return Err(trouble);
            }
            if let Err(error) = self.reserve.release() {
                tracing::error!(%error, "the reserve could not be given up");
                self.shared.health.set(Health::Full, &error.to_string());
                return Err(Trouble::Full);
            }
        }
    }

    /// Whether the reserve was already given up.
    fn spent(&self) -> bool {
        !self.dir.file(super::RESERVE_FILE).exists()
    }

    fn fail(&self, trouble: Trouble, error: &sqlx::Error) {
        match trouble {
            Trouble::Fatal => self.shared.health.set(Health::Failed, &error.to_string()),
            Trouble::Full => self.shared.health.set(Health::Tight, &error.to_string()),
            Trouble::Busy => tracing::warn!(%error, "another program holds the database's lock"),
        }
    }

    async fn roll_back(&mut self) {
        // On a full disk the database may have rolled back by itself; then there is nothing to do and it says so.
        if let Err(error) = sqlx::query(sql::ROLLBACK).execute(&mut self.connection).await {
            tracing::debug!(%error, "no transaction was left to roll back");
        }
    }

    /// Tries whether a disk that was full takes a write again, then whether the reserve fits too.
    async fn probe(&mut self) {
        if self.shared.health.get() == Health::Full {
            match sqlx::query(sql::PROBE).execute(&mut self.connection).await {
                Ok(_) => self.shared.health.set(Health::Tight, "the reserve is not yet made again"),
                Err(error) if Trouble::of(&error) == Trouble::Fatal => self.fail(Trouble::Fatal, &error),
                Err(_) => return,
            }
        }
        if self.shared.health.get() == Health::Tight && self.reserve.make().is_ok() {
            self.shared.health.set(Health::Good, "");
        }
    }

    /// Folds the write-ahead log back in time, by this task alone: the database would do it by itself, but
    /// then an error of its syncs would go unseen.
    async fn fold(&mut self) {
        if self.unfolded < FOLD_BYTES {
            return;
        }
        self.unfolded = 0;
        if let Err(error) = sqlx::query(sql::FOLD_WAL).fetch_all(&mut self.connection).await {
            self.fail(Trouble::of(&error), &error);
        }
    }

    async fn other(&mut self, command: Command) {
        match command {
            Command::Erase { removed, entries, reply } => self.erase(&removed, entries, reply).await,
            Command::Checkpoint { size, note, reply } => {
                let query = sqlx::query(sql::PUT_CHECKPOINT).bind(super::batch::signed(size)).bind(note);
                let done = query.execute(&mut self.connection).await;
                self.settle(done.map(drop), reply).await;
            }
            Command::Request { reply, .. }
                if matches!(self.shared.health.get(), Health::Full | Health::Failed) =>
            {
                answer(reply, Err(self.shared.health.unavailable()));
            }
            Command::Request { change, reply } => {
                let done = change.write(&mut self.connection).await;
                self.settle(done, reply).await;
            }
            Command::ClearRebuilt { reply } => {
                let done = sqlx::query(sql::CLEAR_REBUILT).execute(&mut self.connection).await;
                self.settle(done.map(drop), reply).await;
            }
            Command::AddRebuilt { rows, reply } => {
                let done = self.add_rebuilt(&rows).await;
                self.settle(done, reply).await;
            }
            Command::SwapRebuilt { size, reply } => {
                if size != self.frontier.size() {
                    let grown = "the journal grew while its views were rebuilt".to_owned();
                    return answer(reply, Err(JournalError::Unavailable(grown)));
                }
                let done = sqlx::query(sql::SWAP_REBUILT).execute(&mut self.connection).await;
                self.settle(done.map(drop), reply).await;
            }
            Command::Append { reply, .. } => {
                debug_assert!(false, "appends are gathered into batches");
                reply.into_iter().for_each(|reply| answer(reply, Err(JournalError::Closed)));
            }
            Command::Close { reply } => answer(reply, Ok(())),
        }
    }

    async fn erase(&mut self, removed: &[u64], entries: Vec<Entry>, reply: Reply<u64>) {
        let mut batch = Batch::new(self.frontier.clone());
        let bytes = entries.iter().map(Entry::bytes).sum::<usize>() + removed.len() * OVERHEAD_BYTES;
        let first = batch.push(entries);
        batch.remove(removed);
        if let Err(error) = sqlx::query(sql::OVERWRITE_ON).fetch_all(&mut self.connection).await {
            tracing::warn!(%error, "removed payloads are not overwritten");
        }
        self.finish(batch, vec![(reply, first)], bytes).await;
        if let Err(error) = sqlx::query(sql::OVERWRITE_OFF).fetch_all(&mut self.connection).await {
            tracing::warn!(%error, "every removal goes on being overwritten");
        }
    }

    async fn add_rebuilt(&mut self, rows: &[ViewRow]) -> Result<(), sqlx::Error> {
        let arguments = view_arguments(rows)?;
        let query = sqlx::query_with(sql::rebuilt_views(rows.len()), arguments);
        query.execute(&mut self.connection).await.map(drop)
    }

    /// Answers for a statement that is no batch.
    async fn settle(&mut self, done: Result<(), sqlx::Error>, reply: Reply<()>) {
        let Err(error) = done else { return answer(reply, Ok(())) };
        let trouble = Trouble::of(&error);
        self.fail(trouble, &error);
        if trouble != Trouble::Fatal {
            self.roll_back().await;
        }
        answer(reply, Err(JournalError::Database { operation: "write to the journal", source: error }));
    }

    /// Closes the database in order, unless it failed: closing would sync again, and a sync that failed is
    /// never repeated.
    async fn close(self) {
        if self.shared.health.get() == Health::Failed {
            std::mem::forget(self.connection);
        } else if let Err(error) = sqlx::Connection::close(self.connection).await {
            tracing::warn!(%error, "the journal's database could not be closed");
        }
    }
}

/// A caller that went away does not want its answer.
fn answer<T>(reply: Reply<T>, result: Result<T, JournalError>) {
    drop(reply.send(result));
}
