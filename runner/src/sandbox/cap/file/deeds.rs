//! Changing one file: truncate, rotate, write.

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid, fchmod, fchown, fstat, fsync, ftruncate, openat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, write};
use serde_json::{Value, json};
use staunch_core::effect::CallError;
use std::os::fd::OwnedFd;

use super::tree::{Place, space};
use super::{Deed, Freed, invalid};
use crate::sandbox::broker::Failure;
use crate::sandbox::cap::http::body_value;
use crate::sandbox::cap::table;
use crate::sandbox::capability;

const MAX_KEEP: u32 = 1_000;
const MAX_WRITE: usize = 64 << 10;
/// The mode of a file that `write` makes anew.
const NEW_FILE: Mode = Mode::from_raw_mode(0o644);

/// `file.truncate`
pub(super) struct Truncate {
    pub(super) path: String,
    pub(super) size: u64,
}

impl Deed for Truncate {
    const FUNCTION: &'static capability::Function = table!("file", "truncate");
    type Output = Freed;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path, "size": self.size })
    }

    fn assume(&self) -> Freed {
        Freed::default()
    }

    fn run(&self) -> Result<Freed, Failure> {
        let place = Place::of(&self.path)?;
        let (file, before) = place.open_regular(OFlags::WRONLY)?;
        if u64::try_from(before.st_size).unwrap_or_default() <= self.size {
            return Ok(Freed::default());
        }
        ftruncate(&file, self.size).map_err(|errno| place.failure(errno))?;
        let after = fstat(&file).map_err(|errno| place.failure(errno))?;
        Ok(Freed { files: 1, bytes: space(&before).saturating_sub(space(&after)) })
    }
}

/// `file.rotate`
pub(super) struct Rotate {
    path: String,
    keep: u32,
}

impl Rotate {
    pub(super) fn new(path: String, keep: u32) -> Result<Self, CallError> {
        if !(1..=MAX_KEEP).contains(&keep) {
            return Err(invalid(format!("`keep` is from 1 to {MAX_KEEP}, not {keep}")));
        }
        Ok(Self { path, keep })
    }
}

impl Deed for Rotate {
    const FUNCTION: &'static capability::Function = table!("file", "rotate");
    type Output = Freed;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path, "keep": self.keep })
    }

    fn assume(&self) -> Freed {
        Freed::default()
    }

    fn run(&self) -> Result<Freed, Failure> {
        let place = Place::of(&self.path)?;
        let stat = place.stat()?;
        place.regular(&stat)?;
        let oldest = format!("{}.{}", place.name, self.keep);
        let freed = match statat(place.fd(), oldest.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(oldest) => Freed { files: 1, bytes: space(&oldest) },
            Err(_) => Freed::default(),
        };
        // The new file is ready before the old one goes, so that there is nearly always one to write to.
        let fresh = Fresh::new(&place, &stat)?;
        for number in (0..self.keep).rev() {
            let from = if number == 0 { place.name.to_owned() } else { format!("{}.{number}", place.name) };
            let to = format!("{}.{}", place.name, number + 1);
            match renameat(place.fd(), from.as_str(), place.fd(), to.as_str()) {
                Ok(()) => {}
                Err(Errno::NOENT) if number > 0 => {}
                Err(errno) => return Err(place.failure(errno)),
            }
        }
        // Its writer may have made a new file by itself already.
        match fresh.into_place(RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => Ok(freed),
            Err(errno) => Err(place.failure(errno)),
        }
    }
}

/// `file.write`
pub(super) struct Write {
    path: String,
    content: Vec<u8>,
}

impl Write {
    pub(super) fn new(path: String, content: Vec<u8>) -> Result<Self, CallError> {
        if content.len() > MAX_WRITE {
            return Err(invalid(format!("the content has more than {MAX_WRITE} bytes")));
        }
        Ok(Self { path, content })
    }
}

impl Deed for Write {
    const FUNCTION: &'static capability::Function = table!("file", "write");
    type Output = ();

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path, "content": body_value(&self.content) })
    }

    fn assume(&self) {}

    fn run(&self) -> Result<(), Failure> {
        let place = Place::of(&self.path)?;
        let fresh = match statat(place.fd(), place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                place.regular(&stat)?;
                Fresh::new(&place, &stat)?
            }
            Err(Errno::NOENT) => Fresh::bare(&place, NEW_FILE)?,
            Err(errno) => return Err(place.failure(errno)),
        };
        let mut rest = self.content.as_slice();
        while !rest.is_empty() {
            match write(&fresh.file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(place.failure(errno)),
            }
        }
        fsync(&fresh.file).map_err(|errno| place.failure(errno))?;
        fresh.into_place(RenameFlags::empty()).map_err(|errno| place.failure(errno))
    }
}

/// A new file beside the one that it will replace; taken away again unless it does.
struct Fresh<'a> {
    place: &'a Place<'a>,
    name: String,
    file: OwnedFd,
    placed: bool,
}

impl<'a> Fresh<'a> {
    fn bare(place: &'a Place<'a>, mode: Mode) -> Result<Self, Failure> {
        let name = format!(".{}.staunch-new", place.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(place.fd(), name.as_str(), flags, mode);
        let file = match create() {
            // Left behind by a host that was killed.
            Err(Errno::EXIST) => {
                unlinkat(place.fd(), name.as_str(), AtFlags::empty()).and_then(|()| create())
            }
            created => created,
        };
        let file = file.map_err(|errno| place.failure(errno))?;
        Ok(Self { place, name, file, placed: false })
    }

    /// With the mode and the owner of the file that is there.
    fn new(place: &'a Place<'a>, like: &Stat) -> Result<Self, Failure> {
        let fresh = Self::bare(place, Mode::RUSR | Mode::WUSR)?;
        let now = fstat(&fresh.file).map_err(|errno| place.failure(errno))?;
        if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid) {
            let (owner, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
            fchown(&fresh.file, Some(owner), Some(group)).map_err(|errno| place.failure(errno))?;
        }
        fchmod(&fresh.file, Mode::from_raw_mode(like.st_mode)).map_err(|errno| place.failure(errno))?;
        Ok(fresh)
    }

    fn into_place(mut self, flags: RenameFlags) -> Result<(), Errno> {
        let directory = self.place.fd();
        let renamed = match flags.is_empty() {
            true => renameat(directory, self.name.as_str(), directory, self.place.name),
            false => renameat_with(directory, self.name.as_str(), directory, self.place.name, flags),
        };
        self.placed = renamed.is_ok();
        renamed
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = unlinkat(self.place.fd(), self.name.as_str(), AtFlags::empty())
        {
            tracing::warn!(%error, file = self.name, "a file that was not needed is left behind");
        }
    }
}
