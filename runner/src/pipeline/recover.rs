//! Takes up what was open when the daemon stopped.

use std::sync::Arc;

use staunch_core::gate;
use staunch_core::id::RunId;
use staunch_core::record::{AlertRecord, Known, Standing};
use staunch_core::run::{Run, State};

use super::act::can_replay;
use super::drive::Start;
use super::index::Identity;
use super::shared::{Shared, folded};
use super::{OpenError, ReadError, views};
use crate::journal::ViewQuery;

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
    let mut all = true;
    for over in [Standing::Stale, Standing::Resolved] {
        all &= remember_over(shared, over).await?;
    }
    shared
        .each_row(views::ALERT, Some(Standing::Firing.as_str()), |record: AlertRecord| {
            remember(shared, &record)
        })
        .await?;
    if all {
        shared.alerts.completed();
    }
    shared.each_row(views::TOKEN, Some("good"), |record| shared.tokens.put(record)).await?;
    super::tokens::restore_uses(shared).await?;
    // Before any run is taken up.
    shared.each_row(views::HALT, Some(views::IN_FORCE), |halt| shared.halts.restore(halt)).await?;
    let now = shared.now();
    shared.each_row(views::SILENCE, None, |silence| shared.silences.restore(silence, now)).await?;
    shared.each_row(views::SCHEDULE, None, |record| shared.clockwork.restore(record)).await?;
    shared.each_row(views::PLUGIN, None, |record| shared.plugins.installed(record)).await?;
    let mut open = Vec::new();
    for id in open_runs(shared).await? {
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

/// The runs that had not ended.
async fn open_runs(shared: &Shared) -> Result<Vec<RunId>, ReadError> {
    let mut ids = Vec::new();
    shared
        .each_page(views::RUN, Some(views::OPEN), |rows| {
            ids.extend(rows.iter().filter_map(|row| row.id.parse::<RunId>().ok()));
            Ok(())
        })
        .await?;
    Ok(ids)
}

fn remember(shared: &Shared, record: &AlertRecord) {
    if let Some(alert) = &record.alert {
        shared.alerts.put(Identity::of(&record.source, &alert.fingerprint), Known::from(record));
    }
}

/// The last alerts that are over, so that a late repeat of one starts nothing after a restart either; whether those
/// are all.
async fn remember_over(shared: &Shared, over: Standing) -> Result<bool, OpenError> {
    let query = ViewQuery {
        kind: views::ALERT,
        state: Some(over.as_str().to_owned()),
        keys: [None, None, None],
        after: None,
        limit: REMEMBERED,
        newest_first: true,
    };
    let mut rows = shared.scribe.journal().views(&query).await?;
    // Oldest first: the newest of an identity is the one that counts.
    rows.reverse();
    for row in &rows {
        remember(shared, &views::read(&row.doc).map_err(OpenError::Row)?);
    }
    Ok(rows.len() < REMEMBERED as usize)
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
