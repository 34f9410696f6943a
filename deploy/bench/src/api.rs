//! What is asked of the daemon outside the timed sections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::client::{Answer, Connection, get};

/// States of runs that are not over.
const UNENDED: [&str; 7] = ["queued", "planning", "waiting", "running", "parked", "verifying", "undoing"];

/// Runs on a page.
const PAGE: usize = 500;

/// The API of one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    token: String,
}

/// An API in use, on one connection.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    token: String,
}

impl Api {
    pub(crate) fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    pub(crate) async fn open(&self) -> anyhow::Result<Session> {
        Ok(Session { connection: Connection::open(self.address).await?, token: self.token.clone() })
    }
}

impl Session {
    /// What stands at a path.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let answer = self.connection.exchange(&get(path, &self.token)).await?;
        answer.json(200).with_context(|| format!("GET {path}"))
    }

    /// One run.
    pub(crate) async fn run(&mut self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/runs/{id}")).await
    }

    /// Asks for a run until it is over.
    pub(crate) async fn ended(&mut self, id: &str, within: Duration) -> anyhow::Result<Value> {
        let began = Instant::now();
        let request = get(&format!("/v1/runs/{id}"), &self.token);
        let mut asked = 0_u32;
        loop {
            let run = self.connection.exchange(&request).await?.json(200)?;
            if run["state"] == "ended" {
                return Ok(run);
            }
            if began.elapsed() > within {
                bail!("run {id} is still {} after {within:?}: {}", run["state"], run["reason"]);
            }
            asked += 1;
            // At first without a pause, for what is measured ends within a millisecond; then without haste.
            if asked > 50 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Waits until no run is under way.
    pub(crate) async fn idle(&mut self, within: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        for state in UNENDED {
            loop {
                let page = self.get(&format!("/v1/runs?state={state}&limit=1")).await?;
                let Some(run) = page["items"].get(0) else { break };
                if began.elapsed() > within {
                    bail!("run {} is still {state} after {within:?}: {}", run["id"], run["reason"]);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Waits until a run is in a state; as it is then.
    pub(crate) async fn until(&mut self, id: &str, state: &str, within: Duration) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let run = self.run(id).await?;
            if run["state"] == state {
                return Ok(run);
            }
            if began.elapsed() > within {
                bail!("run {id} is {} and not {state} after {within:?}: {}", run["state"], run["reason"]);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All runs, newest first.
    pub(crate) async fn runs(&mut self) -> anyhow::Result<Vec<Value>> {
        self.all(&format!("/v1/runs?limit={PAGE}")).await
    }

    /// The kinds of a run's entries, in order, each with the person that it names.
    pub(crate) async fn journal(&mut self, run: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
        let journal = self.get(&format!("/v1/runs/{run}/journal")).await?;
        let told = journal["items"].as_array().into_iter().flatten().map(|item| {
            let by = item.pointer("/payload/approval/by").or_else(|| item.pointer("/payload/by"));
            let kind = item["leaf"]["kind"].as_str().unwrap_or_default();
            (kind.to_owned(), by.and_then(Value::as_str).map(str::to_owned))
        });
        Ok(told.collect())
    }

    /// The items of all pages of a listing.
    async fn all(&mut self, first: &str) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut path) = (Vec::new(), first.to_owned());
        loop {
            let mut page = self.get(&path).await?;
            if let Value::Array(items) = page["items"].take() {
                all.extend(items);
            }
            match page["next"].as_str() {
                Some(next) => path = format!("{first}&after={next}"),
                None => return Ok(all),
            }
        }
    }
}

/// The runs that an accepted alert led to.
pub(crate) fn runs_of(answer: &Answer) -> anyhow::Result<Vec<String>> {
    let body = answer.json(202)?;
    let runs = body["alerts"][0]["runs"].as_array().context("the answer names no runs")?;
    Ok(runs.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
