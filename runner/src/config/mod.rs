//! `staunch.yaml`: read once, strictly, into types; every problem at once and with its place.
//!
//! Secrets are resolved here (`${env:NAME}`, `${file:PATH}`) and leave this room only inside [`SecretString`] or,
//! for sources, inside a value that does not print itself. Never here: what a source's format or a grant's
//! pattern means; the rooms that own them read those parts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use staunch_core::breaker::BreakerSettings;
use staunch_core::limit::{GlobalLimits, Group};
use staunch_core::policy::problem::{Position, Problem};
use staunch_core::policy::{Policies, Standing};

mod files;
mod hosts;
pub mod init;
mod read;
mod resolve;
mod servers;
mod sources;

pub use files::{check_private, read_members, read_policy_files};
pub use hosts::{Host, Hosts};
pub use resolve::Environment;
pub use sources::read_mapping;

/// The largest `staunch.yaml`, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// The configuration of one installation. All paths are resolved against the folder of its file.
#[derive(Debug)]
pub struct Config {
    /// The file that it was read from.
    pub file: PathBuf,
    /// Where the daemon listens; `127.0.0.1:7878` unless the file says otherwise.
    pub listen: SocketAddr,
    /// The daemon's own folder.
    pub data: PathBuf,
    /// The folder of the policies.
    pub policies: PathBuf,
    /// The local registry.
    pub plugins: PathBuf,
    /// Whose plugins are trusted.
    pub trust: Trust,
    /// The public keys with which people sign their approvals, by the names of their tokens.
    pub people: BTreeMap<String, Vec<PathBuf>>,
    /// The standing that a new plugin begins with.
    pub initial_standing: Standing,
    /// What takes the place of plugins that are out of service, by their names.
    pub replacements: BTreeMap<String, String>,
    /// How standing is counted and lost.
    pub standing: staunch_core::standing::Settings,
    /// The OpenID provider that vouches for people beside the tokens.
    pub oidc: Option<OidcConfig>,
    /// Where service, file and process may act.
    pub hosts: Hosts,
    /// The alert sources, by name.
    pub sources: BTreeMap<String, RawSource>,
    /// What each plugin may do, by its name.
    pub grants: BTreeMap<String, Grant>,
    /// What the probes of runbooks may read.
    pub probes: Grants,
    /// The secrets that plugins may name.
    pub secrets: BTreeMap<String, SecretString>,
    /// Files of certificates that https targets may be vouched for by, beside the system's.
    pub tls_ca: Vec<PathBuf>,
    /// The origin of the journal's log: the first line of its checkpoints.
    pub log_origin: Option<String>,
    /// When circuit breakers open and close.
    pub breaker: BreakerSettings,
    /// The limits over everything.
    pub limits: GlobalLimits,
    /// The names of targets on which drills may act.
    pub drill_targets: Vec<String>,
    /// The groups that limits of runbooks count the members of.
    pub groups: BTreeMap<String, Group>,
    /// How many runs may wait.
    pub queue: usize,
    /// How many runs are worked on at once.
    pub workers: usize,
    /// What needs no token.
    pub public: Public,
    /// What an operator should know.
    pub warnings: Vec<Problem>,
}

/// `identity.oidc`: an OpenID provider, and what the groups of its people mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// The issuer, exactly as it stands in tokens.
    pub issuer: String,
    /// The audience that tokens must be for.
    pub audience: String,
    /// The claim that names the person.
    pub name_claim: String,
    /// The claim that lists their groups.
    pub groups_claim: String,
    /// The roles that each group gives.
    pub roles: BTreeMap<String, Vec<String>>,
    /// Where it stands in the file, for problems that are found later.
    pub at: Position,
}

/// Capability, function, patterns: as the file has them, not yet parsed.
pub type Grants = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What one plugin may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its capabilities.
    pub capabilities: Grants,
    /// The slots and hosts that each secret may go to: `header authorization @ https://api.example.com`.
    pub secrets: BTreeMap<String, Vec<String>>,
    /// Where it stands in the file, for problems that are found later.
    pub at: Position,
}

impl Grant {
    /// All of it in one map, the secrets under `secrets`: the shape of the file.
    #[must_use]
    pub fn as_map(&self) -> Grants {
        let mut map = self.capabilities.clone();
        if !self.secrets.is_empty() {
            map.insert("secrets".to_owned(), self.secrets.clone());
        }
        map
    }
}

/// Whose plugins are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The public keys. None at all: no plugin is trusted.
    pub keys: Vec<TrustedKey>,
    /// How many different keys must have signed a plugin.
    pub threshold: u32,
}

/// One public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The PEM file.
    pub file: PathBuf,
    /// What the names of its plugins must begin with. None at all: any name.
    pub prefixes: Vec<String>,
    /// Until when it counts.
    pub expires: Option<DateTime<Utc>>,
    /// Whose it is, as their access tokens name them: this person does not count as an approver of what the key
    /// signed. `None`: nobody is known to hold it.
    pub person: Option<String>,
}

/// One source as the file has it, secrets filled in: `intake` reads it.
#[derive(Clone, PartialEq)]
pub struct RawSource {
    /// Its members. They may hold secrets.
    pub value: serde_json::Value,
    /// Where it stands in the file, for problems that are found later.
    pub at: Position,
}

impl fmt::Debug for RawSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSource").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What needs no token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Public {
    /// `/metrics`.
    pub metrics: bool,
    /// `/log/`.
    pub log: bool,
}

impl Config {
    /// Reads a file, with the environment of this process.
    ///
    /// # Errors
    /// All problems, in the order of the file.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        Self::load_with(path, &Environment::process())
    }

    /// Reads a file, with an environment of the caller's.
    ///
    /// # Errors
    /// All problems, in the order of the file.
    pub fn load_with(path: &Path, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let text = files::read_text(path, FILE_LIMIT)
            .map_err(|message| vec![Problem::error(&name, Position::START, message)])?;
        read::read(path, &name, &text, environment)
    }

    /// The folder of the policies of a file that is wrong, as far as it says: so that they can be looked at all the
    /// same. `None` where it is no YAML.
    #[must_use]
    pub fn policies_beside(path: &Path) -> Option<PathBuf> {
        let text = files::read_text(path, FILE_LIMIT).ok()?;
        read::policies_folder(path, &text)
    }

    /// Reads, checks and compiles the policies.
    ///
    /// # Errors
    /// All problems of all their files.
    pub fn load_policies(&self) -> Result<Policies, Vec<Problem>> {
        Policies::load(&read_policy_files(&self.policies)?)
    }

    /// A problem with a part of this file that another room found.
    #[must_use]
    pub fn problem(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem::error(&self.file.display().to_string(), at, message)
    }
}

#[cfg(test)]
mod tests;
