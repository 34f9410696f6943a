//! A new epoch of the log: another name and another key over the same entries, from here on.
//!
//! For: a key that is to be given up, and a database that does not continue what was signed, as after a backup was put
//! back: the old key must not sign that, and a new log has to say so. The first entry of the new epoch names the last
//! checkpoint of the one before, and whether these entries continue it, which whoever verifies the new log can check.
//!
//! Never: touches an entry, or signs for the old log.

use std::io::ErrorKind;
use std::sync::Arc;

use sqlx::{ConnectOptions, Connection};
use staunch_core::tlog::{Checkpoint, MAX_NOTE_BYTES, SignedNote};

use super::data_dir::DataDir;
use super::error::JournalError;
use super::open::Meta;
use super::{CHECKPOINT_FILE, DATABASE_FILE, open, sql, tree};

/// What separates the log's name from the number of its epoch.
const SEPARATOR: &str = "/epoch-";
/// The number of the epoch; the first one has none.
const EPOCH: &str = "epoch";
/// How many entries there were when the epoch began.
const EPOCH_START: &str = "epoch_start";

/// A new epoch that has begun, with nothing in it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number; the first one is 1.
    pub number: u32,
    /// The name of the log from now on.
    pub origin: String,
    /// The last checkpoint of the epoch before, with its bytes; `None` where there is none that can be read.
    pub before: Option<(Checkpoint, String)>,
    /// Whether the entries continue that checkpoint.
    pub continues: bool,
}

/// The name of a log in an epoch.
pub(super) fn origin_of(base: &str, number: u32) -> String {
    if number <= 1 { base.to_owned() } else { format!("{base}{SEPARATOR}{number}") }
}

/// The name that a log had in its first epoch.
pub fn base_origin(origin: &str) -> &str {
    origin.split_once(SEPARATOR).map_or(origin, |(base, _)| base)
}

/// The number of the epoch, and how many entries there were when it began.
pub(super) fn current(meta: &Meta) -> (u32, u64) {
    let number = meta.get(EPOCH).and_then(|text| text.parse().ok()).unwrap_or(1);
    let start = meta.get(EPOCH_START).and_then(|text| text.parse().ok()).unwrap_or(0);
    (number, start)
}

/// Begins the next epoch of the log in a data folder that nobody works on. `base`: the log's name in its first epoch.
/// The next one to open it must have the new key.
///
/// # Errors
/// [`JournalError::Locked`] when a process has it open, [`JournalError::Origin`] when it is another log, and what file
/// system and database report.
pub async fn begin_epoch(path: &std::path::Path, base: &str) -> Result<Epoch, JournalError> {
    let dir = Arc::new(DataDir::open(path)?);
    let database = dir.ensure_file(DATABASE_FILE)?;
    let connected = open::writing(&database).connect().await;
    let mut connection = connected.map_err(JournalError::database("open the journal's database"))?;
    let meta = open::prepare_schema(&mut connection, dir.path(), base).await?;
    let size = open::stored_size(&mut connection).await?;
    let (number, _) = current(&meta);
    let before = read_checkpoint(&dir)?;
    let continues = match &before {
        Some((checkpoint, _)) if checkpoint.size <= size => {
            tree::frontier(&mut connection, checkpoint.size).await?.root() == checkpoint.root
        }
        Some(_) | None => false,
    };
    // First what was signed is put aside: without it, and without the note of a new epoch, the log does not open.
    if let Some((_, note)) = &before {
        let name = format!("{CHECKPOINT_FILE}.ended-{number}");
        dir.replace(&name, note.as_bytes()).map_err(JournalError::io("write", &dir.file(&name)))?;
    }
    let failed = || JournalError::database("write the journal's epoch");
    let mut transaction = connection.begin().await.map_err(failed())?;
    for (key, value) in [(EPOCH, u64::from(number) + 1), (EPOCH_START, size)] {
        let put = sqlx::query(sql::PUT_META).bind(key).bind(value.to_string());
        put.execute(&mut *transaction).await.map_err(failed())?;
    }
    transaction.commit().await.map_err(failed())?;
    connection.close().await.map_err(failed())?;
    let old = dir.file(CHECKPOINT_FILE);
    match std::fs::remove_file(&old) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(JournalError::io("remove", &old)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let number = number.saturating_add(1);
    Ok(Epoch { number, origin: origin_of(base, number), before, continues })
}

/// The last checkpoint, whoever signed it: its key may be the reason for the new epoch.
fn read_checkpoint(dir: &DataDir) -> Result<Option<(Checkpoint, String)>, JournalError> {
    let path = dir.file(CHECKPOINT_FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(JournalError::io("read", &path))?,
    };
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NOTE_BYTES);
    Ok(text.and_then(|text| {
        let checkpoint = Checkpoint::parse(SignedNote::parse(text.as_bytes()).ok()?.text()).ok()?;
        Some((checkpoint, text))
    }))
}
