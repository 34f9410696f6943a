//! What the capabilities need to reach the real world, made once for all runs.

use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Clock;

use super::cap::http::Client;
use super::cap::process::launch::Launcher;
use super::cap::service::Bus;
use super::secrets::Secrets;

/// Clients and facts of the live world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) http: Client,
    pub(super) bus: Bus,
    /// Starts the programs of `process`.
    pub(super) launcher: Launcher,
    secrets: RwLock<Arc<Secrets>>,
}

impl World {
    pub(super) fn new(clock: Clock, http: Client, secrets: Secrets, bus_address: Option<String>) -> Self {
        let (bus, launcher) = (Bus::new(bus_address), Launcher::this_program());
        Self { clock, http, bus, launcher, secrets: RwLock::new(Arc::new(secrets)) }
    }

    pub(super) fn secrets(&self) -> Arc<Secrets> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace_secrets(&self, secrets: Secrets) {
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}
