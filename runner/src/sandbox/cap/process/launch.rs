//! Starts a granted program behind its limits: this program again, which limits itself and then becomes the granted
//! one. So there is no moment in which that, or anything that it starts, runs without them.
//!
//! A pipe tells the host how the start went: it stands in the place of standard input, is never handed on, and closes
//! when the granted program has taken over. Whatever that writes or how it ends, it cannot look like a failed start.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::Command;

/// The hidden subcommand of `staunch` that becomes a granted program.
pub(crate) const SUBCOMMAND: &str = "process-helper";

/// Hard limits of the program and of what it starts. Processor time comes on top, from the deadline.
const RESOURCES: [(Resource, u64); 4] =
    [(Resource::Core, 0), (Resource::Nofile, 1_024), (Resource::As, 8 << 30), (Resource::Fsize, 4 << 30)];
/// The longest message about a start that failed.
const MAX_MESSAGE: u64 = 4 << 10;

/// How the helper is started.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Launcher {
    program: PathBuf,
}

/// Why a program was not started: nothing of it ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    /// `not-found`, `not-permitted` or `io`.
    pub(super) code: &'static str,
    /// The system's words.
    pub(super) message: String,
}

impl NotStarted {
    fn of(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => "not-found",
            io::ErrorKind::PermissionDenied => "not-permitted",
            _ => "io",
        };
        Self { code, message: error.to_string() }
    }
}

impl Launcher {
    /// This very program, even when its file was replaced meanwhile.
    pub(in crate::sandbox) fn this_program() -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }

    #[cfg(test)]
    pub(super) fn at(program: PathBuf) -> Self {
        Self { program }
    }

    /// The command that starts `image` as `name` with processor time for `seconds`, and the pipe that tells how the
    /// start went.
    #[expect(clippy::disallowed_methods, reason = "this is the process capability")]
    pub(super) fn command(
        &self,
        image: &Path,
        name: &str,
        arguments: &[String],
        seconds: u64,
    ) -> io::Result<(Command, io::PipeReader)> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.program);
        command
            .args([SUBCOMMAND, &seconds.to_string()])
            .arg(image)
            .arg(name)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(writer)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok((command, reader))
    }
}

/// Waits until the granted program runs in the helper's place, or the helper says why it does not. It blocks.
pub(super) fn started(pipe: io::PipeReader) -> Result<(), NotStarted> {
    let mut said = String::new();
    pipe.take(MAX_MESSAGE).read_to_string(&mut said).map_err(|error| NotStarted::of(&error))?;
    match said.split_once('\n') {
        None if said.is_empty() => Ok(()),
        Some((code, message)) if !message.is_empty() => {
            let code = ["not-found", "not-permitted"].into_iter().find(|known| *known == code);
            Err(NotStarted { code: code.unwrap_or("io"), message: message.to_owned() })
        }
        _ => Err(NotStarted { code: "io", message: "the helper that limits it failed".to_owned() }),
    }
}

/// The helper's whole life: `SECONDS IMAGE NAME ARGUMENTS...`. It does not return when the program was started.
///
/// `main` calls it for [`SUBCOMMAND`] before anything else is read or opened.
pub(crate) fn helper_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(pipe) = fcntl_dupfd_cloexec(io::stdin().as_fd(), 3) else { return ExitCode::FAILURE };
    let not = NotStarted::of(&become_program(arguments));
    let mut said = String::new();
    if write!(said, "{}\n{}", not.code, not.message).is_ok() {
        // A host that is gone does not want to know.
        let _told = File::from(pipe).write_all(said.as_bytes());
    }
    ExitCode::FAILURE
}

fn become_program(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "it takes SECONDS IMAGE NAME ARGUMENTS...");
    let seconds = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let (Some(seconds), Some(image), Some(name)) = (seconds, arguments.next(), arguments.next()) else {
        return usage();
    };
    for (resource, most) in RESOURCES.into_iter().chain([(Resource::Cpu, seconds)]) {
        if let Err(error) = limit(resource, most) {
            return error;
        }
    }
    exec(&image, &name, arguments)
}

#[expect(clippy::disallowed_methods, reason = "this is the process capability")]
fn exec(image: &OsString, name: &OsString, arguments: impl Iterator<Item = OsString>) -> io::Error {
    let mut command = std::process::Command::new(image);
    command.arg0(name).args(arguments).env_clear().stdin(Stdio::null());
    command.exec()
}

/// A limit that is lower already stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |before| before.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}
