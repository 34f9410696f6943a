//! What is counted about runs, kept right by what happens to them.
//!
//! Each run tells here what was written down about it, before anybody can see it, so that no decision that comes
//! later overlooks it.

use staunch_core::run::Run;

use super::limits::Limits;

/// All that is counted.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) limits: Limits,
}

impl Books {
    /// Notes that an effect of a run is intended.
    pub(super) fn acted(&self, run: &Run) {
        self.limits.acted(run);
    }

    /// Notes that a run is over.
    pub(super) fn ended(&self, run: &Run) {
        self.limits.ended(run);
    }
}
