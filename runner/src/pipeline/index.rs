//! What is open, in memory: alerts by identity, runs by runbook and target, live runs by id.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use staunch_core::id::{Digest, RunId};
use staunch_core::record::{Known, Standing};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::live::LiveRun;

/// How many alerts that are over are remembered, so that a late repeat of one starts nothing. The oldest are
/// forgotten first; a repeat that comes later than that is taken for a new firing.
const REMEMBERED: usize = 65_536;

/// How many locks the identities share.
const SHARDS: usize = 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The identity of an alert: source and fingerprint, hashed to a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity([u8; 16]);

impl Identity {
    pub(super) fn of(source: &str, fingerprint: &str) -> Self {
        let digest = Digest::of_parts(&[source.as_bytes(), &[0], fingerprint.as_bytes()]);
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest.as_bytes()[..16]);
        Self(bits)
    }

    fn shard(self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % SHARDS
    }
}

/// The alerts that fire, and the last ones that are over.
#[derive(Debug)]
pub(super) struct Alerts {
    known: Mutex<Table>,
    /// Whether every alert of the journal is in the table.
    complete: AtomicBool,
    shards: Vec<Arc<AsyncMutex<()>>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The latest firing of each.
    by_identity: HashMap<Identity, Known>,
    /// Earlier firings, by their beginning.
    earlier: HashMap<(Identity, DateTime<Utc>), Known>,
    /// What is over, in the order in which it is forgotten.
    over: VecDeque<(Identity, Option<DateTime<Utc>>)>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            complete: AtomicBool::new(false),
            shards: std::iter::repeat_with(Arc::<AsyncMutex<()>>::default).take(SHARDS).collect(),
        }
    }
}

impl Alerts {
    /// Holds the identities, so that two deliveries of one alert are taken in one after the other. Locks are
    /// taken in one order, so that two batches cannot wait for each other.
    pub(super) async fn hold(&self, identities: &[Identity]) -> Vec<OwnedMutexGuard<()>> {
        let mut shards: Vec<usize> = identities.iter().map(|identity| identity.shard()).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut guards = Vec::with_capacity(shards.len());
        for shard in shards {
            guards.push(Arc::clone(&self.shards[shard]).lock_owned().await);
        }
        guards
    }

    /// The firing that began then, else the latest one.
    pub(super) fn get(&self, identity: Identity, starts_at: Option<DateTime<Utc>>) -> Option<Known> {
        let table = lock(&self.known);
        let earlier = starts_at.and_then(|at| table.earlier.get(&(identity, at)));
        earlier.or_else(|| table.by_identity.get(&identity)).cloned()
    }

    /// Says that every alert of the journal was put in.
    pub(super) fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Whether an alert that is not found here is not in the journal either.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, identity: Identity, known: Known) {
        let mut table = lock(&self.known);
        if known.status != Standing::Firing {
            table.over.push_back((identity, known.starts_at));
        }
        table.keep(identity, known);
        while table.over.len() > REMEMBERED {
            self.complete.store(false, Ordering::Relaxed);
            let Some(oldest) = table.over.pop_front() else { break };
            table.forget(oldest);
        }
    }
}

impl Table {
    /// Keeps a firing, as the latest one or as an earlier one.
    fn keep(&mut self, identity: Identity, known: Known) {
        let Some(latest) = self.by_identity.get_mut(&identity) else {
            self.by_identity.insert(identity, known);
            return;
        };
        let past = match (latest.starts_at, known.starts_at) {
            (Some(latest_at), Some(at)) if at < latest_at => known,
            (Some(_), Some(_)) if latest.id != known.id => std::mem::replace(latest, known),
            _ => {
                *latest = known;
                return;
            }
        };
        if let Some(at) = past.starts_at {
            if past.status == Standing::Firing {
                // It ends with its successor: nobody may ever say so.
                self.over.push_back((identity, Some(at)));
            }
            self.earlier.insert((identity, at), past);
        }
    }

    fn forget(&mut self, (identity, starts_at): (Identity, Option<DateTime<Utc>>)) {
        if starts_at.and_then(|at| self.earlier.remove(&(identity, at))).is_some() {
            return;
        }
        let over = |known: &Known| known.status != Standing::Firing && known.starts_at == starts_at;
        if self.by_identity.get(&identity).is_some_and(over) {
            self.by_identity.remove(&identity);
        }
    }
}

/// Runs that have not ended.
#[derive(Debug, Default)]
pub(super) struct Runs {
    live: Mutex<HashMap<RunId, Arc<LiveRun>>>,
    by_place: Mutex<HashMap<(String, String), RunId>>,
}

impl Runs {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.live).len()
    }

    pub(super) fn get(&self, id: &RunId) -> Option<Arc<LiveRun>> {
        lock(&self.live).get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<LiveRun>> {
        lock(&self.live).values().cloned().collect()
    }

    /// Takes the place of a runbook at a target, or tells who has it. A run that has ended has it no more, even
    /// where it was not given back yet.
    pub(super) fn reserve(&self, runbook: &str, target: &str, run: &RunId) -> Result<(), RunId> {
        let mut places = lock(&self.by_place);
        let place = (runbook.to_owned(), target.to_owned());
        match places.get(&place) {
            Some(other) if self.get(other).is_none_or(|live| !live.is_over()) => Err(other.clone()),
            Some(_) | None => {
                places.insert(place, run.clone());
                Ok(())
            }
        }
    }

    /// Gives a place back, if it is this run's.
    pub(super) fn release(&self, runbook: &str, target: &str, run: &RunId) {
        let mut places = lock(&self.by_place);
        let place = (runbook.to_owned(), target.to_owned());
        if places.get(&place) == Some(run) {
            places.remove(&place);
        }
    }

    pub(super) fn add(&self, live: Arc<LiveRun>) {
        lock(&self.live).insert(live.id().clone(), live);
    }

    pub(super) fn remove(&self, id: &RunId) {
        lock(&self.live).remove(id);
    }
}
