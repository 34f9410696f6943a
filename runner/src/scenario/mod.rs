//! Scenarios: an author's tests of a built plugin, in the real sandbox, against scripted worlds.
//!
//! For the first reader:
//!
//! - `read`: `scenarios/*.yaml`, strictly. The format is described in `plugin-sdk/README.md`.
//! - `world`: answers calls as the file says, and holds effects to the plan.
//! - `rehearse`: plans, acts, and compares with what was expected.
//! - `report`: what came of it.
//! - `bless`: takes what happened for what is expected from now on.
//! - `record`: makes a scenario of what a run of the daemon met in the live world.
//!
//! This is the one place where a build runs that nobody signed: a rehearsal has no way to the real world, for
//! its permit is good for nothing else. Nothing here is reached by the daemon.

mod bless;
mod compare;
mod format;
mod read;
mod record;
mod rehearse;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use self::bless::bless;
pub use self::record::{Open, open_scenarios};
pub use self::report::{Ended, Report, ScenarioReport, SeenEffect, SeenLine};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;

use crate::clock::Clock;
use crate::plugin::{CompileError, Compiler, Manifest, UnverifiedBuild};
use crate::sandbox::{GrantError, Grants, Options, Prepared, Sandbox, SandboxError};

/// The folder of a plugin's project that holds its scenarios.
pub const FOLDER: &str = "scenarios";

/// The most scenarios of one plugin.
pub const MOST_SCENARIOS: usize = 1_000;

/// The largest file of a scenario, in bytes.
pub const FILE_LIMIT: u64 = 1 << 20;

/// Why nothing could be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is nothing to rehearse.
    #[error("{folder} holds no scenario: a file NAME.yaml for each thing that the plugin does")]
    None {
        /// Where scenarios are looked for.
        folder: PathBuf,
    },
    /// Too much to rehearse.
    #[error("{folder} holds more than {MOST_SCENARIOS} scenarios")]
    TooMany {
        /// Where scenarios are looked for.
        folder: PathBuf,
    },
    /// A folder or file cannot be used.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A blessed file would not be a scenario any more; it was left as it is.
    #[error("cannot bless {file}: {message}")]
    Bless {
        /// The file.
        file: String,
        /// What is in the way.
        message: String,
    },
    /// What happened cannot be made a scenario; the file was left as it is.
    #[error("cannot record {file}: {message}")]
    Record {
        /// The file.
        file: String,
        /// What is in the way.
        message: String,
    },
    /// No sandbox.
    #[error("the sandbox cannot be set up")]
    Sandbox(#[from] SandboxError),
    /// No native code.
    #[error("the plugin cannot be compiled")]
    Compile(#[from] CompileError),
    /// The manifest asks for what cannot be asked for.
    #[error("the manifest's capabilities cannot be granted")]
    Grants(#[from] GrantError),
}

/// What a caller may show while scenarios run.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// The plugin is being compiled: this takes seconds for large ones.
    Compiling,
    /// One more scenario ended.
    Ended {
        /// How many ended, this one included.
        done: usize,
        /// How many there are.
        total: usize,
        /// What came of it.
        report: &'a ScenarioReport,
    },
}

/// A sandbox with one build in it, and nothing of the world in reach.
#[derive(Debug)]
pub struct Rehearsal {
    sandbox: Sandbox,
    prepared: Arc<Prepared>,
    grants: Arc<Grants>,
    manifest: Manifest,
}

/// Runs all scenarios of the project in `project` with its `build`, one after the other in the order of their
/// names. A file that is no scenario counts as one that failed.
///
/// # Errors
/// When there are no scenarios, or the build cannot be prepared.
pub async fn run(
    project: &Path,
    build: &UnverifiedBuild,
    compiler: &Compiler,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Report, ScenarioError> {
    let files = files(project)?;
    progress(Progress::Compiling);
    let rehearsal = Rehearsal::new(build, compiler)?;
    let mut scenarios = Vec::with_capacity(files.len());
    for (file, path) in &files {
        let report = rehearsal.run(file, path).await;
        progress(Progress::Ended { done: scenarios.len() + 1, total: files.len(), report: &report });
        scenarios.push(report);
    }
    Ok(Report::new(&rehearsal.manifest, scenarios))
}

impl Rehearsal {
    fn new(build: &UnverifiedBuild, compiler: &Compiler) -> Result<Self, ScenarioError> {
        let manifest = build.manifest().clone();
        let mut options = Options::new(Clock::manual(DateTime::UNIX_EPOCH));
        options.concurrent = 1;
        let sandbox = Sandbox::new(options)?;
        let component = compiler.load_for_scripted_world(sandbox.engine(), build)?;
        let prepared = sandbox.prepare(build.digest(), &component)?;
        let grants = Arc::new(Grants::rehearsal(&manifest.name, &manifest.capabilities)?);
        Ok(Self { sandbox, prepared, grants, manifest })
    }

    async fn run(&self, file: &str, path: &Path) -> ScenarioReport {
        let text = match text_of(path) {
            Ok(text) => text,
            Err(error) => return ScenarioReport::unreadable(file, vec![format!("{file}: {error}")]),
        };
        match read::read(file, &text) {
            Ok(scenario) => rehearse::rehearse(self, &scenario).await,
            Err(problems) => {
                ScenarioReport::unreadable(file, problems.iter().map(ToString::to_string).collect())
            }
        }
    }
}

/// The scenarios of a project in the order of their names: how reports name them, and where they are.
fn files(project: &Path) -> Result<Vec<(String, PathBuf)>, ScenarioError> {
    let folder = project.join(FOLDER);
    let listing = match fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ScenarioError::None { folder }),
        Err(source) => return Err(ScenarioError::File { doing: "list", path: folder, source }),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|source| {
            let path = folder.clone();
            ScenarioError::File { doing: "list", path, source }
        })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !(name.ends_with(".yaml") || name.ends_with(".yml")) {
            continue;
        }
        if found.len() == MOST_SCENARIOS {
            return Err(ScenarioError::TooMany { folder });
        }
        found.push((format!("{FOLDER}/{name}"), entry.path()));
    }
    if found.is_empty() {
        return Err(ScenarioError::None { folder });
    }
    found.sort();
    Ok(found)
}

fn text_of(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_LIMIT {
        return Err(io::Error::other(format!("larger than {FILE_LIMIT} bytes")));
    }
    fs::read_to_string(path)
}
