//! Which approvals count, now, and whether they are enough.
//!
//! Asked when an approval comes in and again in the moment before acting: what counted then need not count now.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::decision::{Code, Reason};
use crate::id::Digest;
use crate::policy::people::ADMINISTRATOR;
use crate::policy::runbook::{Gate, Separation};
use crate::run::{Approval, Ask, AskRung};

/// What the world says about the people of a run, at the time of the question.
#[derive(Debug, Clone, Copy)]
pub struct QuorumFacts<'a> {
    /// The plan that would be acted on.
    pub plan: Digest,
    /// The policy in force.
    pub policy: Digest,
    /// Who started the run by hand.
    pub starter: Option<&'a str>,
    /// Who signed a plugin of the run.
    pub signers: &'a [String],
    /// Who released (installed, promoted) a plugin of the run.
    pub releasers: &'a [String],
    /// Everybody who is known now, by the name under which they approve. Who is not there is gone.
    pub people: &'a BTreeMap<String, PersonNow>,
}

/// One person, as known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonNow {
    /// The one person behind several names and tokens; the name itself where there is but one.
    pub person: String,
    /// The roles that they have.
    pub roles: RolesNow,
}

/// The roles of a person at the time of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolesNow {
    /// These.
    Known(BTreeSet<String>),
    /// Nobody here can tell: an outside identity, whose roles come with each of its requests. Those of the
    /// approval hold.
    AsApproved,
}

/// One approval that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncounted {
    /// Whose.
    pub by: String,
    /// Why not.
    pub reason: Reason,
}

/// What the approvals are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// How many are needed.
    pub needed: usize,
    /// Whose approvals count: each a person of their own.
    pub counted: Vec<String>,
    /// The others, in the order of the approvals.
    pub uncounted: Vec<Uncounted>,
}

impl Quorum {
    /// How many are missing.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.needed.saturating_sub(self.counted.len())
    }

    /// Whether there are enough.
    ///
    /// # Errors
    /// How many are missing, and why those that are there do not count.
    pub fn granted(&self) -> Result<(), Reason> {
        let missing = self.missing();
        if missing == 0 {
            return Ok(());
        }
        let why: String = self.uncounted.iter().map(|not| format!("; {}", not.reason.message)).collect();
        Err(Reason::new(Code::Quorum, format!("{missing} of {} approvals are missing{why}", self.needed)))
    }
}

/// Counts approvals, in their order.
#[must_use]
pub fn quorum(ask: &Ask, approvals: &[Approval], facts: &QuorumFacts<'_>) -> Quorum {
    let mut quorum = Quorum { needed: ask.approvals as usize, counted: Vec::new(), uncounted: Vec::new() };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for approval in approvals {
        match counts(ask, approval, facts, &seen) {
            Ok(person) => {
                seen.insert(person);
                quorum.counted.push(approval.by.clone());
            }
            Err(reason) => quorum.uncounted.push(Uncounted { by: approval.by.clone(), reason }),
        }
    }
    quorum
}

/// Whether one more approval would count beside those that are there: what its giver is told at once.
///
/// # Errors
/// Why it would not: `role`, `separation`, `plan-changed`, `expired` or `comment-needed`.
pub fn would_count(
    ask: &Ask,
    approvals: &[Approval],
    approval: &Approval,
    facts: &QuorumFacts<'_>,
) -> Result<(), Reason> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for before in approvals {
        if let Ok(person) = counts(ask, before, facts, &seen) {
            seen.insert(person);
        }
    }
    counts(ask, approval, facts, &seen).map(drop)
}

/// The person whose approval counts.
fn counts<'a>(
    ask: &Ask,
    approval: &Approval,
    facts: &QuorumFacts<'a>,
    seen: &BTreeSet<&str>,
) -> Result<&'a str, Reason> {
    let Approval { by, at, plan, comment, policy, .. } = approval;
    let no = |code, why: &str| Err(Reason::new(code, format!("{by} {why}")));
    if *plan != facts.plan {
        return no(Code::PlanChanged, "approved another plan");
    }
    if policy.is_some_and(|policy| policy != facts.policy) {
        return no(Code::PlanChanged, "approved under a policy that has changed since");
    }
    if *at >= ask.expires {
        return no(Code::Expired, "approved too late");
    }
    let Some(now) = facts.people.get(by) else {
        return no(Code::Role, "is no longer known here");
    };
    if !may_answer(ask, approval, now) {
        return no(Code::Role, &format!("has none of the roles {}", ask.roles.join(", ")));
    }
    if ask.comment && comment.as_deref().is_none_or(|comment| comment.trim().is_empty()) {
        return no(Code::CommentNeeded, "said nothing, and this gate wants a comment");
    }
    let person = now.person.as_str();
    if seen.contains(person) {
        return no(Code::Separation, "approved it already");
    }
    let is = |name: &str| facts.person(name) == person || name == by;
    if ask.separation && facts.starter.is_some_and(is) {
        return no(Code::Separation, "started the run and does not count");
    }
    if ask.separation && facts.signers.iter().any(|name| is(name)) {
        return no(Code::Separation, "signed a plugin of the run and does not count");
    }
    if ask.separation && facts.releasers.iter().any(|name| is(name)) {
        return no(Code::Separation, "released a plugin of the run and does not count");
    }
    Ok(person)
}

impl QuorumFacts<'_> {
    /// The person behind a name.
    fn person<'n>(&'n self, name: &'n str) -> &'n str {
        self.people.get(name).map_or(name, |now| now.person.as_str())
    }
}

fn may_answer(ask: &Ask, approval: &Approval, now: &PersonNow) -> bool {
    let has = |role: &String| match &now.roles {
        RolesNow::Known(roles) => roles.contains(role) || roles.contains(ADMINISTRATOR),
        RolesNow::AsApproved => approval.roles.iter().any(|had| had == role || had == ADMINISTRATOR),
    };
    let deputy = ask.deputies.as_ref().is_some_and(|deputies| {
        let named = deputies.people.contains(&approval.by) || deputies.people.contains(&now.person);
        approval.at >= deputies.from && (named || deputies.roles.iter().any(has))
    });
    deputy || ask.roles.iter().any(has)
}

/// Whether a gate can be passed at all by the people who are known when policies are checked: tokens, and no
/// outside identities. `signers` sign the plugins of the runbook.
///
/// # Errors
/// How many are needed and who there is.
pub fn possible(gate: &Gate, people: &BTreeMap<String, PersonNow>, signers: &[String]) -> Result<(), Reason> {
    let separate = gate.separation == Separation::Default;
    let entitled: BTreeSet<&str> = people
        .iter()
        .filter(|(name, now)| {
            let has = |role: &String| match &now.roles {
                RolesNow::Known(roles) => roles.contains(role) || roles.contains(ADMINISTRATOR),
                RolesNow::AsApproved => true,
            };
            let deputy = gate.deputies.as_ref().is_some_and(|deputies| {
                deputies.people.contains(name)
                    || deputies.people.contains(&now.person)
                    || deputies.roles.iter().any(has)
            });
            deputy || gate.roles.iter().any(has)
        })
        .filter(|(name, now)| !(separate && (signers.contains(name) || signers.contains(&now.person))))
        .map(|(_, now)| now.person.as_str())
        .collect();
    if entitled.len() >= gate.approvals as usize {
        return Ok(());
    }
    let names = if entitled.is_empty() {
        "nobody".to_owned()
    } else {
        entitled.into_iter().collect::<Vec<_>>().join(", ")
    };
    let message = format!(
        "the gate needs {} approvals, and of the people known here {names} could give one",
        gate.approvals
    );
    Err(Reason::new(Code::Quorum, message))
}

/// The rungs of the ladder that are due and were not told yet: `told` of them were. None once the question is
/// over.
#[must_use]
pub fn due_escalations(ask: &Ask, now: DateTime<Utc>, told: u32) -> &[AskRung] {
    let due = if now < ask.expires { ask.escalate.partition_point(|rung| rung.at <= now) } else { 0 };
    ask.escalate.get(told as usize..due).unwrap_or_default()
}

/// When the next rung is due.
#[must_use]
pub fn next_escalation(ask: &Ask, told: u32) -> Option<DateTime<Utc>> {
    ask.escalate.get(told as usize).map(|rung| rung.at).filter(|at| *at < ask.expires)
}

#[cfg(test)]
mod tests;
