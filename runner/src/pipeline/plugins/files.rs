//! The installed files of a plugin: whether they are still those that were verified.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::pipeline::glance::Glance;

/// How fresh a look at the files has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Now: a run begins.
    Now,
    /// A moment ago is enough: the run looked when it began.
    Lately,
}

/// Files as they were once.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<(PathBuf, Stamp)>,
    glance: Glance,
}

/// What of a file changes when somebody writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(meta: Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Files {
    /// Files as they are now.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub(super) fn stamped(paths: Vec<PathBuf>) -> io::Result<Self> {
        let stamp = |path: PathBuf| std::fs::metadata(&path).map(|meta| (path, Stamp::from(meta)));
        let files = paths.into_iter().map(stamp).collect::<io::Result<_>>()?;
        Ok(Self { files, glance: Glance::default() })
    }

    /// Whether nobody touched them since.
    pub(super) fn untouched(&self, look: Look) -> bool {
        if look == Look::Lately && self.glance.holds() {
            return true;
        }
        let same = |(path, stamp): &(PathBuf, Stamp)| {
            std::fs::metadata(path).is_ok_and(|meta| Stamp::from(meta) == *stamp)
        };
        let untouched = self.files.iter().all(same);
        self.glance.looked(untouched);
        untouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_begins_sees_what_changed_since_another_one_looked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin.wasm");
        std::fs::write(&file, "good").unwrap();
        let files = Files::stamped(vec![file.clone()]).unwrap();
        for look in [Look::Now, Look::Lately, Look::Now] {
            assert!(files.untouched(look));
        }
        std::fs::write(&file, "changed").unwrap();
        assert!(!files.untouched(Look::Now));
        assert!(!files.untouched(Look::Lately), "nor does anybody rely on the look before");
    }
}
