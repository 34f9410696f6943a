//! Signing and verifying component files: `FILE` and its envelope `FILE.dsse.json`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use serde::Serialize;
use staunch_core::id::Digest;

use super::component::{self, ComponentError};
use super::dsse::{self, DsseError, Envelope, key_id};
use super::statement::{Statement, is_digest};
use super::trust::{Candidate, TrustError, TrustPolicy, VerifiedPlugin, verify};

/// Why a file is not signed or not verified.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
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
    /// The file is no plugin.
    #[error("{path} cannot be signed")]
    Component {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: ComponentError,
    },
    /// The envelope beside it is none.
    #[error("{path} is in the way: remove it to sign anew")]
    Envelope {
        /// The envelope.
        path: String,
        /// What is wrong with it.
        #[source]
        source: DsseError,
    },
    /// It is not genuine.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What was signed.
#[derive(Debug, Clone, Serialize)]
pub struct Signed {
    /// The envelope.
    pub envelope: PathBuf,
    /// The component's digest.
    pub digest: Digest,
    /// The key that signed now.
    pub key_id: String,
    /// Every key that the envelope's signatures name.
    pub key_ids: Vec<String>,
    /// Whether an envelope of other bytes was replaced.
    pub replaced: bool,
    /// What was signed.
    pub statement: Statement,
}

/// Where the envelope of a component lies: `FILE.dsse.json`.
#[must_use]
pub fn envelope_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".dsse.json");
    PathBuf::from(name)
}

/// Reads at most `most` bytes of a file.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, SignError> {
    let failed = |source| SignError::Io { doing: "read", path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(failed(io::Error::other(format!("larger than the {most} bytes that are accepted"))));
    }
    Ok(bytes)
}

/// Signs a component file: adds the key's signature to the envelope beside it when that is about the same
/// bytes, else makes a new envelope.
///
/// # Errors
/// When the file is no plugin whose imports are what it asks for, or a file cannot be read or written.
pub fn sign_file(file: &Path, key: &SigningKey, now: DateTime<Utc>) -> Result<Signed, SignError> {
    let bytes = read_bounded(file, component::MAX_BYTES)?;
    let path = file.display().to_string();
    let statement = Statement::for_component(&path, &bytes, now)
        .map_err(|source| SignError::Component { path, source })?;
    let envelope_file = envelope_path(file);
    let known = existing(&envelope_file, &statement)?;
    let replaced = matches!(known, Existing::Other);
    let (mut envelope, statement) = match known {
        Existing::Same(envelope, signed) => (envelope, *signed),
        Existing::None | Existing::Other => (Envelope::of(&statement.to_bytes()), statement),
    };
    envelope.sign(key);
    write(&envelope_file, &dsse::to_bytes(&envelope))?;
    Ok(Signed {
        envelope: envelope_file,
        digest: Digest::of(&bytes),
        key_id: key_id(&key.verifying_key()),
        key_ids: envelope.key_ids().map(str::to_owned).collect(),
        replaced,
        statement,
    })
}

/// Verifies a component file with the envelope beside it.
///
/// # Errors
/// When a file cannot be read, or the plugin is refused.
pub fn verify_file(
    file: &Path,
    policy: &TrustPolicy,
    now: DateTime<Utc>,
) -> Result<VerifiedPlugin, SignError> {
    let component = Bytes::from(read_bounded(file, component::MAX_BYTES)?);
    let envelope = read_bounded(&envelope_path(file), dsse::MAX_BYTES)?;
    let name = file.display().to_string();
    let candidate = Candidate { file: &name, component: &component, envelope: &envelope };
    Ok(verify(&candidate, policy, None, now)?)
}

/// The envelope that lies beside a component already.
enum Existing {
    None,
    /// About other bytes: it is of no use any more.
    Other,
    /// About these bytes: its statement stays as the first signer made it.
    Same(Envelope, Box<Statement>),
}

fn existing(path: &Path, wanted: &Statement) -> Result<Existing, SignError> {
    if !path.exists() {
        return Ok(Existing::None);
    }
    let bytes = read_bounded(path, dsse::MAX_BYTES)?;
    let (envelope, payload) = Envelope::read(&bytes)
        .map_err(|source| SignError::Envelope { path: path.display().to_string(), source })?;
    let Ok(signed) = Statement::read(&payload) else { return Ok(Existing::Other) };
    // Only the moment may differ: everything else a co-signer must be able to vouch for.
    let mut same = wanted.clone();
    same.predicate.signed_at = signed.predicate.signed_at;
    Ok(if signed == same { Existing::Same(envelope, Box::new(signed)) } else { Existing::Other })
}

/// Replaces a file so that it holds the old bytes or the new ones.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), SignError> {
    let failed = |source| SignError::Io { doing: "write", path: path.display().to_string(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Whether the envelope's statement is about these bytes; for reports, nothing is verified.
pub(super) fn is_about(statement: &Statement, digest: Digest) -> bool {
    is_digest(statement.subject_sha256(), digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{key, now, plugin, policy};

    #[test]
    fn signatures_of_the_same_bytes_gather_in_one_envelope() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p-1.1.0.wasm");
        std::fs::write(&file, plugin("p", 1)).unwrap();
        assert!(matches!(verify_file(&file, &policy(&[&key(1)], 1), now()), Err(SignError::Io { .. })));
        let first = sign_file(&file, &key(1), now()).unwrap();
        assert!(!first.replaced && first.key_ids.len() == 1);
        let later = now() + chrono::Days::new(1);
        let second = sign_file(&file, &key(2), later).unwrap();
        assert_eq!((second.key_ids.len(), second.statement), (2, first.statement));
        assert_eq!(sign_file(&file, &key(2), later).unwrap().key_ids.len(), 2);
        let both = policy(&[&key(1), &key(2)], 2);
        assert_eq!(verify_file(&file, &both, later).unwrap().signers().len(), 2);
    }

    #[test]
    fn other_bytes_get_a_new_envelope() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.wasm");
        std::fs::write(&file, plugin("p", 1)).unwrap();
        sign_file(&file, &key(1), now()).unwrap();
        std::fs::write(&file, plugin("p", 2)).unwrap();
        let again = sign_file(&file, &key(2), now()).unwrap();
        assert!(again.replaced && again.key_ids.len() == 1);
        std::fs::write(envelope_path(&file), "{}").unwrap();
        assert!(matches!(sign_file(&file, &key(2), now()), Err(SignError::Envelope { .. })));
        std::fs::write(&file, "no component").unwrap();
        assert!(matches!(sign_file(&file, &key(2), now()), Err(SignError::Component { .. })));
    }
}
