//! Sends alerts: one after the other, or from sixteen workers at once, and says when their requests arrived.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use crate::api::{Api, runs_of};
use crate::client::{Answer, Connection, post};
use crate::target::Target;
use crate::{alerts, proc};

/// How many send at once.
pub(crate) const WORKERS: u64 = 16;

/// How long one alert may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a sender that is told to come again waits; its number of tries is bounded by [`PATIENCE`].
const AGAIN: Duration = Duration::from_millis(5);

/// Where alerts go.
#[derive(Debug, Clone)]
pub(crate) struct Road {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: String,
    /// What knows about the runs; the relay has none.
    pub(crate) api: Option<Api>,
}

/// Times of alerts that were sent one after the other.
#[derive(Debug, Default)]
pub(crate) struct InTurn {
    /// From sending to the request at the target.
    pub(crate) arrived: Vec<Duration>,
    /// From sending to the answer.
    pub(crate) answered: Vec<Duration>,
    /// From sending until the API showed the run as ended.
    pub(crate) ended: Vec<Duration>,
}

impl InTurn {
    /// Adds the times of another turn.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.arrived.append(&mut other.arrived);
        self.answered.append(&mut other.answered);
        self.ended.append(&mut other.ended);
    }
}

/// How many went through at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AtOnce {
    /// Requests a second at the target, from the first alert sent to the last arrival.
    pub(crate) per_second: f64,
    /// CPU milliseconds of the process for each of them, until all runs had ended.
    pub(crate) cpu_ms: f64,
    /// How often a sender was told to come again.
    pub(crate) refused: u64,
}

impl Road {
    fn request(&self, number: u64) -> Vec<u8> {
        post(&self.path, &self.token, &alerts::body(number))
    }

    fn requests(&self, numbers: Range<u64>) -> Vec<(u64, Vec<u8>)> {
        numbers.map(|number| (number, self.request(number))).collect()
    }

    /// Sends one alert; the ids of its runs, where there are any.
    pub(crate) async fn send(&self, number: u64) -> anyhow::Result<Vec<String>> {
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(&self.request(number)).await?;
        runs_of(&answer)
    }

    /// Sends alerts one after the other, each when the last one is over.
    pub(crate) async fn in_turn(&self, target: &Target, count: u64) -> anyhow::Result<InTurn> {
        let requests = self.requests(target.numbers(count)?);
        let mut connection = Connection::open(self.address).await?;
        let mut session = match &self.api {
            Some(api) => Some(api.open().await?),
            None => None,
        };
        let mut times = InTurn::default();
        for (number, request) in &requests {
            let sent = Instant::now();
            let answer = connection.exchange(request).await?;
            times.answered.push(sent.elapsed());
            answer.expect(202)?;
            let Some(arrival) = target.wait(*number, PATIENCE).await else {
                let why = self.why_not(&answer).await?;
                bail!("alert {number} led to no request within {PATIENCE:?}: {why}");
            };
            times.arrived.push(arrival.saturating_duration_since(sent));
            if let Some(session) = &mut session {
                let runs = runs_of(&answer)?;
                let run = runs.first().with_context(|| format!("alert {number} started no run"))?;
                session.ended(run, PATIENCE).await?;
                times.ended.push(sent.elapsed());
            }
        }
        Ok(times)
    }

    /// What the daemon says about an accepted alert that led to nothing.
    async fn why_not(&self, answer: &Answer) -> anyhow::Result<String> {
        let Some(api) = &self.api else { return Ok("the relay says nothing about it".to_owned()) };
        let runs = runs_of(answer)?;
        let Some(run) = runs.first() else { return Ok("no run was started".to_owned()) };
        let run = api.open().await?.run(run).await?;
        Ok(format!("its run is {}, {}: {}", run["state"], run["outcome"], run["reason"]))
    }

    /// Sends alerts from all workers, each the next when the last is answered; waits until all have arrived and
    /// all runs have ended. `pid` is the process whose CPU time is read.
    pub(crate) async fn at_once(&self, target: &Target, count: u64, pid: u32) -> anyhow::Result<AtOnce> {
        let numbers = target.numbers(count)?;
        let requests = Arc::new(self.requests(numbers.clone()));
        let connections = self.connections().await?;
        let (total, cpu) = (target.total(), proc::cpu_time(pid)?);
        let sent = Instant::now();
        let refused = send_all(connections, requests).await?;
        if !target.wait_total(total + count, PATIENCE).await {
            bail!(
                "only {} of {count} requests arrived, and nothing for {PATIENCE:?}",
                target.total() - total
            );
        }
        let last = target.last_arrival(numbers).context("nothing arrived")?;
        if let Some(api) = &self.api {
            api.open().await?.idle(PATIENCE * 4).await?;
        }
        let cpu = proc::cpu_time(pid)?.saturating_sub(cpu);
        let runs = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(AtOnce {
            per_second: runs / last.saturating_duration_since(sent).as_secs_f64(),
            cpu_ms: cpu.as_secs_f64() * 1_000.0 / runs,
            refused,
        })
    }

    /// Sends alerts from all workers, each the next when the last has arrived; the time of each.
    pub(crate) async fn closed(&self, target: &Target, count: u64) -> anyhow::Result<Vec<Duration>> {
        let requests = Arc::new(self.requests(target.numbers(count)?));
        let next = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for mut connection in self.connections().await? {
            let (requests, next, target) = (Arc::clone(&requests), Arc::clone(&next), target.clone());
            workers.spawn(async move {
                let mut times = Vec::new();
                while let Some((number, request)) = take(&requests, &next) {
                    let sent = Instant::now();
                    connection.exchange(request).await?.expect(202)?;
                    let arrival = target.wait(*number, PATIENCE).await;
                    let arrival = arrival.with_context(|| format!("alert {number} led to no request"))?;
                    times.push(arrival.saturating_duration_since(sent));
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(done) = workers.join_next().await {
            times.append(&mut done.context("a worker")??);
        }
        if let Some(api) = &self.api {
            api.open().await?.idle(PATIENCE * 4).await?;
        }
        Ok(times)
    }

    async fn connections(&self) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for _ in 0..WORKERS {
            connections.push(Connection::open(self.address).await?);
        }
        Ok(connections)
    }
}

/// The next request that nobody has taken.
fn take<'a>(requests: &'a [(u64, Vec<u8>)], next: &AtomicU64) -> Option<&'a (u64, Vec<u8>)> {
    requests.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok()?)
}

/// Sends everything; how often a sender was told to come again.
async fn send_all(connections: Vec<Connection>, requests: Arc<Vec<(u64, Vec<u8>)>>) -> anyhow::Result<u64> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        workers.spawn(async move {
            let mut refused = 0;
            while let Some((number, request)) = take(&requests, &next) {
                refused += send_one(&mut connection, *number, request).await?;
            }
            anyhow::Ok(refused)
        });
    }
    let mut refused = 0;
    while let Some(done) = workers.join_next().await {
        refused += done.context("a worker")??;
    }
    Ok(refused)
}

/// Sends one alert until it is taken.
async fn send_one(connection: &mut Connection, number: u64, request: &[u8]) -> anyhow::Result<u64> {
    let began = Instant::now();
    let mut refused = 0;
    loop {
        let answer = connection.exchange(request).await?;
        if answer.status != 503 {
            answer.expect(202)?;
            return Ok(refused);
        }
        if began.elapsed() > PATIENCE {
            bail!("alert {number} was not taken within {PATIENCE:?}");
        }
        refused += 1;
        tokio::time::sleep(AGAIN).await;
    }
}
