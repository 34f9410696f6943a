//! What is counted about runs, kept right by what happens to them.
//!
//! Each run tells here what is written down about it, before anybody can see it, so that no decision that comes
//! later overlooks it. And here everything is asked once more that may stop a run, right before it is permitted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use staunch_core::decision::{Decision, Reason, Stage};
use staunch_core::limit::{Stop, waits_for_room};
use staunch_core::policy::duration;
use staunch_core::run::Run;
use staunch_core::standing::Settings;

use super::breakers::{BreakerRecord, Breakers};
use super::limits::{Limits, horizon};
use super::plugins::Plugins;
use super::reading::{Reading, newest};
use super::scribe::{Line, Scribe};
use super::shared::{Rules, Shared};
use super::standings;
use super::views::Action;
use super::{ReadError, RecordError, views};
use crate::journal::Beginning;

/// The most runs that are read back of those that are over.
const MOST_ACTIONS: usize = 100_000;

/// All that is counted.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) limits: Limits,
    pub(super) breakers: Breakers,
    plugins: Arc<Plugins>,
    standing: Mutex<Settings>,
}

/// What keeps a run from acting now.
#[derive(Debug)]
pub(super) enum Blocked {
    /// It does not act.
    Refused(Decision),
    /// It does not act alone.
    Asks(Decision),
    /// It was approved as one of a storm, and too many act at once: it waits.
    Full(Decision),
}

impl Blocked {
    pub(super) fn by_limit(stop: &Stop, now: DateTime<Utc>, runbook: &str) -> Self {
        let decision = stop.decision(now, runbook);
        match stop {
            Stop::Refused(_) => Self::Refused(decision),
            Stop::Asks(_) => Self::Asks(decision),
        }
    }

    pub(super) fn by_breaker(reason: Reason, now: DateTime<Utc>, runbook: &str) -> Self {
        Self::Refused(Decision::refuse(now, Stage::Breaker, runbook, reason.code, reason.message))
    }
}

impl Books {
    pub(super) fn new(plugins: Arc<Plugins>) -> Self {
        let (limits, breakers) = (Limits::default(), Breakers::default());
        Self { limits, breakers, plugins, standing: Mutex::default() }
    }

    /// Notes that an effect of a run is intended.
    pub(super) fn acted(&self, run: &Run) {
        self.limits.acted(run);
    }

    /// Notes that a run is over, and what is to be written down with its end.
    pub(super) fn ends(&self, scribe: &Scribe, run: &Run) -> Vec<Line> {
        let changes = self.breakers.ended(run).into_iter();
        let mut lines: Vec<Line> = changes.map(|change| change.line(scribe, Some(run))).collect();
        if let Some(action) = Action::of(run) {
            let settings = *self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(standings::count(&self.plugins, &settings, scribe, &action));
        }
        lines
    }

    /// Notes that the end of a run is written down.
    pub(super) fn ended(&self, run: &Run) {
        self.limits.ended(run);
    }
}

impl Shared {
    /// Lets a run that is about to be permitted take its part of everything that is counted: nothing is asked
    /// later. See [`Limits::give_back`]. `after`: the run's beginning, where it may not be on the disk yet.
    pub(super) async fn take_part(
        &self,
        run: &Run,
        approved: bool,
        after: Option<&Beginning>,
    ) -> Result<Result<(), Blocked>, RecordError> {
        if run.drill.is_some() {
            return Ok(self.ask_for_drill(run, approved));
        }
        let now = self.now();
        if let Err(stop) = self.reserve(run, approved) {
            return Ok(Err(match &stop {
                Stop::Refused(refusal) if waits_for_room(run, refusal) => {
                    Blocked::Full(stop.decision(now, &run.runbook))
                }
                _ => Blocked::by_limit(&stop, now, &run.runbook),
            }));
        }
        let changes = match self.books.breakers.begin(now, run) {
            Ok(changes) => changes,
            Err(reason) => {
                self.books.limits.give_back(now, &run.id);
                return Ok(Err(Blocked::by_breaker(reason, now, &run.runbook)));
            }
        };
        if !changes.is_empty() {
            let lines = changes.into_iter().map(|change| change.line(&self.scribe, Some(run)));
            self.scribe.submit_after(lines.collect(), after).await?;
        }
        Ok(Ok(()))
    }

    /// Puts all that is counted together again, from what runs left behind.
    pub(super) async fn restore_books(&self, open: &[Arc<Run>]) -> Result<(), ReadError> {
        let rules = self.rules();
        let books = &self.books;
        self.count_for(&rules, open).await?;
        let mut since = BTreeMap::new();
        self.each_row(views::BREAKER, None, |record: BreakerRecord| {
            since.insert(record.whose.clone(), record.at);
            books.breakers.restore(record);
        })
        .await?;
        let settings = books.breakers.settings();
        let window = settings.target.window.max(settings.plugin.window);
        let mut lately = Vec::new();
        self.each_action(duration::before(self.now(), window), |action| lately.push(action)).await?;
        for action in lately.iter().rev() {
            books.breakers.replay(action, &since);
        }
        Ok(())
    }

    /// Puts what these rules say of counting in force: what runs did before counts as far as the windows reach.
    pub(super) async fn count_for(&self, rules: &Rules, open: &[Arc<Run>]) -> Result<(), ReadError> {
        self.books.breakers.set(rules.config.breaker);
        *self.books.standing.lock().unwrap_or_else(PoisonError::into_inner) = rules.config.standing;
        let limits = &self.books.limits;
        if !limits.begin(rules, open) {
            return Ok(());
        }
        let earliest = duration::before(self.now(), horizon(rules).longest());
        self.each_action(earliest, |action| limits.restore(action.taken)).await
    }

    /// Hands over what counts of runs that ended after a moment, newest first.
    async fn each_action(
        &self,
        earliest: DateTime<Utc>,
        mut take: impl FnMut(Action) + Send,
    ) -> Result<(), ReadError> {
        let mut count = 0;
        let actions = newest(views::ACTION, None);
        let reading = Reading::default().each_until(actions, |action: Action| {
            if action.at < earliest || count >= MOST_ACTIONS {
                return ControlFlow::Break(());
            }
            count += 1;
            take(action);
            ControlFlow::Continue(())
        });
        reading.read(self.scribe.journal()).await
    }
}
