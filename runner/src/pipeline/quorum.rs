//! Who the people are now, and whether what they said of a run is enough.
//!
//! Asked when somebody approves and again under the run's lock in the moment before it is permitted to act: whoever
//! has no good token any more, or lost the role, does not count then.

use std::collections::{BTreeMap, BTreeSet};

use staunch_core::decision::{Code, Reason};
use staunch_core::gate::{self, PersonNow, Quorum, QuorumFacts, RolesNow};
use staunch_core::id::Digest;
use staunch_core::permit::ActPermit;
use staunch_core::policy::{Autonomy, Person, Policies, Position, Problem};
use staunch_core::run::{Approval, Ask, Run, State};

use super::requests::asks_nobody;
use super::shared::Shared;
use super::{Pipeline, Refusal};

impl Shared {
    /// Everybody who has a good token, by name.
    fn people_now(&self) -> BTreeMap<String, PersonNow> {
        as_they_are(self.tokens.everybody(self.now()))
    }

    /// Asks something about the approvals of a run, as the world is now.
    fn with_quorum_facts<T>(
        &self,
        run: &Run,
        people: &BTreeMap<String, PersonNow>,
        ask: impl FnOnce(&QuorumFacts<'_>) -> T,
    ) -> Option<T> {
        let policy = self.runbook(&run.runbook).map_or(run.policy, |runbook| self.policy_digest(&runbook));
        self.with_facts_under(run, policy, people, ask)
    }

    fn with_facts_under<T>(
        &self,
        run: &Run,
        policy: Digest,
        people: &BTreeMap<String, PersonNow>,
        ask: impl FnOnce(&QuorumFacts<'_>) -> T,
    ) -> Option<T> {
        let signers = self.signers_of(run);
        let facts = QuorumFacts {
            plan: run.plan?,
            policy,
            starter: run.by.as_deref(),
            signers: &signers,
            releasers: &[],
            people,
        };
        Some(ask(&facts))
    }

    /// The permit of a run that enough people approved, or that somebody broke the glass for.
    ///
    /// # Errors
    /// Why it does not act yet, or no longer.
    pub(super) fn permit_of_people(&self, run: &Run) -> Result<ActPermit, Reason> {
        let (people, now) = (self.people_now(), self.now());
        self.with_quorum_facts(run, &people, |facts| gate::permit_by_quorum(run, now, facts))
            .unwrap_or_else(|| Err(Reason::new(Code::Quorum, "the run has no plan")))
            .map(|(permit, _)| permit)
    }

    /// The permit of a run that goes on: those who approved it are counted again, under the policy that they approved.
    ///
    /// # Errors
    /// Why it does not go on; when its approval holds no longer, people are asked again.
    pub(super) fn permit_resumed(&self, run: &Run) -> Result<ActPermit, Reason> {
        let (people, now) = (self.people_now(), self.now());
        self.with_facts_under(run, run.policy, &people, |facts| gate::permit_resumed(run, now, facts))
            .unwrap_or_else(|| Err(Reason::new(Code::Internal, "the run has no plan")))
    }

    /// What the approvals of a run are worth now; `None` while nobody is asked.
    pub(super) fn quorum(&self, run: &Run) -> Option<Quorum> {
        let ask = run.ask.as_ref()?;
        let people = self.people_now();
        self.with_quorum_facts(run, &people, |facts| gate::quorum(ask, &run.approvals, facts))
    }

    /// Whether nothing is missing any more, so that nobody is asked.
    ///
    /// # Errors
    /// That it is so.
    pub(super) fn still_asks(&self, run: &Run) -> Result<(), Refusal> {
        match self.permit_of_people(run) {
            Ok(_) => {
                let message = "it has what it needs to act, and goes on by itself; it can be cancelled";
                Err(Refusal::Conflict(Reason::new(Code::Approved, message)))
            }
            Err(_) => Ok(()),
        }
    }

    /// Whether the approval would count, given by this person with what they showed.
    ///
    /// # Errors
    /// Why it would not: the role is missing (403), or they do not count (409), or said nothing (422).
    pub(super) fn would_count(
        &self,
        run: &Run,
        ask: &Ask,
        person: &Person,
        approval: &Approval,
    ) -> Result<(), Refusal> {
        let mut people = self.people_now();
        let one = people.get(&person.name).map_or(&person.name, |now| &now.person).clone();
        // Another token of the same person may have more roles: what counts is the one that was shown.
        let roles = RolesNow::Known(person.roles.clone());
        people.insert(person.name.clone(), PersonNow { person: one, roles });
        let counts = self
            .with_quorum_facts(run, &people, |facts| gate::would_count(ask, &run.approvals, approval, facts));
        counts.unwrap_or(Ok(())).map_err(|reason| match reason.code {
            Code::Role => Refusal::Forbidden(reason.message),
            Code::CommentNeeded => Refusal::Invalid { field: "comment", message: reason.message },
            Code::PlanChanged => {
                Refusal::PlanChanged { run: Box::new(run.clone()), changes: vec![reason.message] }
            }
            _ => Refusal::Conflict(reason),
        })
    }
}

/// The question that a run puts to people, while it is not too late to answer.
///
/// # Errors
/// Why nobody is asked.
pub(super) fn question<'a>(shared: &Shared, run: &'a Run) -> Result<&'a Ask, Refusal> {
    let refuse = |code, message: String| Err(Refusal::Conflict(Reason::new(code, message)));
    let Some(ask) = run.ask.as_ref().filter(|_| matches!(run.state, State::Waiting | State::Parked)) else {
        return Err(asks_nobody(run));
    };
    if let Some(held) = &run.held {
        return refuse(Code::TakenOver, format!("{} has it in hand", held.by));
    }
    if shared.now() >= ask.expires {
        return refuse(Code::Expired, format!("nobody decided before {}", ask.expires));
    }
    Ok(ask)
}

impl Pipeline {
    /// What the approvals of a run are worth now; `None` while nobody is asked.
    #[must_use]
    pub fn quorum(&self, run: &Run) -> Option<Quorum> {
        self.0.quorum(run)
    }

    /// The runbooks whose gate nobody could pass: it needs more people than there are with a good token and the role.
    #[must_use]
    pub fn impossible_gates(&self) -> Vec<Problem> {
        impossible_gates(&self.rules().policies, self.0.tokens.everybody(self.clock().now()))
    }
}

fn as_they_are(everybody: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, PersonNow> {
    let each = everybody.into_iter();
    each.map(|(name, roles)| (name.clone(), PersonNow { person: name, roles: RolesNow::Known(roles) }))
        .collect()
}

/// The runbooks whose gate these people, with their roles by name, could not pass.
#[must_use]
pub fn impossible_gates(policies: &Policies, everybody: BTreeMap<String, BTreeSet<String>>) -> Vec<Problem> {
    let people = as_they_are(everybody);
    let asks = policies.routing().runbooks().iter().filter(|runbook| runbook.autonomy != Autonomy::Observe);
    let problems = asks.filter_map(|runbook| {
        let reason = gate::possible(&runbook.gate, &people, &[]).err()?;
        let message = format!("{}; make access tokens for more people", reason.message);
        Some(Problem::error(&runbook.file, Position::START, message))
    });
    problems.collect()
}
