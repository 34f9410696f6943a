//! Native code for verified plugins: compiled in a helper process, kept in an authenticated cache.
//!
//! ```text
//! data/compile.key                     32 random bytes, 0600: authenticates what this host compiled
//! data/compiled/GENERATION-DIGEST.cwasm  code; GENERATION stands for engine settings and exact versions
//! data/compiled/GENERATION-DIGEST.mac    HMAC-SHA-256 over generation, digest and code
//! ```
//!
//! Deserialising trusts its bytes completely, so nothing is mapped whose MAC was not checked on the same open
//! file; code never comes from outside. The daemon itself never compiles: a hostile component may keep a
//! compiler busy for ever, and the helper has limits that the daemon cannot have.

mod cache;
pub mod helper;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use staunch_core::id::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::component::ComponentError;
use super::manifest::{Manifest, ManifestError};
use super::trust::VerifiedPlugin;
use cache::Cache;
use helper::HelperCommand;

/// The exact wasmtime release: serialised code would otherwise be stamped with the major version alone, and
/// code of a vulnerable patch release would still load.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Makes native code of plugins.
#[derive(Debug)]
pub struct Compiler {
    cache: Option<Cache>,
    command: HelperCommand,
}

/// Why a plugin has no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The helper could not be started or spoken with.
    #[error("compile helper failed")]
    Helper(#[source] io::Error),
    /// The helper took too long.
    #[error("component does not compile within {0} seconds")]
    Deadline(u64),
    /// The helper refused the component, or broke on it.
    #[error("component does not compile: {0}")]
    Refused(String),
    /// The helper's code does not load.
    #[error("compiled code does not load: {0}")]
    Load(String),
    /// The cache cannot be used.
    #[error("cannot {doing} {path}")]
    Cache {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// An author's own build: nobody vouches for it, so it may meet scripted worlds only.
///
/// It exists so that `plugin test` works before anything is signed, and so that the word stands wherever
/// such a build is used.
#[derive(Debug, Clone)]
pub struct UnverifiedBuild {
    bytes: Vec<u8>,
    digest: Digest,
    manifest: Manifest,
}

impl UnverifiedBuild {
    /// Takes a build that will run in a scripted world and nowhere else; `file` names it in messages.
    ///
    /// # Errors
    /// When the bytes are no plugin, or its imports are not what it asks for.
    pub fn for_scripted_world(file: &str, bytes: Vec<u8>) -> Result<Self, ComponentError> {
        let component = super::component::Component::read(&bytes)?;
        let manifest = component.parse_manifest(file).map_err(|error: ManifestError| error)?;
        component.interface.check_against(&manifest)?;
        let digest = component.digest();
        Ok(Self { bytes, digest, manifest })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Compiler {
    /// A compiler whose cache is in the daemon's data directory. The directory and the key are made when
    /// they are missing.
    ///
    /// # Errors
    /// When they cannot be made or read, or others than their owner could.
    pub fn new(data: &Path) -> Result<Self, CompileError> {
        Ok(Self { cache: Some(Cache::open(data)?), command: HelperCommand::this_program() })
    }

    /// A compiler that keeps nothing: for commands that have no data directory.
    #[must_use]
    pub fn uncached() -> Self {
        Self { cache: None, command: HelperCommand::this_program() }
    }

    /// The same compiler with another helper program: for programs that are not `staunch` themselves.
    #[must_use]
    pub fn with_helper(mut self, program: PathBuf, arguments: Vec<String>) -> Self {
        self.command = HelperCommand { program, arguments, ..self.command };
        self
    }

    /// The native code of a verified plugin, from the cache or compiled now. Blocks for as long as compiling
    /// takes: up to [`helper::DEADLINE`].
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn load(&self, engine: &Engine, plugin: &VerifiedPlugin) -> Result<Component, CompileError> {
        self.obtain(engine, plugin.digest(), plugin.bytes())
    }

    /// The native code of an unverified build, for a scripted world. Never reached by the daemon.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn load_for_scripted_world(
        &self,
        engine: &Engine,
        build: &UnverifiedBuild,
    ) -> Result<Component, CompileError> {
        self.obtain(engine, build.digest, &build.bytes)
    }

    fn obtain(&self, engine: &Engine, digest: Digest, bytes: &[u8]) -> Result<Component, CompileError> {
        let generation = Generation::of(engine);
        let Some(cache) = &self.cache else {
            let code = self.command.compile(bytes)?;
            return deserialize(engine, &code);
        };
        if let Some(component) = cache.load(engine, &generation, digest) {
            return Ok(component);
        }
        let code = self.command.compile(bytes)?;
        cache.store(&generation, digest, &code)?;
        cache.load(engine, &generation, digest).map_or_else(|| deserialize(engine, &code), Ok)
    }
}

#[expect(unsafe_code, reason = "loading native code is unsafe by nature")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, CompileError> {
    // SAFETY: the bytes came this moment through a pipe from the compile helper, which is this same program.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| CompileError::Load(format!("{error:#}")))
}

/// Everything but the component that decides whether code loads: engine settings, and exact versions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Generation(String);

impl Generation {
    fn of(engine: &Engine) -> Self {
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        (WASMTIME_VERSION, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
        Self(Digest::from_bytes(hasher.0.finalize().into()).hex().chars().take(16).collect())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets SHA-256 take what `Hash` feeds: the standard library's own hasher may change with its version.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for: the whole digest is taken instead.
    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}
