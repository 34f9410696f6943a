//! Ten plugins installed: how fast the daemon starts, what it holds at rest, and how soon it acts.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::proc;
use crate::report::{Bar, Report, progress};
use crate::stats::{median, milliseconds};
use crate::workshop::Workshop;

/// How long the daemon rests before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// Starts between two that also act.
const ACTING: u64 = 4;

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let mut plugins = vec![PLUGIN.to_owned()];
    plugins.extend((2..=10).map(|number| format!("{PLUGIN}-{number}")));
    progress("   installing ten plugins");
    let installation = Installation::ready(workshop, "idle", &plugins).await?;
    progress("   starting and stopping");
    // The first start fills the caches of the disk and of compiled code.
    let first = Daemon::start(&installation).await?;
    let cold = first.ready_in;
    report.stopped(first.stop().await?);
    let (mut starts, mut actions, mut from_start) = (Vec::new(), Vec::new(), Vec::new());
    let mut clean = 0;
    let count = cli.many(20, 5);
    for number in 0..count {
        let began = Instant::now();
        let daemon = Daemon::start(&installation).await?;
        starts.push(milliseconds(daemon.ready_in));
        if number % ACTING == 0 {
            let ready = Instant::now();
            let arrival = act(workshop, &daemon).await?;
            actions.push(milliseconds(arrival.saturating_duration_since(ready)));
            from_start.push(milliseconds(arrival.saturating_duration_since(began)));
        }
        clean += u64::from(daemon.stop().await?);
    }
    report.count("daemons that stop cleanly as soon as they are asked", clean, count);
    report.figure("exec to ready, the first start", milliseconds(cold), "ms", None);
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    report.figure(format!("exec to ready, median of {count}"), median(starts), "ms", Some(Bar::AtMost(15.0)));
    report.figure("exec to ready, slowest", slowest, "ms", None);
    report.figure("ready to the first POST arrived, median", median(actions), "ms", None);
    report.figure("exec to the first POST arrived, median", median(from_start), "ms", None);
    memory(workshop, &installation, report).await
}

/// Sends one alert on a new connection; when its request arrived.
async fn act(workshop: &Workshop, daemon: &Daemon) -> anyhow::Result<Instant> {
    let number = workshop.target.numbers(1)?.start;
    daemon.road().send(number).await?;
    let arrival = workshop.target.wait(number, Duration::from_secs(10)).await;
    arrival.context("the first alert led to no request").map_err(|error| daemon.blame(error))
}

async fn memory(workshop: &Workshop, installation: &Installation, report: &mut Report) -> anyhow::Result<()> {
    let daemon = Daemon::start(installation).await?;
    tokio::time::sleep(REST).await;
    let idle = proc::memory(daemon.pid)?;
    report.figure("memory at rest, resident", idle.resident, "MiB", Some(Bar::AtMost(32.0)));
    report.figure("memory at rest, of it anonymous", idle.anonymous, "MiB", Some(Bar::AtMost(8.0)));
    report.figure("memory at start, peak resident", idle.peak, "MiB", None);
    act(workshop, &daemon).await?;
    tokio::time::sleep(REST).await;
    let acted = proc::memory(daemon.pid)?;
    report.figure("memory after one action, resident", acted.resident, "MiB", None);
    report.figure("memory after one action, of it anonymous", acted.anonymous, "MiB", None);
    report.stopped(daemon.stop().await?);
    Ok(())
}
