//! Drills: a synthetic alert on the road of a real one, asked everything and counted nowhere.

use std::sync::Arc;

use staunch_core::alert::{Alert, Status};
use staunch_core::decision::{Code, Outcome, Reason};
use staunch_core::drill;
use staunch_core::policy::{Person, Runbook};
use staunch_core::run::{Mode, Run};

use super::Refusal;
use super::books::Blocked;
use super::receive::Request;
use super::requests::{StartRequest, begin};
use super::shared::Shared;

/// Starts a drill of a runbook.
///
/// # Errors
/// When the runbook does not answer to the alert, the pre-gate refuses, or it is to act where drills may not.
pub(super) async fn start(
    shared: &Arc<Shared>,
    person: &Person,
    runbook: &Arc<Runbook>,
    request: &StartRequest,
) -> Result<Run, Refusal> {
    let alert = Arc::new(synthetic(shared, runbook, request)?);
    let rules = shared.rules();
    let Some(said) = rules.policies.routing().answer(&runbook.name, &alert, shared.now()) else {
        return Err(Refusal::NotFound { what: "runbook", id: runbook.name.clone() });
    };
    if said.result == Outcome::Refuse {
        return Err(Refusal::Conflict(said.reason()));
    }
    let request = Request {
        alert: None,
        labels: &alert.labels,
        target: None,
        input: None,
        by: Some(&person.name),
        comment: Some(&request.reason),
        mode: request.mode,
        exact: None,
        queues: false,
        glass: None,
        drill: Some((&alert, &said)),
    };
    begin(shared, runbook, &request).await
}

/// The alert of a drill: the given one, or one that the runbook's matchers demand.
pub(super) fn synthetic(
    shared: &Shared,
    runbook: &Runbook,
    request: &StartRequest,
) -> Result<Alert, Refusal> {
    let wrong = |field, message: &str| Err(Refusal::Invalid { field, message: message.to_owned() });
    if request.target.is_some() {
        return wrong("target", "a drill's target is what the runbook makes of the alert");
    }
    if request.input.is_some() {
        return wrong("input", "a drill's input is what the runbook makes of the alert");
    }
    let Some(given) = &request.alert else {
        return Ok(drill::alert(runbook, &request.labels, shared.now()));
    };
    if !request.labels.is_empty() {
        return wrong("labels", "give either an alert or labels, not both");
    }
    if given.status != Status::Firing {
        return wrong("alert", "it must be firing: what is over is never matched");
    }
    // Nobody received it: it is no alert of the journal, whatever id it had.
    Ok(Alert { id: None, ..given.clone() })
}

/// Whether a drill may begin at its target.
///
/// # Errors
/// Why not.
pub(super) fn may_begin(shared: &Shared, mode: Mode, target: &str) -> Result<(), Reason> {
    if mode == Mode::Plan { Ok(()) } else { shared.drill_targets().hold(target) }
}

impl Shared {
    /// What drills may act on, by canonical names.
    pub(super) fn drill_targets(&self) -> drill::Targets {
        let config = &self.rules().config;
        config.drill_targets.iter().map(|name| config.hosts.canonical(name)).collect()
    }

    /// As [`Shared::take_part`], for a drill: everything is asked, and nothing is taken.
    pub(super) fn ask_for_drill(&self, run: &Run, approved: bool) -> Result<(), Blocked> {
        let now = self.now();
        let stop = self.judge_run(run, approved, |ledger, now, global, request, population| {
            ledger.ask(now, global, request, population).err()
        });
        if let Some(stop) = stop.flatten() {
            return Err(Blocked::by_limit(&stop, now, &run.runbook));
        }
        let plugins = run.steps.iter().map(|step| step.plugin.as_str());
        match self.books.breakers.ask(now, &run.id, plugins, run.target.as_deref()) {
            Some(why) => Err(Blocked::by_breaker(Reason::new(Code::Breaker, why), now, &run.runbook)),
            None => Ok(()),
        }
    }
}
