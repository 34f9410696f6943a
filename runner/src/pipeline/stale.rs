//! Alerts that were not heard of for too long become stale: a firing can end without anybody saying so.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::record::{AlertRecord, Known, Standing};
use tokio::time::MissedTickBehavior;

use super::index::Identity;
use super::scribe::Line;
use super::shared::Shared;
use super::{ReadError, views};

/// How often the firing alerts are looked at.
const EVERY: Duration = Duration::from_secs(30);

/// How many alerts one sweep makes stale at the most.
const MOST_AT_ONCE: usize = 1000;

/// Looks from time to time, until the daemon drains.
pub(super) async fn watch(shared: Arc<Shared>) {
    let shortest = shared.rules().stale_after.values().min().copied().unwrap_or(EVERY);
    let mut ticks = tokio::time::interval(EVERY.min(shortest.max(Duration::from_secs(1))));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.workers.is_closed() {
        ticks.tick().await;
        if let Err(error) = sweep(&shared).await {
            tracing::warn!(error = %error, "stale alerts could not be looked for");
        }
    }
}

/// Makes the alerts stale that were not heard of for too long.
pub(super) async fn sweep(shared: &Shared) -> Result<(), ReadError> {
    let rules = shared.rules();
    let now = shared.now();
    let mut stale: Vec<(AlertRecord, TimeDelta)> = Vec::new();
    let firing = Some(Standing::Firing.as_str());
    shared
        .each_row(views::ALERT, firing, |record: AlertRecord| {
            // A source that is gone is not heard of any more.
            let limit = rules.stale_after.get(&record.source).copied().unwrap_or_default();
            let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
            // What is over the bound is found by the next sweep.
            if stale.len() < MOST_AT_ONCE && record.is_stale(now, limit) {
                stale.push((record, limit));
            }
        })
        .await?;
    for (record, limit) in &stale {
        make_stale(shared, record, *limit).await?;
    }
    Ok(())
}

async fn make_stale(shared: &Shared, record: &AlertRecord, limit: TimeDelta) -> Result<(), ReadError> {
    let Some(alert) = &record.alert else { return Ok(()) };
    let identity = Identity::of(&record.source, &alert.fingerprint);
    let _held = shared.alerts.hold(&[identity]).await;
    // It may have been heard of since the row was read.
    let Some(mut record) = shared.alert(&record.id).await?.filter(|now| now.is_stale(shared.now(), limit))
    else {
        return Ok(());
    };
    let fact = Fact::AlertStale(event::AlertStale {}, Outside::Kept(payload::AlertStale {}));
    let event = shared.scribe.event(None, Some(&record.id), fact);
    record.apply(&event);
    let line = Line { event: Arc::new(event), views: vec![views::alert(&record)] };
    if let Err(error) = shared.scribe.commit(vec![line]).await {
        tracing::warn!(error = %error, "alert {} is stale, and that could not be written down", record.id);
        return Ok(());
    }
    shared.alerts.put(identity, Known::from(&record));
    Ok(())
}
