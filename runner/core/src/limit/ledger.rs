//! The ledger: who took how much, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::{GlobalLimits, Limits};
use super::group::Population;
use super::judge::{self, Stop};
use super::storm::Sightings;
use super::tally::{Of, Tally};
use crate::id::RunId;
use crate::policy::duration;
use crate::run::{Outcome, Run};

/// The most reservations that a ledger holds. Beyond it nothing is reserved: what cannot be counted is not done.
pub const MOST_ROWS: usize = 100_000;

/// The label that tells the service of an alert.
pub const SERVICE: &str = "service";

/// One run's part of the limits: a row that is stored with the events that change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The run. A run has one reservation.
    pub run: RunId,
    /// Its runbook.
    pub runbook: String,
    /// The plugins of its steps, each once.
    pub plugins: Vec<String>,
    /// Its canonical target. Runs without one count as if all of them had the same.
    pub target: Option<String>,
    /// The value of its label `service`. As with targets, none is one value.
    pub service: Option<String>,
    /// When it was reserved first.
    pub reserved_at: DateTime<Utc>,
    /// Whether it may act and has not yet done so since it was reserved: then it counts as acting now.
    pub pending: bool,
    /// The latest effect that was intended.
    pub acted_at: Option<DateTime<Utc>>,
    /// When and how it ended. `None`: it is open and takes part in the concurrency limits.
    pub ended: Option<End>,
}

/// The end of a run that acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it is known to have worked.
    pub success: bool,
}

impl Reservation {
    /// The moment at which the action counts: its latest effect; now, as long as it is pending.
    #[must_use]
    pub fn counts_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.ended.is_none() && self.pending { now } else { self.acted_at.unwrap_or(self.reserved_at) }
    }

    /// Whether the run is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// What a run holds, by what its events say; `None` where it holds nothing: it was never permitted to act, it
    /// ended without an effect having been intended, or it is a drill.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        if run.drill.is_some() {
            return None;
        }
        let reserved_at = run.started_at?;
        let ended = run.ended_at.zip(run.outcome).map(|(at, outcome)| End { at, success: worked(outcome) });
        if ended.is_some() && run.acted_at.is_none() {
            return None;
        }
        let plugins: Vec<String> = run.steps.iter().map(|step| step.plugin.clone()).collect();
        Some(Self {
            run: run.id.clone(),
            runbook: run.runbook.clone(),
            plugins: distinct(&plugins),
            target: run.target.clone(),
            service: run.labels.get(SERVICE).cloned(),
            reserved_at,
            pending: ended.is_none() && run.acted_at.is_none(),
            acted_at: run.acted_at,
            ended,
        })
    }

    fn latest(&self) -> DateTime<Utc> {
        let ended = self.ended.map(|end| end.at);
        [Some(self.reserved_at), self.acted_at, ended].into_iter().flatten().max().unwrap_or(self.reserved_at)
    }
}

/// A run that wants to act, or may want to.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The run. What it holds already does not count against it.
    pub run: &'a RunId,
    /// Its runbook.
    pub runbook: &'a str,
    /// The limits of that runbook.
    pub limits: &'a Limits,
    /// The plugins of its steps.
    pub plugins: &'a [String],
    /// Its canonical target.
    pub target: Option<&'a str>,
    /// The value of its label `service`.
    pub service: Option<&'a str>,
    /// Whether people approved it: then a storm is no longer a question.
    pub approved: bool,
}

/// For how long ended actions are kept: as long as a configured window reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Horizon {
    everywhere: Duration,
    runbooks: BTreeMap<String, Duration>,
}

impl Horizon {
    /// The horizon of these limits. With longer windows set later, what lies before the earlier horizon does not
    /// count.
    #[must_use]
    pub fn new<'a>(global: &GlobalLimits, runbooks: impl IntoIterator<Item = (&'a str, &'a Limits)>) -> Self {
        let mut horizon = Self { everywhere: global.longest(), runbooks: BTreeMap::new() };
        for (name, limits) in runbooks {
            // Other runbooks' actions with the same plugin count too.
            horizon.everywhere =
                horizon.everywhere.max(limits.per_plugin.map_or(Duration::ZERO, |rate| rate.per));
            horizon.runbooks.insert(name.to_owned(), limits.longest());
        }
        horizon
    }

    /// The longest time for which any action is kept after its end.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.runbooks.values().copied().max().unwrap_or_default().max(self.everywhere)
    }

    /// How long an action of a runbook is kept after its end.
    #[must_use]
    pub fn of(&self, runbook: &str) -> Duration {
        self.runbooks.get(runbook).copied().unwrap_or_default().max(self.everywhere)
    }
}

/// All reservations that still matter.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rows: BTreeMap<RunId, Reservation>,
    open: BTreeSet<RunId>,
    ended: BTreeSet<(DateTime<Utc>, RunId)>,
    tally: Tally,
    sightings: Sightings,
    latest: Option<DateTime<Utc>>,
}

impl Ledger {
    /// The ledger that these rows make up, and what was seen of storms; in whichever order.
    #[must_use]
    pub fn restore(rows: impl IntoIterator<Item = Reservation>, sightings: Sightings) -> Self {
        let mut ledger = Self { latest: sightings.latest(), sightings, ..Self::default() };
        for row in rows {
            ledger.latest = ledger.latest.max(Some(row.latest()));
            ledger.put(row);
        }
        ledger
    }

    /// Takes up a row that it does not know: for actions that were not counted while no limit was in force.
    pub fn take_up(&mut self, row: Reservation) {
        if !self.rows.contains_key(&row.run) && self.rows.len() < MOST_ROWS {
            self.latest = self.latest.max(Some(row.latest()));
            self.put(row);
        }
    }

    fn put(&mut self, row: Reservation) {
        self.take(&row.run);
        match row.ended {
            Some(end) => self.ended.insert((end.at, row.run.clone())),
            None => self.open.insert(row.run.clone()),
        };
        self.tally.add(&row);
        self.rows.insert(row.run.clone(), row);
    }

    fn take(&mut self, run: &RunId) -> Option<Reservation> {
        let row = self.rows.remove(run)?;
        match row.ended {
            Some(end) => self.ended.remove(&(end.at, run.clone())),
            None => self.open.remove(run),
        };
        self.tally.remove(&row);
        Some(row)
    }

    /// The time by this ledger: never earlier than what it was told before, so that a clock that is set back
    /// neither frees what is taken nor stretches it.
    #[must_use]
    pub fn time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.latest.map_or(now, |latest| latest.max(now))
    }

    fn tick(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now = self.time(now);
        self.latest = Some(now);
        now
    }

    /// Whether the run could act now. Changes nothing: for the pre-gate, a backtest and explanations.
    ///
    /// # Errors
    /// What stops it.
    pub fn ask(
        &self,
        now: DateTime<Utc>,
        global: &GlobalLimits,
        request: &Request<'_>,
        population: Population<'_>,
    ) -> Result<Reservation, Stop> {
        let now = self.time(now);
        judge::judge(self, now, global, request, population)?;
        let held = self.rows.get(request.run);
        Ok(Reservation {
            run: request.run.clone(),
            runbook: request.runbook.to_owned(),
            plugins: distinct(request.plugins),
            target: request.target.map(str::to_owned),
            service: request.service.map(str::to_owned),
            reserved_at: held.map_or(now, |held| held.reserved_at),
            pending: true,
            acted_at: held.and_then(|held| held.acted_at),
            ended: None,
        })
    }

    /// Reserves, and holds the reservation at once: nothing that is asked later overlooks it. The row belongs into
    /// the transaction that makes the act permit; where that fails, the run is released.
    ///
    /// A run that holds one already, because it goes on after it was parked or interrupted, is asked again about
    /// everything but its own part.
    ///
    /// # Errors
    /// What stops it. Then nothing changed.
    pub fn reserve(
        &mut self,
        now: DateTime<Utc>,
        global: &GlobalLimits,
        request: &Request<'_>,
        population: Population<'_>,
    ) -> Result<Reservation, Stop> {
        let now = self.tick(now);
        let reservation = self.ask(now, global, request, population)?;
        self.put(reservation.clone());
        Ok(reservation)
    }

    /// Notes that an effect of the run is intended. The row as it is then; `None` when there is none that is open.
    pub fn acted(&mut self, now: DateTime<Utc>, run: &RunId) -> Option<&Reservation> {
        let now = self.tick(now);
        let row = self.rows.get_mut(run).filter(|row| row.is_open())?;
        row.pending = false;
        row.acted_at = row.acted_at.max(Some(now));
        Some(row)
    }

    /// Notes the end of a run that intended an effect. The row as it is then; `None` when there is none that is
    /// open: the first end stays.
    pub fn settle(&mut self, now: DateTime<Utc>, run: &RunId, outcome: Outcome) -> Option<&Reservation> {
        let now = self.tick(now);
        self.rows.get(run).filter(|row| row.is_open())?;
        let mut row = self.take(run)?;
        // Where nobody said when it acted, it may have been as late as now.
        row.acted_at = row.acted_at.or(Some(now));
        row.pending = false;
        row.ended = Some(End { at: now, success: worked(outcome) });
        self.put(row);
        self.rows.get(run)
    }

    /// Gives back what a run holds that ends without an effect having been intended. `true` when the row is gone.
    ///
    /// One that acted is not forgotten by this: it ends as a failure and goes on counting.
    pub fn release(&mut self, now: DateTime<Utc>, run: &RunId) -> bool {
        let now = self.tick(now);
        match self.rows.get(run) {
            Some(row) if row.is_open() && row.acted_at.is_none() => self.take(run).is_some(),
            Some(row) if row.is_open() => {
                self.settle(now, run, Outcome::Failed);
                false
            }
            Some(_) | None => false,
        }
    }

    /// Notes that a runbook answered to trouble at a target, whether or not it then acts: a storm is seen by the
    /// number of targets in trouble.
    pub fn sighted(&mut self, now: DateTime<Utc>, runbook: &str, target: &str) {
        let now = self.tick(now);
        self.sightings.note(now, runbook, target);
    }

    /// What was seen of storms: a row to be stored beside the reservations.
    #[must_use]
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// Drops what no window reaches any more; the runs whose rows can be dropped with it. The row of
    /// [`Ledger::sightings`] is to be stored in the same transaction.
    pub fn forget(&mut self, now: DateTime<Utc>, horizon: &Horizon) -> Vec<RunId> {
        let now = self.tick(now);
        let over = |(at, run): &&(DateTime<Utc>, RunId)| {
            let keep = self.rows.get(run).map_or(Duration::ZERO, |row| horizon.of(&row.runbook));
            duration::after(*at, keep) <= now
        };
        let gone: Vec<RunId> = self.ended.iter().filter(over).map(|(_, run)| run.clone()).collect();
        for run in &gone {
            self.take(run);
        }
        self.sightings.forget(now, horizon);
        gone
    }

    /// One run's reservation.
    #[must_use]
    pub fn get(&self, run: &RunId) -> Option<&Reservation> {
        self.rows.get(run)
    }

    /// How many reservations it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many reservations there are of one kind, whenever they count: no window holds more.
    pub(super) fn at_most(&self, of: Of<'_>) -> usize {
        self.tally.of(of)
    }

    /// How many reservations are of runs that are not over.
    pub(super) fn open_runs(&self) -> usize {
        self.open.len()
    }

    /// The reservations of runs that are not over.
    pub(super) fn open(&self) -> impl Iterator<Item = &Reservation> {
        self.open.iter().filter_map(|run| self.rows.get(run))
    }

    /// Those that ended after a moment; among them are all that count after it.
    pub(super) fn ended_after(&self, moment: DateTime<Utc>) -> impl Iterator<Item = &Reservation> {
        let newest_first = self.ended.iter().rev().take_while(move |(at, _)| *at > moment);
        newest_first.filter_map(|(_, run)| self.rows.get(run))
    }

    /// Those that count in the window of this length that ends now.
    pub(super) fn counting(
        &self,
        now: DateTime<Utc>,
        window: Duration,
    ) -> impl Iterator<Item = &Reservation> {
        let start = duration::before(now, window);
        let all = self.open().chain(self.ended_after(start));
        all.filter(move |row| row.counts_at(now) > start)
    }
}

fn worked(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Fixed | Outcome::Done)
}

fn distinct(plugins: &[String]) -> Vec<String> {
    let mut names = plugins.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}
