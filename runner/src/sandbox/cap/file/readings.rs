//! Looking at files.

use std::ffi::CStr;

use rustix::fs::{self, AtFlags, Dir, FileType, OFlags, fstatvfs, statat};
use rustix::io::{Errno, pread};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::tree::{Place, allocated, failure};
use super::{Deed, Filesystem, Metadata};
use crate::sandbox::broker::Failure;
use crate::sandbox::cap::http::{deserialize_body, serialize_body};
use crate::sandbox::cap::table;
use crate::sandbox::capability;
use crate::sandbox::scrub::{Scrub, Scrubber};

const MAX_ENTRIES: usize = 10_000;
const MAX_READ: usize = 1 << 20;

/// `file.stat`
pub(super) struct Stat {
    pub(super) path: String,
}

impl Deed for Stat {
    const FUNCTION: &'static capability::Function = table!("file", "stat");
    type Output = Metadata;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path })
    }

    fn assume(&self) -> Metadata {
        Metadata { path: self.path.clone(), kind: "file".to_owned(), size: 0, modified: 0, allocated: 0 }
    }

    fn run(&self) -> Result<Metadata, Failure> {
        Ok(metadata(self.path.clone(), &Place::of(&self.path)?.stat()?))
    }
}

fn metadata(path: String, stat: &fs::Stat) -> Metadata {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        _ => "other",
    };
    Metadata {
        path,
        kind: kind.to_owned(),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: u64::try_from(stat.st_mtime).unwrap_or_default(),
        allocated: allocated(stat),
    }
}

/// `file.list`
pub(super) struct List {
    pub(super) path: String,
}

impl Deed for List {
    const FUNCTION: &'static capability::Function = table!("file", "list");
    type Output = Vec<Metadata>;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path })
    }

    fn assume(&self) -> Vec<Metadata> {
        Vec::new()
    }

    fn run(&self) -> Result<Vec<Metadata>, Failure> {
        let place = Place::of(&self.path)?;
        let directory = place.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for name in names(&directory, &self.path)? {
            // What vanished since is not there any more.
            if let Ok(stat) = statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                entries.push(metadata(format!("{}/{name}", self.path.trim_end_matches('/')), &stat));
            }
        }
        Ok(entries)
    }
}

/// The names in a directory that are text, sorted.
pub(super) fn names(directory: &impl std::os::fd::AsFd, path: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(|errno| failure(path, errno))? {
        let entry = entry.map_err(|errno| failure(path, errno))?;
        let name: &CStr = entry.file_name();
        let Ok(name) = name.to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            let message = format!("{path} has more than {MAX_ENTRIES} entries");
            return Err(Failure::known("too-many", message, false));
        }
        names.push(name.to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// `file.read`
pub(super) struct Read {
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// A part of a file; as JSON a text where it is one, else base64.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Content(pub(super) Vec<u8>);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_body(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_body(deserializer).map(Self)
    }
}

impl Scrub for Content {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.bytes(&mut self.0);
    }
}

impl Deed for Read {
    const FUNCTION: &'static capability::Function = table!("file", "read");
    type Output = Content;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path, "offset": self.offset, "length": self.length })
    }

    fn assume(&self) -> Content {
        Content::default()
    }

    fn run(&self) -> Result<Content, Failure> {
        let place = Place::of(&self.path)?;
        let (file, _) = place.open_regular(OFlags::RDONLY)?;
        let mut bytes = vec![0; (self.length as usize).min(MAX_READ)];
        let mut filled = 0;
        while filled < bytes.len() {
            match pread(&file, &mut bytes[filled..], self.offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(place.failure(errno)),
            }
        }
        bytes.truncate(filled);
        Ok(Content(bytes))
    }
}

/// `file.space`
pub(super) struct Space {
    pub(super) path: String,
}

impl Deed for Space {
    const FUNCTION: &'static capability::Function = table!("file", "space");
    type Output = Filesystem;

    fn path(&self) -> &str {
        &self.path
    }

    fn arguments(&self) -> Value {
        json!({ "path": self.path })
    }

    fn assume(&self) -> Filesystem {
        Filesystem { total: 0, available: 0 }
    }

    fn run(&self) -> Result<Filesystem, Failure> {
        let place = Place::of(&self.path)?;
        if FileType::from_raw_mode(place.stat()?.st_mode) == FileType::Symlink {
            return Err(place.failure(Errno::LOOP));
        }
        let file = place.open(OFlags::PATH)?;
        let space = fstatvfs(&file).map_err(|errno| place.failure(errno))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Ok(Filesystem { total: bytes(space.f_blocks), available: bytes(space.f_bavail) })
    }
}
