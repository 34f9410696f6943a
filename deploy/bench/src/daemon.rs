//! The processes that are measured: the daemon, and the bare relay beside it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::api::Api;
use crate::installation::{Installation, SOURCE, SOURCE_TOKEN};
use crate::load::Road;
use crate::report::progress;
use crate::slow_disk::Slow;
use crate::workshop::Workshop;
use crate::{proc, process};

/// What the daemon says when it is ready, before its address.
const DAEMON_GREETING: &str = "staunch: listening on http://";

/// What the relay says.
pub(crate) const RELAY_GREETING: &str = "relay: listening on ";

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(60);

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// Its own process id.
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    /// From its start to its greeting.
    pub(crate) ready_in: Duration,
    token: String,
    log: PathBuf,
    child: Child,
    /// Open to its end: a daemon that cannot write would be another one.
    _stdout: BufReader<ChildStdout>,
}

impl Daemon {
    /// Starts the daemon of an installation as it is.
    pub(crate) async fn start(installation: &Installation) -> anyhow::Result<Self> {
        Self::start_command(installation, installation.command(&["serve"])).await
    }

    /// Starts it with a slower disk.
    pub(crate) async fn start_slow(installation: &Installation, slow: &Slow) -> anyhow::Result<Self> {
        let mut daemon =
            Self::start_command(installation, slow.wrap(installation.command(&["serve"]))).await?;
        if slow.is_traced() {
            daemon.pid = proc::child(daemon.pid).context("the traced daemon")?;
        }
        Ok(daemon)
    }

    async fn start_command(installation: &Installation, mut command: Command) -> anyhow::Result<Self> {
        let log = installation.folder.join("daemon.log");
        // Of the last start only: messages show its end.
        let stderr = std::fs::File::create(&log).context("the log")?;
        command.stdout(Stdio::piped()).stderr(stderr);
        let began = Instant::now();
        let mut child = command.spawn().context("the daemon cannot be started")?;
        let pid = child.id().context("the daemon has no process id")?;
        let (address, stdout) = greeting(&mut child, DAEMON_GREETING)
            .await
            .with_context(|| format!("the daemon did not start; its log:\n{}", process::tail(&log, 12)))?;
        let ready_in = began.elapsed();
        Ok(Self { pid, address, ready_in, token: installation.token.clone(), log, child, _stdout: stdout })
    }

    /// The way in for alerts.
    pub(crate) fn road(&self) -> Road {
        Road {
            address: self.address,
            path: format!("/v1/alerts/{SOURCE}"),
            token: SOURCE_TOKEN.to_owned(),
            api: Some(self.api()),
        }
    }

    /// The way in for questions.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.address, self.token.clone())
    }

    /// The administrator's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// An error, with the end of the daemon's log where there is one.
    pub(crate) fn blame(&self, error: anyhow::Error) -> anyhow::Error {
        let log = process::tail(&self.log, 12);
        if log.is_empty() { error } else { error.context(format!("the daemon's log ends with:\n{log}\n")) }
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the daemon does not end")
    }

    /// Stops it as an operator would; whether it ended by itself, with success.
    pub(crate) async fn stop(self) -> anyhow::Result<bool> {
        let clean = process::stop(self.child, self.pid, STOP).await?;
        if !clean {
            progress(&format!(
                "   the daemon did not stop cleanly; its log ends with: {}",
                process::tail(&self.log, 3)
            ));
        }
        Ok(clean)
    }
}

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    pid: u32,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Relay {
    pub(crate) async fn start(workshop: &Workshop) -> anyhow::Result<Self> {
        let mut command = process::command(&workshop.own);
        command.args(["relay", "--target", &workshop.target.address().to_string()]);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().context("the relay cannot be started")?;
        let pid = child.id().context("the relay has no process id")?;
        let (address, stdout) =
            greeting(&mut child, RELAY_GREETING).await.context("the relay did not start")?;
        Ok(Self { address, pid, child, _stdout: stdout })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn road(&self) -> Road {
        Road { address: self.address, path: "/".to_owned(), token: "none".to_owned(), api: None }
    }

    /// Ends it: it has nothing to lose.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the relay does not end")
    }
}

/// Reads the first line, which holds the address.
async fn greeting(child: &mut Child, words: &str) -> anyhow::Result<(SocketAddr, BufReader<ChildStdout>)> {
    let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
    let mut line = String::new();
    tokio::time::timeout(START, stdout.read_line(&mut line))
        .await
        .context("not ready in time")?
        .context("stdout")?;
    let address = line.trim().strip_prefix(words).ok_or_else(|| match line.as_str() {
        "" => anyhow!("it ended without a word"),
        line => anyhow!("it said {line:?}"),
    })?;
    Ok((address.parse().with_context(|| address.to_owned())?, stdout))
}
