//! What a run that somebody asks for would be about: for the question whether they may.

use std::collections::BTreeMap;

use staunch_core::id::RunId;
use staunch_core::policy::prepare::{Occasion, prepare};

use super::{Pipeline, StartRequest, drills};

impl Pipeline {
    /// The canonical target and the labels of a run to be started. No target where it cannot be told; then there will
    /// be no run either.
    #[must_use]
    pub fn asked_of(&self, request: &StartRequest) -> (Option<String>, BTreeMap<String, String>) {
        let rules = self.rules();
        let Some(runbook) = rules.policies.runbook(&request.runbook) else {
            return (None, request.labels.clone());
        };
        let alert = request.drill.then(|| drills::synthetic(&self.0, runbook, request).ok()).flatten();
        let labels = alert.as_ref().map_or(&request.labels, |alert| &alert.labels);
        let run = RunId::from_bits(0);
        let occasion = Occasion {
            run: &run,
            alert: alert.as_ref(),
            labels,
            target: request.target.as_deref(),
            input: request.input.as_ref(),
        };
        let prepared = prepare(runbook, &occasion, |name| rules.config.hosts.canonical(name));
        (prepared.ok().map(|prepared| prepared.target), labels.clone())
    }
}
