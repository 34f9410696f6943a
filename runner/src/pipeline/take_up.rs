//! Takes up what follows runs that did not fix it, and what windows and silences kept quiet: when one of them ends, the alerts that still fire and whose match
//! was lost to it are tried again, by the same code as a repeat of the sender.
//!
//! A run that a window refused later on its road, after its alert had been matched, counts as lost to it as well.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Decision, Outcome};
use staunch_core::event;
use staunch_core::event::{Fact, Outside, payload};
use staunch_core::id::AlertId;
use staunch_core::policy::Runbook;
use staunch_core::record::{AlertRecord, Standing, is_quiet};
use staunch_core::run;

use super::index::Identity;
use super::ladder;
use super::receive::Batch;
use super::shared::Shared;
use super::{ReadError, Refusal, views};

/// How long the task sleeps at the most: a clock that jumps is noticed so soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// How soon a look that could not be finished is begun again.
const AGAIN: Duration = Duration::from_secs(1);

/// How many of an alert's last runs are looked through for those that a window refused.
const LAST_RUNS: usize = 16;

/// Looks whenever a window or silence ended, and once at the start, until the daemon drains.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut due = true;
    let mut seen = shared.now();
    while !shared.workers.is_closed() {
        // From the instant of the last look on, so that none falls between two looks.
        let next = shared.next_quiet_change(seen);
        let mut rest = LONGEST_SLEEP;
        if due {
            due = false;
            if let Err(error) = sweep(&shared).await {
                tracing::warn!(error = %error, "what was kept quiet is not all taken up yet");
                (due, rest) = (true, AGAIN);
            }
        }
        if let Some(next) = next {
            // A moment more, so that the instant itself has passed.
            rest = rest.min((next - shared.now()).to_std().unwrap_or_default() + Duration::from_millis(1));
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = shared.windows.change() => due = true,
        }
        seen = shared.now();
        due |= passed(next, seen);
    }
}

fn passed(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    instant.is_some_and(|instant| now >= instant)
}

/// Goes through the alerts that fire, a page of rows at a time.
async fn sweep(shared: &Arc<Shared>) -> Result<(), Refusal> {
    let mut candidates: Vec<AlertId> = Vec::new();
    shared
        .each_row(views::ALERT, Some(Standing::Firing.as_str()), |record: AlertRecord| {
            if !record.lost_to_windows().is_empty() || !record.runs.is_empty() {
                candidates.push(record.id);
            }
        })
        .await?;
    for id in candidates {
        if shared.workers.is_closed() {
            return Ok(());
        }
        let Some(record) = shared.alert(&id).await? else { continue };
        let quiet = quiet_names(shared, &record).await?;
        if !quiet.is_empty() || !ladder::due(shared, &record).await?.is_empty() {
            take_up(shared, &record).await?;
        }
    }
    Ok(())
}

/// The runbooks that a window or silence kept from answering to an alert.
async fn quiet_names(shared: &Shared, record: &AlertRecord) -> Result<BTreeSet<String>, ReadError> {
    let mut names: BTreeSet<String> = record.lost_to_windows().into_iter().map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    for id in record.runs.iter().rev().take(LAST_RUNS) {
        let Some(run) = shared.run(id).await? else { continue };
        let last_of_its_runbook = seen.insert(run.runbook.clone());
        let quiet = run.reason.as_ref().is_some_and(|reason| is_quiet(reason.code));
        if last_of_its_runbook && quiet && run.outcome == Some(run::Outcome::Refused) {
            names.insert(run.runbook.clone());
        }
    }
    Ok(names)
}

/// Tries again what an alert that fires lost to a window or silence, and what follows its runs that did not fix it.
pub(super) async fn take_up(shared: &Arc<Shared>, record: &AlertRecord) -> Result<(), Refusal> {
    let Some(alert) = &record.alert else { return Ok(()) };
    let identity = Identity::of(&record.source, &alert.fingerprint);
    let _held = shared.alerts.hold(&[identity]).await;
    // It may have been heard of since the row was read.
    let record = shared.alert(&record.id).await?.filter(|now| now.status == Standing::Firing);
    let Some(record) = record else { return Ok(()) };
    let mut names = quiet_names(shared, &record).await?;
    let due = ladder::due(shared, &record).await?;
    names.extend(due.keys().cloned());
    let mut batch = Batch::default();
    if let Err(error) = batch.take_up(shared, record, &names, due.into_values().collect()) {
        batch.give_up(shared);
        return Err(error);
    }
    if batch.lines.is_empty() {
        return Ok(());
    }
    batch.finish(shared).await.map(drop)
}

impl Batch {
    /// Tries lost matches of an alert again. What is still kept quiet is not written down again.
    fn take_up(
        &mut self,
        shared: &Arc<Shared>,
        mut record: AlertRecord,
        names: &BTreeSet<String>,
        because: Vec<Decision>,
    ) -> Result<(), Refusal> {
        let Some(about) = record.alert.clone() else { return Ok(()) };
        let id: AlertId = record.id.clone();
        let rules = shared.rules();
        let again: Vec<Arc<Runbook>> =
            names.iter().filter_map(|name| rules.policies.runbook(name).cloned()).collect();
        let (mut decisions, mut lines) = (Vec::new(), Vec::new());
        let runs = self.start_runs(shared, &rules, &again, (&id, &about), &mut decisions, &mut lines)?;
        if runs.is_empty() && decisions.iter().all(is_as_before) {
            return Ok(());
        }
        let decisions = because.into_iter().chain(decisions).collect();
        let outside = payload::AlertTakenUp { decisions, runs };
        let fact = Fact::AlertTakenUp(event::AlertTakenUp {}, Outside::Kept(outside));
        self.change(shared, &mut record, fact);
        self.lines.extend(lines);
        self.records.insert(id, record);
        Ok(())
    }
}

/// Whether a decision says what the record says already: a window or silence is against it, or another unended run.
fn is_as_before(decision: &Decision) -> bool {
    decision.result != Outcome::Refuse || is_quiet(decision.code) || decision.code == Code::Busy
}
