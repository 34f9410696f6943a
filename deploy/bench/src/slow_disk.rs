//! The road with every fsync and fdatasync two milliseconds longer: real disks are slower than most that
//! benchmarks run on. By a preloaded library where there is a C compiler, else by strace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::process;
use crate::report::{Report, progress};
use crate::road;
use crate::workshop::Workshop;

const SOURCE: &str = include_str!("slow_sync.c");

/// How much longer each sync takes.
const DELAY: Duration = Duration::from_millis(2);

/// The way in which the disk is made slow.
#[derive(Debug)]
pub(crate) enum Slow {
    /// A library that stands before the C library.
    Preload {
        /// The library.
        library: PathBuf,
        /// Where it counts.
        count: PathBuf,
    },
    /// The daemon runs under strace.
    Strace,
}

impl Slow {
    /// The better way that this machine has.
    async fn find(folder: &Path) -> anyhow::Result<Self> {
        match Self::preload(folder).await {
            Ok(preload) => Ok(preload),
            Err(error) => {
                progress(&format!(
                    "   no preload ({error:#}): strace instead, whose own cost is in the figures"
                ));
                if !process::exists("strace", "--version").await {
                    bail!("neither a C compiler (apt install gcc) nor strace (apt install strace) is there");
                }
                Ok(Self::Strace)
            }
        }
    }

    async fn preload(folder: &Path) -> anyhow::Result<Self> {
        let source = folder.join("slow_sync.c");
        let (library, count) = (folder.join("slow_sync.so"), folder.join("syncs"));
        std::fs::write(&source, SOURCE).context("slow_sync.c")?;
        std::fs::write(&count, 0_u64.to_ne_bytes()).context("the count of syncs")?;
        let mut compiler = process::command("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source);
        process::succeed(compiler, Duration::from_secs(60)).await?;
        Ok(Self::Preload { library, count })
    }

    /// Whether another process stands between this one and the daemon.
    pub(crate) fn is_traced(&self) -> bool {
        matches!(self, Self::Strace)
    }

    /// The same command with a slow disk.
    pub(crate) fn wrap(&self, mut command: Command) -> Command {
        let delay = DELAY.as_micros();
        match self {
            Self::Preload { library, count } => {
                command.env("LD_PRELOAD", library).env("STAUNCH_BENCH_SYNCS", count);
                command.env("STAUNCH_BENCH_DELAY_US", delay.to_string());
                command
            }
            Self::Strace => {
                let mut traced = process::command("strace");
                traced.args([
                    "-f",
                    "--seccomp-bpf",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    "trace=fsync,fdatasync",
                    "-e",
                ]);
                traced.arg(format!("inject=fsync,fdatasync:delay_exit={delay}"));
                traced.arg(command.as_std().get_program()).args(command.as_std().get_args());
                if let Some(folder) = command.as_std().get_current_dir() {
                    traced.current_dir(folder);
                }
                traced
            }
        }
    }

    /// How many syncs there were, where they are counted.
    fn syncs(&self) -> Option<u64> {
        let Self::Preload { count, .. } = self else { return None };
        let bytes = std::fs::read(count).ok()?;
        Some(u64::from_ne_bytes(*bytes.first_chunk()?))
    }
}

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "slow-disk", &[PLUGIN.to_owned()]).await?;
    let mut slow = Slow::find(workshop.folder()).await?;
    let mut daemon = Daemon::start_slow(&installation, &slow).await?;
    daemon.road().in_turn(&workshop.target, 1).await?;
    if slow.syncs() == Some(0) {
        progress("   the preloaded library sees no sync: strace instead");
        report.stopped(daemon.stop().await?);
        slow = Slow::Strace;
        daemon = Daemon::start_slow(&installation, &slow).await?;
    }
    let (before, arrived) = (slow.syncs(), workshop.target.total());
    road::walk(workshop, &daemon, cli.slow_road(), None, report).await?;
    if let (Some(before), Some(after)) = (before, slow.syncs()) {
        // Half of what arrived came from the relay, but for the turn at the end that only the daemon takes.
        let effort = cli.slow_road();
        let relayed = effort.warm_up + effort.rounds * (effort.in_turn + effort.at_once);
        let runs = (workshop.target.total() - arrived).saturating_sub(relayed);
        let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        report.figure(
            "syncs a run, all turns together",
            float(after - before) / float(runs.max(1)),
            "",
            None,
        );
    }
    let way = if slow.is_traced() { "strace" } else { "a preloaded library" };
    report.note(format!("every fsync and fdatasync takes 2 ms longer, by {way}"));
    report.stopped(daemon.stop().await?);
    Ok(())
}
