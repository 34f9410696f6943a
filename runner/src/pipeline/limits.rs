//! Limits at work: the ledger of what runs took, asked by the pre-gate and reserved from at the gate.
//!
//! A reservation is no entry of its own: the act permit is. `run-permitted` takes it, `effect-intended` says when
//! it counts, `run-ended` settles it or gives it back, and the ledger is put together again from what those left
//! behind: open runs, and the rows of kind `action` of those that ended. While no limit is in force
//! anywhere, nothing is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::id::RunId;
use staunch_core::limit::{
    GlobalLimits, Group, Horizon, Ledger, Left, Members, Population, Request, Reservation, Roll, SERVICE,
    Stop,
};
use staunch_core::policy::{Runbook, duration};
use staunch_core::run::{Mode, Run};

use super::Pipeline;
use super::groups::{self, Seen};
use super::shared::{Rules, Shared};

/// From one look at what is due (groups, rows that no window reaches any more) to the next.
const ROUND: Duration = Duration::from_secs(1);

/// What runs took of the limits, and what is known of groups.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Whether any limit is set anywhere.
    in_force: AtomicBool,
    ledger: Mutex<Ledger>,
    groups: Mutex<BTreeMap<String, Seen>>,
}

/// The horizon of all limits in force.
pub(super) fn horizon(rules: &Rules) -> Horizon {
    let runbooks = rules.policies.routing().runbooks().iter();
    Horizon::new(&rules.config.limits, runbooks.map(|runbook| (runbook.name.as_str(), &runbook.limits)))
}

fn any(rules: &Rules) -> bool {
    rules.config.limits != GlobalLimits::default()
        || rules.policies.routing().runbooks().iter().any(|runbook| runbook.limits != Default::default())
}

impl Limits {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any limit is set anywhere.
    pub(super) fn in_force(&self) -> bool {
        self.in_force.load(Ordering::Acquire)
    }

    /// Works with the ledger and what is known of the group of a runbook.
    fn judge<T>(&self, group: Option<&str>, work: impl FnOnce(&mut Ledger, Population<'_>) -> T) -> T {
        let seen = group.map(|name| (name, self.groups().get(name).cloned()));
        let population = match &seen {
            None => Population::NoGroup,
            Some((_, Some(Ok(roll)))) => Population::Known(roll),
            Some((group, Some(Err(why)))) => Population::Unknown { group, why },
            Some((group, None)) => Population::Unknown { group, why: "nobody looked yet" },
        };
        work(&mut self.ledger(), population)
    }

    /// Notes that an effect of a run is intended.
    pub(super) fn acted(&self, run: &Run) {
        if self.in_force() {
            self.ledger().acted(run.acted_at.unwrap_or(run.created_at), &run.id);
        }
    }

    /// Notes the end of a run: settled where it acted, given back where it did not.
    pub(super) fn ended(&self, run: &Run) {
        let (true, Some(at), Some(outcome)) = (self.in_force(), run.ended_at, run.outcome) else { return };
        let mut ledger = self.ledger();
        if run.acted_at.is_some() {
            ledger.settle(at, &run.id, outcome);
        } else {
            ledger.release(at, &run.id);
        }
    }

    /// Gives back what was reserved for a permit that is not in the journal.
    pub(super) fn give_back(&self, now: DateTime<Utc>, run: &RunId) {
        if self.in_force() {
            self.ledger().release(now, run);
        }
    }

    /// Takes up what an unended run holds and has seen.
    fn take_up(&self, run: &Run) {
        let mut ledger = self.ledger();
        if let Some(target) = run.target.as_ref().filter(|_| run.drill.is_none()) {
            ledger.sighted(run.created_at, &run.runbook, target);
        }
        if let Some(row) = Reservation::of(run) {
            ledger.take_up(row);
        }
    }

    /// Puts the limits of these rules in force, with what unended runs hold; whether there are any.
    pub(super) fn begin(&self, rules: &Rules, open: &[Arc<Run>]) -> bool {
        let any = any(rules);
        // From here on nothing that acts is missed; what was before is filled in.
        self.in_force.store(any, Ordering::Release);
        if !any {
            // What ends from now on is not noted: it is put together anew when there are limits again.
            *self.ledger() = Ledger::default();
        }
        if any {
            open.iter().for_each(|run| self.take_up(run));
        }
        any
    }

    /// Takes up what a run took that is over.
    pub(super) fn restore(&self, row: Option<Reservation>) {
        if let Some(row) = row {
            self.ledger().take_up(row);
        }
    }

    fn saw(&self, group: &str, seen: Seen) {
        self.groups().insert(group.to_owned(), seen);
    }

    /// Whether what was seen of a group before is good still.
    fn is_fresh(&self, group: &str, now: DateTime<Utc>) -> bool {
        let groups = self.groups();
        let roll = groups.get(group).and_then(|seen| seen.as_ref().ok());
        roll.is_some_and(|roll| duration::after(roll.at, roll.good_for) >= now)
    }

    pub(super) fn keep_groups(&self, is_there: impl Fn(&str) -> bool) {
        self.groups().retain(|name, _| is_there(name));
    }
}

/// A run to be, as far as limits are concerned.
pub(super) struct Wish<'a> {
    pub(super) run: &'a RunId,
    pub(super) runbook: &'a Runbook,
    pub(super) plugins: &'a [&'a str],
    pub(super) target: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) mode: Mode,
    /// A drill is asked, whatever it is for, and no target is in trouble by it.
    pub(super) drill: bool,
}

impl Shared {
    /// Takes in what was seen of a group. A server that does not answer once takes nothing back that is good still.
    pub(super) fn saw_group(&self, group: &Group, seen: Seen) {
        let limits = &self.books.limits;
        let by_query = matches!(group.members, Members::Prometheus(_));
        if by_query && seen.is_err() && limits.is_fresh(&group.name, self.now()) {
            return;
        }
        limits.saw(&group.name, seen);
    }

    /// What stops a run that is not made yet. Its target counts as one in trouble from now on.
    pub(super) fn limit_of_wish(&self, rules: &Rules, wish: &Wish<'_>) -> Option<Stop> {
        let limits = &self.books.limits;
        if !limits.in_force() || (wish.mode == Mode::Plan && !wish.drill) {
            return None;
        }
        let plugins: Vec<String> = wish.plugins.iter().map(|name| (*name).to_owned()).collect();
        let request = Request {
            run: wish.run,
            runbook: &wish.runbook.name,
            limits: &wish.runbook.limits,
            plugins: &plugins,
            target: Some(wish.target),
            service: wish.labels.get(SERVICE).map(String::as_str),
            approved: false,
        };
        let now = self.now();
        limits.judge(group_of(wish.runbook), |ledger, population| {
            if !wish.drill {
                ledger.sighted(now, request.runbook, wish.target);
            }
            ledger.ask(now, &rules.config.limits, &request, population).err()
        })
    }

    /// What stops a run from acting now; nothing is taken.
    pub(super) fn limit_of(&self, run: &Run) -> Option<Stop> {
        if run.mode == Mode::Plan && run.drill.is_none() {
            return None;
        }
        self.judge_run(run, run.approved, |ledger, now, global, request, population| {
            ledger.ask(now, global, request, population).err()
        })
        .flatten()
    }

    /// Takes a run's part of the limits, right before the permit to act is written down; see [`Limits::give_back`].
    ///
    /// # Errors
    /// What stops it. Then nothing was taken.
    pub(super) fn reserve(&self, run: &Run, approved: bool) -> Result<(), Stop> {
        let taken = self.judge_run(run, approved, |ledger, now, global, request, population| {
            ledger.reserve(now, global, request, population).map(drop)
        });
        taken.unwrap_or(Ok(()))
    }

    /// `None` while no limit is in force anywhere.
    pub(super) fn judge_run<T>(
        &self,
        run: &Run,
        approved: bool,
        work: impl FnOnce(&mut Ledger, DateTime<Utc>, &GlobalLimits, &Request<'_>, Population<'_>) -> T,
    ) -> Option<T> {
        if !self.books.limits.in_force() {
            return None;
        }
        let rules = self.rules();
        let runbook = self.runbook(&run.runbook);
        let none = staunch_core::limit::Limits::default();
        let plugins: Vec<String> = run.steps.iter().map(|step| step.plugin.clone()).collect();
        let request = Request {
            run: &run.id,
            runbook: &run.runbook,
            limits: runbook.as_ref().map_or(&none, |runbook| &runbook.limits),
            plugins: &plugins,
            target: run.target.as_deref(),
            service: run.labels.get(SERVICE).map(String::as_str),
            approved,
        };
        let group = runbook.as_deref().and_then(group_of);
        Some(self.books.limits.judge(group, |ledger, population| {
            work(ledger, self.now(), &rules.config.limits, &request, population)
        }))
    }
}

fn group_of(runbook: &Runbook) -> Option<&str> {
    runbook.group.as_ref().map(|(name, _)| name.as_str())
}

/// Looks after groups, and drops what no window reaches any more, for as long as the daemon serves.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut looks = groups::Looks::default();
    loop {
        let rules = shared.rules();
        if shared.books.limits.in_force() {
            looks.due(&shared, &rules).await;
            shared.books.limits.ledger().forget(shared.now(), &horizon(&rules));
        }
        shared.books.breakers.prune(shared.now());
        drop(rules);
        tokio::time::sleep(ROUND).await;
    }
}

impl Pipeline {
    /// What is left of every limit, for each subject that took something.
    #[must_use]
    pub fn limits_left(&self) -> Vec<Left> {
        let rules = self.rules();
        let runbooks = rules.policies.routing().runbooks().iter();
        let runbooks = runbooks.map(|runbook| (runbook.name.as_str(), &runbook.limits));
        self.0.books.limits.ledger().left(self.clock().now(), &rules.config.limits, runbooks)
    }

    /// What is known of each group: who its members are and how they do, or why that is not known.
    #[must_use]
    pub fn groups_seen(&self) -> Vec<(String, Result<Arc<Roll>, String>)> {
        let seen = self.0.books.limits.groups();
        let rules = self.rules();
        let known = |name: &String| {
            let unseen = || Err("nobody looked yet".to_owned());
            (name.clone(), seen.get(name).cloned().unwrap_or_else(unseen))
        };
        rules.config.groups.keys().map(known).collect()
    }
}
