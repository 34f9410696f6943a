//! Starts programs: the one place that does. Each is waited for with a deadline, and ended by its own id.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::poll;

/// How long a command may take; installing compiles.
const COMMAND: Duration = Duration::from_secs(120);

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// The program under test: the one that `STAUNCH_PROGRAM` names, else `staunch` in the folder of the test programs.
///
/// # Panics
/// When it is not there: `cargo build --workspace` makes it.
#[must_use]
pub fn staunch() -> PathBuf {
    if let Some(path) = std::env::var_os("STAUNCH_PROGRAM") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().unwrap();
    let folders = own.ancestors().skip(1).take(3);
    let found = folders.map(|folder| folder.join("staunch")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no staunch beside {}: cargo build --workspace", own.display()))
}

/// A command that reads nothing and meets no daemon or token of whoever runs the tests.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for name in ["STAUNCH_URL", "STAUNCH_TOKEN", "STAUNCH_CONFIG", "STAUNCH_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started, or takes longer than two minutes.
#[must_use]
pub fn finish(command: &mut Command) -> Finished {
    finish_within(command, COMMAND)
}

/// Runs a command to its end, which must come in time.
///
/// # Panics
/// When it cannot be started, or is not over in time.
#[must_use]
pub fn finish_within(command: &mut Command, within: Duration) -> Finished {
    let shown = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Running(child.unwrap_or_else(|error| panic!("{shown}: {error}")));
    let mut stdout = child.0.stdout.take().unwrap();
    let mut stderr = child.0.stderr.take().unwrap();
    // Both are read while it runs: one that is full would stop it.
    let out = std::thread::spawn(move || read(&mut stdout));
    let err = std::thread::spawn(move || read(&mut stderr));
    let status = poll::until(&shown, within, || child.0.try_wait().unwrap());
    Finished { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn read(from: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that ends with its value.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts a process with its output in a file.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn ended(&mut self, within: Duration) -> Option<i32> {
        let status = poll::until("the process ends", within, || self.0.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
