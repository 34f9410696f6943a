//! The local registry: verified plugins in a directory, and the memory that stops rollbacks.
//!
//! ```text
//! plugins/
//!   index.json                     what is current, the release floor of each name, digests; checksummed
//!   .lock                          taken by whoever changes the registry
//!   NAME/VERSION/plugin.wasm       the component as it was installed
//!   NAME/VERSION/plugin.dsse.json  its envelope
//! ```
//!
//! Nothing in it is believed: every load verifies signature, digest and floor again, so a file changed after
//! its installation is refused while the daemon runs. Older versions stay for as long as the journal does: runs are
//! bound to their digest, and an auditor replays them.

mod files;
mod index;
mod opening;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use staunch_core::id::Digest;

use super::component::{self, request_lines};
use super::dsse;
use super::listed;
use super::trust::{Candidate, Floor, TrustError, TrustPolicy, VerifiedPlugin, verify, verify_again};
pub use opening::{Opened, Opening};

use index::{Downgrade, Entry, Index, Stored};

const COMPONENT_FILE: &str = "plugin.wasm";
const ENVELOPE_FILE: &str = "plugin.dsse.json";

/// A registry in a directory. Cheap to clone; holds nothing open.
#[derive(Debug, Clone)]
pub struct Registry {
    root: PathBuf,
}

/// Why the registry cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The plugin is not genuine.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no plugin of that name.
    #[error("no plugin {name:?} is installed; installed: {installed}")]
    NotInstalled {
        /// The name that was asked for.
        name: String,
        /// Every name that there is.
        installed: String,
    },
    /// There are no such bytes of that plugin.
    #[error("plugin {name:?} has no version with digest {digest}")]
    NoSuchDigest {
        /// The plugin.
        name: String,
        /// The digest that was asked for.
        digest: Digest,
    },
    /// The version exists with other bytes.
    #[error(
        "version {version} of {name:?} is already installed with other bytes ({installed}): count the version up"
    )]
    VersionTaken {
        /// The plugin.
        name: String,
        /// The version.
        version: String,
        /// Its bytes.
        installed: Digest,
    },
    /// The bytes in the registry are not those that were installed.
    #[error("{path} was changed after it was installed; install {name:?} again")]
    Changed {
        /// The file.
        path: String,
        /// The plugin.
        name: String,
    },
    /// The index is damaged or gone.
    #[error("{path}: {why}; restore it from a backup: without it an older release could come back unnoticed")]
    Index {
        /// The index.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Somebody else has been changing the registry for too long.
    #[error("{path} is locked by another installation")]
    Locked {
        /// The lock.
        path: String,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl RegistryError {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trust(error) => error.refusal.code(),
            Self::NotInstalled { .. } | Self::NoSuchDigest { .. } => "not-installed",
            Self::VersionTaken { .. } => "version-taken",
            Self::Changed { .. } => "digest-mismatch",
            Self::Index { .. } => "registry-index",
            Self::Locked { .. } => "registry-locked",
            Self::Io { .. } => "registry-io",
        }
    }
}

/// What is to be installed.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'a> {
    /// How messages name the component: its path.
    pub file: &'a str,
    /// The component.
    pub component: &'a Bytes,
    /// The envelope's bytes.
    pub envelope: &'a [u8],
    /// Why an older release may be installed; none: it may not.
    pub allow_downgrade: Option<&'a str>,
}

/// What an installation did.
#[derive(Debug, Clone, Serialize)]
pub struct Installed {
    /// The plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its release counter.
    pub release: u64,
    /// Its component.
    pub digest: Digest,
    /// The ids of the keys that signed it.
    pub signers: Vec<String>,
    /// The version that was current before.
    pub previous: Option<String>,
    /// `capability.function pattern` that it asks for and the previous version did not.
    pub new_requests: Vec<String>,
    /// Whether an older release took the place of a newer one.
    pub downgrade: bool,
    /// Whether it was current already.
    pub unchanged: bool,
}

/// An installed plugin as the index knows it; not verified.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The plugin.
    pub name: String,
    /// Its current version; none when its bytes are no longer kept.
    pub version: Option<String>,
    /// The current version's release counter.
    pub release: Option<u64>,
    /// The current version's component.
    pub digest: Option<Digest>,
    /// The newest release that was ever accepted.
    pub floor: u64,
    /// The ids of the keys that signed the current version.
    pub signers: Vec<String>,
    /// When the current version was installed.
    pub installed_at: Option<DateTime<Utc>>,
    /// Every version whose bytes are kept.
    pub versions: Vec<String>,
}

impl Registry {
    /// The registry in a directory, which need not exist yet.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Verifies a plugin and makes it the current version of its name.
    ///
    /// Durable when it returns. After a crash in the middle a new version is there or not; installing again
    /// repairs whatever a crash or a change left behind.
    ///
    /// # Errors
    /// When the plugin is refused, or a file cannot be written.
    pub fn install(
        &self,
        what: &Installation<'_>,
        policy: &TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<(VerifiedPlugin, Installed), RegistryError> {
        let _lock = files::lock(&self.root)?;
        let mut index = Index::read(&self.root)?;
        let candidate = Candidate { file: what.file, component: what.component, envelope: what.envelope };
        // The name is known only when the statement is verified, and the floor only with the name.
        let unfloored = verify(&candidate, policy, None, now)?;
        let entry = index.plugins.get(&unfloored.manifest().name);
        let floor = entry.map(|entry| Floor {
            allowed: what.allow_downgrade.map(|_| unfloored.digest()).or(entry.floor.allowed),
            ..entry.floor
        });
        let plugin = verify(&candidate, policy, floor.as_ref(), now)?;
        let report = self.report(&plugin, entry);
        self.store(&plugin, what.envelope, entry)?;
        index.record(&plugin, Digest::of(what.envelope), what.allow_downgrade, now);
        index.write(&self.root)?;
        Ok((plugin, report))
    }

    /// The current version of a plugin, verified anew.
    ///
    /// # Errors
    /// When it is not there, was changed since its installation, or is no longer trusted.
    pub fn open(
        &self,
        name: &str,
        policy: &TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<VerifiedPlugin, RegistryError> {
        self.open_current(&Index::read(&self.root)?, name, policy, now)
    }

    fn open_current(
        &self,
        index: &Index,
        name: &str,
        policy: &TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<VerifiedPlugin, RegistryError> {
        let entry = index.entry(name)?;
        let (version, stored) = entry.current().ok_or_else(|| index.missing(name))?;
        self.load(name, version, stored, &entry.floor, policy, now)
    }

    /// The version of a plugin that has this digest, verified anew, even when a newer one is current: for runs
    /// that are bound to it.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_digest(
        &self,
        name: &str,
        digest: Digest,
        policy: &TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<VerifiedPlugin, RegistryError> {
        let index = Index::read(&self.root)?;
        let entry = index.entry(name)?;
        let (version, stored) = entry.with_digest(name, digest)?;
        let floor = Floor { allowed: Some(digest), ..entry.floor };
        self.load(name, version, stored, &floor, policy, now)
    }

    /// The files of the version that has this digest: what to look at to see whether anybody touched them.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn files(&self, name: &str, digest: Digest) -> Result<Vec<PathBuf>, RegistryError> {
        let index = Index::read(&self.root)?;
        let (version, _) = index.entry(name)?.with_digest(name, digest)?;
        let directory = self.directory(name, version);
        Ok([COMPONENT_FILE, ENVELOPE_FILE].map(|file| directory.join(file)).to_vec())
    }

    /// What the index knows, by name.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, RegistryError> {
        let index = Index::read(&self.root)?;
        Ok(index.plugins.iter().map(|(name, entry)| entry.listed(name)).collect())
    }

    fn directory(&self, name: &str, version: &str) -> PathBuf {
        self.root.join(name).join(version)
    }

    fn load(
        &self,
        name: &str,
        version: &str,
        stored: &Stored,
        floor: &Floor,
        policy: &TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<VerifiedPlugin, RegistryError> {
        let directory = self.directory(name, version);
        let path = directory.join(COMPONENT_FILE);
        let component = Bytes::from(files::read(&path, component::MAX_BYTES)?);
        let envelope = files::read(&directory.join(ENVELOPE_FILE), dsse::MAX_BYTES)?;
        let file = path.display().to_string();
        let changed =
            || RegistryError::Changed { path: directory.display().to_string(), name: name.to_owned() };
        if Digest::of(&envelope) != stored.envelope {
            return Err(changed());
        }
        let candidate = Candidate { file: &file, component: &component, envelope: &envelope };
        let plugin = verify_again(&candidate, policy, floor, now)?;
        let manifest = plugin.manifest();
        let same = plugin.digest() == stored.digest
            && manifest.name == name
            && manifest.version.to_string() == version;
        if same { Ok(plugin) } else { Err(changed()) }
    }

    fn store(
        &self,
        plugin: &VerifiedPlugin,
        envelope: &[u8],
        entry: Option<&Entry>,
    ) -> Result<(), RegistryError> {
        let manifest = plugin.manifest();
        let version = manifest.version.to_string();
        let directory = self.directory(&manifest.name, &version);
        match entry.and_then(|entry| entry.versions.get(&version)) {
            Some(stored) if stored.digest != plugin.digest() => Err(RegistryError::VersionTaken {
                name: manifest.name.clone(),
                version,
                installed: stored.digest,
            }),
            _ => files::write_directory(
                &directory,
                &[(COMPONENT_FILE, plugin.bytes()), (ENVELOPE_FILE, envelope)],
            ),
        }
    }

    fn report(&self, plugin: &VerifiedPlugin, entry: Option<&Entry>) -> Installed {
        let manifest = plugin.manifest();
        let current = entry.and_then(Entry::current);
        let before: BTreeSet<&String> = current.iter().flat_map(|(_, stored)| &stored.requests).collect();
        let requests = request_lines(&manifest.capabilities);
        Installed {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            release: manifest.release,
            digest: plugin.digest(),
            signers: plugin.signers().to_vec(),
            previous: current.map(|(version, _)| version.clone()),
            new_requests: requests.into_iter().filter(|line| !before.contains(line)).collect(),
            downgrade: entry.is_some_and(|entry| manifest.release < entry.floor.release),
            unchanged: current.is_some_and(|(_, stored)| stored.digest == plugin.digest()),
        }
    }
}

impl Index {
    fn entry(&self, name: &str) -> Result<&Entry, RegistryError> {
        self.plugins.get(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> RegistryError {
        let installed = listed(self.plugins.keys().map(String::as_str));
        RegistryError::NotInstalled { name: name.to_owned(), installed }
    }

    /// Makes a verified plugin the current one of its name.
    fn record(
        &mut self,
        plugin: &VerifiedPlugin,
        envelope: Digest,
        downgrade: Option<&str>,
        now: DateTime<Utc>,
    ) {
        let manifest = plugin.manifest();
        let (digest, release) = (plugin.digest(), manifest.release);
        let entry = self.plugins.entry(manifest.name.clone()).or_insert_with(|| Entry {
            floor: Floor { release, digest, allowed: None },
            current: None,
            downgrade: None,
            versions: std::collections::BTreeMap::new(),
        });
        if release >= entry.floor.release {
            entry.floor = Floor { release, digest, allowed: None };
            entry.downgrade = None;
        } else if let Some(reason) = downgrade {
            entry.floor.allowed = Some(digest);
            entry.downgrade = Some(Downgrade { reason: reason.to_owned(), at: now });
        }
        let version = manifest.version.to_string();
        entry.current = Some(version.clone());
        entry.versions.insert(
            version,
            Stored {
                digest,
                envelope,
                release,
                signers: plugin.signers().to_vec(),
                requests: request_lines(&manifest.capabilities),
                installed_at: now,
            },
        );
    }
}
