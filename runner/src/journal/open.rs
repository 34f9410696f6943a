//! Opening: whose data it is, whether it continues what was signed, and the tree's frontier, without
//! reading the log.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use staunch_core::tlog::Frontier;
use tokio::sync::{Semaphore, mpsc, watch};

use super::data_dir::DataDir;
use super::error::JournalError;
use super::health::{Health, HealthCell};
use super::note::{NoteSigner, open_checkpoint};
use super::reserve::Reserve;
use super::sql::{self, BatchTexts};
use super::writer::Writer;
use super::{
    CHECKPOINT_FILE, DATABASE_FILE, Entry, Inner, Journal, QUEUE_CALLS, QUEUE_KIB, RESERVE_FILE, Shared,
    SignedCheckpoint, WAL_FILE, checkpoint, epoch, segment, tree,
};

/// The reserve of a production journal.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// The longest time without a checkpoint, unless configured otherwise.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(60);
/// Connections that read at the same time at most.
const READERS: u32 = 4;
/// How long a writer waits for a lock that only a foreign program can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages that the writer keeps: 32 MiB (negative means KiB), the newest part of every index.
const WRITER_CACHE: &str = "-32768";
/// Texts of batches that stay prepared.
const PREPARED: usize = 256;

/// Makes the entry that proves, in a quiet hour, that nothing was left out; it is given the journal's size.
pub type MakeHeartbeat = Arc<dyn Fn(u64) -> Entry + Send + Sync>;

/// What the journal says of itself, by key.
pub(super) type Meta = HashMap<String, String>;

/// How to open a journal.
#[derive(Clone)]
pub struct Options {
    /// The data directory; made with mode 0700 when missing.
    pub dir: PathBuf,
    /// The log's name for its whole life, `<organisation>/<installation>/<log>`.
    pub origin: String,
    /// The key that signs checkpoints.
    pub key: SigningKey,
    /// The longest time without a checkpoint.
    pub heartbeat: Duration,
    /// The entry for a quiet hour; without it, no entries means no new checkpoint.
    pub make_heartbeat: Option<MakeHeartbeat>,
    /// The size of the reserve in bytes.
    pub reserve_bytes: u64,
}

impl Options {
    /// The usual settings, without heartbeat entries.
    pub fn new(dir: impl Into<PathBuf>, origin: impl Into<String>, key: SigningKey) -> Self {
        Self {
            dir: dir.into(),
            origin: origin.into(),
            key,
            heartbeat: DEFAULT_HEARTBEAT,
            make_heartbeat: None,
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dir, origin, key: _, heartbeat, make_heartbeat, reserve_bytes } = self;
        f.debug_struct("Options")
            .field("dir", dir)
            .field("origin", origin)
            .field("heartbeat", heartbeat)
            .field("has_heartbeat_entry", &make_heartbeat.is_some())
            .field("reserve_bytes", reserve_bytes)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in a data directory, or begins one there.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another process has it open, [`JournalError::Mode`] when others can
    /// touch it, [`JournalError::Forked`] when it does not continue its last checkpoint,
    /// [`JournalError::Origin`], [`JournalError::Schema`], and what file system and database report.
    pub async fn open(options: Options) -> Result<Self, JournalError> {
        let bad_origin = || JournalError::BadOrigin(options.origin.clone());
        NoteSigner::new(&options.origin, options.key.clone()).ok_or_else(bad_origin)?;
        let path = options.dir.clone();
        let dir = tokio::task::spawn_blocking(move || DataDir::open(&path)).await;
        let dir = Arc::new(dir.map_err(|_| JournalError::Closed)??);
        let database = dir.ensure_file(DATABASE_FILE)?;
        let mut connection = writing(&database)
            .connect()
            .await
            .map_err(JournalError::database("open the journal's database"))?;
        let meta = prepare_schema(&mut connection, dir.path(), &options.origin).await?;
        let size = stored_size(&mut connection).await?;
        let (epoch, start) = epoch::current(&meta);
        let origin = epoch::origin_of(&options.origin, epoch);
        let signer = NoteSigner::new(&origin, options.key.clone()).ok_or_else(bad_origin)?;
        let frontier = tree::frontier(&mut connection, size).await?;
        let unindexed = unindexed(&mut connection).await?;
        let served = last_checkpoint(&mut connection, &dir, &signer, &frontier, start).await?;
        let journal = Self::start(options, signer, &dir, (connection, unindexed), frontier, served);
        journal.inner.sign_checkpoint().await?;
        Ok(journal)
    }

    fn start(
        options: Options,
        signer: NoteSigner,
        dir: &Arc<DataDir>,
        (connection, unindexed): (SqliteConnection, usize),
        frontier: Frontier,
        served: SignedCheckpoint,
    ) -> Self {
        let reserve = Reserve::new(dir.file(RESERVE_FILE), options.reserve_bytes);
        let health = HealthCell::new();
        if let Err(error) = reserve.make() {
            health.set(Health::Tight, &format!("no space for the reserve: {error}"));
        }
        let (queue, commands) = mpsc::channel(QUEUE_CALLS);
        let shared = Arc::new(Shared {
            health,
            holds: Arc::default(),
            head: Mutex::new(frontier.clone()),
            size: watch::Sender::new(frontier.size()),
            checkpoint: Mutex::new(served),
        });
        let writer = Writer {
            connection,
            queue: commands,
            shared: Arc::clone(&shared),
            reserve,
            dir: Arc::clone(dir),
            frontier,
            texts: BatchTexts::default(),
            // What a crash left of it.
            unfolded: std::fs::metadata(dir.file(WAL_FILE))
                .map_or(0, |wal| usize::try_from(wal.len()).unwrap_or_default()),
            unindexed,
        };
        let inner = Arc::new(Inner {
            shared,
            queue,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            pool: readers(&dir.file(DATABASE_FILE)),
            signer,
            signing: tokio::sync::Mutex::new(()),
            dir: Arc::downgrade(dir),
            closing: AtomicBool::new(false),
        });
        tokio::spawn(writer.run());
        let signing =
            checkpoint::keep_signing(Arc::downgrade(&inner), options.heartbeat, options.make_heartbeat);
        tokio::spawn(signing);
        Self { inner }
    }
}

/// FULL syncs the write-ahead log with every commit. Folding it is the writer's business, whose errors are
/// seen; extensions, memory mapping and temporary files stay off.
pub(super) fn writing(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(PREPARED)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", WRITER_CACHE)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn readers(database: &Path) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(16)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

/// Makes the tables that are missing, and brings those of older versions up to date; what the journal says of itself.
pub(super) async fn prepare_schema(
    connection: &mut SqliteConnection,
    dir: &Path,
    origin: &str,
) -> Result<Meta, JournalError> {
    let failed = || JournalError::database("prepare the journal's tables");
    let there: Vec<String> =
        sqlx::query_scalar(sql::TABLES_THERE).fetch_all(&mut *connection).await.map_err(failed())?;
    let is_there = |table: &str| there.iter().any(|name| name == table);
    if !is_there("meta") {
        sqlx::raw_sql(sql::SCHEMA).execute(&mut *connection).await.map_err(failed())?;
    }
    if !sql::LATER.into_iter().all(is_there) {
        sqlx::raw_sql(sql::LATER_TABLES).execute(&mut *connection).await.map_err(failed())?;
    }
    let meta = bring_up_to_date(connection).await?;
    let dir = || dir.to_owned();
    for (key, expected) in [("schema", sql::SCHEMA_VERSION), ("origin", origin)] {
        match meta.get(key).cloned() {
            None => {
                let put = sqlx::query(sql::PUT_META).bind(key).bind(expected);
                put.execute(&mut *connection).await.map_err(failed())?;
            }
            Some(found) if found == expected => {}
            Some(found) if key == "schema" => {
                return Err(JournalError::Schema { dir: dir(), found, known: sql::SCHEMA_VERSION });
            }
            Some(found) => {
                return Err(JournalError::Origin { dir: dir(), found, expected: expected.to_owned() });
            }
        }
    }
    Ok(meta)
}

/// Brings the tables of older versions up to date, a version at a time. What is moved is overwritten where it stood, so
/// that no payload can be found there once it is removed.
async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<Meta, JournalError> {
    let mut meta = read_meta(connection).await?;
    while let Some(upgrade) = meta.get("schema").and_then(|version| sql::upgrade(version)) {
        tracing::info!("bringing the journal's tables up to date: this writes all of it once");
        for text in [sql::OVERWRITE_ON, upgrade, sql::OVERWRITE_OFF, sql::EMPTY_WAL] {
            let done = sqlx::raw_sql(text).execute(&mut *connection).await;
            done.map_err(JournalError::database("bring the journal's tables up to date"))?;
        }
        meta = read_meta(connection).await?;
    }
    Ok(meta)
}

async fn read_meta(connection: &mut SqliteConnection) -> Result<Meta, JournalError> {
    let rows: Result<Vec<(String, String)>, _> = sqlx::query_as(sql::META).fetch_all(connection).await;
    Ok(rows.map_err(JournalError::database("read what the journal says of itself"))?.into_iter().collect())
}

/// Rows of views whose keys are in no index yet.
async fn unindexed(connection: &mut SqliteConnection) -> Result<usize, JournalError> {
    let rows: i64 = sqlx::query_scalar(sql::unindexed())
        .fetch_one(connection)
        .await
        .map_err(JournalError::database("read the journal's views"))?;
    Ok(usize::try_from(rows).unwrap_or_default())
}

/// Entries that are in the store.
pub(super) async fn stored_size(connection: &mut SqliteConnection) -> Result<u64, JournalError> {
    let query = sqlx::query_as(sql::LAST_SEGMENT);
    let last: Option<(i64, Vec<u8>)> =
        query.fetch_optional(connection).await.map_err(JournalError::database("read the journal's size"))?;
    let Some((first, bundle)) = last else { return Ok(0) };
    let first = first.unsigned_abs();
    Ok(first + segment::leaves(first, &bundle)?.len() as u64)
}

/// The checkpoint that was served last, after proving that the log continues it.
async fn last_checkpoint(
    connection: &mut SqliteConnection,
    dir: &DataDir,
    signer: &NoteSigner,
    frontier: &Frontier,
    start: u64,
) -> Result<SignedCheckpoint, JournalError> {
    let path = dir.file(CHECKPOINT_FILE);
    let forked = |reason: String| JournalError::Forked { dir: dir.path().to_owned(), reason };
    let note = match std::fs::read(&path) {
        // Of an epoch in which nothing was written yet, nothing was signed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && frontier.size() == start => {
            return Ok(SignedCheckpoint { size: 0, note: Bytes::new() });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(forked(format!(
                "it has {} entries and {} is missing",
                frontier.size(),
                path.display()
            )));
        }
        read => read.map_err(JournalError::io("read", &path))?,
    };
    let signed = open_checkpoint(&note, std::slice::from_ref(signer.public()))
        .map_err(|error| forked(format!("{}: {error}", path.display())))?;
    if signed.size > frontier.size() {
        let (size, signed) = (frontier.size(), signed.size);
        return Err(forked(format!("it has {size} entries, the checkpoint covers {signed}")));
    }
    let root = if signed.size == frontier.size() {
        frontier.root()
    } else {
        tree::frontier(connection, signed.size).await?.root()
    };
    if root != signed.root {
        return Err(forked(format!(
            "its first {} entries have the root {root}, the checkpoint says {}",
            signed.size, signed.root
        )));
    }
    Ok(SignedCheckpoint { size: signed.size, note: note.into() })
}
