//! The files of an export: reading them within bounds, and whether each belongs there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use staunch_core::tlog::{Checkpoint, TILE_WIDTH, TilePath, parse_index};

use super::super::CHECKPOINT_FILE;
use super::super::export::{LOG_VKEY, PAYLOADS};
use super::{Report, VerifyError};

/// How deep directories may lie: `payloads/x001/x234/.../067.jsonl` of the largest index has seven groups.
const MAX_DEPTH: usize = 16;

/// An export's directory.
#[derive(Debug)]
pub(super) struct Export {
    dir: PathBuf,
    /// The key file, should it lie in the export under a name of its own.
    vkey: Option<PathBuf>,
}

impl Export {
    pub(super) fn open(dir: &Path, vkey: Option<&Path>) -> Result<Self, VerifyError> {
        let dir = dir.canonicalize().map_err(failed(dir))?;
        fs::read_dir(&dir).map_err(failed(&dir))?;
        Ok(Self { dir, vkey: vkey.and_then(|vkey| vkey.canonicalize().ok()) })
    }

    pub(super) fn has_payloads(&self) -> bool {
        self.dir.join(PAYLOADS).is_dir()
    }

    /// A regular file; `None` when there is none. A missing file, or one that is longer than `limit`, is a
    /// problem of the report.
    pub(super) fn read(
        &self,
        name: &str,
        limit: u64,
        report: &mut Report,
    ) -> Result<Option<Vec<u8>>, VerifyError> {
        let Some(file) = self.open_file(name, report)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed(&self.dir.join(name)))?;
        if bytes.len() as u64 > limit {
            report.problem(name, format!("byte {limit}"), "the file is longer than it can be");
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// As [`Export::read`], for contents that are read piece by piece.
    pub(super) fn open_file(&self, name: &str, report: &mut Report) -> Result<Option<File>, VerifyError> {
        let path = self.dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => File::open(&path).map(Some).map_err(failed(&path)),
            Ok(_) => {
                report.problem(name, "", "it is not a regular file");
                Ok(None)
            }
            Err(error) if is_absent(&error) => {
                report.problem(name, "", "the file is missing");
                Ok(None)
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(name)).is_ok()
    }

    /// Names every file that no log of this size has.
    pub(super) fn check_names(
        &self,
        checkpoint: &Checkpoint,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        self.check_folder(Path::new(""), 0, checkpoint.size, report)
    }

    fn check_folder(
        &self,
        folder: &Path,
        depth: usize,
        size: u64,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let path = self.dir.join(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed(&path))? {
            names.push(entry.map_err(failed(&path))?);
        }
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let relative = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(failed(&entry.path()))?;
            let name = relative.to_string_lossy().into_owned();
            if kind.is_dir() && depth < MAX_DEPTH {
                self.check_folder(&relative, depth + 1, size, report)?;
            } else if !(kind.is_file() && (belongs(&name, size) || self.is_vkey(&entry.path()))) {
                report.problem(name, "", "the file does not belong to the export");
            }
        }
        Ok(())
    }

    fn is_vkey(&self, path: &Path) -> bool {
        self.vkey.as_deref() == Some(path)
    }
}

/// A file that is not part of the export's own layout, such as the key.
pub(super) fn read_outside(path: &Path, limit: u64) -> Result<Vec<u8>, VerifyError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(failed(path))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |source| VerifyError::Io { path, source }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a log of this size has a file of this name. Payload files that no leaf asks for are found where
/// the leaves are read.
fn belongs(name: &str, size: u64) -> bool {
    let full = u64::from(TILE_WIDTH);
    let payloads = name.strip_prefix(PAYLOADS).and_then(|rest| rest.strip_prefix('/'));
    if let Some(bundle) = payloads.and_then(|rest| rest.strip_suffix(".jsonl")) {
        return parse_index(bundle).is_some_and(|bundle| bundle < size.div_ceil(full));
    }
    let (index, width, hashes) = match TilePath::parse(name) {
        Some(TilePath::Hashes { row, index, width }) if row < 8 => (index, width, size >> (8 * row)),
        Some(TilePath::Entries { index, width }) => (index, width, size),
        Some(TilePath::Hashes { .. }) => return false,
        None => return name == CHECKPOINT_FILE || name == LOG_VKEY,
    };
    let left = index.checked_mul(full).map_or(0, |from| hashes.saturating_sub(from));
    u64::from(width) == left.min(full)
}
