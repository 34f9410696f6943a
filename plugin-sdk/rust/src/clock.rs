//! The run's own time: it stands still, so that a plan and what is done later see the same.

use std::time::Duration;

use crate::backend::Backend;

/// The run's own time. Made by [`Host::clock`](crate::Host::clock).
///
/// ```
/// use std::time::Duration;
/// use staunch_plugin::fake::FakeHost;
///
/// let host = FakeHost::new().began(Duration::from_secs(1_767_225_600));
/// assert_eq!(host.clock().now(), Duration::from_secs(1_767_225_600));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clock<'h> {
    backend: &'h Backend,
}

impl<'h> Clock<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// When the run began, since 1970-01-01T00:00:00Z, to the millisecond. Needs no grant.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.backend.clock_now())
    }

    /// The true time, in the same terms: a reading, and different in a plan and when acting. Do not put it into
    /// an effect's arguments: the effect would never be the planned one.
    #[must_use]
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.backend.clock_wall())
    }

    /// Waits, at most until the run's deadline; returns at once in a plan. Needs no grant. To wait for something
    /// to come about, use an `await_…` function: the host polls without burning the plugin's fuel.
    pub fn sleep(&self, time: Duration) {
        self.backend.clock_sleep(milliseconds(time));
    }
}

/// Whole milliseconds, at most `u32::MAX` (49 days).
pub(crate) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
