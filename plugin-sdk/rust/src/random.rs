//! Randomness from the run's own seed: a plan and what is done later draw the same.

use crate::backend::Backend;

/// The most bytes that one call gives.
const MOST_BYTES: u32 = 4096;

/// Randomness from the run's own seed. Made by [`Host::random`](crate::Host::random). Not for keys.
#[derive(Debug, Clone, Copy)]
pub struct Random<'h> {
    backend: &'h Backend,
}

impl<'h> Random<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// That many bytes, at most 4,096. Needs no grant.
    #[must_use]
    pub fn bytes(&self, length: u32) -> Vec<u8> {
        self.backend.random_bytes(length.min(MOST_BYTES))
    }

    /// A number from the whole range.
    ///
    /// ```
    /// let host = staunch_plugin::fake::FakeHost::new();
    /// assert_ne!(host.random().number(), host.random().number());
    /// ```
    #[must_use]
    pub fn number(&self) -> u64 {
        self.bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
