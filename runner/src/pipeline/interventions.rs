//! What happens after a run that was thought to have fixed it: a person takes over, runs it again, or the alert fires
//! again. The run stays as it ended; what changes is how it counts for its plugins. An entry of its own, so that the
//! count can be put together again from the journal.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::id::{AlertId, RunId};
use staunch_core::policy::duration;
use staunch_core::run::{Outcome, Run};
use staunch_core::standing::Intervention;

use super::scribe::Line;
use super::shared::Shared;
use super::views::{self, Action};
use super::{ReadError, Refusal, standings};
use crate::journal::{MAX_PAGE, ViewQuery};

/// How many of the latest runs about the same thing are looked at.
const LATEST: usize = 8;

/// What happened after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterventionRecord {
    /// The run, which stays as it ended.
    pub run: RunId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What.
    pub how: Intervention,
    /// Who, where a person did it.
    pub by: Option<String>,
}

impl InterventionRecord {
    /// The record that a `run-intervened` event makes.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let Fact::RunIntervened(leaf, outside) = &event.fact else { return None };
        let by = outside.get().and_then(|outside| outside.by.clone());
        Some(Self { run: event.run.clone()?, at: event.at, how: leaf.how, by })
    }
}

impl Shared {
    /// Counts these runs as ones that did not fix it, as far as they count as ones that did: what is to be written
    /// down with what happened.
    pub(super) fn intervene(
        &self,
        runs: &[RunId],
        alert: Option<&AlertId>,
        how: Intervention,
        by: Option<&str>,
    ) -> Vec<Line> {
        let settings = self.rules().config.standing;
        let mut lines = Vec::new();
        for run in runs {
            let now = self.now();
            let moves = self.plugins.with_records(|records| {
                let counts = records.values().any(|known| known.record.would_turn(&settings, now, run));
                counts.then(|| standings::turn(records, &settings, now, run, how))
            });
            let Some(moves) = moves else { continue };
            let outside = payload::RunIntervened { by: by.map(str::to_owned) };
            let fact = Fact::RunIntervened(event::RunIntervened { how }, Outside::Kept(outside));
            let event = self.scribe.event(Some(run), alert, fact);
            tracing::info!(run.id = %run, "run {run} counts as not fixed: {}", how.as_str());
            let rows = InterventionRecord::of(&event).map(|record| views::intervention(&record));
            lines.push(Line { event: Arc::new(event), views: rows.into_iter().collect() });
            lines.extend(standings::lines(&self.scribe, &moves));
        }
        lines
    }

    /// What is to be written down because an alert fires anew: its firing before this one had been answered.
    pub(super) async fn fired_again(&self, before: &AlertId) -> Result<Vec<Line>, ReadError> {
        let Some(record) = self.alert(before).await? else { return Ok(Vec::new()) };
        let runs: Vec<RunId> = record.runs.iter().rev().take(LATEST).cloned().collect();
        Ok(self.intervene(&runs, Some(before), Intervention::FiredAgain, None))
    }

    /// What is to be written down because a person acts where the runbook was thought to have fixed it.
    pub(super) async fn acted_by_hand(
        &self,
        runbook: &str,
        target: Option<&str>,
        how: Intervention,
        by: &str,
    ) -> Result<Vec<Line>, ReadError> {
        let query = ViewQuery {
            kind: views::ACTION,
            state: None,
            keys: [None, None, target.map(str::to_owned)],
            after: None,
            limit: MAX_PAGE,
            newest_first: true,
        };
        let earliest = duration::before(self.now(), self.rules().config.standing.fires_again_within);
        let mut runs = Vec::new();
        for row in self.scribe.journal().views(&query).await? {
            let action: Action = views::read(&row.doc).map_err(ReadError::Row)?;
            if action.at < earliest || runs.len() == LATEST {
                break;
            }
            let of_runbook = action.taken.as_ref().is_some_and(|taken| taken.runbook == runbook);
            if of_runbook && action.outcome == Outcome::Fixed && action.target.as_deref() == target {
                runs.push(action.run);
            }
        }
        Ok(self.intervene(&runs, None, how, Some(by)))
    }

    /// Writes down that a person took a run over where one before it was thought to have fixed it.
    pub(super) async fn taken_over(&self, run: &Run, by: &str) -> Result<(), Refusal> {
        let target = run.target.as_deref();
        let lines = self.acted_by_hand(&run.runbook, target, Intervention::TakenOver, by).await?;
        if !lines.is_empty() {
            self.scribe.commit(lines).await?;
        }
        Ok(())
    }
}
