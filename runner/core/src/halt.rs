//! Halts: the kill switch. What one covers, which are in force, and what they say about a run.
//!
//! A halt only ever takes away: with one more in force, nothing is permitted that was not permitted before. Never
//! here: when a halt takes hold, and who may throw or release it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Event, Fact};
use crate::id::HaltId;
use crate::run::REMOVED;

/// Longest name of a runbook, plugin or target in a scope, in bytes.
pub const MAX_NAME: usize = 1024;

/// Longest reason, in bytes.
pub const MAX_REASON: usize = 2048;

/// What a halt covers. In JSON: `"all"`, or an object with one member, as `{"plugin": "restart-service"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything.
    All,
    /// The runs of a runbook.
    Runbook(String),
    /// Every run in which the plugin has a step.
    Plugin(String),
    /// Every run at the target. A name of a host covers the host, whatever it is called.
    Target(String),
}

/// The kind of a scope: a word that may stand in a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// Everything.
    All,
    /// One runbook.
    Runbook,
    /// One plugin.
    Plugin,
    /// One target.
    Target,
}

impl ScopeKind {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Runbook => "runbook",
            Self::Plugin => "plugin",
            Self::Target => "target",
        }
    }
}

/// A halt that nobody can mean, or that does not say enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HaltError {
    /// The scope is none.
    #[error("{0} is no scope; valid are {SCOPES}")]
    Scope(String),
    /// The scope names nothing, or too much.
    #[error("a {} is named by 1 to {MAX_NAME} bytes without control characters", .0.as_str())]
    Name(ScopeKind),
    /// The reason says nothing, or too much.
    #[error("a reason of 1 to {MAX_REASON} bytes is needed")]
    Reason,
}

/// The scopes, as a message names them.
const SCOPES: &str = "\"all\", {\"runbook\": NAME}, {\"plugin\": NAME} and {\"target\": NAME}; \
                      in the shell all, runbook=NAME, plugin=NAME and target=NAME";

impl HaltError {
    /// The part of the request that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Scope(_) | Self::Name(_) => "scope",
            Self::Reason => "reason",
        }
    }
}

impl Scope {
    /// The scope of a request.
    ///
    /// # Errors
    /// [`HaltError::Scope`] and [`HaltError::Name`].
    pub fn from_json(value: &Value) -> Result<Self, HaltError> {
        let scope = Self::deserialize(value).map_err(|_| HaltError::Scope(shown(&value.to_string())))?;
        scope.checked()
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::All => ScopeKind::All,
            Self::Runbook(_) => ScopeKind::Runbook,
            Self::Plugin(_) => ScopeKind::Plugin,
            Self::Target(_) => ScopeKind::Target,
        }
    }

    /// The name in it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Runbook(name) | Self::Plugin(name) | Self::Target(name) => Some(name),
        }
    }

    /// Whether it covers a run.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Runbook(name) => name == subject.runbook,
            Self::Plugin(name) => subject.plugins.contains(&name.as_str()),
            Self::Target(name) => {
                let is_it = |known: &str| known.eq_ignore_ascii_case(name);
                subject.target.is_some_and(is_it) || subject.aliases.iter().any(|alias| is_it(alias))
            }
        }
    }

    fn checked(self) -> Result<Self, HaltError> {
        let good = |name: &str| {
            !name.trim().is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
        };
        if self.name().is_none_or(good) { Ok(self) } else { Err(HaltError::Name(self.kind())) }
    }
}

/// A text of a request, short enough for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// `all`, `runbook=R`, `plugin=P` or `target=T`: as in the shell, and as people.cedar sees it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        self.name().map_or(Ok(()), |name| write!(f, "={name}"))
    }
}

impl FromStr for Scope {
    type Err = HaltError;

    fn from_str(text: &str) -> Result<Self, HaltError> {
        let scope = match text.split_once('=') {
            None if text == "all" => Self::All,
            Some(("runbook", name)) => Self::Runbook(name.to_owned()),
            Some(("plugin", name)) => Self::Plugin(name.to_owned()),
            Some(("target", name)) => Self::Target(name.to_owned()),
            _ => return Err(HaltError::Scope(format!("{:?}", shown(text)))),
        };
        scope.checked()
    }
}

/// A reason that says something, without the white space around it.
///
/// # Errors
/// [`HaltError::Reason`].
pub fn reason(text: &str) -> Result<String, HaltError> {
    let text = text.trim();
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.is_empty() || text.len() > MAX_REASON || text.chars().any(bad) {
        return Err(HaltError::Reason);
    }
    Ok(text.to_owned())
}

/// What may be halted: a run, or one that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The runbook.
    pub runbook: &'a str,
    /// The plugins of all its steps.
    pub plugins: &'a [&'a str],
    /// The canonical target.
    pub target: Option<&'a str>,
    /// Further names of the target.
    pub aliases: &'a [&'a str],
}

/// One halt, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Its id.
    pub id: HaltId,
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<DateTime<Utc>>,
    /// Who released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<String>,
    /// Why it was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_reason: Option<String>,
}

impl Halt {
    /// The halt that a `halted` event begins; `None` for any other event. One whose text was removed covers
    /// everything, because nobody can tell any more what it covered.
    #[must_use]
    pub fn begin(event: &Event) -> Option<Self> {
        let Fact::Halted(leaf, outside) = &event.fact else { return None };
        let removed = || REMOVED.to_owned();
        let (scope, reason, by) = match outside.get() {
            Some(outside) => (outside.scope.clone(), outside.reason.clone(), outside.by.clone()),
            None => (Scope::All, removed(), removed()),
        };
        Some(Self {
            id: leaf.halt.clone(),
            scope,
            reason,
            by,
            created_at: event.at,
            released_at: None,
            released_by: None,
            release_reason: None,
        })
    }

    /// What its `halt-released` event makes of it; any other event leaves it as it is.
    pub fn apply(&mut self, event: &Event) {
        let Fact::HaltReleased(leaf, outside) = &event.fact else { return };
        if leaf.halt != self.id || self.released_at.is_some() {
            return;
        }
        self.released_at = Some(event.at);
        self.released_by = Some(outside.get().map_or(REMOVED, |outside| outside.by.as_str()).to_owned());
        self.release_reason = outside.get().and_then(|outside| outside.reason.clone());
    }

    /// Whether it is in force.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.released_at.is_none()
    }

    /// Who halted what, and why.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{} is halted by {} ({}): {}", self.scope, self.by, self.id, self.reason)
    }
}

/// The halts in force, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halts(Vec<Halt>);

impl Halts {
    /// Puts a halt in force; takes it out when it was released.
    pub fn put(&mut self, halt: Halt) {
        self.0.retain(|known| known.id != halt.id);
        if halt.in_force() {
            self.0.push(halt);
        }
    }

    /// Takes a halt out, and gives it back if it was in force.
    pub fn take(&mut self, id: &HaltId) -> Option<Halt> {
        let place = self.0.iter().position(|halt| halt.id == *id)?;
        Some(self.0.remove(place))
    }

    /// The halt with this id, if it is in force.
    #[must_use]
    pub fn get(&self, id: &HaltId) -> Option<&Halt> {
        self.0.iter().find(|halt| halt.id == *id)
    }

    /// What an event makes of them.
    pub fn apply(&mut self, event: &Event) {
        match &event.fact {
            Fact::Halted(..) => Halt::begin(event).into_iter().for_each(|halt| self.put(halt)),
            Fact::HaltReleased(leaf, _) => drop(self.take(&leaf.halt)),
            _ => {}
        }
    }

    /// The oldest halt that covers a run, if one does.
    #[must_use]
    pub fn of(&self, subject: &Subject<'_>) -> Option<&Halt> {
        self.all_of(subject).next()
    }

    /// All halts that cover a run, oldest first.
    pub fn all_of(&self, subject: &Subject<'_>) -> impl Iterator<Item = &Halt> {
        self.0.iter().filter(|halt| halt.scope.covers(subject))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
