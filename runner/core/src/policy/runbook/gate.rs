//! The gate of a runbook: who must approve, how many, until when, and who is told when nobody does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::read::Reading;
use crate::policy::problem::Position;
use crate::policy::reader::Fields;
use crate::policy::yaml::Node;

const KEYS: [&str; 7] = ["approvals", "roles", "expires", "separation", "escalate", "deputies", "comment"];
const RUNG_KEYS: [&str; 2] = ["after", "to"];
const DEPUTY_KEYS: [&str; 3] = ["after", "people", "roles"];

/// The most rungs of one ladder.
const MOST_RUNGS: usize = 16;

/// The most roles, and the most deputies.
const MOST_NAMES: usize = 64;

/// The longest name of a person, in bytes.
const PERSON_LIMIT: usize = 256;

/// Who must approve, how many, and for how long the question stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// How many people must approve.
    pub approvals: u32,
    /// The roles of which each of them must have one.
    pub roles: Vec<String>,
    /// How long the question stands.
    pub expires: Duration,
    /// Who does not count.
    pub separation: Separation,
    /// Who is told while nobody answers: each later than the one before.
    pub escalate: Vec<Rung>,
    /// Who counts as well, once the question stood for a while.
    pub deputies: Option<Deputies>,
    /// Whether an approval says why.
    pub comment: Comment,
}

impl Default for Gate {
    /// What holds without a `gate:`.
    fn default() -> Self {
        Self {
            approvals: 1,
            roles: vec!["operator".to_owned()],
            expires: Duration::from_secs(30 * 60),
            separation: Separation::Default,
            escalate: Vec::new(),
            deputies: None,
            comment: Comment::Optional,
        }
    }
}

/// Separation of duties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Separation {
    /// The starter of a manual run, who signed or released its plugins, and earlier approvers do not count.
    Default,
    /// Only earlier approvers do not count.
    None,
}

/// Whether an approval must say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comment {
    /// It need not.
    Optional,
    /// One without a comment does not count.
    Required,
}

/// Somebody who is told when the question stood for so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// How long after the question was put.
    pub after: Duration,
    /// Whom: a name under which connectors are routed.
    pub to: String,
}

/// Who stands in for the roles of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deputies {
    /// How long after the question was put they begin to count.
    pub after: Duration,
    /// By name.
    pub people: Vec<String>,
    /// By role.
    pub roles: Vec<String>,
}

impl Reading<'_> {
    pub(super) fn gate(&mut self, node: &Node) -> Gate {
        let fields = self.reader.fields(node, "gate", &KEYS);
        let default = Gate::default();
        let approvals = self
            .optional(fields, "approvals", |this, node| this.reader.integer(node, "approvals", 1, 16))
            .and_then(|number| u32::try_from(number).ok());
        let roles = self.optional(fields, "roles", |this, node| {
            let roles = this.names(node, "roles")?;
            if roles.is_empty() {
                this.reader.error(node.at, "roles must name at least one role");
            }
            Some(roles)
        });
        let expires = self.optional(fields, "expires", |this, node| {
            let expires = this.reader.duration(node, "expires")?;
            if expires.is_zero() {
                this.reader.error(node.at, "expires must be longer than 0s");
            }
            Some(expires)
        });
        let expires = expires.unwrap_or(default.expires);
        let words = [("default", Separation::Default), ("none", Separation::None)];
        let separation =
            self.optional(fields, "separation", |this, node| this.reader.word(node, "separation", &words));
        let escalate = self.optional(fields, "escalate", |this, node| this.ladder(node, expires));
        let deputies = self.optional(fields, "deputies", |this, node| this.deputies(node, expires));
        let words = [("required", Comment::Required), ("optional", Comment::Optional)];
        let comment =
            self.optional(fields, "comment", |this, node| this.reader.word(node, "comment", &words));
        Gate {
            approvals: approvals.unwrap_or(default.approvals),
            roles: roles.unwrap_or(default.roles),
            expires,
            separation: separation.unwrap_or(default.separation),
            escalate: escalate.unwrap_or_default(),
            deputies,
            comment: comment.unwrap_or(default.comment),
        }
    }

    fn names(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        let names = self.reader.texts(node, what)?;
        if names.len() > MOST_NAMES || names.iter().any(|name| name.len() > PERSON_LIMIT) {
            let message =
                format!("{what} may hold at most {MOST_NAMES} names of at most {PERSON_LIMIT} bytes");
            self.reader.error(node.at, message);
        }
        Some(names)
    }

    fn ladder(&mut self, node: &Node, expires: Duration) -> Option<Vec<Rung>> {
        let items = self.reader.list(node, "escalate")?;
        if items.len() > MOST_RUNGS {
            self.reader.error(node.at, format!("escalate may have at most {MOST_RUNGS} entries"));
        }
        let mut ladder: Vec<Rung> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let what = format!("escalate[{index}]");
            let fields = self.reader.fields(item, &what, &RUNG_KEYS);
            let after = self.after(fields, &what, expires);
            let to = self.reader.required(fields, "to", &what);
            let to = to.and_then(|node| self.reader.name(node, "to"));
            let (Some((after, at)), Some(to)) = (after, to) else { continue };
            if ladder.last().is_some_and(|before| after < before.after) {
                self.reader.error(at, format!("{what} comes before the entry above it: put them in order"));
            }
            ladder.push(Rung { after, to: to.to_owned() });
        }
        Some(ladder)
    }

    /// What would happen only after the question is over never happens: that is a mistake.
    fn after(&mut self, fields: Fields<'_>, what: &str, expires: Duration) -> Option<(Duration, Position)> {
        let node = self.reader.required(fields, "after", what)?;
        let after = self.reader.duration(node, "after")?;
        if after >= expires {
            let expires = crate::policy::duration::print(expires);
            self.reader.error(node.at, format!("after must be shorter than the gate's expires, {expires}"));
        }
        Some((after, node.at))
    }

    fn deputies(&mut self, node: &Node, expires: Duration) -> Option<Deputies> {
        let fields = self.reader.fields(node, "deputies", &DEPUTY_KEYS);
        let after = self.after(fields, "deputies", expires);
        let people = self.optional(fields, "people", |this, node| this.names(node, "people"));
        let roles = self.optional(fields, "roles", |this, node| this.names(node, "roles"));
        let (people, roles) = (people.unwrap_or_default(), roles.unwrap_or_default());
        if people.is_empty() && roles.is_empty() {
            self.reader.error(fields.at(), "deputies must name at least one of \"people\" or \"roles\"");
        }
        Some(Deputies { after: after?.0, people, roles })
    }
}
