//! `index.json`: what is current, and the release floors.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::id::Digest;

use super::{Listed, RegistryError, files};
use crate::plugin::trust::Floor;

const FILE: &str = "index.json";
const FORMAT: u32 = 1;
const MAX_BYTES: usize = 16 << 20;

/// The index of a registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    v: u32,
    pub(super) plugins: BTreeMap<String, Entry>,
}

/// What is known of one plugin's name. It stays when every version is gone, for the floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) floor: Floor,
    pub(super) current: Option<String>,
    pub(super) downgrade: Option<Downgrade>,
    pub(super) versions: BTreeMap<String, Stored>,
}

/// Why an older release is current.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Downgrade {
    pub(super) reason: String,
    pub(super) at: DateTime<Utc>,
}

/// A version whose bytes are in the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) envelope: Digest,
    pub(super) release: u64,
    pub(super) signers: Vec<String>,
    pub(super) requests: Vec<String>,
    pub(super) installed_at: DateTime<Utc>,
}

/// The file: the index and the digest of its JSON. No defence against who may write the file; it finds damage.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    checksum: Digest,
    index: Index,
}

impl Index {
    /// Reads the index; a directory without any plugin has an empty one.
    pub(super) fn read(root: &Path) -> Result<Self, RegistryError> {
        let path = root.join(FILE);
        let error = |why| RegistryError::Index { path: path.display().to_string(), why };
        if !path.exists() {
            return if files::has_directories(root)? {
                Err(error("is missing although plugins are installed"))
            } else {
                Ok(Self { v: FORMAT, plugins: BTreeMap::new() })
            };
        }
        let bytes = files::read(&path, MAX_BYTES)?;
        let read: Checked = serde_json::from_slice(&bytes).map_err(|_| error("is damaged"))?;
        if read.index.v != FORMAT {
            return Err(error("was written by a newer version of staunch"));
        }
        // Comparing the whole text leaves no byte of the file without meaning.
        if read.index.to_bytes() == bytes { Ok(read.index) } else { Err(error("is damaged")) }
    }

    /// Replaces the file, durably.
    pub(super) fn write(&self, root: &Path) -> Result<(), RegistryError> {
        files::replace(&root.join(FILE), &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let serialises = "the index has string keys alone";
        let checksum = Digest::of(&serde_json::to_vec(self).expect(serialises));
        serde_json::to_vec(&Checked { checksum, index: self.clone() }).expect(serialises)
    }
}

impl Entry {
    /// The current version and what is stored of it.
    pub(super) fn current(&self) -> Option<(&String, &Stored)> {
        self.versions.get_key_value(self.current.as_ref()?)
    }

    /// The version with these bytes.
    pub(super) fn with_digest(
        &self,
        name: &str,
        digest: Digest,
    ) -> Result<(&String, &Stored), RegistryError> {
        self.versions
            .iter()
            .find(|(_, stored)| stored.digest == digest)
            .ok_or_else(|| RegistryError::NoSuchDigest { name: name.to_owned(), digest })
    }

    pub(super) fn listed(&self, name: &str) -> Listed {
        let stored = self.current().map(|(_, stored)| stored);
        Listed {
            name: name.to_owned(),
            version: self.current.clone(),
            release: stored.map(|stored| stored.release),
            digest: stored.map(|stored| stored.digest),
            floor: self.floor.release,
            signers: stored.map(|stored| stored.signers.clone()).unwrap_or_default(),
            installed_at: stored.map(|stored| stored.installed_at),
            versions: self.versions.keys().cloned().collect(),
        }
    }
}
