//! What must be exact: each automatic run is one request with a key of its own, and all of it is in the journal.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::export;
use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::report::{Report, progress};
use crate::workshop::Workshop;

/// How long to listen for requests that should not come.
const AFTERWARDS: Duration = Duration::from_secs(2);

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "exact", &[PLUGIN.to_owned()]).await?;
    let daemon = Daemon::start(&installation).await?;
    let target = &workshop.target;
    let count = cli.many(2_000, 200);
    progress(&format!("   {count} alerts from 16 workers, and a tenth of them again"));
    let first = target.numbers(0)?.start;
    daemon.road().at_once(target, count, daemon.pid).await.map_err(|error| daemon.blame(error))?;
    let numbers = first..first + count;
    for number in numbers.clone().step_by(10) {
        daemon.road().send(number).await?;
    }
    // Long enough for a checkpoint, too.
    tokio::time::sleep(AFTERWARDS).await;
    let mut session = daemon.api().open().await?;
    session.idle(Duration::from_secs(60)).await?;
    let tally = target.tally(numbers);
    report.count("requests at the target", tally.requests, count);
    report.count("alerts with exactly one request", tally.once, count);
    report.count("alerts with more than one request", tally.repeated, 0);
    report.count("requests with an idempotency key", tally.with_key, count);
    let runs = Runs::of(&session.runs().await?);
    let length = |set: &BTreeSet<String>| u64::try_from(set.len()).unwrap_or(u64::MAX);
    report.count("different idempotency keys", length(&tally.keys), count);
    report.count("keys that the runs name as well", length(&(&tally.keys & &runs.keys)), count);
    report.count("runs that have ended", runs.ended, count);
    report.count("effects that are done", runs.done, count);
    export::check(cli, workshop, &installation, &runs.ids, report).await?;
    report.stopped(daemon.stop().await?);
    Ok(())
}

/// What the API says about all runs.
#[derive(Debug, Default)]
struct Runs {
    ids: BTreeSet<String>,
    keys: BTreeSet<String>,
    ended: u64,
    done: u64,
}

impl Runs {
    fn of(items: &[Value]) -> Self {
        let mut runs = Self::default();
        for run in items {
            runs.ids.extend(run["id"].as_str().map(str::to_owned));
            runs.ended += u64::from(run["state"] == "ended");
            for effect in run["effects"].as_array().into_iter().flatten() {
                runs.keys.extend(effect["idempotency_key"].as_str().map(str::to_owned));
                runs.done += u64::from(effect["status"] == "done");
            }
        }
        runs
    }
}
