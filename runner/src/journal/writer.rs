//! The one task that writes.
//!
//! It takes whatever is queued, up to a bound, writes it as one transaction and answers the callers after
//! the commit. While one batch is written the next one gathers, so nothing has to wait for company. But a batch in
//! which nobody waits for the disk is held back a little, to ride in the next commit, and so is one while more is
//! known to come at once.

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
use super::{Beginning, Entry, Shared, ViewRow};

/// How long entries stay in memory at most that nobody waits for.
pub(super) const SUBMIT_DELAY: Duration = Duration::from_millis(10);
/// How long those wait at most that wait for the disk, when more will come at once: a commit for all costs less than one
/// for each.
const GATHER_DELAY: Duration = Duration::from_micros(500);
/// How often a disk that was full is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// About how long the write-ahead log gets before it is folded and written from its beginning again: long enough that
/// few wait for a folding, and short enough that it is mostly written over, which costs the disk half of what making
/// it longer does.
const FOLD_BYTES: usize = 32 * 1024 * 1024;
/// What a transaction writes besides its rows' bytes: pages that it changes in part, mostly.
const OVERHEAD_BYTES: usize = 40 * 1024;
/// What the keys of one row of a view take.
const INDEXED_ROW_BYTES: usize = 512;
/// Rows of views that are searched one by one at most, before their keys are put where they are found at once.
pub(super) const UNINDEXED_ROWS: usize = 2048;

/// Where a caller waits.
pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the handle asks of the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Append.
    Append(Append),
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

/// Entries to be appended, in one transaction.
#[derive(Debug)]
pub(super) struct Append {
    entries: Vec<Entry>,
    bytes: usize,
    room: OwnedSemaphorePermit,
    /// Who waits for them, and where theirs begin.
    waiting: Vec<(Reply<u64>, usize)>,
    /// What they follow from.
    after: Option<Beginning>,
    /// What they are to others.
    pub(super) begins: Option<Beginning>,
}

impl Append {
    /// Entries that follow from nothing.
    pub(super) fn new(
        entries: Vec<Entry>,
        bytes: usize,
        room: OwnedSemaphorePermit,
        reply: Option<Reply<u64>>,
    ) -> Self {
        let waiting = reply.into_iter().map(|reply| (reply, 0)).collect();
        Self { entries, bytes, room, waiting, after: None, begins: None }
    }

    pub(super) fn following(self, beginning: &Beginning) -> Self {
        Self { after: Some(beginning.clone()), ..self }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who waits for them, and is told by somebody else now.
    pub(super) fn take_waiting(&mut self) -> Vec<(Reply<u64>, usize)> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes in what follows from these.
    pub(super) fn join(&mut self, follows: Self) {
        let Self { entries, bytes, room, waiting, after: _, begins: _ } = follows;
        let first = self.entries.len();
        self.waiting.extend(waiting.into_iter().map(|(reply, place)| (reply, first + place)));
        self.entries.extend(entries);
        self.bytes += bytes;
        self.room.merge(room);
    }
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
    /// Rows of views whose keys are in no index yet.
    pub(super) unindexed: usize,
}

/// What is gathered of one batch.
struct Gathered {
    batch: Batch,
    leaves: usize,
    bytes: usize,
    /// Until when it may wait for more.
    until: Instant,
    /// Callers, and where their entries begin.
    waiting: Vec<(Reply<u64>, u64)>,
    /// What follows from entries of this batch hangs on these.
    beginnings: Vec<Beginning>,
    /// Given back when all is written.
    rooms: Vec<OwnedSemaphorePermit>,
}

impl Gathered {
    fn new(frontier: Frontier) -> Self {
        Self {
            batch: Batch::new(frontier),
            leaves: 0,
            bytes: 0,
            until: Instant::now() + SUBMIT_DELAY,
            waiting: Vec::new(),
            beginnings: Vec::new(),
            rooms: Vec::new(),
        }
    }

    /// Whether these entries fit in; the first of a batch always do.
    fn has_room(&self, more: &Append) -> bool {
        self.rooms.is_empty()
            || self.leaves + more.entries.len() <= MAX_LEAVES && self.bytes + more.bytes <= MAX_BYTES
    }

    /// Whether nothing more is waited for: somebody waits for the disk and no more comes at once, or the time is over.
    fn is_due(&self, more: bool) -> bool {
        self.rooms.is_empty() || !more && !self.waiting.is_empty() || Instant::now() >= self.until
    }

    fn push(&mut self, append: Append) {
        let Append { entries, bytes, room, waiting, after: _, begins } = append;
        self.leaves += entries.len();
        self.bytes += bytes;
        let first = self.batch.push(entries);
        if self.waiting.is_empty() && !waiting.is_empty() {
            self.until = self.until.min(Instant::now() + GATHER_DELAY);
        }
        self.waiting.extend(waiting.into_iter().map(|(reply, place)| (reply, first + place as u64)));
        self.beginnings.extend(begins);
        self.rooms.push(room);
    }
}

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
                Some(Command::Append(append)) => held = self.append(append).await,
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
    async fn append(&mut self, first: Append) -> Option<Command> {
        let mut gathered = Gathered::new(self.frontier.clone());
        let mut held = None;
        let mut next = Some(Command::Append(first));
        while let Some(command) = next {
            match command {
                Command::Append(append) if append.after.as_ref().is_some_and(Beginning::refused) => {
                    self.refuse(append);
                }
                Command::Append(append) if gathered.has_room(&append) => gathered.push(append),
                command => {
                    held = Some(command);
                    break;
                }
            }
            next = match self.queue.try_recv() {
                Ok(next) => Some(next),
                // The runtime's timer counts in milliseconds, and would let what is due wait for the next one.
                Err(_) if gathered.is_due(self.shared.expects_more()) => None,
                Err(_) => timeout_at(gathered.until, self.queue.recv()).await.ok().flatten(),
            };
        }
        if !gathered.rooms.is_empty() {
            self.finish(gathered).await;
        }
        held
    }

    /// Refuses entries that follow from others that are not in the journal.
    fn refuse(&self, append: Append) {
        append.begins.iter().for_each(Beginning::refuse);
        for (reply, _) in append.waiting {
            let message = "what these entries follow from could not be written".to_owned();
            answer(reply, Err(JournalError::Unavailable(message)));
        }
    }

    async fn finish(&mut self, gathered: Gathered) {
        let Gathered { mut batch, bytes, waiting, beginnings, .. } = gathered;
        let batch_views = batch.views();
        let written = self.write(&mut batch).await;
        if written.is_ok() {
            self.advance(batch.frontier);
        } else {
            beginnings.iter().for_each(Beginning::refuse);
        }
        for (reply, first) in waiting {
            answer(reply, if written.is_ok() { Ok(first) } else { Err(self.refusal(&written)) });
        }
        if written.is_ok() {
            self.unfolded += bytes + OVERHEAD_BYTES;
            self.unindexed += batch_views;
            if self.unindexed >= UNINDEXED_ROWS {
                self.index().await;
            }
            if self.unfolded >= FOLD_BYTES {
                self.fold().await;
            }
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
    async fn write(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
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

    /// Folds the write-ahead log back, by this task alone: the database would do it by itself, but
    /// then an error of its syncs would go unseen.
    async fn fold(&mut self) {
        self.unfolded = 0;
        if let Err(error) = sqlx::query(sql::FOLD_WAL).fetch_all(&mut self.connection).await {
            self.fail(Trouble::of(&error), &error);
        }
    }

    /// Puts the keys of the newest rows where they are found at once. Without it they are still found, one by one.
    async fn index(&mut self) {
        match sqlx::query(sql::index_keys()).execute(&mut self.connection).await {
            Ok(_) => {
                self.unfolded += self.unindexed * INDEXED_ROW_BYTES;
                self.unindexed = 0;
            }
            Err(error) => self.leave(&error).await,
        }
    }

    /// Leaves a transaction that failed.
    async fn leave(&mut self, error: &sqlx::Error) {
        let trouble = Trouble::of(error);
        self.fail(trouble, error);
        if trouble != Trouble::Fatal {
            self.roll_back().await;
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
                let done = self.add_rebuilt(rows).await;
                self.settle(done, reply).await;
            }
            Command::SwapRebuilt { size, reply } => {
                if size != self.frontier.size() {
                    let grown = "the journal grew while its views were rebuilt".to_owned();
                    return answer(reply, Err(JournalError::Unavailable(grown)));
                }
                let done = sqlx::query(sql::SWAP_REBUILT).execute(&mut self.connection).await;
                let done = done.map(drop);
                if done.is_ok() {
                    self.index().await;
                }
                self.settle(done, reply).await;
            }
            Command::Append(append) => {
                debug_assert!(false, "appends are gathered into batches");
                append.waiting.into_iter().for_each(|(reply, _)| answer(reply, Err(JournalError::Closed)));
            }
            Command::Close { reply } => answer(reply, Ok(())),
        }
    }

    async fn erase(&mut self, removed: &[u64], entries: Vec<Entry>, reply: Reply<u64>) {
        let mut gathered = Gathered::new(self.frontier.clone());
        gathered.bytes = entries.iter().map(Entry::bytes).sum::<usize>() + removed.len() * OVERHEAD_BYTES;
        let first = gathered.batch.push(entries);
        gathered.waiting.push((reply, first));
        gathered.batch.remove(removed);
        if let Err(error) = sqlx::query(sql::OVERWRITE_ON).fetch_all(&mut self.connection).await {
            tracing::warn!(%error, "removed payloads are not overwritten");
        }
        self.finish(gathered).await;
        if let Err(error) = sqlx::query(sql::OVERWRITE_OFF).fetch_all(&mut self.connection).await {
            tracing::warn!(%error, "every removal goes on being overwritten");
        }
    }

    async fn add_rebuilt(&mut self, rows: Vec<ViewRow>) -> Result<(), sqlx::Error> {
        let text = sql::rebuilt_views(rows.len());
        let query = sqlx::query_with(text, view_arguments(rows)?);
        query.execute(&mut self.connection).await.map(drop)
    }

    /// Answers for a statement that is no batch.
    async fn settle(&mut self, done: Result<(), sqlx::Error>, reply: Reply<()>) {
        let Err(error) = done else { return answer(reply, Ok(())) };
        self.leave(&error).await;
        answer(reply, Err(JournalError::Database { operation: "write to the journal", source: error }));
    }

    /// Closes the database in order, unless it failed: closing would sync again, and a sync that failed is
    /// never repeated.
    async fn close(mut self) {
        if self.shared.health.get() == Health::Good {
            if self.unindexed > 0 {
                self.index().await;
            }
            self.fold().await;
        }
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
