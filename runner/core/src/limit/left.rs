//! What is left of each limit: for people who look.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::config::{GlobalLimits, Limits, Rate, Share};
use super::judge::{LimitName, free_at};
use super::ledger::{Ledger, Reservation};
use super::storm;

/// The most subjects that are listed of one limit: those with the least left first.
const MOST_SUBJECTS: usize = 100;

/// What is left of one limit for one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The limit.
    pub limit: LimitName,
    /// The runbook that sets it; `None`: `staunch.yaml`.
    pub runbook: Option<String>,
    /// The target, plugin, service or runbook that it counts for; `None` where it counts for all together.
    pub subject: Option<String>,
    /// The limit as it is written.
    pub rule: String,
    /// How many are allowed; `None` where that depends on a group.
    pub most: Option<u32>,
    /// How many are taken.
    pub used: u32,
    /// How many are left.
    pub left: Option<u32>,
    /// Where none are left: when there is room again, if only time has to pass.
    pub free_at: Option<DateTime<Utc>>,
}

struct Listing<'a> {
    ledger: &'a Ledger,
    now: DateTime<Utc>,
    lines: Vec<Left>,
}

impl Ledger {
    /// What is left of every limit, for each subject that took something, the global limits first.
    #[must_use]
    pub fn left<'a>(
        &self,
        now: DateTime<Utc>,
        global: &GlobalLimits,
        runbooks: impl IntoIterator<Item = (&'a str, &'a Limits)>,
    ) -> Vec<Left> {
        let mut listing = Listing { ledger: self, now: self.time(now), lines: Vec::new() };
        listing.global(global);
        for (name, limits) in runbooks {
            listing.runbook(name, limits);
        }
        listing.lines
    }
}

impl<'a> Listing<'a> {
    fn global(&mut self, global: &GlobalLimits) {
        let all = |_: &Reservation| true;
        self.rate(None, LimitName::Actions, global.actions, all, |_| vec![None]);
        self.rate(None, LimitName::PerTarget, global.per_target, all, |row| vec![row.target.as_deref()]);
        self.rate(None, LimitName::PerRunbook, global.per_runbook, all, |row| vec![Some(&row.runbook)]);
        self.rate(None, LimitName::PerPlugin, global.per_plugin, all, plugins);
        self.rate(None, LimitName::PerService, global.per_service, all, |row| vec![row.service.as_deref()]);
        if let Some(most) = global.concurrent {
            self.now(None, LimitName::Concurrent, most.to_string(), Some(most), self.ledger.open().count());
        }
        if let Some(storm) = global.storm {
            let used = storm::troubled(self.ledger, self.now, storm.within, None).len();
            self.now(None, LimitName::Storm, storm.to_string(), Some(storm.targets), used);
        }
    }

    fn runbook(&mut self, name: &str, limits: &Limits) {
        let ledger = self.ledger;
        let own = |row: &Reservation| row.runbook == name;
        let whose = Some(name);
        self.rate(whose, LimitName::PerTarget, limits.per_target, own, |row| vec![row.target.as_deref()]);
        self.rate(whose, LimitName::PerRunbook, limits.per_runbook, own, |_| vec![None]);
        self.rate(whose, LimitName::PerPlugin, limits.per_plugin, |_| true, plugins);
        self.rate(whose, LimitName::PerService, limits.per_service, own, |row| vec![row.service.as_deref()]);
        if let Some(most) = limits.concurrent {
            let used = ledger.open().filter(|row| own(row)).count();
            self.now(whose, LimitName::Concurrent, most.to_string(), Some(most), used);
        }
        if let Some(share) = limits.concurrent_targets {
            let targets = ledger.open().filter(|row| own(row)).map(|row| row.target.as_deref());
            let most = match share {
                Share::Count(count) => Some(count),
                Share::Percent(_) => None,
            };
            let used = targets.collect::<BTreeSet<_>>().len();
            self.now(whose, LimitName::ConcurrentTargets, share.to_string(), most, used);
        }
        if let Some(storm) = limits.storm {
            let used = storm::troubled(ledger, self.now, storm.within, whose).len();
            self.now(whose, LimitName::Storm, storm.to_string(), Some(storm.targets), used);
        }
    }

    /// A limit on what is so now.
    fn now(&mut self, runbook: Option<&str>, limit: LimitName, rule: String, most: Option<u32>, used: usize) {
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        self.lines.push(Left {
            limit,
            runbook: runbook.map(str::to_owned),
            subject: None,
            rule,
            most,
            used,
            left: most.map(|most| most.saturating_sub(used)),
            free_at: None,
        });
    }

    fn rate(
        &mut self,
        runbook: Option<&str>,
        limit: LimitName,
        rate: Option<Rate>,
        counts: impl Fn(&Reservation) -> bool,
        subjects: impl Fn(&'a Reservation) -> Vec<Option<&'a str>>,
    ) {
        let Some(rate) = rate else { return };
        let mut taken: BTreeMap<Option<&str>, Vec<&Reservation>> = BTreeMap::new();
        for row in self.ledger.counting(self.now, rate.per).filter(|row| counts(row)) {
            for subject in subjects(row) {
                taken.entry(subject).or_default().push(row);
            }
        }
        let mut lines: Vec<Left> = taken
            .into_iter()
            .map(|(subject, mut rows)| {
                let used = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                let left = rate.most.saturating_sub(used);
                Left {
                    limit,
                    runbook: runbook.map(str::to_owned),
                    subject: subject.map(str::to_owned),
                    rule: rate.to_string(),
                    most: Some(rate.most),
                    used,
                    left: Some(left),
                    free_at: if left == 0 { free_at(&mut rows, rate, self.now) } else { None },
                }
            })
            .collect();
        lines.sort_by_key(|line| line.left);
        lines.truncate(MOST_SUBJECTS);
        if lines.is_empty() {
            self.now(runbook, limit, rate.to_string(), Some(rate.most), 0);
        }
        self.lines.extend(lines);
    }
}

fn plugins(row: &Reservation) -> Vec<Option<&str>> {
    row.plugins.iter().map(|plugin| Some(plugin.as_str())).collect()
}
