//! Takes up what was open when the daemon stopped.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use staunch_core::gate;
use staunch_core::id::RunId;
use staunch_core::record::{AlertRecord, Known, Standing};
use staunch_core::run::{Run, State};

use super::act::can_replay;
use super::drive::Start;
use super::index::Identity;
use super::reading::{Reading, newest, oldest};
use super::shared::{Shared, folded};
use super::{OpenError, ReadError, views};
use crate::journal::{ViewQuery, ViewRow};

/// How many of the last alerts that are over are remembered; an older one is looked up when it is heard of again.
const REMEMBERED: u32 = 500;

/// Reads alerts, tokens, installed plugins and open runs, and drives the runs on.
pub(super) async fn recover(shared: &Arc<Shared>) -> Result<usize, OpenError> {
    let open = restore(shared).await?;
    let count = open.len();
    for run in open {
        take_up(shared, Arc::unwrap_or_clone(run)).await?;
    }
    Ok(count)
}

/// Puts together again what memory held: the open runs, none of which goes on yet, and all that counts against them.
pub(super) async fn restore(shared: &Arc<Shared>) -> Result<Vec<Arc<Run>>, OpenError> {
    let (all, now, mut ids) = (AtomicBool::new(true), shared.now(), Vec::new());
    let over =
        |standing: Standing| ViewQuery { limit: REMEMBERED, ..newest(views::ALERT, Some(standing.as_str())) };
    Reading::default()
        .pages(over(Standing::Stale), |rows| remember_over(shared, rows, &all))
        .pages(over(Standing::Resolved), |rows| remember_over(shared, rows, &all))
        .each(oldest(views::ALERT, Some(Standing::Firing.as_str())), |record| remember(shared, &record))
        .each(oldest(views::TOKEN, Some("good")), |record| shared.tokens.put(record))
        .each(oldest(views::HALT, Some(views::IN_FORCE)), |halt| shared.halts.restore(halt))
        .each(oldest(views::SILENCE, None), |silence| shared.silences.restore(silence, now))
        .each(oldest(views::SCHEDULE, None), |record| shared.clockwork.restore(record))
        .each(oldest(views::PLUGIN, None), |record| shared.plugins.installed(record))
        .pages(oldest(views::RUN, Some(views::OPEN)), |rows| {
            ids.extend(rows.iter().filter_map(|row| row.id.parse::<RunId>().ok()));
            Ok(ControlFlow::Continue(()))
        })
        .read(shared.scribe.journal())
        .await?;
    if all.into_inner() {
        shared.alerts.completed();
    }
    super::tokens::restore_uses(shared).await?;
    let mut open = Vec::new();
    for id in ids {
        open.extend(folded(shared.scribe.journal(), &id).await?);
    }
    // In the order in which they were made, so that each gets its turn as before.
    open.sort_by(|a, b| a.id.cmp(&b.id));
    let open: Vec<Arc<Run>> = open.into_iter().map(Arc::new).collect();
    // Before any run goes on: what each holds counts against the others.
    shared.restore_books(&open).await?;
    shared.restore_standings().await?;
    Ok(open)
}

fn remember(shared: &Shared, record: &AlertRecord) {
    if let Some(alert) = &record.alert {
        shared.alerts.put(Identity::of(&record.source, &alert.fingerprint), Known::from(record));
    }
}

/// Remembers the last alerts that are over, so that a late repeat of one starts nothing after a restart either; `all`
/// becomes false where there were more.
fn remember_over(shared: &Shared, rows: &[ViewRow], all: &AtomicBool) -> Result<ControlFlow<()>, ReadError> {
    // Oldest first: the newest of an identity is the one that counts.
    for row in rows.iter().rev() {
        remember(shared, &views::read(&row.doc).map_err(ReadError::Row)?);
    }
    all.fetch_and(rows.len() < REMEMBERED as usize, Ordering::Relaxed);
    Ok(ControlFlow::Break(()))
}

async fn take_up(shared: &Arc<Shared>, run: Run) -> Result<(), OpenError> {
    let about = match &run.alert {
        Some(id) => shared.alert(id).await?.and_then(|record| record.alert),
        None => run.drill.as_ref().and_then(|drill| drill.alert.clone()),
    };
    let target = run.target.clone().unwrap_or_default();
    // Two unended runs at one place cannot be in the journal; were they, the older one keeps the place.
    drop(shared.runs.reserve(&run.runbook, &target, &run.id));
    let state = run.state;
    let replay = can_replay(&run);
    let live = shared.live(run.clone(), about);
    if let Some(reason) = &run.given_up {
        // Somebody ended it while it acted: it gets no further effect after the restart either.
        live.stop(reason.code, reason.message.clone());
    }
    let start = match state {
        State::Queued | State::Planning => match gate::permit_replan(&run) {
            Ok(permit) => Start::Fresh(permit, shared.ask_turn(&run)),
            Err(_) => return Ok(()),
        },
        State::Waiting => Start::Waiting,
        State::Running if replay => Start::Acting,
        State::Running => Start::InDoubt,
        State::Parked => Start::Parked,
        State::Verifying => Start::Verifying,
        State::Undoing => Start::Undoing,
        State::Ended => return Ok(()),
    };
    shared.launch(live, start);
    Ok(())
}
