//! Finding a Rust toolchain that can build for `wasm32-unknown-unknown`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BuildError;

/// The target of Rust plugins: no WASI, so the component imports our interfaces alone.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Where distributions put the compiler beside rustup's.
const SYSTEM: &str = "/usr/bin";

/// What of an outer cargo or rustup would change how the plugin is built.
const NOT_INHERITED: &[&str] = &[
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
];

/// What the build knows of the process's environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `PATH`: where tools are looked for.
    pub path: OsString,
    /// `RUSTUP_HOME`, or `.rustup` in the home directory: whose toolchains have a linker to lend.
    pub rustup_home: Option<PathBuf>,
    /// Where cargo is to build; else what `CARGO_TARGET_DIR` says, else the plugin's `target`.
    pub target_dir: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup"));
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            rustup_home: std::env::var_os("RUSTUP_HOME").map(PathBuf::from).or(home),
            target_dir: None,
        }
    }

    /// A program of the author's tools. The build starts nothing else.
    #[expect(clippy::disallowed_methods, reason = "an author's own build runs the author's own compiler")]
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command.env("PATH", &self.path);
        command
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|directory| directory.join(name)).find(|path| path.is_file())
    }
}

/// A compiler, its cargo, and what they need to build for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// `rustc --version`.
    version: String,
    /// Whether the standard library is built from its sources along with the plugin.
    pub(super) build_std: bool,
    /// A linker, where the toolchain has none of its own.
    pub(super) linker: Option<PathBuf>,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {TARGET}", self.version)?;
        if self.build_std { f.write_str(", building the standard library from its sources") } else { Ok(()) }
    }
}

/// What a compiler said about itself.
struct Candidate {
    cargo: PathBuf,
    rustc: PathBuf,
    version: String,
    sysroot: PathBuf,
}

impl Toolchain {
    /// The first toolchain that can do it: one with the target installed, else one with the library's sources.
    ///
    /// # Errors
    /// What to install, for both ways.
    pub fn find(directory: &Path, environment: &Environment) -> Result<Self, BuildError> {
        let on_path = environment.find("rustc").zip(environment.find("cargo"));
        let system = (Path::new(SYSTEM).join("rustc"), Path::new(SYSTEM).join("cargo"));
        let candidates: Vec<Candidate> = on_path
            .into_iter()
            .chain([system])
            .filter_map(|(rustc, cargo)| Candidate::ask(directory, environment, rustc, cargo))
            .collect();
        if let Some(candidate) = candidates.iter().find(|candidate| candidate.has_target()) {
            // Distributions leave the linker to the system.
            let linker = if candidate.has_linker() { None } else { linker(environment) };
            return Ok(candidate.toolchain(false, linker));
        }
        let Some(candidate) = candidates.iter().find(|candidate| candidate.has_sources()) else {
            return Err(BuildError::Toolchain(advice(&candidates)));
        };
        if candidate.has_linker() {
            return Ok(candidate.toolchain(true, None));
        }
        let linker = linker(environment).ok_or_else(|| {
            let version = &candidate.version;
            BuildError::Toolchain(format!(
                "{version} has no linker for WebAssembly: install `lld` (`apt-get install lld`), or any rustup toolchain"
            ))
        })?;
        Ok(candidate.toolchain(true, Some(linker)))
    }
}

impl Candidate {
    fn ask(directory: &Path, environment: &Environment, rustc: PathBuf, cargo: PathBuf) -> Option<Self> {
        if !cargo.is_file() {
            return None;
        }
        let ask = |argument: &[&str]| {
            let output = environment.command(&rustc).args(argument).current_dir(directory).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let version = ask(&["--version"])?;
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
        Some(Self { cargo, rustc, version, sysroot })
    }

    fn toolchain(&self, build_std: bool, linker: Option<PathBuf>) -> Toolchain {
        Toolchain {
            cargo: self.cargo.clone(),
            rustc: self.rustc.clone(),
            version: self.version.clone(),
            build_std,
            linker,
        }
    }

    fn has_target(&self) -> bool {
        self.sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
    }

    fn has_sources(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/Cargo.toml").is_file()
    }

    fn has_linker(&self) -> bool {
        bundled_linker(&self.sysroot).is_some()
    }
}

/// `rust-lld` of a toolchain.
fn bundled_linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|path| path.is_file())
}

/// A linker for WebAssembly from elsewhere: the system's, else one that some rustup toolchain brought along.
fn linker(environment: &Environment) -> Option<PathBuf> {
    let installed = ["rust-lld", "wasm-ld"].iter().find_map(|name| environment.find(name));
    let versioned = || subdirectories(Path::new("/usr/lib"), "llvm-").map(|llvm| llvm.join("bin/wasm-ld"));
    let toolchains =
        || environment.rustup_home.iter().flat_map(|home| subdirectories(&home.join("toolchains"), ""));
    installed
        .or_else(|| versioned().find(|path| path.is_file()))
        .or_else(|| toolchains().find_map(|toolchain| bundled_linker(&toolchain)))
}

/// The directories in `parent` whose name begins with `prefix`, in the order of their names.
fn subdirectories(parent: &Path, prefix: &str) -> std::vec::IntoIter<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(prefix)))
        .collect();
    found.sort();
    found.into_iter()
}

fn advice(candidates: &[Candidate]) -> String {
    let found = match candidates {
        [] => "no Rust toolchain was found".to_owned(),
        some => {
            let versions: Vec<&str> = some.iter().map(|candidate| candidate.version.as_str()).collect();
            format!("no Rust toolchain can build for {TARGET} (looked at {})", versions.join(", "))
        }
    };
    format!(
        "{found}; install one of:\n  rustup: https://rustup.rs, then `rustup target add {TARGET}`\n  Debian: \
         `apt-get install cargo-web rustc-web rust-web-src lld`"
    )
}
