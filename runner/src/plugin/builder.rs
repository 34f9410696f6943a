//! From an author's source to a component: `plugin build`.
//!
//! Runs the language's own tool, makes a component of what it built, embeds the manifest's exact bytes, and
//! refuses a component whose imports or exports are not what the manifest says. It never signs.

mod files;
mod rust;
#[cfg(test)]
mod tests;
mod toolchain;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use staunch_core::id::Digest;

use super::component::{self, Component, ComponentError};
use super::manifest::{FILE_NAME, Language, Manifest, ManifestError};
use files::{read_bounded, write};
pub use toolchain::{Environment, Toolchain};

/// What was built.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// The component.
    pub file: PathBuf,
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: Digest,
    /// The component's bytes.
    pub size: usize,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// What it exports: `remediation`, `undo`, ...
    pub exports: Vec<String>,
    /// What built it.
    pub toolchain: String,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The directory holds no plugin.
    #[error("there is no {FILE_NAME} in {0}; `staunch plugin new NAME` makes a project")]
    NoProject(String),
    /// The manifest breaks its rules.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No tool for the language.
    #[error(
        "`plugin build` builds rust so far, not {0}: build a component with that language's own tools and embed plugin.toml as the custom section `staunch:manifest`"
    )]
    Language(&'static str),
    /// No toolchain can build for WebAssembly.
    #[error("{0}")]
    Toolchain(String),
    /// The tool could not be started.
    #[error("cannot run {program}")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The tool failed; what it said went to the progress lines.
    #[error("{program} failed ({status}); what it said last:\n{tail}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        tail: String,
    },
    /// The tool built no module.
    #[error(
        "cargo built no WebAssembly module for {0}: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`"
    )]
    NoModule(String),
    /// The module is no plugin.
    #[error("the module is no plugin: {0}; is `staunch_plugin::export!` missing?")]
    Encode(String),
    /// The component is not what its manifest says.
    #[error("the component was built, but it is not what {FILE_NAME} says")]
    Component(#[from] ComponentError),
}

/// Builds the plugin in `directory` and writes `dist/NAME-VERSION.wasm` there. `progress` gets one line at a
/// time, as the tool says it. Blocks for as long as the tool takes.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    directory: &Path,
    environment: &Environment,
    progress: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let manifest_file = directory.join(FILE_NAME);
    if !manifest_file.exists() {
        return Err(BuildError::NoProject(directory.display().to_string()));
    }
    let manifest_bytes = read_bounded(&manifest_file, super::manifest::MAX_BYTES)?;
    let manifest = Manifest::parse(&manifest_file.display().to_string(), &manifest_bytes)?;
    if manifest.language != Language::Rust {
        return Err(BuildError::Language(manifest.language.as_str()));
    }
    let toolchain = Toolchain::find(directory, environment)?;
    progress(&format!("building {} {} with {toolchain}", manifest.name, manifest.version));
    let module = rust::build(directory, environment, &toolchain, progress)?;
    let module = read_bounded(&module, component::MAX_BYTES)?;
    let bytes = assemble(&module, &manifest, &manifest_bytes)?;
    let directory = directory.join("dist");
    std::fs::create_dir_all(&directory).map_err(files::failed("create", &directory))?;
    let file = directory.join(format!("{}-{}.wasm", manifest.name, manifest.version));
    write(&file, &bytes)?;
    report(file, &manifest, &bytes, toolchain.to_string())
}

/// Makes the component of a core module that `wit-bindgen` described: encoded, manifest embedded, checked.
///
/// # Errors
/// When the module has no such description, or is not what the manifest says.
pub fn assemble(module: &[u8], manifest: &Manifest, manifest_bytes: &[u8]) -> Result<Vec<u8>, BuildError> {
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Encode(format!("{error:#}")))?;
    let bytes = component::embed_manifest(&encoded, manifest_bytes)?;
    Component::read(&bytes)?.interface.check_against(manifest)?;
    Ok(bytes)
}

fn report(file: PathBuf, manifest: &Manifest, bytes: &[u8], toolchain: String) -> Result<Built, BuildError> {
    let component = Component::read(bytes)?;
    Ok(Built {
        file,
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        digest: component.digest(),
        size: bytes.len(),
        imports: component.interface.imports.iter().cloned().collect(),
        exports: component.interface.roles().into_iter().map(str::to_owned).collect(),
        toolchain,
    })
}
