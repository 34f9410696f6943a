//! Runbooks that follow each other: when a run did not fix it and its alert still fires, the next is tried, and passes
//! every gate that any run of the alert passes.
//!
//! What is due is read from the alert's runs, here and at every start, so that a power cut between two rungs loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use staunch_core::decision::{Code, Decision, Outcome as Passed, Stage};
use staunch_core::record::AlertRecord;
use staunch_core::run::{Outcome, State};

use super::ReadError;
use super::live::LiveRun;
use super::shared::Shared;
use super::take_up;

/// How many of an alert's last runs are looked through.
const LAST_RUNS: usize = 16;

/// Takes the next rung, if the run that has ended calls for one.
pub(super) async fn climb(shared: &Arc<Shared>, live: &LiveRun) {
    let calls = |run: &staunch_core::run::Run| run.state == State::Ended && run.next_rung().is_some();
    let Some(alert) = live.alert() else { return };
    if !live.look(calls).await {
        return;
    }
    let taken = match shared.alert(alert).await {
        Ok(Some(record)) => take_up::take_up(shared, &record).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = taken {
        // The next start, or the end of a window, looks again.
        tracing::warn!(run.id = %live.id(), error = %error, "what follows run {} is not started yet", live.id());
    }
}

/// The runbooks that are due for an alert, each with the decision that says why.
pub(super) async fn due(
    shared: &Shared,
    record: &AlertRecord,
) -> Result<BTreeMap<String, Decision>, ReadError> {
    let mut due = BTreeMap::new();
    let mut later = BTreeSet::new();
    for id in record.runs.iter().rev().take(LAST_RUNS) {
        let Some(run) = shared.run(id).await? else { continue };
        if let Some(next) = run.next_rung().filter(|next| !later.contains(*next)) {
            let outcome = run.outcome.map_or("", Outcome::as_str);
            let message = format!("run {id} of {} ended {outcome}, and {next} is next", run.runbook);
            let now = shared.now();
            let decision = Decision::new(now, Stage::Act, next, Passed::Pass, Code::Next, message);
            due.insert(next.to_owned(), decision);
        }
        later.insert(run.runbook.clone());
    }
    Ok(due)
}
