//! The bytes of a component, read without compiling them: manifest section, imports, exports, digest.
//!
//! Reads the top level only and trusts nothing: nested modules are skipped, not parsed. What it says about a
//! component is what the host's linker will see, for names stand in the top level's own sections.

use std::collections::BTreeSet;

use serde::Serialize;
use staunch_core::id::Digest;
use staunch_core::policy::PluginKind;
use wasmparser::{Chunk, ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

use super::listed;
use super::manifest::{Manifest, ManifestError, Patterns};
use crate::sandbox::capability::CAPABILITIES;

/// A larger component is refused unread.
pub const MAX_BYTES: usize = 64 << 20;

/// The custom section that holds the bytes of `plugin.toml`.
pub const MANIFEST_SECTION: &str = "staunch:manifest";

/// The package of the plugin kinds, and its newest version that this host calls.
const PACKAGE: &str = "staunch:plugin";
const PACKAGE_VERSION: semver::Version = semver::Version::new(1, 0, 0);

/// Shared types; no functions.
const TYPES: &str = "staunch:types/types@1.0.0";

const MAX_NAMES: usize = 1000;

/// What the top level of a component says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component<'a> {
    /// The manifest's bytes.
    pub manifest: &'a [u8],
    bytes: &'a [u8],
    /// What it imports and exports.
    pub interface: Interface,
}

/// The names of a component's imports and exports, as its binary has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Interface {
    /// Interfaces that it imports, `staunch:http/http@1.0.0`.
    pub imports: BTreeSet<String>,
    /// Interfaces that it exports, `staunch:plugin/remediation@1.0.0`.
    pub exports: BTreeSet<String>,
}

/// Bytes that are no plugin.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Too many bytes.
    #[error("component has {0} bytes; at most {MAX_BYTES} are accepted")]
    TooLarge(usize),
    /// A core module, or something else.
    #[error("not a WebAssembly component but {0}; `staunch plugin build` makes components")]
    NotAComponent(&'static str),
    /// The binary format is broken.
    #[error("not a well-formed component")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It ends in the middle.
    #[error("component ends in the middle of a section")]
    Truncated,
    /// There is no manifest inside.
    #[error(
        "component has no custom section `{MANIFEST_SECTION}`; `staunch plugin build` embeds plugin.toml there"
    )]
    NoManifest,
    /// There are several.
    #[error("component has more than one custom section `{MANIFEST_SECTION}`")]
    SeveralManifests,
    /// The manifest inside breaks its rules.
    #[error("embedded manifest is not valid")]
    Manifest(#[from] ManifestError),
    /// An import or export that is not an interface, or too many of them.
    #[error("{0}")]
    Interface(String),
    /// What it imports is not what it asks for.
    #[error("imports and requests differ: {0}")]
    Capabilities(String),
}

impl<'a> Component<'a> {
    /// Reads a component.
    ///
    /// # Errors
    /// [`ComponentError`]; the manifest's own rules are not looked at.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ComponentError> {
        let top = TopLevel::read(bytes)?;
        let manifest = match top.manifests[..] {
            [] => return Err(ComponentError::NoManifest),
            [manifest] => manifest,
            _ => return Err(ComponentError::SeveralManifests),
        };
        Ok(Self { manifest, bytes, interface: top.interface })
    }

    /// SHA-256 of all its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes)
    }

    /// Its manifest; `file` names the component in problems.
    ///
    /// # Errors
    /// Every problem of the manifest.
    pub fn parse_manifest(&self, file: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(&named(file), self.manifest)
    }

    /// As [`Component::parse_manifest`], for a plugin that was installed ([`Manifest::parse_again`]).
    pub(super) fn parse_manifest_again(&self, file: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse_again(&named(file), self.manifest)
    }
}

fn named(file: &str) -> String {
    format!("{file}#{MANIFEST_SECTION}")
}

/// The bytes of `component` with `manifest` as its one manifest section.
///
/// # Errors
/// When `component` is none.
pub fn embed_manifest(component: &[u8], manifest: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let top = TopLevel::read(component)?;
    let mut bytes = Vec::with_capacity(component.len() + manifest.len() + 64);
    let mut kept_to = 0;
    for range in top.manifest_ranges {
        bytes.extend_from_slice(&component[kept_to..range.start]);
        kept_to = range.end;
    }
    bytes.extend_from_slice(&component[kept_to..]);
    let section = wasm_encoder::CustomSection {
        name: MANIFEST_SECTION.into(),
        data: std::borrow::Cow::Borrowed(manifest),
    };
    wasm_encoder::ComponentSection::append_to_component(&section, &mut bytes);
    if bytes.len() > MAX_BYTES { Err(ComponentError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

struct TopLevel<'a> {
    manifests: Vec<&'a [u8]>,
    /// Where the manifest sections are, with their headers, in ascending order.
    manifest_ranges: Vec<std::ops::Range<usize>>,
    interface: Interface,
}

impl<'a> TopLevel<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ComponentError> {
        if bytes.len() > MAX_BYTES {
            return Err(ComponentError::TooLarge(bytes.len()));
        }
        if bytes.get(..4) != Some(b"\0asm") {
            return Err(ComponentError::NotAComponent("some other file"));
        }
        let mut top =
            Self { manifests: Vec::new(), manifest_ranges: Vec::new(), interface: Interface::default() };
        let mut parser = Parser::new(0);
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).ok_or(ComponentError::Truncated)?;
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
                return Err(ComponentError::Truncated);
            };
            let start = at;
            at += consumed;
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } => {
                    return Err(ComponentError::NotAComponent("a core module"));
                }
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => {
                    at = unchecked_range.end;
                }
                Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                    top.manifests.push(section.data());
                    top.manifest_ranges.push(start..at);
                }
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let import = import?;
                        top.import(import.name.name, import.ty)?;
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        let export = export?;
                        top.export(export.name.name, export.kind);
                    }
                }
                Payload::End(_) => {
                    return if at == bytes.len() { Ok(top) } else { Err(ComponentError::Truncated) };
                }
                _ => {}
            }
            if top.interface.imports.len() + top.interface.exports.len() > MAX_NAMES {
                let message = format!("component has more than {MAX_NAMES} imports and exports");
                return Err(ComponentError::Interface(message));
            }
        }
    }

    fn import(&mut self, name: &str, ty: ComponentTypeRef) -> Result<(), ComponentError> {
        if !matches!(ty, ComponentTypeRef::Instance(_)) {
            let message =
                format!("component imports `{name}`, which is no interface; plugins import interfaces only");
            return Err(ComponentError::Interface(message));
        }
        self.interface.imports.insert(name.to_owned());
        Ok(())
    }

    fn export(&mut self, name: &str, kind: ComponentExternalKind) {
        if kind == ComponentExternalKind::Instance {
            self.interface.exports.insert(name.to_owned());
        }
    }
}

impl Interface {
    /// The capabilities whose interfaces it imports, without those that need no request.
    ///
    /// # Errors
    /// An import that this host does not answer.
    pub fn capabilities(&self) -> Result<BTreeSet<&'static str>, ComponentError> {
        let mut found = BTreeSet::new();
        for import in &self.imports {
            if import.starts_with("wasi:") {
                continue;
            }
            if let Some(name) = answered(import)? {
                found.insert(name);
            }
        }
        Ok(found)
    }

    /// The imports of WASI, which deterministic stubs answer.
    pub fn wasi(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().map(String::as_str).filter(|import| import.starts_with("wasi:"))
    }

    /// Whether it exports `staunch:plugin/NAME` in a version that this host calls.
    #[must_use]
    pub fn exports_plugin(&self, name: &str) -> bool {
        self.exports.iter().filter_map(|export| parts(export)).any(|(package, interface, version)| {
            package == PACKAGE && interface == name && compatible(&version, &PACKAGE_VERSION)
        })
    }

    /// Checks that the component imports exactly the capabilities that its manifest asks for, and exports what
    /// its kind needs and nothing of another kind.
    ///
    /// # Errors
    /// Both differences, by name.
    pub fn check_against(&self, manifest: &Manifest) -> Result<(), ComponentError> {
        let imported = self.capabilities()?;
        let requested: BTreeSet<&str> = manifest.capabilities.keys().map(String::as_str).collect();
        let mut differences = Vec::new();
        let unasked: Vec<&str> = imported.iter().filter(|name| !requested.contains(*name)).copied().collect();
        if !unasked.is_empty() {
            let names = listed(unasked.iter().copied());
            differences.push(format!(
                "the component imports {names} but plugin.toml does not ask for it: add [capabilities.{}]",
                unasked[0]
            ));
        }
        let unused: Vec<&str> = requested.iter().filter(|name| !imported.contains(*name)).copied().collect();
        if !unused.is_empty() {
            let names = listed(unused.iter().copied());
            differences.push(format!(
                "plugin.toml asks for {names} but the component does not import it: remove [capabilities.{}]",
                unused[0]
            ));
        }
        if !differences.is_empty() {
            return Err(ComponentError::Capabilities(differences.join("; ")));
        }
        self.check_exports(manifest.kind)
    }

    fn check_exports(&self, kind: PluginKind) -> Result<(), ComponentError> {
        for (word, other) in PluginKind::WORDS {
            if self.exports_plugin(word) != (other == kind) {
                let exports = listed(self.exports.iter().map(String::as_str));
                let word = kind.as_str();
                let message = format!(
                    "a {word} exports `staunch:plugin/{word}@1.0.0` and no other kind; this component exports {exports}"
                );
                return Err(ComponentError::Interface(message));
            }
        }
        Ok(())
    }

    /// What it exports, for people: the kinds and the optional interfaces.
    #[must_use]
    pub fn roles(&self) -> Vec<&'static str> {
        ["remediation", "connector", "check", "verification", "undo"]
            .into_iter()
            .filter(|name| self.exports_plugin(name))
            .collect()
    }
}

/// The capability that an import stands for; none for what every plugin may use.
fn answered(import: &str) -> Result<Option<&'static str>, ComponentError> {
    let refuse = |why: String| Err(ComponentError::Interface(format!("component imports `{import}`: {why}")));
    let Some((package, interface, version)) = parts(import) else {
        return refuse("not the name of a versioned interface".to_owned());
    };
    let same = |known: &(&str, &str, semver::Version)| (known.0, known.1) == (package, interface);
    let capability =
        CAPABILITIES.iter().find(|capability| parts(capability.interface).as_ref().is_some_and(same));
    let known = capability.map_or(TYPES, |capability| capability.interface);
    let Some((.., newest)) = parts(known).filter(same) else {
        let names = CAPABILITIES.iter().map(|capability| capability.interface);
        return refuse(format!("this host has no such interface; valid: {}", listed(names)));
    };
    if !compatible(&version, &newest) {
        return refuse(format!("this host answers up to version {newest}"));
    }
    Ok(capability.filter(|capability| capability.pattern.is_some()).map(|capability| capability.name))
}

/// `package:name`, `interface` and version of `package:name/interface@version`.
fn parts(name: &str) -> Option<(&str, &str, semver::Version)> {
    let (path, version) = name.split_once('@')?;
    let (package, interface) = path.split_once('/')?;
    Some((package, interface, semver::Version::parse(version).ok()?))
}

fn compatible(wanted: &semver::Version, newest: &semver::Version) -> bool {
    wanted.pre.is_empty() && wanted.major == newest.major && wanted <= newest
}

/// The requests of a manifest as short lines, `http.send POST https://...`: for people.
#[must_use]
pub fn request_lines(requests: &Patterns) -> Vec<String> {
    requests
        .iter()
        .flat_map(|(capability, functions)| {
            functions.iter().flat_map(move |(function, patterns)| {
                patterns.iter().map(move |pattern| format!("{capability}.{function} {pattern}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
