//! Groups: who belongs together, and how many of them must stay up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::query::MemberQuery;
use super::read::MOST_MEMBERS;
use crate::policy::duration;
use crate::policy::problem::{Position, Problem};
use crate::policy::runbook::{Probe, ReadyProbe, Runbook};
use crate::policy::template::{TemplateError, Templates, Values};

/// A group of `staunch.yaml`.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Where its members come from.
    pub members: Members,
    /// The probe that says whether a member is healthy; the only name in it is `member`.
    pub healthy: Option<Probe>,
    /// How often members and health are to be looked at.
    pub refresh: Duration,
    /// How long what was seen is good for; older is as if it were unknown.
    pub fresh_for: Duration,
    /// Where it stands in the file.
    pub at: Position,
    pub(super) templates: Templates,
}

/// Where the members of a group come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// The file names them.
    List(BTreeSet<String>),
    /// A text file beside the configuration, one name a line; empty lines and lines with `#` first say nothing.
    File(String),
    /// The values of a label in the answer to a query.
    Prometheus(MemberQuery),
}

impl Members {
    /// Members by their names.
    ///
    /// # Errors
    /// Why they make no group: none at all, too many, one twice.
    pub fn list(names: impl IntoIterator<Item = String>) -> Result<Self, String> {
        distinct(names).map(Self::List)
    }

    /// The names in the text of a [`Members::File`].
    ///
    /// # Errors
    /// As [`Members::list`].
    pub fn of_text(text: &str) -> Result<BTreeSet<String>, String> {
        let lines = text.lines().map(str::trim);
        distinct(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned))
    }
}

fn distinct(names: impl IntoIterator<Item = String>) -> Result<BTreeSet<String>, String> {
    let mut set = BTreeSet::new();
    for name in names {
        if set.contains(&name) {
            return Err(format!("must not name {name:?} twice"));
        }
        set.insert(name);
        if set.len() > MOST_MEMBERS {
            return Err(format!("must be at most {MOST_MEMBERS}"));
        }
    }
    if set.is_empty() { Err("must name at least one member".to_owned()) } else { Ok(set) }
}

impl Group {
    /// The probe of one member; `None` where the group has none.
    ///
    /// # Errors
    /// When its template cannot be rendered.
    pub fn probe(&self, member: &str) -> Result<Option<ReadyProbe>, TemplateError> {
        let values = Values::of_member(member);
        self.healthy.as_ref().map(|probe| probe.ready(&self.templates, &values)).transpose()
    }
}

/// What was seen of a group at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// The group.
    pub group: String,
    /// Its members, by the names that runs have as their targets.
    pub members: BTreeSet<String>,
    /// Those that a probe found healthy; one that gave no answer is not. `None`: nobody looks.
    pub healthy: Option<BTreeSet<String>>,
    /// When it was seen: the beginning of the look, not its end.
    pub at: DateTime<Utc>,
    /// How long it is good for.
    pub good_for: Duration,
}

/// What is known about the group of a runbook.
#[derive(Debug, Clone, Copy)]
pub enum Population<'a> {
    /// The runbook names no group.
    NoGroup,
    /// It could not be found out.
    Unknown {
        /// The group.
        group: &'a str,
        /// Why not.
        why: &'a str,
    },
    /// It was seen.
    Known(&'a Roll),
}

impl<'a> Population<'a> {
    /// The members and their health, as far as they can be relied on for this target.
    ///
    /// # Errors
    /// Why they cannot be: unknown, too old, or not the target's group.
    pub(super) fn rely(self, now: DateTime<Utc>, target: Option<&str>) -> Result<&'a Roll, String> {
        let roll = match self {
            Self::NoGroup => return Err("the runbook names no group".to_owned()),
            Self::Unknown { group, why } => {
                return Err(format!("the members of {group} are not known: {why}"));
            }
            Self::Known(roll) => roll,
        };
        let group = &roll.group;
        if duration::after(roll.at, roll.good_for) < now {
            let age = (now - roll.at).to_std().unwrap_or_default();
            let age = duration::print(Duration::from_secs(age.as_secs()));
            let good_for = duration::print(roll.good_for);
            return Err(format!(
                "the members of {group} were last seen {age} ago, which is good for {good_for}"
            ));
        }
        match target {
            None => Err(format!("the run has no target, so it is of no member of {group}")),
            Some(target) if !roll.members.contains(target) => {
                Err(format!("{target} is not one of the {} members of {group}", roll.members.len()))
            }
            Some(_) => Ok(roll),
        }
    }
}

/// What runbooks demand of groups that `staunch.yaml` does not give: a group that is not there, or one without a
/// probe where the health of its members matters.
#[must_use]
pub fn check_groups(runbooks: &[Arc<Runbook>], groups: &BTreeMap<String, Group>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for runbook in runbooks {
        let Some((name, at)) = &runbook.group else { continue };
        let message = match groups.get(name) {
            None => {
                let valid: Vec<&str> = groups.keys().map(String::as_str).collect();
                let valid = if valid.is_empty() { "there are none".to_owned() } else { valid.join(", ") };
                format!("group {name:?} is not in staunch.yaml; its groups: {valid}")
            }
            Some(group) if runbook.limits.at_least_healthy.is_some() && group.healthy.is_none() => {
                format!("limits.at_least_healthy needs the key \"healthy\" in group {name:?} of staunch.yaml")
            }
            Some(_) => continue,
        };
        problems.push(Problem::error(&runbook.file, *at, message));
    }
    problems
}
