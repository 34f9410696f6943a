//! Whether a run may act: every limit in turn, the first that says no being the reason.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::{GlobalLimits, Rate, Share};
use super::group::Population;
use super::ledger::{Ledger, MOST_ROWS, Request, Reservation};
use super::storm::{self, StormQuestion};
use super::tally::Of;
use crate::decision::{Code, Decision, Reason, Stage};
use crate::policy::duration;

/// The limits by the names that they have in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// Actions, all together.
    Actions,
    /// Actions at a target.
    PerTarget,
    /// Actions of a runbook.
    PerRunbook,
    /// Actions with a plugin.
    PerPlugin,
    /// Actions for a service.
    PerService,
    /// Runs that act at once.
    Concurrent,
    /// Targets that are acted on at once.
    ConcurrentTargets,
    /// Members of the group that must stay healthy.
    AtLeastHealthy,
    /// How long a target is left alone.
    Cooldown,
    /// How many targets in trouble are still no storm.
    Storm,
    /// How many actions can be counted at all.
    Ledger,
}

impl LimitName {
    /// The word, as in files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::PerTarget => "per_target",
            Self::PerRunbook => "per_runbook",
            Self::PerPlugin => "per_plugin",
            Self::PerService => "per_service",
            Self::Concurrent => "concurrent",
            Self::ConcurrentTargets => "concurrent_targets",
            Self::AtLeastHealthy => "at_least_healthy",
            Self::Cooldown => "cooldown",
            Self::Storm => "storm",
            Self::Ledger => "ledger",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `limit`, or `population-unknown`.
    pub code: Code,
    /// Which.
    pub limit: LimitName,
    /// Why, with the numbers, and when there is room again.
    pub message: String,
    /// When there is room again, where only time has to pass.
    pub free_at: Option<DateTime<Utc>>,
}

/// What stops a run from acting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It does not act.
    Refused(Refusal),
    /// It does not act alone: people are asked, once for all targets of the storm.
    Asks(StormQuestion),
}

impl Stop {
    /// Why, as a reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => Reason::new(refusal.code, refusal.message.clone()),
            Self::Asks(question) => Reason::new(Code::Storm, question.to_string()),
        }
    }

    /// Why, as an entry of the decision trace.
    #[must_use]
    pub fn decision(&self, at: DateTime<Utc>, runbook: &str) -> Decision {
        let Reason { code, message } = self.reason();
        match self {
            Self::Refused(_) => Decision::refuse(at, Stage::Limit, runbook, code, message),
            Self::Asks(question) => Decision::ask(at, Stage::Limit, question.subject(), code, message),
        }
    }
}

/// Asks every limit. `now` is the ledger's time. A refusal comes before a question.
pub(super) fn judge(
    ledger: &Ledger,
    now: DateTime<Utc>,
    global: &GlobalLimits,
    request: &Request<'_>,
    population: Population<'_>,
) -> Result<(), Stop> {
    let judge = Judge { ledger, now, request };
    let refused = judge
        .room()
        .and_then(|()| judge.rates(global))
        .and_then(|()| judge.cooldown())
        .and_then(|()| judge.concurrency(global))
        .and_then(|()| judge.blast_radius(population));
    refused.map_err(Stop::Refused)?;
    if request.approved {
        return Ok(());
    }
    storm::question(ledger, now, global, request).map_or(Ok(()), |question| Err(Stop::Asks(question)))
}

struct Judge<'a> {
    ledger: &'a Ledger,
    now: DateTime<Utc>,
    request: &'a Request<'a>,
}

/// Which actions a rate counts: those of this runbook alone, or of all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Runbook,
    All,
}

impl Judge<'_> {
    fn refuse(&self, limit: LimitName, message: &str, free_at: Option<DateTime<Utc>>) -> Refusal {
        Refusal { code: Code::Limit, limit, message: format!("{limit}: {message}"), free_at }
    }

    fn is_other(&self, row: &Reservation) -> bool {
        row.run != *self.request.run
    }

    fn is_own_runbook(&self, row: &Reservation) -> bool {
        row.runbook == self.request.runbook
    }

    fn room(&self) -> Result<(), Refusal> {
        if self.ledger.len() < MOST_ROWS || self.ledger.get(self.request.run).is_some() {
            return Ok(());
        }
        let message =
            format!("{MOST_ROWS} actions lie within the configured windows, which is all that is counted");
        Err(self.refuse(LimitName::Ledger, &message, None))
    }

    fn rates(&self, global: &GlobalLimits) -> Result<(), Refusal> {
        let (limits, request) = (self.request.limits, self.request);
        let target = request.target.unwrap_or("no target");
        let service = request.service.unwrap_or("(no such label)");
        self.rate(LimitName::Actions, global.actions, Of::All, || "all runbooks".to_owned(), |_| true)?;
        for (whose, rate) in [(Whose::Runbook, limits.per_target), (Whose::All, global.per_target)] {
            let subject = || format!("{} at {target}", self.name(whose));
            self.rate(LimitName::PerTarget, rate, Of::Target(request.target), subject, |row| {
                self.is_of(whose, row) && row.target.as_deref() == request.target
            })?;
        }
        for rate in [limits.per_runbook, global.per_runbook] {
            let subject = || request.runbook.to_owned();
            let of = Of::Runbook(request.runbook);
            self.rate(LimitName::PerRunbook, rate, of, subject, |row| self.is_own_runbook(row))?;
        }
        for plugin in request.plugins {
            for rate in [limits.per_plugin, global.per_plugin] {
                let subject = || format!("plugin {plugin}");
                let of = Of::Plugin(plugin);
                self.rate(LimitName::PerPlugin, rate, of, subject, |row| row.plugins.contains(plugin))?;
            }
        }
        for (whose, rate) in [(Whose::Runbook, limits.per_service), (Whose::All, global.per_service)] {
            let subject = || format!("{} for service {service}", self.name(whose));
            self.rate(LimitName::PerService, rate, Of::Service(request.service), subject, |row| {
                self.is_of(whose, row) && row.service.as_deref() == request.service
            })?;
        }
        Ok(())
    }

    fn name(&self, whose: Whose) -> &str {
        if whose == Whose::Runbook { self.request.runbook } else { "all runbooks" }
    }

    fn is_of(&self, whose: Whose, row: &Reservation) -> bool {
        whose == Whose::All || self.is_own_runbook(row)
    }

    fn rate(
        &self,
        limit: LimitName,
        rate: Option<Rate>,
        of: Of<'_>,
        subject: impl FnOnce() -> String,
        counts: impl Fn(&Reservation) -> bool,
    ) -> Result<(), Refusal> {
        let Some(rate) = rate else { return Ok(()) };
        if self.ledger.at_most(of) < rate.most as usize {
            return Ok(());
        }
        let rows = self.ledger.counting(self.now, rate.per).filter(|row| self.is_other(row) && counts(row));
        let mut taken: Vec<&Reservation> = rows.collect();
        if taken.len() < rate.most as usize {
            return Ok(());
        }
        let free_at = free_at(&mut taken, rate, self.now);
        let when = free_at.map_or_else(
            || "again after a run that may still act has ended".to_owned(),
            |at| format!("again at {}", duration::say(at, self.now)),
        );
        let (used, most, per, subject) = (taken.len(), rate.most, duration::print(rate.per), subject());
        let message = format!("{used} of {most} actions of {subject} in {per} are taken; {when}");
        Err(self.refuse(limit, &message, free_at))
    }

    fn cooldown(&self) -> Result<(), Refusal> {
        let (cooldown, request) = (self.request.limits.cooldown, self.request);
        for (span, success) in [(cooldown.after_success, true), (cooldown.after_failure, false)] {
            let Some(span) = span.filter(|_| self.ledger.at_most(Of::Target(request.target)) > 0) else {
                continue;
            };
            let ended = self.ledger.ended_after(duration::before(self.now, span));
            let mut last = ended.filter(|row| {
                self.is_own_runbook(row)
                    && row.target.as_deref() == request.target
                    && row.ended.is_some_and(|end| end.success == success)
            });
            let Some(end) = last.next().and_then(|row| row.ended) else { continue };
            let free_at = duration::after(end.at, span);
            let message = format!(
                "{} {} {} less than {} ago; again at {}",
                request.runbook,
                if success { "succeeded at" } else { "did not succeed at" },
                request.target.unwrap_or("no target"),
                duration::print(span),
                duration::say(free_at, self.now)
            );
            return Err(self.refuse(LimitName::Cooldown, &message, Some(free_at)));
        }
        Ok(())
    }

    fn concurrency(&self, global: &GlobalLimits) -> Result<(), Refusal> {
        // Only a limit that is set is worth counting for.
        let check = |limit: Option<u32>, of: &str, counts: &dyn Fn(&Reservation) -> bool| {
            let Some(most) = limit.filter(|most| self.ledger.open_runs() >= *most as usize) else {
                return Ok(());
            };
            let taken = self.ledger.open().filter(|row| self.is_other(row) && counts(row)).count();
            if taken < most as usize {
                return Ok(());
            }
            let message = format!("{taken} of {most} runs{of} act already; again when one ends");
            Err(self.refuse(LimitName::Concurrent, &message, None))
        };
        check(global.concurrent, "", &|_| true)?;
        let of = format!(" of {}", self.request.runbook);
        check(self.request.limits.concurrent, &of, &|row| self.is_own_runbook(row))
    }

    fn blast_radius(&self, population: Population<'_>) -> Result<(), Refusal> {
        let limits = self.request.limits;
        let rely = |limit| {
            let code = Code::PopulationUnknown;
            let refusal = |why| Refusal { code, limit, message: format!("{limit}: {why}"), free_at: None };
            population.rely(self.now, self.request.target).map_err(refusal)
        };
        if let Some(share) = limits.concurrent_targets {
            match share {
                Share::Count(_) => self.concurrent_targets(share, None, |row| self.is_own_runbook(row))?,
                Share::Percent(_) => {
                    let roll = rely(LimitName::ConcurrentTargets)?;
                    let is_member =
                        |row: &Reservation| row.target.as_ref().is_some_and(|t| roll.members.contains(t));
                    self.concurrent_targets(share, Some((&roll.group, roll.members.len())), is_member)?;
                }
            }
        }
        let Some(least) = limits.at_least_healthy else { return Ok(()) };
        let roll = rely(LimitName::AtLeastHealthy)?;
        let Some(healthy) = &roll.healthy else {
            let message =
                format!("{}: the health of {} is not looked at", LimitName::AtLeastHealthy, roll.group);
            let (code, limit) = (Code::PopulationUnknown, LimitName::AtLeastHealthy);
            return Err(Refusal { code, limit, message, free_at: None });
        };
        // What is acted on may go down by it.
        let mut at_risk: BTreeSet<&str> =
            self.ledger.open().filter_map(|row| row.target.as_deref()).collect();
        at_risk.extend(self.request.target);
        let left = healthy.iter().filter(|member| !at_risk.contains(member.as_str())).count();
        if left >= least as usize {
            return Ok(());
        }
        let message = format!(
            "{left} members of {} would stay healthy, and {least} must; {} of {} are healthy now, {} acted on",
            roll.group,
            healthy.len(),
            roll.members.len(),
            at_risk.len()
        );
        Err(self.refuse(LimitName::AtLeastHealthy, &message, None))
    }

    fn concurrent_targets(
        &self,
        share: Share,
        group: Option<(&str, usize)>,
        counts: impl Fn(&Reservation) -> bool,
    ) -> Result<(), Refusal> {
        let most = share.of(group.map_or(0, |(_, members)| members));
        let rows = self.ledger.open().filter(|row| self.is_other(row) && counts(row));
        let others: BTreeSet<Option<&str>> =
            rows.map(|row| row.target.as_deref()).filter(|target| *target != self.request.target).collect();
        if others.len() < most {
            return Ok(());
        }
        let message = match group {
            Some((group, members)) if most == 0 => {
                format!(
                    "{share} of the {members} members of {group} is no whole target; a number can be given instead"
                )
            }
            Some((group, members)) => format!(
                "{} of {most} targets ({share} of the {members} members of {group}) are acted on already; \
                 again when a run ends",
                others.len()
            ),
            None => format!("{} of {most} targets are acted on already; again when a run ends", others.len()),
        };
        Err(self.refuse(LimitName::ConcurrentTargets, &message, None))
    }
}

/// When enough of what is taken has left the window; `None` while that depends on a run that may still act.
pub(super) fn free_at(taken: &mut [&Reservation], rate: Rate, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    taken.sort_by_key(|row| (row.is_open() && row.pending, row.counts_at(now)));
    let last_to_leave = taken.get(taken.len().checked_sub(rate.most as usize)?)?;
    let waits = last_to_leave.is_open() && last_to_leave.pending;
    (!waits).then(|| duration::after(last_to_leave.counts_at(now), rate.per))
}
