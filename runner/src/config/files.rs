//! Reads the files that operators write, bounded, and looks at the modes of those that must be private.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use staunch_core::policy::problem::{Position, Problem};
use staunch_core::policy::{FILE_LIMIT, MOST_FILES};

/// Reads a text of at most `limit` bytes.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("is not a file".to_owned());
    }
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    Ok(text)
}

/// The largest file with the members of a group, in bytes.
const MEMBERS_LIMIT: u64 = 4 << 20;

/// Reads the text of a file that names the members of a group.
///
/// # Errors
/// Why it cannot be read.
pub fn read_members(path: &Path) -> Result<String, String> {
    read_text(path, MEMBERS_LIMIT)
}

/// Checks that others than owner and group cannot read or write a file that holds a secret or a private key.
///
/// # Errors
/// What is wrong with the file, and the command that puts it right.
pub fn check_private(path: &Path) -> Result<(), String> {
    let metadata =
        fs::metadata(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o007 != 0 {
        let path = path.display();
        return Err(format!(
            "{path} holds a secret and is open to everyone (mode {mode:04o}): chmod 600 {path}"
        ));
    }
    Ok(())
}

/// Reads the files of a policy folder: those directly in it, in `runbooks/` and in `cases/`, in the order of
/// their names. Other folders are passed over, as are files whose names begin with a dot.
///
/// # Errors
/// Folders and files that cannot be read, all of them.
pub fn read_policy_files(folder: &Path) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let mut paths = Vec::new();
    let mut problems = Vec::new();
    for (folder, needed) in
        [(folder.to_owned(), true), (folder.join("runbooks"), false), (folder.join("cases"), false)]
    {
        if !needed && !folder.exists() {
            continue;
        }
        match list(&folder) {
            Ok(found) => paths.extend(found),
            Err(message) => {
                problems.push(Problem::error(&folder.display().to_string(), Position::START, message));
            }
        }
    }
    if paths.len() > MOST_FILES {
        let message = format!("holds more than {MOST_FILES} files");
        problems.push(Problem::error(&folder.display().to_string(), Position::START, message));
        paths.clear();
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.display().to_string();
        match read_text(&path, FILE_LIMIT as u64) {
            Ok(text) => files.push((name, text)),
            Err(message) => problems.push(Problem::error(&name, Position::START, message)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

fn list(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
