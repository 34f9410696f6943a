//! When something outside was looked at last: one look holds for a moment, in which a run comes by several times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How long one look holds, in microseconds.
const HOLDS: u64 = 2_000;

/// The time of the last look.
#[derive(Debug)]
pub(super) struct Glance {
    made: Instant,
    /// In microseconds from `made` on; 0: none holds.
    at: AtomicU64,
}

impl Default for Glance {
    /// Nobody has looked yet.
    fn default() -> Self {
        Self { made: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Glance {
    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Whether the last look still holds.
    pub(super) fn holds(&self) -> bool {
        let at = self.at.load(Ordering::Acquire);
        at != 0 && self.now().saturating_sub(at) < HOLDS
    }

    /// Somebody looked just now; with `holds`, nobody needs to for a moment.
    pub(super) fn looked(&self, holds: bool) {
        self.at.store(if holds { self.now() } else { 0 }, Ordering::Release);
    }
}
