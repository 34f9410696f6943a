//! Exporting: the log as files that anyone can check without this program.
//!
//! A directory holds `checkpoint`, `log.vkey`, `tile/...` and `tile/entries/...` exactly as `/log/` serves
//! them, and, unless told not to, `payloads/<N>.jsonl` with the payloads of the entries of bundle N, one line
//! each. The checkpoint is written last: a directory without one is an export that was cut short.

use std::path::Path;

use staunch_core::tlog::{TILE_WIDTH, TilePath, render_index, tile_paths, to_base64};
use tokio::fs;

use super::error::JournalError;
use super::read::StoredPayload;
use super::{CHECKPOINT_FILE, Journal, SignedCheckpoint, segment, sql};

/// The file that holds the log's public key as a note verifier key.
pub const LOG_VKEY: &str = "log.vkey";
/// The directory that holds payloads.
pub const PAYLOADS: &str = "payloads";

/// How far an export has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// Entries written.
    pub done: u64,
    /// Entries that the export will hold.
    pub total: u64,
}

impl Journal {
    /// Writes the log up to a checkpoint that covers all that is on the disk now, and returns it. `dir` is
    /// made, or has to be empty.
    ///
    /// # Errors
    /// [`JournalError::Io`], also when `dir` is not empty; [`JournalError::Unavailable`] when no checkpoint
    /// can be signed; what the database reports.
    pub async fn export(
        &self,
        dir: &Path,
        with_payloads: bool,
        mut progress: impl FnMut(ExportProgress),
    ) -> Result<SignedCheckpoint, JournalError> {
        make_empty(dir).await?;
        let checkpoint = self.checkpoint_covering_all().await?;
        let total = checkpoint.size;
        let vkey = format!("{}\n", self.verifier_key());
        write(dir, LOG_VKEY, vkey.as_bytes()).await?;
        if with_payloads {
            let path = dir.join(PAYLOADS);
            fs::create_dir(&path).await.map_err(JournalError::io("create", &path))?;
        }
        for path in tile_paths(total) {
            let gone = || JournalError::Damaged(format!("{path} cannot be made"));
            let bytes = self.tile(path).await?.ok_or_else(gone)?;
            write(dir, &path.to_string(), &bytes).await?;
            if let TilePath::Entries { index, width } = path {
                if with_payloads {
                    self.export_payloads(dir, index, width).await?;
                }
                progress(ExportProgress { done: index * u64::from(TILE_WIDTH) + u64::from(width), total });
            }
        }
        write(dir, CHECKPOINT_FILE, &checkpoint.note).await?;
        Ok(checkpoint)
    }

    async fn export_payloads(&self, dir: &Path, bundle: u64, width: u16) -> Result<(), JournalError> {
        let from = bundle * u64::from(TILE_WIDTH);
        let until = from + u64::from(width);
        let mut lines = String::new();
        self.each_segment(sql::SEGMENTS, from, until, |(first, _, bytes)| {
            let payloads = segment::payloads(first.unsigned_abs(), bytes.as_deref().unwrap_or_default())?;
            lines.extend(payloads.range(from..until).map(|(index, payload)| payload_line(*index, payload)));
            Ok(())
        })
        .await?;
        if !lines.is_empty() {
            write(dir, &payload_path(bundle), lines.as_bytes()).await?;
        }
        Ok(())
    }
}

/// The file of one bundle's payloads, within an export.
pub(super) fn payload_path(bundle: u64) -> String {
    format!("{PAYLOADS}/{}.jsonl", render_index(bundle))
}

/// One line of a payload file; there is one way to write it (RFC 8785), so that a changed byte shows.
pub(super) fn payload_line(index: u64, payload: &StoredPayload) -> String {
    match payload {
        StoredPayload::Kept(payload) => {
            let (bytes, salt) = (to_base64(&payload.bytes), to_base64(&payload.salt));
            format!("{{\"bytes\":\"{bytes}\",\"index\":{index},\"salt\":\"{salt}\"}}\n")
        }
        StoredPayload::Removed => format!("{{\"index\":{index},\"removed\":true}}\n"),
    }
}

async fn make_empty(dir: &Path) -> Result<(), JournalError> {
    fs::create_dir_all(dir).await.map_err(JournalError::io("create", dir))?;
    let mut names = fs::read_dir(dir).await.map_err(JournalError::io("list", dir))?;
    match names.next_entry().await.map_err(JournalError::io("list", dir))? {
        None => Ok(()),
        Some(_) => Err(JournalError::io("export to", dir)(std::io::ErrorKind::DirectoryNotEmpty.into())),
    }
}

async fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let path = dir.join(name);
    make_parent(&path).await?;
    fs::write(&path, bytes).await.map_err(JournalError::io("write", &path))
}

async fn make_parent(path: &Path) -> Result<(), JournalError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).await.map_err(JournalError::io("create", parent))
}
