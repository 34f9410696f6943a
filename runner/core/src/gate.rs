//! Pre-gate and gate: the only places that make permits.

use chrono::{DateTime, TimeDelta, Utc};

use crate::decision::{Code, Decision, Outcome, Reason, Stage};
use crate::id::{Digest, RunId};
use crate::limit::Stop;
use crate::permit::{ActPermit, PlanPermit};
use crate::run::{Mode, Run, State, UndoState};
use crate::text::Text;

mod quorum;

pub use quorum::{
    PersonNow, Quorum, QuorumFacts, RolesNow, Uncounted, due_escalations, next_escalation, possible, quorum,
    would_count,
};

/// How old a plan may be when it is approved; an older one is made again first.
pub const PLAN_GOOD_FOR: TimeDelta = TimeDelta::seconds(60);

/// How old a reading may be on which a run that is taken up again rests; an older one is made again first.
pub const READING_GOOD_FOR: TimeDelta = TimeDelta::seconds(60);

/// How long a parked run waits for people before it expires.
pub const PARKED_FOR: TimeDelta = TimeDelta::hours(24);

/// What the pre-gate asks about the world.
#[derive(Debug, Clone, Copy)]
pub struct PreGateFacts<'a> {
    /// What the run is about.
    pub target: Option<&'a str>,
    /// Another unended run of the same runbook at the same target.
    pub unended: Option<&'a RunId>,
    /// The plugins of its steps that do not run, with their standing: `deprecated` or `revoked`.
    pub out_of_service: &'a [(&'a str, &'a str)],
    /// Whether the alert that it answers is over.
    pub alert_over: bool,
    /// What halts it, if anything.
    pub halted: Option<&'a str>,
    /// What windows and silences say about it: [`crate::window::rule`].
    pub windows: &'a [Decision],
    /// Why the breaker of one of its plugins does not let it through, if so.
    pub breaker: Option<&'a str>,
    /// What of its limits stops it, if anything. A question is put to people when there is a plan to show.
    pub limit: Option<&'a Stop>,
}

/// Whether a run may plan: halts, windows, standing, breakers, duplicates and the alert's state have their say.
///
/// # Errors
/// The refusing decisions, each with its reason.
pub fn pre_gate(
    now: DateTime<Utc>,
    run: &RunId,
    runbook: &str,
    facts: &PreGateFacts<'_>,
) -> Result<(PlanPermit, Vec<Decision>), Vec<Decision>> {
    let mut refusals = Vec::new();
    if let Some(halt) = facts.halted {
        refusals.push(Decision::refuse(now, Stage::Halt, runbook, Code::Halt, Text::of(halt)));
    }
    refusals.extend(facts.windows.iter().filter(|said| said.result == Outcome::Refuse).cloned());
    if let Some(other) = facts.unended {
        let target = facts.target.unwrap_or("no target");
        refusals.push(Decision::refuse(
            now,
            Stage::Dedup,
            runbook,
            Code::Busy,
            format!("run {other} of the runbook at {target} has not ended"),
        ));
    }
    for (plugin, standing) in facts.out_of_service {
        refusals.push(Decision::refuse(
            now,
            Stage::Standing,
            plugin,
            Code::Standing,
            format!("plugin {plugin} is {standing} and does not run"),
        ));
    }
    if facts.alert_over {
        refusals.push(Decision::refuse(
            now,
            Stage::Dedup,
            runbook,
            Code::NoLongerNeeded,
            "the alert was over before the run's turn came",
        ));
    }
    if let Some(why) = facts.breaker {
        refusals.push(Decision::refuse(now, Stage::Breaker, runbook, Code::Breaker, Text::of(why)));
    }
    if let Some(stop @ Stop::Refused(_)) = facts.limit {
        refusals.push(stop.decision(now, runbook));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let limit = match facts.limit {
        Some(question) => question.decision(now, runbook),
        None => Decision::pass(now, Stage::Limit, runbook, "no limit is reached"),
    };
    let mut passes = vec![
        Decision::pass(now, Stage::Halt, runbook, "nothing halts it"),
        Decision::pass(now, Stage::Dedup, runbook, "no other run of the runbook at the target is open"),
        Decision::pass(now, Stage::Standing, runbook, "every plugin of the runbook is in service"),
        Decision::pass(now, Stage::Breaker, runbook, "no breaker is open"),
        limit,
    ];
    passes.splice(1..1, facts.windows.iter().cloned());
    Ok((PlanPermit::new(run.clone()), passes))
}

/// Makes the permit of a run that acts alone. `may_act_alone` is the policy's ruling over the plan.
///
/// # Errors
/// When the run is to plan only, has no plan, or may not act alone.
pub fn permit_alone(run: &Run, plan: Digest, may_act_alone: bool) -> Result<ActPermit, Reason> {
    if run.mode == Mode::Plan {
        return Err(Reason::new(Code::Observe, "the run is to plan only"));
    }
    if !may_act_alone {
        return Err(Reason::new(Code::Policy, "nothing permits the run to act alone"));
    }
    Ok(ActPermit::new(run.id.clone(), plan, false))
}

/// Makes the permit of a run that people approved: enough distinct people, for exactly this plan, in time. It counts
/// only what counts now: people who are still there, with the role, for this plan and policy. A person who broke the
/// glass for exactly this plan passes what is missing.
///
/// # Errors
/// Why it does not act yet, or no longer.
pub fn permit_by_quorum(
    run: &Run,
    now: DateTime<Utc>,
    facts: &QuorumFacts<'_>,
) -> Result<(ActPermit, Decision), Reason> {
    let (Some(ask), Some(plan)) = (&run.ask, run.plan) else {
        return Err(Reason::new(Code::Quorum, "nobody was asked"));
    };
    if let Some(held) = &run.held {
        return Err(Reason::new(Code::TakenOver, format!("{} has it in hand", held.by)));
    }
    if run.mode == Mode::Plan {
        return Err(Reason::new(Code::Observe, "the run is to plan only"));
    }
    if now >= ask.expires {
        return Err(Reason::new(Code::Expired, format!("nobody decided before {}", ask.expires)));
    }
    if plan != facts.plan {
        return Err(Reason::new(Code::PlanChanged, "the plan is no longer the one that was shown"));
    }
    let quorum = quorum(ask, &run.approvals, facts);
    let decision = match (quorum.granted(), run.passes_quorum()) {
        (Ok(()), _) => {
            let message = format!("approved by {}", quorum.counted.join(", "));
            Decision::new(now, Stage::Gate, &run.runbook, Outcome::Pass, Code::Approved, message)
        }
        (Err(missing), Some(by)) => {
            let message = format!("{by} broke the glass: {}", missing.message);
            Decision::new(now, Stage::Gate, &run.runbook, Outcome::Pass, Code::GlassBroken, message)
        }
        (Err(missing), None) => return Err(missing),
    };
    Ok((ActPermit::new(run.id.clone(), plan, true), decision))
}

/// Makes the permit of a run that was permitted before, and goes on after a restart or after an effect in
/// doubt was settled: with the same plan, and approved as it was.
///
/// # Errors
/// When the run was never permitted, or is over.
pub fn permit_again(run: &Run) -> Result<ActPermit, Reason> {
    match (run.plan, run.started_at, run.ended_at) {
        (Some(plan), Some(_), None) => Ok(ActPermit::new(run.id.clone(), plan, run.approved)),
        _ => Err(Reason::new(Code::Internal, "the run was never permitted to act, or is over")),
    }
}

/// As [`permit_again`], for a run that crosses from its journal into acting: what people said must still hold, and the
/// people who said it must still count. `facts` are about the plan and the policy that they approved.
///
/// # Errors
/// When the run was never permitted, is over, its approval has expired, or too few of those who gave it count still;
/// in the last two cases people are asked again.
pub fn permit_resumed(run: &Run, now: DateTime<Utc>, facts: &QuorumFacts<'_>) -> Result<ActPermit, Reason> {
    let permit = permit_again(run)?;
    if !run.approved {
        return Ok(permit);
    }
    if let Some(until) = run.approved_until.filter(|until| now >= *until) {
        return Err(Reason::new(Code::Expired, format!("what was approved held until {until}")));
    }
    match &run.granted_by {
        Some(granted) => quorum(&granted.ask, &granted.approvals, facts).granted().map(|()| permit),
        // The glass was broken for it, or it is from a journal that does not say.
        None => Ok(permit),
    }
}

/// Makes the permit to take back one step of a run: with the plan that covers run and undo. It is as bound to that plan
/// as one that people approved: an undo that differs from what was planned is nobody's to judge but theirs.
///
/// # Errors
/// When the run was never permitted, or its undo is not under way.
pub fn permit_undo(run: &Run) -> Result<ActPermit, Reason> {
    let permit = permit_again(run)?;
    let under_way = run.undo.as_ref().is_some_and(|undo| undo.state == UndoState::Undoing);
    if run.state != State::Undoing || !under_way {
        return Err(Reason::new(Code::Internal, "the undo of the run is not under way"));
    }
    if let Some(held) = &run.held {
        return Err(Reason::new(Code::TakenOver, format!("{} has it in hand", held.by)));
    }
    Ok(ActPermit::new(run.id.clone(), permit.plan(), true))
}

/// Lets the plugins of a run that was permitted to act look whether their fix worked; effects are refused by the
/// export itself.
///
/// # Errors
/// When the run was never permitted, or is over.
pub fn permit_verification(run: &Run) -> Result<PlanPermit, Reason> {
    permit_again(run).map(|_| PlanPermit::new(run.id.clone()))
}

/// Lets a run that people are asked about be planned again, so that they see the world as it is now.
///
/// # Errors
/// When the run is over.
pub fn permit_replan(run: &Run) -> Result<PlanPermit, Reason> {
    if run.ended_at.is_some() {
        return Err(Reason::new(Code::Internal, "the run is over"));
    }
    Ok(PlanPermit::new(run.id.clone()))
}

#[cfg(test)]
pub(crate) mod tests;
