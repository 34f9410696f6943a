//! Reaching a file without ever following a link.
//!
//! The directory is opened by `openat2` with `RESOLVE_NO_SYMLINKS` (on old kernels: segment by segment with
//! `O_NOFOLLOW`), and everything is done to one name in that open directory. So what the grant's pattern was
//! matched with is what is touched, whatever is renamed or linked meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, statat,
};
use rustix::io::Errno;

use crate::sandbox::broker::Failure;

/// A directory that is open, and the name of a file in it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) directory: OwnedFd,
    pub(super) name: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    /// Opens the directory of a plain absolute path.
    pub(super) fn of(path: &'a str) -> Result<Self, Failure> {
        let (parent, name) = match path.rsplit_once('/') {
            Some(("", "")) => ("/", "."),
            Some(("", name)) => ("/", name),
            Some((parent, name)) => (parent, name),
            None => return Err(failure(path, Errno::INVAL)),
        };
        let directory = open_directory(parent).map_err(|errno| failure(parent, errno))?;
        Ok(Self { directory, name, path })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn failure(&self, errno: Errno) -> Failure {
        failure(self.path, errno)
    }

    /// What the name is, links being links.
    pub(super) fn stat(&self) -> Result<Stat, Failure> {
        statat(&self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| self.failure(errno))
    }

    /// Opens the name itself; never waits for the other end of a pipe, never takes a terminal.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Failure> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        openat(&self.directory, self.name, flags, Mode::empty()).map_err(|errno| self.failure(errno))
    }

    /// Opens a regular file that has no other name: another one could lead out of the granted tree.
    pub(super) fn open_regular(&self, flags: OFlags) -> Result<(OwnedFd, Stat), Failure> {
        // Opening a device or a pipe can have effects of its own, so it is looked at first.
        self.regular(&self.stat()?)?;
        let file = self.open(flags)?;
        let stat = fstat(&file).map_err(|errno| self.failure(errno))?;
        self.regular(&stat)?;
        if stat.st_nlink > 1 {
            let message =
                format!("{} has {} names (hard links), and one may be outside", self.path, stat.st_nlink);
            return Err(Failure::known("hard-link", message, false));
        }
        Ok((file, stat))
    }

    /// Refuses what is no regular file.
    pub(super) fn regular(&self, stat: &Stat) -> Result<(), Failure> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(()),
            FileType::Symlink => Err(self.failure(Errno::LOOP)),
            _ => Err(Failure::known("not-a-file", format!("{} is no regular file", self.path), false)),
        }
    }
}

fn open_directory(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => walk(path, flags),
        opened => opened,
    }
}

fn walk(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut directory = open("/", flags, Mode::empty())?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        directory = openat(&directory, segment, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(directory)
}

/// What a system error is called.
pub(super) fn failure(path: &str, errno: Errno) -> Failure {
    let (code, problem, retryable) = match errno {
        Errno::NOENT => ("not-found", "does not exist".to_owned(), false),
        Errno::LOOP => (
            "link",
            "is, or is reached through, a symbolic link, and links are not followed".to_owned(),
            false,
        ),
        Errno::NOTDIR => {
            ("not-a-directory", "is, or is below, no directory (links are not followed)".to_owned(), false)
        }
        Errno::ISDIR => ("not-a-file", "is a directory".to_owned(), false),
        Errno::ACCESS | Errno::PERM => ("not-permitted", format!("is closed to the daemon: {errno}"), false),
        Errno::NOSPC | Errno::DQUOT => ("no-space", format!("has no room: {errno}"), true),
        _ => ("io", format!("cannot be used: {errno}"), true),
    };
    Failure::known(code, format!("{path} {problem}"), retryable)
}

/// Bytes on the disk; small files may have none of their own.
pub(super) fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or_default() * 512
}

/// What deleting a file gives back, as near as can be told.
pub(super) fn space(stat: &Stat) -> u64 {
    match allocated(stat) {
        0 => u64::try_from(stat.st_size).unwrap_or_default(),
        allocated => allocated,
    }
}
