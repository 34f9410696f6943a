//! `process`: native programs that the grants name. The sandbox ends at the program, so it gets as little as
//! possible: no shell, no environment, no input, a process group and resource limits of its own.
//!
//! The limits are there before the program is: see [`launch`]. A program that makes a session of its own leaves the
//! group, with its limits.

mod image;
pub(crate) mod launch;
mod output;

use std::io::PipeReader;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::effect::CallError;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use wasmtime::component::{ComponentType, Linker, Lower};

use self::image::Image;
use self::output::Captured;
use super::table;
use super::types::Intent;
use crate::sandbox::broker::{self, Failure, Function, Site};
use crate::sandbox::capability;
use crate::sandbox::grants::{ArgvLeave, Grants};
use crate::sandbox::run::Run as RunState;
use crate::sandbox::scrub::{Scrub, Scrubber};

const MAX_ARGUMENTS: usize = 256;
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// How long the pipes may stay open after the program has ended: a process that left the group may hold them.
const DRAIN: Duration = Duration::from_millis(500);

/// `process.output`
#[derive(Debug, Clone, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Output {
    #[serde(default)]
    code: Option<i32>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    truncated: bool,
}

impl Scrub for Output {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.text(&mut self.stdout);
        scrubber.text(&mut self.stderr);
    }
}

/// `process.run`
struct Run {
    program: String,
    arguments: Vec<String>,
    timeout: Option<u32>,
}

impl Run {
    fn new(program: String, arguments: Vec<String>, timeout: Option<u32>) -> Result<Self, CallError> {
        let invalid =
            |message: String| CallError { code: "invalid-argument".to_owned(), message, retryable: false };
        let plain = program
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
        if !plain || program.len() > 4_096 || program.contains('\0') {
            return Err(invalid(format!("{program:?} is not a plain absolute path")));
        }
        let bytes: usize = arguments.iter().map(String::len).sum();
        if arguments.len() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
            return Err(invalid(format!(
                "more than {MAX_ARGUMENTS} arguments or {MAX_ARGUMENT_BYTES} bytes of them"
            )));
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(invalid("an argument holds a zero byte".to_owned()));
        }
        Ok(Self { program, arguments, timeout })
    }
}

impl Function for Run {
    const FUNCTION: &'static capability::Function = table!("process", "run");
    type Output = Output;
    type Leave = ArgvLeave;

    fn target(&self, host: Option<&str>) -> String {
        format!("{}/process:{}", host.unwrap_or("unknown"), self.program)
    }

    fn host_bound(&self) -> bool {
        true
    }

    fn arguments(&self) -> Value {
        json!({ "program": self.program, "arguments": self.arguments, "timeout_ms": self.timeout })
    }

    fn authorise(&self, grants: &Grants) -> Result<ArgvLeave, CallError> {
        grants.process(&self.program, &self.arguments)
    }

    fn assume(&self) -> Output {
        Output { code: Some(0), stdout: String::new(), stderr: String::new(), truncated: false }
    }

    async fn perform(&self, site: Site<'_, ArgvLeave>) -> Result<Output, Failure> {
        let own = self.timeout.map(|timeout| Instant::now() + Duration::from_millis(u64::from(timeout)));
        let deadline = own.map_or(site.deadline, |own| own.min(site.deadline));
        let image = Image::open(&self.program, site.leave.pin).await?;
        let seconds = deadline.saturating_duration_since(Instant::now()).as_secs() + 2;
        let launch = site.world.launcher.command(&image.path(), &self.program, &self.arguments, seconds);
        let mut group = Group::spawn(launch, &self.program, deadline).await?;
        drop(image);
        let captured = Captured::start(&mut group.child);
        let Ok(status) = tokio::time::timeout_at(deadline, group.child.wait()).await else {
            group.kill().await;
            return Err(timed_out(&self.program));
        };
        // What it left behind in its group must not go on without it.
        group.kill().await;
        let status = status.map_err(|error| {
            Failure::in_doubt("io", format!("{} cannot be waited for: {error}", self.program))
        })?;
        let (stdout, stderr, truncated) = captured.finish(DRAIN).await;
        if let Some(signal) = status.signal() {
            tracing::debug!(program = self.program, signal, "a program was ended by a signal");
        }
        Ok(Output { code: status.code(), stdout, stderr, truncated })
    }
}

/// A program and all that it started, unless that left the group.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    /// Starts a program; when it fails, nothing of it ran.
    async fn spawn(
        launch: std::io::Result<(Command, PipeReader)>,
        program: &str,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let failed = |code, message: &dyn std::fmt::Display| {
            Failure::known(code, format!("cannot start {program}: {message}"), false)
        };
        let (mut command, pipe) = launch.map_err(|error| failed("io", &error))?;
        let child = command.spawn().map_err(|error| failed("io", &error))?;
        // It holds the other end of the pipe, which must close with the helper.
        drop(command);
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let mut group = Self { child, leader };
        let started = tokio::task::spawn_blocking(move || launch::started(pipe));
        let failure = match tokio::time::timeout_at(deadline, started).await {
            Ok(Ok(Ok(()))) => return Ok(group),
            Ok(Ok(Err(not))) => failed(not.code, &not.message),
            Ok(Err(error)) => Failure::in_doubt("io", format!("{program} may have been started: {error}")),
            Err(_) => timed_out(program),
        };
        group.kill().await;
        Err(failure)
    }

    async fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            kill_group(leader);
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "a program cannot be reaped");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            kill_group(leader);
        }
    }
}

fn timed_out(program: &str) -> Failure {
    let message = format!("{program} ran into its time limit and was killed with all that it started");
    Failure::known("timeout", message, false)
}

fn kill_group(leader: Pid) {
    if let Err(error) = kill_process_group(leader, Signal::KILL) {
        // Most often there is nobody left in it.
        tracing::trace!(%error, "a process group was not killed");
    }
}

pub(super) fn link(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:process/process@1.0.0")?;
    type Arguments = (String, Vec<String>, Option<u32>, Intent);
    interface.func_wrap_async("run", |store, (program, arguments, timeout, intent): Arguments| {
        let function = Run::new(program, arguments, timeout);
        Box::new(async move { Ok((broker::effect(store, function, intent).await?,)) })
    })
}

#[cfg(test)]
mod tests;
