//! What a run asks people, and what they answered.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::policy::runbook::{Comment, Gate, Separation};

/// What people are asked, and until when. Times are instants, so that a restart moves none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How many approvals it takes.
    pub approvals: u32,
    /// Roles that may give one; an administrator always may.
    pub roles: Vec<String>,
    /// When it is too late.
    pub expires: DateTime<Utc>,
    /// Whether separation of duties holds.
    pub separation: bool,
    /// Who is told while nobody answers, earliest first.
    #[serde(default)]
    pub escalate: Vec<AskRung>,
    /// Who counts as well, from a time on.
    #[serde(default)]
    pub deputies: Option<AskDeputies>,
    /// Whether an approval without a comment does not count.
    #[serde(default)]
    pub comment: bool,
}

/// Somebody who is told at a time, when nobody answered before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRung {
    /// When.
    pub at: DateTime<Utc>,
    /// Whom: a name under which connectors are routed.
    pub to: String,
}

/// Who stands in for the roles of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskDeputies {
    /// From when on they count.
    pub from: DateTime<Utc>,
    /// By name.
    pub people: Vec<String>,
    /// By role.
    pub roles: Vec<String>,
}

impl Ask {
    /// The question that a gate puts now.
    #[must_use]
    pub fn new(gate: &Gate, now: DateTime<Utc>) -> Self {
        let after = |delay: Duration| now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX / 2);
        let escalate = gate.escalate.iter();
        let escalate = escalate.map(|rung| AskRung { at: after(rung.after), to: rung.to.clone() }).collect();
        let deputies = gate.deputies.as_ref().map(|deputies| AskDeputies {
            from: after(deputies.after),
            people: deputies.people.clone(),
            roles: deputies.roles.clone(),
        });
        Self {
            approvals: gate.approvals,
            roles: gate.roles.clone(),
            expires: after(gate.expires),
            separation: gate.separation == Separation::Default,
            escalate,
            deputies,
            comment: gate.comment == Comment::Required,
        }
    }

    /// Whether it asks for the same approvals of the same people, whenever it expires.
    #[must_use]
    pub fn same_question(&self, other: &Self) -> bool {
        let deputies = |ask: &Self| ask.deputies.as_ref().map(|d| (d.people.clone(), d.roles.clone()));
        self.approvals == other.approvals
            && self.roles == other.roles
            && self.separation == other.separation
            && self.comment == other.comment
            && deputies(self) == deputies(other)
    }
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The plan that was shown.
    pub plan: Digest,
    /// What they said.
    pub comment: Option<String>,
    /// With what they showed who they are: the id of a token, or the subject of an identity.
    #[serde(default)]
    pub subject: Option<String>,
    /// The roles that they had then.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The policy in force then. None in approvals of old journals, which count for any.
    #[serde(default)]
    pub policy: Option<Digest>,
    /// The DSSE envelope in which they signed it with a key of their own, as it was verified then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<serde_json::Value>,
    /// Where they answered for all runs of a storm at once: the digest over the runs and plans that were shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Digest>,
}

/// Under what people let a run act: counted again when it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    /// What they were asked.
    pub ask: Ask,
    /// What they answered.
    pub approvals: Vec<Approval>,
}
