//! The kill switch under load: how long after a halt was asked for the last request still comes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::alerts;
use crate::client::{Connection, delete, post};
use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN};
use crate::load::WORKERS;
use crate::options::Cli;
use crate::report::{Bar, Report, progress};
use crate::stats::{Quantiles, median};
use crate::target::Target;
use crate::workshop::Workshop;

/// Alerts a second, each of which leads to one effect.
const RATE: u32 = 1_000;

/// Alerts before the halt, and as many after it.
const ALERTS: u64 = 250;

/// How long to listen for requests that should not come.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// What one halt showed.
#[derive(Debug)]
struct Stop {
    /// From asking for the halt to the last request at the target; zero when none came after.
    last: Duration,
    /// From asking to the answer.
    answered: Duration,
    /// From the answer to the last request; zero when none came after.
    behind: Duration,
    /// Requests a second before the halt.
    per_second: f64,
    /// Requests of alerts that were sent after the answer.
    wrong: u64,
}

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "halt", &[PLUGIN.to_owned()]).await?;
    let daemon = Daemon::start(&installation).await?;
    let target = &workshop.target;
    daemon
        .road()
        .at_once(target, cli.many(500, 50), daemon.pid)
        .await
        .map_err(|error| daemon.blame(error))?;
    let count = cli.many(100, 5);
    progress(&format!("   {count} halts, each amid {RATE} effects a second"));
    let mut stops = Vec::new();
    for _ in 0..count {
        stops.push(stop(&daemon, target).await.map_err(|error| daemon.blame(error))?);
    }
    let wrong = stops.iter().map(|stop| stop.wrong).sum();
    report.count("requests of alerts sent after a halt was answered", wrong, 0);
    let times = |of: fn(&Stop) -> Duration| Quantiles::of(stops.iter().map(of).collect());
    let (last, answered, behind) =
        (times(|stop| stop.last), times(|stop| stop.answered), times(|stop| stop.behind));
    report.figure("halt asked for to the last effect, p50", last.p50, "ms", None);
    report.figure("halt asked for to the last effect, p99", last.p99, "ms", Some(Bar::AtMost(100.0)));
    report.figure("halt asked for to the last effect, most", last.max, "ms", None);
    report.figure("halt asked for to 201, p50", answered.p50, "ms", None);
    report.figure("halt asked for to 201, p99", answered.p99, "ms", None);
    report.figure("201 to the last effect already on its way, p99", behind.p99, "ms", None);
    let per_second = median(stops.iter().map(|stop| stop.per_second).collect());
    report.figure("effects a second before the halt, median", per_second, "/s", None);
    report.stopped(daemon.stop().await?);
    Ok(())
}

/// Sends alerts at the rate, halts everything in the middle of them, and releases when all is quiet.
async fn stop(daemon: &Daemon, target: &Target) -> anyhow::Result<Stop> {
    let road = daemon.road();
    let numbers = target.numbers(2 * ALERTS)?;
    let first = numbers.start;
    let sent: Arc<Vec<AtomicU64>> = Arc::new(numbers.clone().map(|_| AtomicU64::new(0)).collect());
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..WORKERS {
        let mut connection = Connection::open(road.address).await?;
        let (sent, next, road) = (Arc::clone(&sent), Arc::clone(&next), road.clone());
        workers.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = usize::try_from(index).ok().and_then(|index| sent.get(index)) else {
                    return anyhow::Ok(());
                };
                let request = post(&road.path, &road.token, &alerts::body(first + index));
                let due = began + Duration::from_secs(index) / RATE;
                tokio::time::sleep_until(due.into()).await;
                slot.store(nanos(began.elapsed()), Ordering::Release);
                connection.exchange(&request).await?.expect(202)?;
            }
        });
    }
    let mut switch = Connection::open(road.address).await?;
    let body = r#"{"scope":"all","reason":"the bench measures how soon it stops"}"#;
    let halt = post("/v1/halts", daemon.token(), body);
    tokio::time::sleep_until((began + Duration::from_secs(ALERTS) / RATE).into()).await;
    let asked = Instant::now();
    let halt = switch.exchange(&halt).await?.json(201)?;
    let answered = Instant::now();
    while let Some(done) = workers.join_next().await {
        done.context("a worker")??;
    }
    tokio::time::sleep(AFTERWARDS).await;
    let stop = measured(target, &numbers, (began, asked, answered), &sent);
    let id = halt["id"].as_str().context("the halt has no id")?;
    switch.exchange(&delete(&format!("/v1/halts/{id}"), daemon.token())).await?.expect(200)?;
    daemon.api().open().await?.idle(Duration::from_secs(60)).await?;
    Ok(stop)
}

fn measured(
    target: &Target,
    numbers: &Range<u64>,
    (began, asked, answered): (Instant, Instant, Instant),
    sent: &[AtomicU64],
) -> Stop {
    let arrivals: Vec<Instant> = numbers.clone().filter_map(|number| target.arrival(number)).collect();
    let last = arrivals.iter().copied().max().unwrap_or(asked);
    let before = arrivals.iter().filter(|arrival| **arrival < asked).count();
    let limit = nanos(answered.duration_since(began));
    let late = |(number, sent): &(u64, &AtomicU64)| {
        sent.load(Ordering::Acquire) > limit && target.arrival(*number).is_some()
    };
    let wrong = numbers.clone().zip(sent).filter(late).count();
    Stop {
        last: last.saturating_duration_since(asked),
        answered: answered.duration_since(asked),
        behind: last.saturating_duration_since(answered),
        per_second: f64::from(u32::try_from(before).unwrap_or(u32::MAX))
            / asked.duration_since(began).as_secs_f64(),
        wrong: u64::try_from(wrong).unwrap_or(u64::MAX),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
