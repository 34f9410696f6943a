//! Starts other programs: the one place that does. Every one is waited for, with a deadline.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it said, the end of it, in one line.
    pub(crate) fn said(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text.trim()
            .lines()
            .rev()
            .take(3)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join(" / ")
    }
}

/// A program that is ended when nobody holds it any more, and reads nothing.
#[expect(clippy::disallowed_methods, reason = "the benchmark's own programs are started here alone")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    // A daemon or token of whoever runs this must not be met.
    for name in ["STAUNCH_URL", "STAUNCH_TOKEN", "STAUNCH_CONFIG", "STAUNCH_LOG"] {
        command.env_remove(name);
    }
    // A panic shall show in the end of a log, not be pushed out of it.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// Runs a program to its end.
pub(crate) async fn finish(mut command: Command, within: Duration) -> anyhow::Result<Finished> {
    let shown = format!("{:?}", command.as_std());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::time::timeout(within, command.output())
        .await
        .with_context(|| format!("{shown} took longer than {within:?}"))?
        .with_context(|| format!("{shown} cannot be started"))?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program that must succeed; its stdout.
pub(crate) async fn succeed(command: Command, within: Duration) -> anyhow::Result<String> {
    let shown = format!("{:?}", command.as_std());
    let finished = finish(command, within).await?;
    match finished.code {
        Some(0) => Ok(finished.stdout),
        code => bail!(
            "{shown} failed ({}): {}",
            code.map_or_else(|| "signal".to_owned(), |c| c.to_string()),
            finished.said()
        ),
    }
}

/// Whether a program can be started at all.
pub(crate) async fn exists(program: &str, flag: &str) -> bool {
    let mut command = command(program);
    command.arg(flag);
    finish(command, Duration::from_secs(10)).await.is_ok_and(|finished| finished.code == Some(0))
}

/// Asks a process to stop and waits for it; ends it when it does not. Whether it stopped by itself with success.
pub(crate) async fn stop(mut child: Child, pid: u32, within: Duration) -> anyhow::Result<bool> {
    let id = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("process id")?;
    // It may have ended already: then waiting says how.
    rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
    match tokio::time::timeout(within, child.wait()).await {
        Ok(status) => Ok(status.context("wait")?.success()),
        Err(_) => {
            rustix::process::kill_process(id, rustix::process::Signal::KILL).ok();
            child.kill().await.context("kill")?;
            Ok(false)
        }
    }
}

/// The end of a log file, for messages.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(lines).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}
