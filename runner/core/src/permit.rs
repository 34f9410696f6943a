//! The values without which nothing executes.
//!
//! Only the pre-gate and the gate make them: their fields are private, they cannot be cloned, and an execution
//! consumes one. A rehearsal needs one too, so that there is one way to run a plugin, but it is good for
//! scripted worlds only and anybody may make it.

use crate::id::{Digest, RunId};

/// Lets one run plan: read under its reading grants, and record effects.
#[derive(Debug)]
pub struct PlanPermit {
    run: RunId,
    _made_by_the_pre_gate: (),
}

impl PlanPermit {
    pub(crate) fn new(run: RunId) -> Self {
        Self { run, _made_by_the_pre_gate: () }
    }

    /// The run that it is for.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Permits for the single steps of the run, consuming this one.
    #[must_use]
    pub fn split(self, steps: usize) -> Vec<Self> {
        (0..steps).map(|_| Self::new(self.run.clone())).collect()
    }
}

/// Lets one run act as planned.
#[derive(Debug)]
pub struct ActPermit {
    run: RunId,
    plan: Digest,
    approved: bool,
}

impl ActPermit {
    pub(crate) fn new(run: RunId, plan: Digest, approved: bool) -> Self {
        Self { run, plan, approved }
    }

    /// The run that it is for.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The plan that it is bound to.
    #[must_use]
    pub fn plan(&self) -> Digest {
        self.plan
    }

    /// Whether people approved exactly this plan: then nothing outside it is done. Otherwise an effect outside
    /// it is judged on its own.
    #[must_use]
    pub fn approved(&self) -> bool {
        self.approved
    }

    /// Permits for the single steps of the run, consuming this one.
    #[must_use]
    pub fn split(self, steps: usize) -> Vec<Self> {
        (0..steps).map(|_| Self::new(self.run.clone(), self.plan, self.approved)).collect()
    }
}

/// Lets a build run against a scripted world, and nowhere else.
#[derive(Debug, Default)]
pub struct RehearsalPermit(());

impl RehearsalPermit {
    /// Anybody may rehearse: nothing real is in reach.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

/// What an execution consumes.
#[derive(Debug)]
pub enum Permit {
    /// Plan against the live world.
    Plan(PlanPermit),
    /// Act on the live world.
    Act(ActPermit),
    /// Act on a scripted world.
    Rehearsal(RehearsalPermit),
}
