//! Files of the registry: bounded reads, durable writes, one writer at a time.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::RegistryError;

const LOCK: &str = ".lock";
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Makes an [`RegistryError::Io`] of an error.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    move |source| RegistryError::Io { doing, path: path.display().to_string(), source }
}

/// Takes the registry's lock, which is given back when the file is dropped or the process ends.
pub(super) fn lock(root: &Path) -> Result<File, RegistryError> {
    fs::create_dir_all(root).map_err(failed("create", root))?;
    let path = root.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed("open", &path))?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(RegistryError::Locked { path: path.display().to_string() });
            }
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
    }
}

/// The whole file, at most `most` bytes.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<u8>, RegistryError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let length = file.metadata().map_err(failed("read", path))?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() > most {
        return Err(failed("read", path)(io::Error::other(format!("larger than {most} bytes"))));
    }
    Ok(bytes)
}

/// Whether there is any directory in `root`; none when `root` is missing.
pub(super) fn has_directories(root: &Path) -> Result<bool, RegistryError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("list", root)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", root))?;
        let name = entry.file_name();
        // What an installation broke off in the middle left behind does not count.
        let finished = !name.to_string_lossy().starts_with('.') && entry.path().is_dir();
        if finished && fs::read_dir(entry.path()).is_ok_and(|mut versions| versions.next().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Replaces a file so that after a crash it holds the old bytes or the new ones.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed("write in", directory))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed("write", path))?;
    readable(file.path())?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    sync_directory(directory)
}

/// Puts files into a directory that appears as a whole or not at all. What stands there already is replaced.
pub(super) fn write_directory(path: &Path, files: &[(&str, &[u8])]) -> Result<(), RegistryError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    let staging =
        tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(failed("create in", parent))?;
    for (name, bytes) in files {
        let file = staging.path().join(name);
        fs::write(&file, bytes).map_err(failed("write", &file))?;
        readable(&file)?;
        File::open(&file).and_then(|opened| opened.sync_all()).map_err(failed("sync", &file))?;
    }
    fs::set_permissions(staging.path(), mode(0o755)).map_err(failed("set the mode of", staging.path()))?;
    sync_directory(staging.path())?;
    if path.exists() {
        // Swapped, so that a reader finds the old files or the new ones; the old ones go with the staging folder.
        renameat_with(CWD, staging.path(), CWD, path, RenameFlags::EXCHANGE)
            .map_err(|error| failed("replace", path)(error.into()))?;
    } else {
        fs::rename(staging.path(), path).map_err(failed("create", path))?;
        // Renamed away: there is nothing left to remove.
        let _gone = staging.keep();
    }
    sync_directory(parent)
}

fn sync_directory(path: &Path) -> Result<(), RegistryError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn readable(path: &Path) -> Result<(), RegistryError> {
    fs::set_permissions(path, mode(0o644)).map_err(failed("set the mode of", path))
}

fn mode(bits: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(bits)
}
