//! Whether a plugin is genuine: the one decision, and the value that proves it.
//!
//! Pure: bytes, policy, what was installed before and the time are arguments. Nothing of a component is
//! parsed before its digest stands in a statement with enough signatures. A [`VerifiedPlugin`] can be made
//! only here, and compiling takes one, so unverified bytes never reach the compiler.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use staunch_core::id::Digest;

use super::component::{Component, ComponentError, Interface};
use super::dsse::{DsseError, Envelope, key_id};
use super::listed;
use super::manifest::{Manifest, ManifestError};
use super::statement::{Statement, StatementError, is_digest};

/// Whose signatures count, and how many are needed.
#[derive(Debug, Clone)]
pub struct TrustPolicy {
    /// The trusted keys.
    pub keys: Vec<TrustedKey>,
    /// How many different ones must have signed; 0 trusts nobody.
    pub threshold: usize,
}

/// A key whose signatures count.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The key.
    pub key: VerifyingKey,
    /// It counts for plugins whose name begins with one of these; empty: for all.
    pub prefixes: Vec<String>,
    /// From then on it counts no more, whenever the signature claims to have been made.
    pub not_after: Option<DateTime<Utc>>,
    /// Whose it is; `None` where the operator does not say.
    pub person: Option<String>,
}

/// A key that signed, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The key's id.
    pub key: String,
    /// The person who holds it, where the operator says so.
    pub person: Option<String>,
}

impl TrustPolicy {
    /// Who holds these keys. A key that is listed for several people stands there for each of them; one that is no
    /// longer trusted, without a person. A key's own name is never taken for a person's.
    #[must_use]
    pub fn holders(&self, key_ids: &[String]) -> Vec<Signer> {
        let mut holders = Vec::with_capacity(key_ids.len());
        for key in key_ids {
            let mut persons: Vec<&String> = self
                .keys
                .iter()
                .filter(|trusted| key_id(&trusted.key) == *key)
                .filter_map(|trusted| trusted.person.as_ref())
                .collect();
            persons.sort_unstable();
            persons.dedup();
            let named = persons.iter().map(|person| Some((*person).clone()));
            let anonymous = persons.is_empty().then_some(None);
            holders.extend(named.chain(anonymous).map(|person| Signer { key: key.clone(), person }));
        }
        holders
    }
}

impl TrustedKey {
    /// A key that counts for every plugin, for ever, and that nobody is known to hold.
    #[must_use]
    pub fn new(key: VerifyingKey) -> Self {
        Self { key, prefixes: Vec::new(), not_after: None, person: None }
    }

    fn counts_for(&self, plugin: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| plugin.starts_with(prefix.as_str()))
    }
}

/// The newest release of a plugin that was ever accepted here: older ones are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Its counter.
    pub release: u64,
    /// Its component: the same counter on other bytes is refused.
    pub digest: Digest,
    /// An older release that somebody allowed all the same, with a reason.
    pub allowed: Option<Digest>,
}

/// What is to be verified.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// How messages name the component: its path.
    pub file: &'a str,
    /// The component.
    pub component: &'a Bytes,
    /// The envelope's bytes.
    pub envelope: &'a [u8],
}

/// A plugin that satisfied the trust policy: the only thing that the daemon compiles.
///
/// Cheap to clone: the bytes are shared.
#[derive(Debug, Clone)]
pub struct VerifiedPlugin {
    facts: Arc<Facts>,
    bytes: Bytes,
}

#[derive(Debug)]
struct Facts {
    digest: Digest,
    manifest: Manifest,
    statement: Statement,
    interface: Interface,
    signers: Vec<String>,
}

impl VerifiedPlugin {
    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.facts.digest
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.facts.manifest
    }

    /// What its signers vouch for.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.facts.statement
    }

    /// What it imports and exports.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.facts.interface
    }

    /// The ids of the trusted keys that signed it and count for it.
    #[must_use]
    pub fn signers(&self) -> &[String] {
        &self.facts.signers
    }

    /// The component.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a plugin is refused.
#[derive(Debug, thiserror::Error)]
#[error("plugin {file} is refused ({})", .refusal.code())]
pub struct TrustError {
    /// The component, as the caller named it.
    pub file: String,
    /// The reason.
    #[source]
    pub refusal: Refusal,
}

impl TrustError {
    /// The whole reason as one sentence, causes included: for runs, journals and answers.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// The reasons for refusing a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The envelope is none, or has a wrong signature.
    #[error("envelope is not genuine")]
    Envelope(#[source] DsseError),
    /// No trusted key signed it.
    #[error("no trusted key signed it: its signatures name {named}, trusted are {trusted}")]
    Signature {
        /// The ids that the signatures name.
        named: String,
        /// The ids that are trusted.
        trusted: String,
    },
    /// The signed payload says something else.
    #[error("signed statement is not about a release")]
    Statement(#[source] StatementError),
    /// Too few different keys.
    #[error("{found} of the {needed} trusted signatures that are needed")]
    Threshold {
        /// How many different trusted keys signed.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The keys are trusted, but not for this name.
    #[error("the keys that signed it are not trusted for plugins named {name:?}, only for {valid}")]
    Prefix {
        /// The plugin's name.
        name: String,
        /// The prefixes that those keys are trusted for.
        valid: String,
    },
    /// The bytes are not those that were signed.
    #[error("component has sha256 {found}, signed is {signed}: it was changed after signing")]
    Digest {
        /// Of the bytes.
        found: String,
        /// In the statement.
        signed: String,
    },
    /// The signed bytes are no plugin.
    #[error("signed component is no plugin")]
    Component(#[source] ComponentError),
    /// Statement and manifest differ.
    #[error("`{0}` differs between the signed statement and the embedded plugin.toml")]
    Manifest(&'static str),
    /// Imports and requests differ.
    #[error("component does not fit its manifest")]
    Capabilities(#[source] ComponentError),
    /// Its time is over.
    #[error("release expired at {0}: a newer one is needed")]
    Expired(DateTime<Utc>),
    /// It needs a newer host.
    #[error("needs staunch {needed} or later, this is {}", env!("CARGO_PKG_VERSION"))]
    Host {
        /// The oldest host that can run it.
        needed: semver::Version,
    },
    /// An older release than one that was accepted.
    #[error(
        "release {release} is older than release {floor}, which was installed before; --allow-downgrade --reason R allows it"
    )]
    Rollback {
        /// Its counter.
        release: u64,
        /// The newest that was accepted.
        floor: u64,
    },
    /// The same release counter on other bytes.
    #[error("release {release} is already installed with other bytes ({installed}): count `release` up")]
    SameRelease {
        /// Its counter.
        release: u64,
        /// The component installed under it.
        installed: Digest,
    },
}

impl Refusal {
    /// A word for programs; the list is closed.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) | Self::Signature { .. } => "signature",
            Self::Statement(_) => "statement",
            Self::Threshold { .. } => "threshold",
            Self::Prefix { .. } => "prefix",
            Self::Digest { .. } => "digest-mismatch",
            Self::Component(_) => "component",
            Self::Manifest(_) => "manifest-mismatch",
            Self::Capabilities(_) => "capability-mismatch",
            Self::Expired(_) => "expired",
            Self::Host { .. } => "host-too-old",
            Self::Rollback { .. } | Self::SameRelease { .. } => "rollback",
        }
    }
}

/// Decides whether a plugin is genuine.
///
/// # Errors
/// The first rule that it breaks.
pub fn verify(
    candidate: &Candidate<'_>,
    policy: &TrustPolicy,
    floor: Option<&Floor>,
    now: DateTime<Utc>,
) -> Result<VerifiedPlugin, TrustError> {
    decide(candidate, policy, floor, now, |component, file| component.parse_manifest(file))
        .map_err(|refusal| TrustError { file: candidate.file.to_owned(), refusal })
}

/// Decides whether a plugin that was installed is still genuine; the schema of its input is compiled when it is needed.
///
/// # Errors
/// As [`verify`].
pub(super) fn verify_again(
    candidate: &Candidate<'_>,
    policy: &TrustPolicy,
    floor: &Floor,
    now: DateTime<Utc>,
) -> Result<VerifiedPlugin, TrustError> {
    decide(candidate, policy, Some(floor), now, |component, file| component.parse_manifest_again(file))
        .map_err(|refusal| TrustError { file: candidate.file.to_owned(), refusal })
}

fn decide(
    candidate: &Candidate<'_>,
    policy: &TrustPolicy,
    floor: Option<&Floor>,
    now: DateTime<Utc>,
    parse_manifest: fn(&Component<'_>, &str) -> Result<Manifest, ManifestError>,
) -> Result<VerifiedPlugin, Refusal> {
    let (envelope, payload) = Envelope::read(candidate.envelope).map_err(Refusal::Envelope)?;
    let (statement, signers) = signed_statement(&envelope, &payload, policy, now)?;
    let found = Digest::of(candidate.component);
    if !is_digest(statement.subject_sha256(), found) {
        return Err(Refusal::Digest { found: found.hex(), signed: statement.subject_sha256().to_owned() });
    }
    let component = Component::read(candidate.component).map_err(Refusal::Component)?;
    let manifest =
        parse_manifest(&component, candidate.file).map_err(|error| Refusal::Component(error.into()))?;
    if let Some(member) = statement.predicate.differs_from(&manifest) {
        return Err(Refusal::Manifest(member));
    }
    component.interface.check_against(&manifest).map_err(Refusal::Capabilities)?;
    if let Some(expires) = manifest.expires.filter(|expires| *expires <= now) {
        return Err(Refusal::Expired(expires));
    }
    check_host(&statement.predicate.min_host)?;
    check_floor(floor, manifest.release, found)?;
    let interface = component.interface;
    Ok(VerifiedPlugin {
        facts: Arc::new(Facts { digest: found, manifest, statement, interface, signers }),
        bytes: candidate.component.clone(),
    })
}

/// The statement, when enough keys that count for its plugin signed it, and their ids.
fn signed_statement(
    envelope: &Envelope,
    payload: &[u8],
    policy: &TrustPolicy,
    now: DateTime<Utc>,
) -> Result<(Statement, Vec<String>), Refusal> {
    let valid: Vec<&TrustedKey> =
        policy.keys.iter().filter(|key| key.not_after.is_none_or(|end| now < end)).collect();
    // A key may be listed with several prefixes; it signs, and counts, once.
    let mut keys: Vec<&VerifyingKey> = Vec::new();
    for trusted in &valid {
        if !keys.contains(&&trusted.key) {
            keys.push(&trusted.key);
        }
    }
    let signers = envelope.signers(payload, &keys).map_err(Refusal::Envelope)?;
    if signers.is_empty() || policy.threshold == 0 {
        let ids: Vec<String> = keys.iter().map(|key| key_id(key)).collect();
        return Err(Refusal::Signature {
            named: listed(envelope.key_ids()),
            trusted: listed(ids.iter().map(String::as_str)),
        });
    }
    let statement = Statement::read(payload).map_err(Refusal::Statement)?;
    let name = &statement.predicate.name;
    let entries = |key: VerifyingKey| valid.iter().copied().filter(move |trusted| trusted.key == key);
    let signed: Vec<&VerifyingKey> = signers.iter().map(|index| keys[*index]).collect();
    let counting: Vec<&VerifyingKey> =
        signed.iter().copied().filter(|key| entries(**key).any(|entry| entry.counts_for(name))).collect();
    if counting.len() < policy.threshold {
        if signed.len() < policy.threshold {
            return Err(Refusal::Threshold { found: signed.len(), needed: policy.threshold });
        }
        let prefixes = signed
            .iter()
            .flat_map(|key| entries(**key))
            .flat_map(|entry| entry.prefixes.iter().map(String::as_str));
        return Err(Refusal::Prefix { name: name.clone(), valid: listed(prefixes) });
    }
    Ok((statement, counting.into_iter().map(key_id).collect()))
}

fn check_host(needed: &semver::Version) -> Result<(), Refusal> {
    let this = semver::Version::parse(env!("CARGO_PKG_VERSION")).expect("cargo checks the package's version");
    if *needed > this { Err(Refusal::Host { needed: needed.clone() }) } else { Ok(()) }
}

fn check_floor(floor: Option<&Floor>, release: u64, digest: Digest) -> Result<(), Refusal> {
    match floor {
        Some(floor) if release == floor.release && digest != floor.digest => {
            Err(Refusal::SameRelease { release, installed: floor.digest })
        }
        Some(floor) if release < floor.release && floor.allowed != Some(digest) => {
            Err(Refusal::Rollback { release, floor: floor.release })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
