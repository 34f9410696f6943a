//! What authors and operators ask about a file: what is it, and who vouches for it.
//!
//! Nothing here is a decision of trust: reports are what the files say, verified or not.

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use serde::Serialize;
use serde_json::Value;

use super::component::{Component, ComponentError};
use super::dsse::{DsseError, Envelope, to_bytes};
use super::statement::{Statement, is_digest};
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
    /// How it depends on what is outside it.
    pub purity: Purity,
    /// What it is written in.
    pub language: &'static str,
    /// When the release stops being accepted.
    pub expires: Option<DateTime<Utc>>,
    /// SHA-256 of the embedded `plugin.toml`.
    pub manifest_digest: String,
    /// What one execution may use.
    pub limits: InspectedLimits,
    /// The JSON Schema of its input.
    pub input: Value,
    /// Why it would be refused whoever signed it; none when it is sound.
    pub problem: Option<String>,
    /// Whether the envelope beside it is about exactly these bytes; none without one.
    pub envelope_fits: Option<bool>,
    /// Ids of the keys that signed the envelope beside it; not verified here.
    pub signatures: Vec<String>,
}

/// How a component depends on what is outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purity {
    /// It imports nothing but what every plugin may use: its answer depends on its input alone.
    Pure,
    /// It imports capabilities; all its contact with the world passes the broker.
    Capabilities,
    /// It imports WASI as well, which deterministic stubs answer.
    WasiStubs,
}

/// What one execution may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InspectedLimits {
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Running time in seconds.
    pub deadline_seconds: f64,
}

/// Looks at a component, and at the envelope beside it if there is one. Nothing is verified and nothing runs.
///
/// # Errors
/// When the component is not a plugin, or the envelope is none.
pub fn inspect(file: &str, bytes: &[u8], envelope: Option<&[u8]>) -> Result<Inspection, ToolError> {
    let component = Component::read(bytes)?;
    let manifest = component.parse_manifest(file).map_err(ComponentError::from)?;
    let (signatures, envelope_fits) = match envelope {
        None => (Vec::new(), None),
        Some(envelope) => {
            let unusable = |source| ToolError::Envelope { file: file.to_owned(), source };
            let (envelope, payload) = Envelope::read(envelope).map_err(unusable)?;
            let fits = Statement::read(&payload)
                .is_ok_and(|statement| is_digest(statement.subject_sha256(), component.digest()));
            (envelope.key_ids().map(str::to_owned).collect(), Some(fits))
        }
    };
    let interface = &component.interface;
    let imports: Vec<String> =
        interface.capabilities().unwrap_or_default().into_iter().map(str::to_owned).collect();
    let wasi: Vec<String> = interface.wasi().map(str::to_owned).collect();
    let purity = match (wasi.is_empty(), imports.is_empty()) {
        (false, _) => Purity::WasiStubs,
        (true, false) => Purity::Capabilities,
        (true, true) => Purity::Pure,
    };
    Ok(Inspection {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        release: manifest.release,
        kind: manifest.kind.as_str().to_owned(),
        description: manifest.description.clone(),
        effects: manifest.effects.as_str().to_owned(),
        digest: component.digest().to_string(),
        size: bytes.len() as u64,
        imports,
        wasi,
        purity,
        language: manifest.language.as_str(),
        expires: manifest.expires,
        manifest_digest: manifest.digest.to_string(),
        limits: InspectedLimits {
            fuel: manifest.limits.fuel,
            memory_bytes: manifest.limits.memory,
            deadline_seconds: manifest.limits.deadline.as_secs_f64(),
        },
        input: manifest.input.schema().clone(),
        problem: interface.check_against(&manifest).err().map(|error| error.to_string()),
        envelope_fits,
        exports: component.interface.roles().into_iter().map(str::to_owned).collect(),
        read_only: !manifest.asks_for_effects(),
        capabilities: manifest.capabilities,
        signatures,
    })
}

/// Signs a component: the bytes of the earlier envelope with one signature more, when that one makes the same
/// statement about the same bytes; else of a new envelope.
///
/// # Errors
/// When the component is not a plugin whose imports are what it asks for, or the earlier envelope is none.
pub fn sign(
    file: &str,
    bytes: &[u8],
    earlier: Option<&[u8]>,
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<Vec<u8>, ToolError> {
    let mut wanted = Statement::for_component(file, bytes, now)?;
    let mut envelope = Envelope::of(&wanted.to_bytes());
    if let Some(earlier) = earlier {
        let unusable = |source| ToolError::Envelope { file: file.to_owned(), source };
        let (known, payload) = Envelope::read(earlier).map_err(unusable)?;
        if let Ok(statement) = Statement::read(&payload) {
            // Only the moment may differ: a co-signer vouches for all the rest.
            wanted.predicate.signed_at = statement.predicate.signed_at;
            if statement == wanted {
                envelope = known;
            }
        }
    }
    envelope.sign(key);
    Ok(to_bytes(&envelope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{key, now, plugin};

    #[test]
    fn signatures_of_the_same_bytes_gather_in_one_envelope() {
        let (bytes, later) = (plugin("p", 1), now() + chrono::Days::new(1));
        let first = sign("p.wasm", &bytes, None, &key(1), now()).unwrap();
        let second = sign("p.wasm", &bytes, Some(&first), &key(2), later).unwrap();
        let again = sign("p.wasm", &bytes, Some(&second), &key(2), later).unwrap();
        assert_eq!(second, again);
        let report = inspect("p.wasm", &bytes, Some(&again)).unwrap();
        assert_eq!((report.signatures.len(), report.envelope_fits), (2, Some(true)));
        assert_eq!((report.purity, report.problem), (Purity::Capabilities, None));
    }

    #[test]
    fn other_bytes_and_other_words_get_a_new_envelope() {
        let bytes = plugin("p", 1);
        let first = sign("p.wasm", &bytes, None, &key(1), now()).unwrap();
        let other = sign("p.wasm", &plugin("p", 2), Some(&first), &key(2), now()).unwrap();
        assert_eq!(inspect("p.wasm", &plugin("p", 2), Some(&other)).unwrap().signatures.len(), 1);
        assert_eq!(inspect("p.wasm", &bytes, Some(&other)).unwrap().envelope_fits, Some(false));
        // A statement that somebody prepared is not signed unread.
        let mut statement = Statement::for_component("p.wasm", &bytes, now()).unwrap();
        statement.predicate.min_host.minor += 1;
        let mut prepared = Envelope::of(&statement.to_bytes());
        prepared.sign(&key(1));
        let signed = sign("p.wasm", &bytes, Some(&to_bytes(&prepared)), &key(2), now()).unwrap();
        assert_eq!(inspect("p.wasm", &bytes, Some(&signed)).unwrap().signatures.len(), 1);
        assert!(sign("p.wasm", &bytes, Some(b"{}"), &key(2), now()).is_err());
        assert!(sign("p.wasm", b"no component", None, &key(2), now()).is_err());
    }
}
