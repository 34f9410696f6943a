//! Files in trees that the grants name, on the run's host. Links are never followed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::{Effect, Error, Intent};

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Its absolute path.
    pub path: String,
    /// `file`, `directory` or `other`.
    pub kind: String,
    /// Its length in bytes.
    pub size: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub modified: u64,
    /// Bytes that it takes on the disk.
    pub allocated: u64,
}

impl Metadata {
    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == "file"
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// All of it.
    pub total: u64,
    /// What an unprivileged process may still use.
    pub available: u64,
}

/// What an effect gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// How many files.
    pub files: u32,
    /// How many bytes on the disk.
    pub bytes: u64,
}

/// Which files [`File::delete_older_than`] deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion<'a> {
    /// Only files directly in it.
    pub directory: &'a str,
    /// A glob over the file's name: `*.log.*`.
    pub name: &'a str,
    /// Only files last modified before it, since 1970-01-01T00:00:00Z; whole seconds count.
    pub before: Duration,
    /// The newest that stay in any case.
    pub keep: u32,
    /// Stop when that many bytes are freed.
    pub stop_at: Option<u64>,
}

/// Files on the run's host. Made by [`Host::file`](crate::Host::file).
#[derive(Debug, Clone, Copy)]
pub struct File<'h> {
    backend: &'h Backend,
}

impl<'h> File<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// A reading.
    ///
    /// # Errors
    /// `not-found`, `access-denied`, and what the file system says.
    pub fn stat(&self, path: &str) -> Result<Metadata, Error> {
        self.backend.file_stat(path)
    }

    /// A reading: the entries of a directory, sorted by name, not recursive, at most 10,000.
    ///
    /// # Errors
    /// `not-found`, `access-denied`, and what the file system says.
    pub fn list(&self, path: &str) -> Result<Vec<Metadata>, Error> {
        self.backend.file_list(path)
    }

    /// A reading: at most 1 MiB from an offset.
    ///
    /// # Errors
    /// `not-found`, `access-denied`, and what the file system says.
    pub fn read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        self.backend.file_read(path, offset, length)
    }

    /// A reading: the space of the file system that holds the path.
    ///
    /// # Errors
    /// `not-found`, `access-denied`, and what the file system says.
    pub fn space(&self, path: &str) -> Result<Filesystem, Error> {
        self.backend.file_space(path)
    }

    /// An effect, repeatable: makes the file `size` bytes long, or leaves it if it is shorter.
    pub fn truncate<'a>(
        &self,
        path: &'a str,
        size: u64,
    ) -> Effect<Freed, impl FnOnce(Intent) -> Result<Freed, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.file_truncate(path, size, intent))
    }

    /// An effect, to be done once: `F.n-1` becomes `F.n` (at most `keep`), `F` becomes `F.1`, and a new empty
    /// `F` with the same mode and owner takes its place.
    pub fn rotate<'a>(
        &self,
        path: &'a str,
        keep: u32,
    ) -> Effect<Freed, impl FnOnce(Intent) -> Result<Freed, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.file_rotate(path, keep, intent))
    }

    /// An effect, repeatable: deletes the regular files that the [`Deletion`] describes, oldest first.
    pub fn delete_older_than<'a>(
        &self,
        deletion: Deletion<'a>,
    ) -> Effect<Freed, impl FnOnce(Intent) -> Result<Freed, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.file_delete_older_than(deletion, intent))
    }

    /// An effect, repeatable: replaces the file's content as a whole; at most 64 KiB.
    ///
    /// ```
    /// use serde_json::json;
    /// use staunch_plugin::fake::FakeHost;
    ///
    /// let host = FakeHost::new().answer("file.write", json!(null));
    /// host.file().write("/run/app/drain", b"1").because("take the node out").perform()?;
    /// assert_eq!(host.effects()[0].arguments, json!({ "path": "/run/app/drain", "content": "1" }));
    /// # Ok::<(), staunch_plugin::Error>(())
    /// ```
    pub fn write<'a>(
        &self,
        path: &'a str,
        content: &'a [u8],
    ) -> Effect<(), impl FnOnce(Intent) -> Result<(), Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.file_write(path, content, intent))
    }
}
