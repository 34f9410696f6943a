//! The data directory: whose it is, who may read it, and the lock that lets one process work on it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::JournalError;

const LOCK: &str = "lock";
/// The files that hold what the journal holds.
const FILES: [&str; 6] = [LOCK, "journal.db", "journal.db-wal", "journal.db-shm", "checkpoint", "reserve"];

/// A data directory that this process holds the lock of, until the value is dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, checks modes and takes the lock.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        make(path)?;
        check_mode(path, "700")?;
        let lock = take_lock(path)?;
        for file in FILES.map(|name| path.join(name)) {
            if file.exists() {
                check_mode(&file, "600")?;
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty file with mode 0600 unless it is there: the database would make it readable to all.
    pub(super) fn ensure_file(&self, name: &str) -> Result<PathBuf, JournalError> {
        let path = self.file(name);
        private_file().open(&path).map_err(JournalError::io("create", &path))?;
        Ok(path)
    }

    /// Replaces a file so that after a crash there is either the old or the new one, whole.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let new = self.file(&format!("{name}.new"));
        let mut file = private_file().truncate(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.file(name))?;
        File::open(&self.path)?.sync_all()
    }
}

/// The process that works on a data directory, if any: the content of its lock file.
///
/// # Errors
/// [`JournalError::Io`] when the lock file cannot be read.
pub fn holder(dir: &Path) -> Result<Option<String>, JournalError> {
    let path = dir.join(LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::io("open", &path))?,
    };
    // A shared lock is refused while anyone holds the exclusive one; it is given up with the file.
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read_pid(file))),
        Err(error) => Err(JournalError::io("lock", &path)(error.into())),
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options
}

fn make(path: &Path) -> Result<(), JournalError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(JournalError::io("create", parent))?;
    }
    DirBuilder::new().mode(0o700).create(path).map_err(JournalError::io("create", path))?;
    // The mode above is narrowed by the umask; a umask of 0777 must not lock the daemon itself out.
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(JournalError::io("set the mode of", path))
}

fn check_mode(path: &Path, mend: &'static str) -> Result<(), JournalError> {
    let metadata = fs::metadata(path).map_err(JournalError::io("look at", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(JournalError::Mode { path: path.to_owned(), mode, mend }) }
}

fn take_lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK);
    let mut file = private_file().open(&path).map_err(JournalError::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(JournalError::Locked { dir: dir.to_owned(), pid: read_pid(file) });
        }
        Err(error) => return Err(JournalError::io("lock", &path)(error.into())),
    }
    // What the file says is only for people, the lock itself is the kernel's; on a full disk it may stay empty.
    if file.set_len(0).is_ok() && file.write_all(format!("{}\n", std::process::id()).as_bytes()).is_err() {
        tracing::warn!(file = %path.display(), "the lock file could not be written; the lock holds nevertheless");
    }
    Ok(file)
}

fn read_pid(file: File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(1..) => text.trim().to_owned(),
        Ok(0) | Err(_) => "unknown".to_owned(),
    }
}
