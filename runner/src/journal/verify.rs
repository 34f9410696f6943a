//! Verifying an export, with a public key and nothing else.
//!
//! Every file of the export has exactly one right content, which follows from the signed checkpoint or from
//! the leaves; whatever differs is named with its place. The trust goes down from the checkpoint: a tile is
//! right when it leads to the hash above it, so the file that was changed is told apart from those that only
//! disagree with it.
//!
//! Never: repairs, needs a daemon or a configuration, or follows symbolic links.

mod epochs;
mod files;
mod payloads;
mod tiles;

use std::io;
use std::path::{Path, PathBuf};

use staunch_core::tlog::{Checkpoint, Hash, MAX_NOTE_BYTES, SignedNote, VerifierKey};

use super::CHECKPOINT_FILE;
use super::export::LOG_VKEY;
use super::note::open_checkpoint;
use files::Export;

/// The most problems that are named.
pub const MAX_PROBLEMS: usize = 1000;
/// The longest key file that is read.
const MAX_KEY_BYTES: u64 = 4096;

/// Why an export could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file or directory could not be read.
    #[error("could not read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Something that is not as it was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, within the export; the key file by its own path.
    pub file: String,
    /// Where in it: a byte, line, entry or hash; empty when it is the file as a whole.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let comma = if self.place.is_empty() { "" } else { ", " };
        write!(f, "{}{comma}{}: {}", self.file, self.place, self.message)
    }
}

/// A place in a log where it goes on under another name and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSeen {
    /// The first entry of the epoch.
    pub index: u64,
    /// Its number.
    pub number: u32,
    /// The log before it, and how many entries that had, where it is known.
    pub before: Option<(String, u64)>,
    /// Whether the entries continue that log: then they were compared with its last checkpoint.
    pub continues: bool,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// The entries that the checkpoint covers.
    pub size: u64,
    /// The root that it signs; `None` when it is not acceptable.
    pub root: Option<Hash>,
    /// Whether the export holds payloads.
    pub has_payloads: bool,
    /// Payloads that match what their leaves commit to.
    pub payloads_checked: u64,
    /// Entries whose payloads were removed.
    pub removed: Vec<u64>,
    /// Where the log says that it is the next epoch of another one.
    pub epochs: Vec<EpochSeen>,
    /// Names under signatures by other keys, which were not checked.
    pub other_signatures: Vec<String>,
    /// What is wrong; nothing, when all is right.
    pub problems: Vec<Problem>,
    /// Whether there were more than [`MAX_PROBLEMS`].
    pub more_problems: bool,
}

impl Report {
    /// Whether everything is as it was exported.
    pub fn is_right(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, file: impl Into<String>, place: impl Into<String>, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { file: file.into(), place: place.into(), message: message.into() });
        } else {
            self.more_problems = true;
        }
    }
}

/// Verifies the export in `dir` with the verifier key in the file `vkey`.
///
/// When the checkpoint is not acceptable, nothing follows from it, and the files below it are not looked at.
///
/// # Errors
/// [`VerifyError`] when `dir` or `vkey` cannot be read at all; what is wrong with readable files is in the
/// report.
pub fn verify(dir: &Path, vkey: &Path) -> Result<Report, VerifyError> {
    let export = Export::open(dir, Some(vkey))?;
    let mut report = Report::default();
    let bytes = files::read_outside(vkey, MAX_KEY_BYTES)?;
    match parse_key(&bytes, &vkey.display().to_string(), &mut report) {
        Some(key) => verify_export(&export, &key, report),
        None => Ok(report),
    }
}

/// As [`verify`], with the verifier key itself.
///
/// # Errors
/// [`VerifyError`] when `dir` cannot be read at all.
pub fn verify_with(dir: &Path, key: &VerifierKey) -> Result<Report, VerifyError> {
    verify_export(&Export::open(dir, None)?, key, Report::default())
}

fn verify_export(export: &Export, key: &VerifierKey, mut report: Report) -> Result<Report, VerifyError> {
    check_key_copy(export, key, &mut report)?;
    let Some(checkpoint) = check_checkpoint(export, key, &mut report)? else { return Ok(report) };
    report.origin.clone_from(&checkpoint.origin);
    report.size = checkpoint.size;
    report.root = Some(checkpoint.root);
    report.has_payloads = export.has_payloads();
    tiles::check(export, &checkpoint, &mut report)?;
    export.check_names(&checkpoint, &mut report)?;
    Ok(report)
}

/// A key file is the key and a newline.
fn parse_key(bytes: &[u8], file: &str, report: &mut Report) -> Option<VerifierKey> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let Some(text) = text else {
        report.problem(file, "", "it is not one line of text with a verifier key");
        return None;
    };
    match VerifierKey::parse(text) {
        Ok(key) => Some(key),
        Err(error) => {
            report.problem(file, "", error.to_string());
            None
        }
    }
}

fn check_key_copy(export: &Export, key: &VerifierKey, report: &mut Report) -> Result<(), VerifyError> {
    let expected = format!("{key}\n");
    match export.read(LOG_VKEY, MAX_KEY_BYTES, report)? {
        Some(found) if found != expected.as_bytes() => {
            let place = format!("byte {}", first_difference(&found, expected.as_bytes()));
            report.problem(LOG_VKEY, place, "it is not the key that the export is verified with");
        }
        Some(_) | None => {}
    }
    Ok(())
}

fn check_checkpoint(
    export: &Export,
    key: &VerifierKey,
    report: &mut Report,
) -> Result<Option<Checkpoint>, VerifyError> {
    let Some(note) = export.read(CHECKPOINT_FILE, MAX_NOTE_BYTES as u64, report)? else { return Ok(None) };
    match open_checkpoint(&note, std::slice::from_ref(key)) {
        Ok(checkpoint) => {
            let signatures =
                SignedNote::parse(&note).map(|note| note.signatures().to_vec()).unwrap_or_default();
            let others = signatures.into_iter().filter(|line| line.id != key.id() || line.name != key.name());
            report.other_signatures = others.map(|line| line.name).collect();
            Ok(Some(checkpoint))
        }
        Err(error) => {
            report.problem(CHECKPOINT_FILE, "", error.to_string());
            Ok(None)
        }
    }
}

/// The first byte in which two contents differ.
fn first_difference(found: &[u8], expected: &[u8]) -> usize {
    found.iter().zip(expected).take_while(|(found, expected)| found == expected).count()
}
