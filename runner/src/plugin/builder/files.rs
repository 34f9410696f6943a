//! Files of a build: bounded reads, writes that happen as a whole.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::BuildError;

/// Makes a [`BuildError::File`] of an error.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::File { doing, path: path.display().to_string(), source }
}

/// The whole file, at most `most` bytes.
pub(super) fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, BuildError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() > most {
        return Err(failed("read", path)(io::Error::other(format!("larger than {most} bytes"))));
    }
    Ok(bytes)
}

/// Replaces a file, so that it holds the old bytes or the new ones.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed("write in", directory))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed("set the mode of", path))?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    Ok(())
}
