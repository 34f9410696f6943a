//! How many reservations there are of each kind: most questions are answered by that alone, without a look at each.

use std::collections::BTreeMap;

use super::ledger::Reservation;

/// What reservations have in common.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// All of them.
    All,
    Runbook(&'a str),
    Plugin(&'a str),
    Target(Option<&'a str>),
    Service(Option<&'a str>),
}

/// The numbers. What has none has no entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    all: usize,
    runbooks: BTreeMap<String, usize>,
    plugins: BTreeMap<String, usize>,
    targets: BTreeMap<String, usize>,
    services: BTreeMap<String, usize>,
    without_target: usize,
    without_service: usize,
}

impl Tally {
    pub(super) fn add(&mut self, row: &Reservation) {
        self.all += 1;
        more(&mut self.runbooks, &row.runbook);
        row.plugins.iter().for_each(|plugin| more(&mut self.plugins, plugin));
        match &row.target {
            Some(target) => more(&mut self.targets, target),
            None => self.without_target += 1,
        }
        match &row.service {
            Some(service) => more(&mut self.services, service),
            None => self.without_service += 1,
        }
    }

    pub(super) fn remove(&mut self, row: &Reservation) {
        self.all -= 1;
        less(&mut self.runbooks, &row.runbook);
        row.plugins.iter().for_each(|plugin| less(&mut self.plugins, plugin));
        match &row.target {
            Some(target) => less(&mut self.targets, target),
            None => self.without_target -= 1,
        }
        match &row.service {
            Some(service) => less(&mut self.services, service),
            None => self.without_service -= 1,
        }
    }

    pub(super) fn of(&self, of: Of<'_>) -> usize {
        let count = |counts: &BTreeMap<String, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
        match of {
            Of::All => self.all,
            Of::Runbook(name) => count(&self.runbooks, name),
            Of::Plugin(name) => count(&self.plugins, name),
            Of::Target(Some(name)) => count(&self.targets, name),
            Of::Target(None) => self.without_target,
            Of::Service(Some(name)) => count(&self.services, name),
            Of::Service(None) => self.without_service,
        }
    }
}

fn more(counts: &mut BTreeMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

fn less(counts: &mut BTreeMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(name)),
    }
}
