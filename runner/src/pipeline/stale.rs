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
use super::{ReadError, next_page, views};
use crate::journal::ViewQuery;

/// How often the firing alerts are looked at.
const EVERY: Duration = Duration::from_secs(30);

/// How many rows are read at once.
const PAGE: u32 = 500;

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

async fn sweep(shared: &Shared) -> Result<(), ReadError> {
    let rules = shared.rules();
    let mut after = None;
    loop {
        let query = ViewQuery {
            kind: views::ALERT,
            state: Some(Standing::Firing.as_str().to_owned()),
            keys: [None, None, None],
            after: after.take(),
            limit: PAGE,
            newest_first: false,
        };
        let rows = shared.scribe.journal().views(&query).await?;
        for row in &rows {
            let record: AlertRecord = views::read(&row.doc).map_err(ReadError::Row)?;
            // A source that is gone is not heard of any more.
            let limit = rules.stale_after.get(&record.source).copied().unwrap_or_default();
            let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
            if record.is_stale(shared.now(), limit) {
                make_stale(shared, &record, limit).await?;
            }
        }
        match next_page(&rows, PAGE) {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
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
