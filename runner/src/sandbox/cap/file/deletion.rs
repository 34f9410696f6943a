//! Deleting old files of one directory.

use rustix::fs::{AtFlags, FileType, OFlags, statat, unlinkat};
use rustix::io::Errno;
use serde_json::{Value, json};
use staunch_core::effect::CallError;

use super::readings::names;
use super::tree::{Place, space};
use super::{Deed, Freed, invalid};
use crate::sandbox::broker::Failure;
use crate::sandbox::cap::table;
use crate::sandbox::capability;
use crate::sandbox::grants::Glob;

/// `file.delete-older-than`
pub(super) struct DeleteOlderThan {
    directory: String,
    name: String,
    before: u64,
    keep: u32,
    stop_at: Option<u64>,
}

impl DeleteOlderThan {
    pub(super) fn new(
        directory: String,
        name: String,
        before: u64,
        keep: u32,
        stop_at: Option<u64>,
    ) -> Result<Self, CallError> {
        if name.is_empty() || name.contains(['/', '\0']) || name.len() > 255 {
            return Err(invalid(format!("{name:?} is no pattern for names in one directory")));
        }
        Ok(Self { directory, name, before, keep, stop_at })
    }
}

impl Deed for DeleteOlderThan {
    const FUNCTION: &'static capability::Function = table!("file", "delete-older-than");
    type Output = Freed;

    fn path(&self) -> &str {
        &self.directory
    }

    /// All that the name pattern can mean is granted when the pattern itself is, read as a name: a star in it
    /// can only have been matched by a star of the grant.
    fn covered(&self) -> String {
        format!("{}/{}", self.directory.trim_end_matches('/'), self.name)
    }

    fn arguments(&self) -> Value {
        json!({
            "directory": self.directory,
            "name": self.name,
            "before": self.before,
            "keep": self.keep,
            "stop_at": self.stop_at,
        })
    }

    fn assume(&self) -> Freed {
        Freed::default()
    }

    fn run(&self) -> Result<Freed, Failure> {
        let place = Place::of(&self.directory)?;
        let directory = place.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let pattern = Glob::new(&self.name);
        let mut found = Vec::new();
        for name in names(&directory, &self.directory)?.into_iter().filter(|name| pattern.matches(name)) {
            let Ok(stat) = statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                let modified = (stat.st_mtime, stat.st_mtime_nsec);
                found.push((modified, name, space(&stat)));
            }
        }
        found.sort_unstable();
        let candidates = found.len().saturating_sub(self.keep as usize);
        let mut freed = Freed::default();
        for ((seconds, _), name, bytes) in found.into_iter().take(candidates) {
            let old = u64::try_from(seconds).unwrap_or_default() < self.before;
            if !old || self.stop_at.is_some_and(|enough| freed.bytes >= enough) {
                break;
            }
            match unlinkat(&directory, name.as_str(), AtFlags::empty()) {
                Ok(()) => {
                    freed.files += 1;
                    freed.bytes += bytes;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let failure = super::tree::failure(&format!("{}/{name}", self.directory), errno);
                    let Failure { error: CallError { code, message, retryable }, .. } = failure;
                    let message = format!("{message}; {} files were deleted before", freed.files);
                    return Err(Failure::known(&code, message, retryable));
                }
            }
        }
        Ok(freed)
    }
}
