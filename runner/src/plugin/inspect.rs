//! What can be told about a component file without trusting or running it: `plugin inspect`.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use staunch_core::id::Digest;
use staunch_core::policy::{Effects, PluginKind};

use super::component::{self, Component, ComponentError};
use super::dsse::{self, Envelope};
use super::manifest::{Language, Manifest, Patterns};
use super::sign::{SignError, envelope_path, is_about, read_bounded};
use super::statement::Statement;

/// A component and the envelope beside it, as they stand. Nothing in it is verified.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub kind: PluginKind,
    /// What it says of itself.
    pub description: String,
    /// What it is written in.
    pub language: Language,
    /// Its release counter.
    pub release: u64,
    /// The worst that its effects can be.
    pub effects: Effects,
    /// When the release stops being accepted.
    pub expires: Option<DateTime<Utc>>,
    /// SHA-256 of the component.
    pub digest: Digest,
    /// SHA-256 of the embedded `plugin.toml`.
    pub manifest_digest: Digest,
    /// The component's bytes.
    pub size: usize,
    /// What it asks for.
    pub capabilities_requested: Patterns,
    /// The capabilities whose interfaces it imports.
    pub capabilities_imported: BTreeSet<String>,
    /// Every interface that it imports.
    pub imports: BTreeSet<String>,
    /// Every interface that it exports.
    pub exports: BTreeSet<String>,
    /// How it depends on what is outside it.
    pub purity: Purity,
    /// Fuel, memory in bytes, deadline in milliseconds.
    pub limits: InspectedLimits,
    /// The JSON Schema of its input.
    pub input: Value,
    /// Why it would be refused whoever signed it; none when it is sound.
    pub problem: Option<String>,
    /// The signatures beside it; none when there is no envelope.
    pub signatures: Option<InspectedSignatures>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InspectedLimits {
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Running time in milliseconds.
    pub deadline_ms: u128,
}

/// The envelope beside a component, not verified.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedSignatures {
    /// The keys that the signatures name.
    pub key_ids: Vec<String>,
    /// Whether the statement is about these bytes.
    pub about_this_component: bool,
    /// What was signed; none when the payload is no release statement.
    pub statement: Option<Statement>,
}

/// Why a file cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] SignError),
    /// The file is no plugin at all.
    #[error("{path} is no plugin")]
    Component {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: ComponentError,
    },
}

/// Looks at a component file and the envelope beside it.
///
/// # Errors
/// When the component cannot be read or has no valid manifest. A bad envelope is part of the report.
pub fn inspect_file(file: &Path) -> Result<Inspection, InspectError> {
    let bytes = read_bounded(file, component::MAX_BYTES)?;
    let path = file.display().to_string();
    let refused = |source| InspectError::Component { path: path.clone(), source };
    let component = Component::read(&bytes).map_err(refused)?;
    let manifest = component.parse_manifest(&path).map_err(|error| refused(error.into()))?;
    let problem = component.interface.check_against(&manifest).err().map(|error| error.to_string());
    let envelope = envelope_path(file);
    let signatures = if envelope.exists() {
        let bytes = read_bounded(&envelope, dsse::MAX_BYTES)?;
        Some(signatures(&bytes, component.digest))
    } else {
        None
    };
    Ok(describe(&component, &manifest, bytes.len(), problem, signatures))
}

fn describe(
    component: &Component<'_>,
    manifest: &Manifest,
    size: usize,
    problem: Option<String>,
    signatures: Option<InspectedSignatures>,
) -> Inspection {
    let imported = component.interface.capabilities().unwrap_or_default();
    let purity = if component.interface.wasi().next().is_some() {
        Purity::WasiStubs
    } else if imported.is_empty() {
        Purity::Pure
    } else {
        Purity::Capabilities
    };
    Inspection {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        kind: manifest.kind,
        description: manifest.description.clone(),
        language: manifest.language,
        release: manifest.release,
        effects: manifest.effects,
        expires: manifest.expires,
        digest: component.digest,
        manifest_digest: manifest.digest,
        size,
        capabilities_requested: manifest.capabilities.clone(),
        capabilities_imported: imported.into_iter().map(str::to_owned).collect(),
        imports: component.interface.imports.clone(),
        exports: component.interface.exports.clone(),
        purity,
        limits: InspectedLimits {
            fuel: manifest.limits.fuel,
            memory_bytes: manifest.limits.memory,
            deadline_ms: manifest.limits.deadline.as_millis(),
        },
        input: manifest.input.schema().clone(),
        problem,
        signatures,
    }
}

fn signatures(bytes: &[u8], digest: Digest) -> InspectedSignatures {
    let Ok((envelope, payload)) = Envelope::read(bytes) else {
        return InspectedSignatures { key_ids: Vec::new(), about_this_component: false, statement: None };
    };
    let statement = Statement::read(&payload).ok();
    InspectedSignatures {
        key_ids: envelope.key_ids().map(str::to_owned).collect(),
        about_this_component: statement.as_ref().is_some_and(|statement| is_about(statement, digest)),
        statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::sign::sign_file;
    use crate::plugin::testing::{key, now, plugin};

    #[test]
    fn reports_what_stands_in_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.wasm");
        std::fs::write(&file, plugin("p", 1)).unwrap();
        let report = inspect_file(&file).unwrap();
        assert_eq!((report.name.as_str(), report.purity, report.problem), ("p", Purity::Capabilities, None));
        assert!(report.signatures.is_none());
        sign_file(&file, &key(1), now()).unwrap();
        assert!(inspect_file(&file).unwrap().signatures.unwrap().about_this_component);
        std::fs::write(&file, plugin("p", 2)).unwrap();
        let signatures = inspect_file(&file).unwrap().signatures.unwrap();
        assert!(!signatures.about_this_component && signatures.key_ids.len() == 1);
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(inspect_file(&file), Err(InspectError::Component { .. })));
    }
}
