//! Opens and verifies all installed plugins at once, on as many threads as lend a hand: with many plugins it is most of
//! what the daemon does before it serves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::index::Index;
use super::{Registry, RegistryError};
use crate::plugin::{TrustPolicy, VerifiedPlugin};

/// What came of opening one plugin.
pub type Opened = Result<VerifiedPlugin, RegistryError>;

/// The plugins that have a current version, on their way to be opened.
#[derive(Debug)]
pub struct Opening<'a> {
    registry: &'a Registry,
    policy: &'a TrustPolicy,
    now: DateTime<Utc>,
    index: Index,
    names: Vec<String>,
    next: AtomicUsize,
    opened: Mutex<Vec<(usize, Opened)>>,
}

impl Registry {
    /// Begins to open every plugin that has a current version, under this trust.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn opening<'a>(
        &'a self,
        policy: &'a TrustPolicy,
        now: DateTime<Utc>,
    ) -> Result<Opening<'a>, RegistryError> {
        let index = Index::read(&self.root)?;
        let current = index.plugins.iter().filter(|(_, entry)| entry.current().is_some());
        let names = current.map(|(name, _)| name.clone()).collect();
        let (next, opened) = (AtomicUsize::new(0), Mutex::default());
        Ok(Opening { registry: self, policy, now, index, names, next, opened })
    }
}

impl Opening<'_> {
    /// Opens those that nobody else has begun with; to be called from each thread that has the time.
    pub fn go_on(&self) {
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = self.names.get(place) else { return };
            let opened = self.registry.open_current(&self.index, name, self.policy, self.now);
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).push((place, opened));
        }
    }

    /// What came of each, by name, once all threads are done.
    #[must_use]
    pub fn finish(self) -> Vec<(String, Opened)> {
        self.go_on();
        let mut opened = self.opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        opened.sort_by_key(|(place, _)| *place);
        self.names.into_iter().zip(opened).map(|(name, (_, opened))| (name, opened)).collect()
    }
}
