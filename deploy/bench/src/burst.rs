//! A burst for one target that may be acted on once: exactly one effect, whatever comes in and whenever the power
//! goes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::alerts;
use crate::api::Session;
use crate::client::{Connection, post};
use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN};
use crate::load::{Road, WORKERS};
use crate::options::Cli;
use crate::report::{Report, progress};
use crate::stats::{Chance, milliseconds};
use crate::workshop::Workshop;

/// How often the power goes.
const KILLS: u64 = 5;

/// How long one alert is sent again, and how long the runs may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a sender waits before it sends again, as Alertmanager would, only sooner.
const AGAIN: Duration = Duration::from_millis(10);

/// How long to listen for requests that should not come.
const AFTERWARDS: Duration = Duration::from_secs(2);

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let mut chance = Chance::new(cli.seed);
    burst(cli, workshop, report, 0, &mut chance).await?;
    burst(cli, workshop, report, KILLS, &mut chance).await
}

/// The alerts that are still to be sent, and how it goes.
#[derive(Debug)]
struct Queue {
    left: Mutex<VecDeque<u64>>,
    accepted: AtomicU64,
    again: AtomicU64,
}

async fn burst(
    cli: &Cli,
    workshop: &Workshop,
    report: &mut Report,
    kills: u64,
    chance: &mut Chance,
) -> anyhow::Result<()> {
    let how = if kills == 0 { "without a power cut".to_owned() } else { format!("over {kills} power cuts") };
    let installation = Installation::ready(workshop, &format!("burst-{kills}"), &[PLUGIN.to_owned()]).await?;
    let members = format!(
        "match: ['alertname=\"{}\"']\ntarget: the-one\nautonomy: automatic\nlimits: {{ per_target: 1 per 10m }}\n",
        alerts::NAME
    );
    installation.runbook(workshop, PLUGIN, &members)?;
    let count = cli.many(1_000, 200);
    progress(&format!("   {count} alerts for one target, {how}"));
    let mut daemon = Daemon::start(&installation).await?;
    let numbers = workshop.target.numbers(count)?;
    let queue = Arc::new(Queue {
        left: Mutex::new(numbers.clone().collect()),
        accepted: AtomicU64::new(0),
        again: AtomicU64::new(0),
    });
    let (address, at) = watch::channel(daemon.road());
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(send(Arc::clone(&queue), at.clone()));
    }
    for cut in 0..kills {
        // Somewhere in its own part of the burst: neither before the first alert nor behind the last.
        let share = count / (kills + 1);
        let place = cut * share + u64::try_from(chance.below(usize::try_from(share)?)).unwrap_or_default();
        until_accepted(&queue, place).await?;
        daemon.kill().await?;
        daemon = Daemon::start(&installation).await?;
        address.send_replace(daemon.road());
    }
    while let Some(done) = workers.join_next().await {
        done.context("a sender")?.map_err(|error| daemon.blame(error))?;
    }
    let took = began.elapsed();
    let mut session = daemon.api().open().await?;
    let runs = at_rest(&mut session).await.map_err(|error| daemon.blame(error))?;
    tokio::time::sleep(AFTERWARDS).await;
    let load = |number: &AtomicU64| number.load(Ordering::Acquire);
    report.count(format!("alerts accepted, {how}"), load(&queue.accepted), count);
    let requests = workshop.target.tally(numbers).requests;
    let doubtful = in_doubt(&runs);
    // What the power cut caught between the intent and the request is in doubt, is not sent again, and is the one.
    let excused = u64::from(requests == 0 && doubtful == 1);
    report.count(format!("effects at the target, {how}"), requests + excused, 1);
    report.count(format!("effects that the journal intends, {how}"), intended(&runs), 1);
    report.figure(format!("the burst took, {how}"), milliseconds(took), "ms", None);
    report.note(format!(
        "{how}: {} runs were made, {doubtful} effects are in doubt, and alerts were sent {} times again",
        runs.len(),
        load(&queue.again)
    ));
    if excused == 1 {
        report.note(format!(
            "{how}: the power went after the intent and before the request, which is not sent again"
        ));
    }
    report.stopped(daemon.stop().await?);
    Ok(())
}

/// Sends alerts until none is left, each until it is accepted.
async fn send(queue: Arc<Queue>, at: watch::Receiver<Road>) -> anyhow::Result<()> {
    let take = || queue.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut connection = None;
    while let Some(number) = take() {
        let began = Instant::now();
        while !accepted(&mut connection, &at, number).await? {
            if began.elapsed() > PATIENCE {
                bail!("alert {number} was not taken within {PATIENCE:?}");
            }
            queue.again.fetch_add(1, Ordering::AcqRel);
            connection = None;
            tokio::time::sleep(AGAIN).await;
        }
        queue.accepted.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// Sends one alert once; whether it was accepted. A broken connection and a 503 are reasons to come again.
async fn accepted(
    connection: &mut Option<Connection>,
    at: &watch::Receiver<Road>,
    number: u64,
) -> anyhow::Result<bool> {
    let road = at.borrow().clone();
    let mut open = match connection.take() {
        Some(open) => open,
        None => match Connection::open(road.address).await {
            Ok(open) => open,
            Err(_) => return Ok(false),
        },
    };
    let request = post(&road.path, &road.token, &alerts::body(number));
    let Ok(answer) = open.exchange(&request).await else { return Ok(false) };
    *connection = Some(open);
    if answer.status == 503 {
        return Ok(false);
    }
    answer.expect(202)?;
    Ok(true)
}

async fn until_accepted(queue: &Queue, count: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    while queue.accepted.load(Ordering::Acquire) < count {
        if began.elapsed() > PATIENCE {
            bail!("{count} alerts were not accepted within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// All runs, when each of them has ended or is parked.
async fn at_rest(session: &mut Session) -> anyhow::Result<Vec<Value>> {
    let began = Instant::now();
    loop {
        let runs = session.runs().await?;
        let moving = runs.iter().find(|run| run["state"] != "ended" && run["state"] != "parked");
        match moving {
            None => return Ok(runs),
            Some(run) if began.elapsed() > PATIENCE => bail!("run {} is still {}", run["id"], run["state"]),
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Effects that were intended, in all runs.
fn intended(runs: &[Value]) -> u64 {
    effects(runs, |effect| {
        ["intended", "done", "failed", "unknown"].iter().any(|status| effect["status"] == *status)
    })
}

fn in_doubt(runs: &[Value]) -> u64 {
    effects(runs, |effect| effect["status"] == "unknown" || effect["status"] == "intended")
}

fn effects(runs: &[Value], which: impl Fn(&Value) -> bool) -> u64 {
    let all = runs.iter().flat_map(|run| run["effects"].as_array().into_iter().flatten());
    u64::try_from(all.filter(|effect| which(effect)).count()).unwrap_or(u64::MAX)
}
