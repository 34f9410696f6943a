//! The journal's laws, over a real database in a temporary directory.

mod answers;
mod crash;
mod disk;
mod epochs;
mod export;
mod store;
mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use staunch_core::event::commitment;
use tempfile::TempDir;

use super::*;

const ORIGIN: &str = "example.org/test/journal";

/// A place for a journal, and its key.
struct Place {
    folder: TempDir,
    key: SigningKey,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self { folder, key: SigningKey::from_bytes(&[7; 32]) }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn options(&self) -> Options {
        Options { reserve_bytes: 64 * 1024, ..Options::new(self.data(), ORIGIN, self.key.clone()) }
    }

    async fn try_open(&self) -> Result<Journal, JournalError> {
        Journal::open(self.options()).await
    }

    /// Opens, if need be after the writer of an earlier handle has finished.
    async fn open(&self) -> Journal {
        let opened = async {
            loop {
                match self.try_open().await {
                    Err(JournalError::Locked { .. }) => tokio::task::yield_now().await,
                    other => return other.expect("the journal opens"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), opened).await.expect("the lock is released")
    }
}

/// An entry whose leaf commits to a payload.
fn with_payload(number: u64) -> Entry {
    let payload = Payload { salt: [3; 16], bytes: format!("outside text {number}").into_bytes() };
    let commitment = commitment(&payload.salt, &payload.bytes);
    let leaf = format!(r#"{{"v":1,"n":{number},"payload":"{commitment}"}}"#).into_bytes();
    Entry { leaf, payload: Some(payload), ..Entry::default() }
}

fn plain(number: u64) -> Entry {
    Entry { leaf: format!(r#"{{"v":1,"n":{number}}}"#).into_bytes(), ..Entry::default() }
}

/// Every third entry has a payload.
fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    numbers
        .map(|number| if number.is_multiple_of(3) { with_payload(number) } else { plain(number) })
        .collect()
}

fn row(id: &str, state: &str, key: Option<&str>) -> ViewRow {
    let keys = [key.map(str::to_owned), None, None];
    let doc = format!("{id} {state}").into_bytes();
    ViewRow { kind: "run", id: id.to_owned(), state: state.to_owned(), keys, doc }
}

fn with_views(number: u64, views: Vec<ViewRow>) -> Entry {
    Entry { views, ..plain(number) }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_of(folder)));
    files.sort();
    files
}
