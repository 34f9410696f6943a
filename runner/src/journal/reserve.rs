//! Space that is kept back, so that a full disk does not stop what was already accepted.
//!
//! The file `reserve` occupies its blocks from the start. When the disk is full it is removed: the freed
//! space is for the halts and the runs that are under way, while intake refuses new alerts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The reserve file of a data directory.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(super) fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Makes the reserve unless it is there. A quarter more must be free, lest the reserve be made from the
    /// very space that was just given up for it.
    pub(super) fn make(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes) {
            return Ok(());
        }
        self.release()?;
        let disk = statvfs(self.path.parent().unwrap_or(&self.path))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.bytes + self.bytes / 4 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => self.fill(file),
            done => done.map_err(io::Error::from),
        }
    }

    /// Gives the space back. Without a reserve there is nothing to do.
    pub(super) fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// For file systems that cannot preallocate.
    fn fill(&self, mut file: File) -> io::Result<()> {
        let block = vec![0; 64 * 1024];
        let mut left = self.bytes;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(block.len()).min(block.len());
            file.write_all(&block[..part])?;
            left -= part as u64;
        }
        file.sync_all()
    }
}
