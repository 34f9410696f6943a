//! Time in a backtest: when each alert was heard of, and what happens between two of them.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Backtest, Decided, Heard, Identified, Judged};
use crate::alert::{Alert, Status};
use crate::decision::Code;
use crate::id::{AlertId, RunId};
use crate::policy::duration;
use crate::record::is_quiet;
use crate::run::Outcome;

/// The most alerts of one backtest: what is open of them is kept in memory.
pub const MOST_ALERTS: usize = 2_000_000;

/// From one look at what no window of a limit reaches any more to the next.
const FORGET_EVERY: TimeDelta = TimeDelta::minutes(1);

/// An alert, and when it was heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When.
    pub at: DateTime<Utc>,
    /// What was said.
    pub alert: Alert,
}

/// Alerts in the order of time: one that fires is heard of when it starts, one that is over when it ends. Where an
/// alert says neither, it is heard of with the one before it; at the beginning of all, with the first that says;
/// where none does, now.
#[must_use]
pub fn in_order(alerts: Vec<Alert>, now: DateTime<Utc>) -> Vec<Recorded> {
    let own = |alert: &Alert| match alert.status {
        Status::Firing => alert.starts_at,
        Status::Resolved => alert.ends_at.or(alert.starts_at),
    };
    let mut last = alerts.iter().find_map(own).unwrap_or(now);
    let mut recorded: Vec<Recorded> = alerts
        .into_iter()
        .map(|alert| {
            last = own(&alert).unwrap_or(last);
            Recorded { at: last, alert }
        })
        .collect();
    recorded.sort_by_key(|recorded| recorded.at);
    recorded
}

/// The end of a run that is open. The earliest is the greatest, so that a heap gives it first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) at: DateTime<Utc>,
    pub(super) run: RunId,
    pub(super) place: (String, String),
    /// The alert that it answers, where it waits for people and nobody comes.
    pub(super) waits_for: Option<AlertId>,
}

impl Ord for Ends {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then_with(|| other.run.cmp(&self.run))
    }
}

impl PartialOrd for Ends {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Backtest<'_> {
    /// Lets time pass: runs end, and what a window or silence kept quiet is tried again when it ends.
    pub(super) fn advance(&mut self, to: DateTime<Utc>, sink: &mut dyn FnMut(&Alert, Judged)) {
        loop {
            let end = self.ends.peek().map(|end| end.at).filter(|at| *at <= to);
            let quiet = self.next_quiet_change().filter(|at| *at <= to);
            match (end, quiet) {
                (Some(end), quiet) if quiet.is_none_or(|quiet| end <= quiet) => self.end_next(),
                (_, Some(quiet)) => {
                    self.now = self.now.max(quiet);
                    self.take_up(sink);
                }
                (_, None) => break,
            }
        }
        self.now = self.now.max(to);
        if self.limited && self.now.signed_duration_since(self.forgot_at) >= FORGET_EVERY {
            self.forgot_at = self.now;
            self.ledger.forget(self.now, &self.horizon);
        }
    }

    /// When a window opens or closes next, or a silence begins or ends, as long as one keeps something quiet.
    fn next_quiet_change(&mut self) -> Option<DateTime<Utc>> {
        if self.quieted.is_empty() {
            return None;
        }
        let (now, world) = (self.now, self.world);
        let window = world.policies.windows().next_change(self.outlook(), now);
        window.into_iter().chain(world.silences.next_change(now)).min()
    }

    /// The openings of all windows as seen from now.
    pub(super) fn outlook(&mut self) -> &crate::window::Outlook {
        let now = self.now;
        self.outlook.take_if(|outlook| !outlook.reaches(now));
        let windows = self.world.policies.windows();
        self.outlook.get_or_insert_with(|| windows.outlook(now))
    }

    fn end_next(&mut self) {
        let Some(end) = self.ends.pop() else { return };
        self.now = self.now.max(end.at);
        if self.unended.get(&end.place) == Some(&end.run) {
            self.unended.remove(&end.place);
        }
        if self.limited {
            self.ledger.settle(self.now, &end.run, Outcome::Fixed);
        }
    }

    /// Ends the runs that wait for people about an alert that is over.
    pub(super) fn end_waiting(&mut self, alert: &AlertId) {
        if self.world.assumed.approved {
            return;
        }
        let unended = &mut self.unended;
        self.ends.retain(|end| {
            let over = end.waits_for.as_ref() == Some(alert);
            if over && unended.get(&end.place) == Some(&end.run) {
                unended.remove(&end.place);
            }
            !over
        });
    }

    /// Notes a run that is open for so long.
    pub(super) fn open(
        &mut self,
        run: RunId,
        place: (String, String),
        takes: Duration,
        waits_for: Option<AlertId>,
    ) {
        self.unended.insert(place.clone(), run.clone());
        self.ends.push(Ends { at: duration::after(self.now, takes), run, place, waits_for });
    }

    /// Tries again what a window or silence kept quiet. What is still kept quiet is not told again.
    fn take_up(&mut self, sink: &mut dyn FnMut(&Alert, Judged)) {
        let keys: Vec<Identified> = self.quieted.iter().cloned().collect();
        for key in keys {
            let Some(firing) = self.firings.get(&key) else { continue };
            let Some(about) = firing.about.clone() else { continue };
            let names: Vec<String> = firing.quiet.iter().cloned().collect();
            let mut decisions = Vec::new();
            let runs = self.try_named(&key, &about, &names, &mut decisions);
            let as_before = |run: &super::Rehearsed| {
                run.decided == Decided::Refuse && (is_quiet(run.code) || run.code == Code::Busy)
            };
            if !runs.iter().all(as_before) {
                let judged = self.judged(Heard::TakenUp, Decided::Refuse, runs, decisions);
                sink(&Arc::clone(&about), judged);
            }
        }
    }
}
