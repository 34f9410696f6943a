//! The release statement: what the signers of a plugin vouch for (in-toto Statement v1).
//!
//! One statement covers component, manifest, capabilities and WIT world, so that none can be taken from one
//! release and put beside another's.

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::id::Digest;
use staunch_core::policy::{Effects, PluginKind};

use super::component::{Component, ComponentError};
use super::manifest::{Manifest, Patterns};

/// in-toto's own type.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The type of our predicate, version 1.
pub const PREDICATE_TYPE: &str = "https://staunch.dev/plugin-release/v1";

/// The first host that answers the 1.0.0 interfaces: what statements made by this host ask for.
const MIN_HOST: semver::Version = semver::Version::new(0, 1, 0);

/// A statement about one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// The component; exactly one.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said about it.
    pub predicate: Release,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The file's name; for people.
    pub name: String,
    /// Of its bytes.
    pub digest: SubjectDigest,
}

/// A subject's digest; in-toto allows several kinds, we make and take this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// The predicate: one release of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: semver::Version,
    /// Its release counter.
    pub release: u64,
    /// What it is for.
    pub kind: PluginKind,
    /// The worst that its effects can be.
    pub effects: Effects,
    /// What it asks for.
    pub capabilities: Patterns,
    /// The WIT world that it is built against.
    pub wit_world: String,
    /// Of the embedded `plugin.toml`; 64 hexadecimal digits.
    pub manifest_sha256: String,
    /// The oldest host that can run it.
    pub min_host: semver::Version,
    /// When the release stops being accepted.
    pub expires: Option<DateTime<Utc>>,
    /// When the statement was made, in the first signer's word.
    pub signed_at: DateTime<Utc>,
}

/// A payload that is no statement about a plugin's release.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not the JSON of a statement.
    #[error("signed payload is not a release statement")]
    Json(#[from] serde_json::Error),
    /// Some other statement.
    #[error("{what} is {found:?}; valid: {valid}")]
    Type {
        /// Which type.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        valid: &'static str,
    },
    /// Not one subject.
    #[error("statement has {0} subjects; exactly one is accepted")]
    Subjects(usize),
}

/// The WIT world of a kind.
#[must_use]
pub fn wit_world(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Remediation => "staunch:plugin/remediator@1.0.0",
        PluginKind::Connector => "staunch:plugin/notifier@1.0.0",
        PluginKind::Check => "staunch:plugin/checker@1.0.0",
    }
}

impl Statement {
    /// The statement that an author signs: everything is taken from the component itself, whose imports must
    /// be what its manifest asks for.
    ///
    /// # Errors
    /// When the bytes are no plugin; `file` names them in problems.
    pub fn for_component(file: &str, bytes: &[u8], now: DateTime<Utc>) -> Result<Self, ComponentError> {
        let component = Component::read(bytes)?;
        let manifest = component.parse_manifest(file)?;
        component.interface.check_against(&manifest)?;
        Ok(Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: format!("{}-{}.wasm", manifest.name, manifest.version),
                digest: SubjectDigest { sha256: component.digest().hex() },
            }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Release::of(&manifest, now),
        })
    }

    /// Reads a signed payload. Call it only with bytes whose signatures have been verified.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn read(payload: &[u8]) -> Result<Self, StatementError> {
        let statement: Self = serde_json::from_slice(payload)?;
        for (what, found, valid) in [
            ("statement type", &statement.statement_type, STATEMENT_TYPE),
            ("predicate type", &statement.predicate_type, PREDICATE_TYPE),
        ] {
            if found != valid {
                return Err(StatementError::Type { what, found: found.clone(), valid });
            }
        }
        if statement.subject.len() != 1 {
            return Err(StatementError::Subjects(statement.subject.len()));
        }
        Ok(statement)
    }

    /// The payload.
    ///
    /// # Panics
    /// Never: no map in it has keys other than strings.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a statement always serialises")
    }

    /// The subject's digest as it is written; empty when there is no subject.
    #[must_use]
    pub fn subject_sha256(&self) -> &str {
        self.subject.first().map_or("", |subject| &subject.digest.sha256)
    }
}

impl Release {
    fn of(manifest: &Manifest, now: DateTime<Utc>) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            release: manifest.release,
            kind: manifest.kind,
            effects: manifest.effects,
            capabilities: manifest.capabilities.clone(),
            wit_world: wit_world(manifest.kind).to_owned(),
            manifest_sha256: manifest.digest.hex(),
            min_host: MIN_HOST,
            expires: manifest.expires,
            signed_at: now.trunc_subsecs(0),
        }
    }

    /// The first of its members that is not what the manifest says; none when all agree.
    #[must_use]
    pub fn differs_from(&self, manifest: &Manifest) -> Option<&'static str> {
        let Self {
            name,
            version,
            release,
            kind,
            effects,
            capabilities,
            wit_world: world,
            manifest_sha256,
            ..
        } = self;
        let pairs = [
            ("manifest_sha256", *manifest_sha256 == manifest.digest.hex()),
            ("name", *name == manifest.name),
            ("version", *version == manifest.version),
            ("release", *release == manifest.release),
            ("kind", *kind == manifest.kind),
            ("effects", *effects == manifest.effects),
            ("capabilities", *capabilities == manifest.capabilities),
            ("wit_world", world == wit_world(manifest.kind)),
            ("expires", self.expires == manifest.expires),
        ];
        pairs.into_iter().find(|(_, same)| !same).map(|(member, _)| member)
    }
}

/// Whether two digests are of the same bytes; for messages `found` is printed as it came.
#[must_use]
pub fn is_digest(hex: &str, digest: Digest) -> bool {
    hex == digest.hex()
}
