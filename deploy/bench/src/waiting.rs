//! Runs that wait for people hold no memory of a guest: how much the daemon grows by a thousand of them.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::alerts;
use crate::api::runs_of;
use crate::client::{Connection, post};
use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN, SOURCE, SOURCE_TOKEN};
use crate::options::Cli;
use crate::proc::{self, Memory};
use crate::report::{Bar, Report, progress};
use crate::workshop::Workshop;

/// By how much the daemon may grow, in MiB.
const MOST: f64 = 5.0;

/// The alert whose runs ask people.
const ASKS: &str = "BenchAsks";

/// How long until all runs wait, at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_secs(1);

/// Memory has settled when it changes by no more than this from one look to the next, in MiB, three times.
const STILL: f64 = 0.05;

/// How long it may take to settle: what is left of its change then is part of the figure.
const SETTLING: Duration = Duration::from_secs(30);

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "waiting", &[PLUGIN.to_owned()]).await?;
    let members = format!(
        "match: ['alertname=\"{ASKS}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
         gate: {{ approvals: 1, roles: [operator], expires: 24h }}\n"
    );
    installation.runbook(workshop, "asks", &members)?;
    let daemon = Daemon::start(&installation).await?;
    // What plans and acts fills caches and pools first, the database's of 32 MiB above all: they are not what is
    // waited with.
    warm_up(workshop, &daemon, cli.many(20_000, 100)).await?;
    report.stopped(daemon.stop().await?);

    let daemon = Daemon::start(&installation).await?;
    act(workshop, &daemon).await?;
    let restarted_before = settled(daemon.pid).await?;
    warm_up(workshop, &daemon, cli.many(20_000, 100)).await?;
    let before = settled(daemon.pid).await?;
    let count = cli.many(1_000, 100);
    progress(&format!("   {count} runs that ask people"));
    let (asking, runs) = ask(workshop, &daemon, count).await.map_err(|error| daemon.blame(error))?;
    let after = settled(daemon.pid).await?;
    tell(report, "same process", count, (before, after), Some(Bar::AtMost(MOST)));
    report.stopped(daemon.stop().await?);

    let daemon = Daemon::start(&installation).await?;
    until_waiting(&daemon, &runs).await?;
    act(workshop, &daemon).await?;
    let restarted = settled(daemon.pid).await?;
    // Without a bar: what was needed to read the runs back is freed, and stays with the allocator.
    tell(report, "restarted", count, (restarted_before, restarted), None);
    report.count("requests of runs that wait", workshop.target.tally(asking).requests, 0);
    report.stopped(daemon.stop().await?);
    report.note(
        "Rss and Anonymous of smaps_rollup, still for three seconds. Same process: before and after they came; \
         restarted: two fresh daemons that acted once",
    );
    Ok(())
}

/// Acts so often.
async fn warm_up(workshop: &Workshop, daemon: &Daemon, count: u64) -> anyhow::Result<()> {
    let walked = daemon.road().at_once(&workshop.target, count, daemon.pid).await;
    walked.map(drop).map_err(|error| daemon.blame(error))
}

/// Acts once, beside what waits.
async fn act(workshop: &Workshop, daemon: &Daemon) -> anyhow::Result<()> {
    let number = workshop.target.numbers(1)?.start;
    daemon.road().send(number).await?;
    let arrival = workshop.target.wait(number, PATIENCE).await;
    arrival.map(drop).context("the alert led to no request").map_err(|error| daemon.blame(error))
}

/// Waits until all of them wait. One after the other: a listing of all would be memory of its own.
async fn until_waiting(daemon: &Daemon, runs: &[String]) -> anyhow::Result<()> {
    let mut session = daemon.api().open().await?;
    for run in runs {
        session.until(run, "waiting", PATIENCE).await?;
    }
    Ok(())
}

fn tell(report: &mut Report, how: &str, count: u64, (before, after): (Memory, Memory), bar: Option<Bar>) {
    report.figure(format!("resident, none waiting, {how}"), before.resident, "MiB", None);
    report.figure(format!("resident, {count} waiting, {how}"), after.resident, "MiB", None);
    report.figure(format!("growth, resident, {how}"), after.resident - before.resident, "MiB", bar);
    report.figure(format!("growth, anonymous, {how}"), after.anonymous - before.anonymous, "MiB", bar);
}

/// Sends alerts whose runs ask people, and waits until all of them do.
async fn ask(workshop: &Workshop, daemon: &Daemon, count: u64) -> anyhow::Result<(Range<u64>, Vec<String>)> {
    let mut connection = Connection::open(daemon.road().address).await?;
    let numbers = workshop.target.numbers(count)?;
    let mut runs = Vec::new();
    for number in numbers.clone() {
        let path = format!("/v1/alerts/{SOURCE}");
        let request = post(&path, SOURCE_TOKEN, &alerts::body_for(ASKS, number));
        runs.extend(runs_of(&connection.exchange(&request).await?)?);
    }
    until_waiting(daemon, &runs).await?;
    Ok((numbers, runs))
}

/// The memory of a process once it changes no more.
async fn settled(pid: u32) -> anyhow::Result<Memory> {
    let began = Instant::now();
    let mut last = proc::memory(pid)?;
    let mut still = 0;
    while still < 3 && began.elapsed() < SETTLING {
        tokio::time::sleep(LOOK).await;
        let now = proc::memory(pid)?;
        let same =
            (now.resident - last.resident).abs() <= STILL && (now.anonymous - last.anonymous).abs() <= STILL;
        still = if same { still + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
