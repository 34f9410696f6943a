//! The compile helper: this program again, with limits, reading a component and writing native code.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, setrlimit};
use wasmtime::Engine;

use super::CompileError;
use crate::plugin::component::MAX_BYTES;
use crate::sandbox::engine;

/// The hidden subcommand of `staunch` that is the helper.
pub const SUBCOMMAND: &str = "compile-helper";

/// How long a component may take to compile.
pub const DEADLINE: Duration = Duration::from_secs(60);

const MAX_CODE_BYTES: u64 = 512 << 20;
const MAX_MESSAGE_BYTES: u64 = 16 << 10;
const MAX_ADDRESS_SPACE: u64 = 4 << 30;
const MAX_OPEN_FILES: u64 = 16;

/// How the helper is started.
#[derive(Debug, Clone)]
pub(super) struct HelperCommand {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) deadline: Duration,
}

/// What the helper did.
struct Answer {
    status: io::Result<ExitStatus>,
    code: io::Result<Vec<u8>>,
    message: String,
}

/// The helper's whole life: limits itself, reads a component from `input`, writes its native code to
/// `output`.
///
/// `main` calls it for [`SUBCOMMAND`] before anything else is read or opened, prints an error to standard
/// error and exits with 1.
///
/// # Errors
/// When the limits cannot be set, the input is too large, or the component does not compile.
pub fn helper_main(input: impl Read, mut output: impl Write) -> io::Result<()> {
    limit(Resource::As, MAX_ADDRESS_SPACE)?;
    limit(Resource::Cpu, DEADLINE.as_secs())?;
    limit(Resource::Nofile, MAX_OPEN_FILES)?;
    limit(Resource::Core, 0)?;
    // It has no file to write, but wasmtime sizes anonymous ones.
    limit(Resource::Fsize, MAX_CODE_BYTES)?;
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    input.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other(format!("component is larger than {MAX_BYTES} bytes")));
    }
    let compiled = Engine::new(&engine::config()).and_then(|engine| engine.precompile_component(&bytes));
    output.write_all(&compiled.map_err(|error| io::Error::other(format!("{error:#}")))?)?;
    output.flush()
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

impl HelperCommand {
    /// This very program, even when its file was replaced meanwhile: code must come from the same wasmtime.
    pub(super) fn this_program() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![SUBCOMMAND.to_owned()],
            deadline: DEADLINE,
        }
    }

    /// Native code of a component.
    pub(super) fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let answer = self.run(component)?;
        let status = answer.status.map_err(CompileError::Helper)?;
        if status.success() {
            return answer.code.map_err(CompileError::Helper);
        }
        let message = answer.message.trim();
        Err(CompileError::Refused(if message.is_empty() { status.to_string() } else { message.to_owned() }))
    }

    fn run(&self, component: &[u8]) -> Result<Answer, CompileError> {
        let child = self.spawn().map_err(CompileError::Helper)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (sender, receiver) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                // The receiver is there for as long as this thread is.
                let _sent = sender.send(converse(child, component));
            });
            let answer = receiver.recv_timeout(self.deadline);
            if let (Err(_), Some(group)) = (&answer, group) {
                // A group that is gone already needs no signal.
                let _gone = kill_process_group(group, Signal::KILL);
            }
            answer.map_err(|_| CompileError::Deadline(self.deadline.as_secs()))
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the compile helper is one of the two programs ever started"
    )]
    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// Gives the child its component and takes all that it says, both at once so that neither waits for the other.
fn converse(mut child: Child, component: &[u8]) -> Answer {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // A helper that stops reading says why on its standard error.
            let _broken = input.map(|mut input| input.write_all(component));
        });
        let message = scope.spawn(move || {
            let bytes = errors.map(|errors| read(errors, MAX_MESSAGE_BYTES)).and_then(Result::ok);
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        });
        let code = output.map_or_else(|| Ok(Vec::new()), |output| read(output, MAX_CODE_BYTES));
        Answer { status: child.wait(), code, message: message.join().unwrap_or_default() }
    })
}

/// All of a pipe; beyond `most` bytes it is an error, and the pipe is closed.
fn read(pipe: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = pipe.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!("compile helper wrote more than {most} bytes")));
    }
    Ok(bytes)
}
