//! Running cargo for one plugin.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde::Deserialize;

use super::BuildError;
use super::files::failed;
use super::toolchain::{Environment, TARGET, Toolchain};

/// Lines of cargo's own words that an error repeats.
const TAIL_LINES: usize = 40;
const QUEUED_LINES: usize = 64;
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What cargo says about a finished part of the build, as far as we need it.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

enum Line {
    /// Of standard output: a JSON message.
    Message(String),
    /// Of standard error: for people.
    Progress(String),
}

/// Builds the package in `directory` and says where its module is.
pub(super) fn build(
    directory: &Path,
    environment: &Environment,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, BuildError> {
    let program = toolchain.cargo.display().to_string();
    let start = |source| BuildError::Start { program: program.clone(), source };
    let manifest = directory.join("Cargo.toml");
    let manifest = std::fs::canonicalize(&manifest).map_err(failed("read", &manifest))?;
    let mut child = command(&manifest, environment, toolchain).spawn().map_err(start)?;
    let lines = lines(child.stdout.take(), child.stderr.take());
    let mut module = None;
    let mut tail = VecDeque::new();
    for line in lines {
        match line {
            Line::Message(text) => module = built(&text, &manifest).or(module),
            Line::Progress(text) => {
                progress(&text);
                tail.push_back(text);
                if tail.len() > TAIL_LINES {
                    tail.pop_front();
                }
            }
        }
    }
    let status = child.wait().map_err(start)?;
    if !status.success() {
        let tail = Vec::from(tail).join("\n");
        return Err(BuildError::Failed { program, status: status.to_string(), tail });
    }
    module.ok_or_else(|| BuildError::NoModule(manifest.display().to_string()))
}

fn command(manifest: &Path, environment: &Environment, toolchain: &Toolchain) -> Command {
    let mut command = environment.command(&toolchain.cargo);
    command
        .args([
            "build",
            "--release",
            "--lib",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .current_dir(manifest.parent().unwrap_or(Path::new("/")))
        .env("RUSTC", &toolchain.rustc)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if toolchain.build_std {
        command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
    }
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    if let Some(target_dir) = &environment.target_dir {
        command.env("CARGO_TARGET_DIR", target_dir);
    }
    command
}

/// Both streams of the child, line by line as they come; ends when the child has closed both.
fn lines(
    output: Option<impl Read + Send + 'static>,
    errors: Option<impl Read + Send + 'static>,
) -> Receiver<Line> {
    let (sender, receiver) = sync_channel(QUEUED_LINES);
    let from_errors = sender.clone();
    thread::spawn(move || each_line(output, |line| sender.send(Line::Message(line)).is_ok()));
    thread::spawn(move || each_line(errors, |line| from_errors.send(Line::Progress(line)).is_ok()));
    receiver
}

fn each_line(stream: Option<impl Read>, mut take: impl FnMut(String) -> bool) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(length) if length > 0 => {}
            _ => return,
        }
        if !take(String::from_utf8_lossy(&line).trim_end().to_owned()) {
            return;
        }
    }
}

/// The module, when the message says that this package's was built.
fn built(message: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(message).ok()?;
    if message.reason != "compiler-artifact" || message.manifest_path != manifest {
        return None;
    }
    message.filenames.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}
