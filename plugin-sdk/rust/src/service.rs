//! Units of the service manager (systemd) on the run's host.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::clock::milliseconds;
use crate::{Awaited, Effect, Error, Intent};

/// The state of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `running`, `dead`, ...
    pub sub: String,
    /// Changes with every start of the unit; empty when it never started.
    pub invocation: String,
}

impl UnitStatus {
    /// A loaded unit in that state.
    pub fn loaded(active: impl Into<String>, sub: impl Into<String>, invocation: impl Into<String>) -> Self {
        Self {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.into(),
            invocation: invocation.into(),
        }
    }
}

/// Units of the service manager. Made by [`Host::service`](crate::Host::service).
#[derive(Debug, Clone, Copy)]
pub struct Service<'h> {
    backend: &'h Backend,
}

impl<'h> Service<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// A reading. A unit that does not exist has the load state `not-found`.
    ///
    /// # Errors
    /// The service manager's failure, or `access-denied`.
    pub fn status(&self, unit: &str) -> Result<UnitStatus, Error> {
        self.backend.service_status(unit)
    }

    /// A reading: the host looks until the unit is active, or the time is over. In a plan, after a planned
    /// effect, it is assumed to be met.
    ///
    /// # Errors
    /// The service manager's failure, or `access-denied`. That the time is over is an answer, not an error.
    pub fn await_active(&self, unit: &str, timeout: Duration) -> Result<Awaited, Error> {
        self.backend.service_await_active(unit, milliseconds(timeout))
    }

    /// An effect: starts the unit and waits until the manager's job has ended; fails when the job does.
    pub fn start<'a>(
        &self,
        unit: &'a str,
    ) -> Effect<UnitStatus, impl FnOnce(Intent) -> Result<UnitStatus, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.service_start(unit, intent))
    }

    /// An effect: stops the unit and waits until the manager's job has ended; fails when the job does.
    pub fn stop<'a>(
        &self,
        unit: &'a str,
    ) -> Effect<UnitStatus, impl FnOnce(Intent) -> Result<UnitStatus, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.service_stop(unit, intent))
            .assume(&UnitStatus::loaded("inactive", "dead", ""))
    }

    /// An effect, to be done once: restarts the unit, with the same wait.
    pub fn restart<'a>(
        &self,
        unit: &'a str,
    ) -> Effect<UnitStatus, impl FnOnce(Intent) -> Result<UnitStatus, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.service_restart(unit, intent))
    }

    /// An effect: clears the failed state and the start counter.
    pub fn reset_failed<'a>(
        &self,
        unit: &'a str,
    ) -> Effect<UnitStatus, impl FnOnce(Intent) -> Result<UnitStatus, Error> + use<'a, 'h>> {
        let backend = self.backend;
        Effect::new(move |intent| backend.service_reset_failed(unit, intent))
            .assume(&UnitStatus::loaded("inactive", "dead", ""))
    }
}
