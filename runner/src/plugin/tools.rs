//! What authors and operators ask about a file: what is it, and who vouches for it.

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use serde::Serialize;

use super::component::{Component, ComponentError};
use super::dsse::{DsseError, Envelope, to_bytes};
use super::statement::{Statement, StatementError};
use crate::plugin::manifest::Patterns;

/// Why a file cannot be inspected or signed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The component.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The envelope beside it.
    #[error("the envelope beside {file} cannot be used")]
    Envelope {
        /// The component's file.
        file: String,
        /// Why.
        #[source]
        source: DsseError,
    },
    /// The statement in the envelope.
    #[error("the statement beside {file} cannot be used")]
    Statement {
        /// The component's file.
        file: String,
        /// Why.
        #[source]
        source: StatementError,
    },
}

/// What a component is, asks for and imports.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its release counter.
    pub release: u64,
    /// What it is for.
    pub kind: String,
    /// What it says of itself.
    pub description: String,
    /// What its effects are like.
    pub effects: String,
    /// SHA-256 of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// What it asks for.
    pub capabilities: Patterns,
    /// The capabilities that it imports: what it can ever call.
    pub imports: Vec<String>,
    /// WASI interfaces that it imports; they are answered by deterministic stubs.
    pub wasi: Vec<String>,
    /// What it exports of a plugin's interfaces.
    pub exports: Vec<String>,
    /// Whether it can only look.
    pub read_only: bool,
    /// Ids of the keys that signed the envelope beside it; not verified here.
    pub signatures: Vec<String>,
}

/// Looks at a component, and at the envelope beside it if there is one. Nothing is verified and nothing runs.
///
/// # Errors
/// When the component is not a plugin, or the envelope is none.
pub fn inspect(file: &str, bytes: &[u8], envelope: Option<&[u8]>) -> Result<Inspection, ToolError> {
    let component = Component::read(bytes)?;
    let manifest = component.parse_manifest(file).map_err(ComponentError::from)?;
    let signatures = match envelope {
        None => Vec::new(),
        Some(envelope) => {
            let unusable = |source| ToolError::Envelope { file: file.to_owned(), source };
            let (envelope, _) = Envelope::read(envelope).map_err(unusable)?;
            envelope.key_ids().map(str::to_owned).collect()
        }
    };
    Ok(Inspection {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        release: manifest.release,
        kind: manifest.kind.as_str().to_owned(),
        description: manifest.description.clone(),
        effects: manifest.effects.as_str().to_owned(),
        digest: component.digest.to_string(),
        size: bytes.len() as u64,
        imports: component.interface.capabilities()?.into_iter().map(str::to_owned).collect(),
        wasi: component.interface.wasi().map(str::to_owned).collect(),
        exports: component.interface.roles().into_iter().map(str::to_owned).collect(),
        read_only: !manifest.asks_for_effects(),
        capabilities: manifest.capabilities,
        signatures,
    })
}

/// Signs a component: the bytes of a new envelope, or of the earlier one with one signature more, when that one
/// is about the same release of the same bytes.
///
/// # Errors
/// When the component is not a plugin, or the earlier envelope cannot be read.
pub fn sign(
    file: &str,
    bytes: &[u8],
    earlier: Option<&[u8]>,
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<Vec<u8>, ToolError> {
    let statement = Statement::for_component(file, bytes, now)?;
    let mut envelope = Envelope::of(&statement.to_bytes());
    if let Some(earlier) = earlier {
        let unusable = |source| ToolError::Envelope { file: file.to_owned(), source };
        let (known, payload) = Envelope::read(earlier).map_err(unusable)?;
        let about = Statement::read(&payload)
            .map_err(|source| ToolError::Statement { file: file.to_owned(), source })?;
        if about.subject_sha256() == statement.subject_sha256() {
            envelope = known;
        }
    }
    envelope.sign(key);
    Ok(to_bytes(&envelope))
}
