//! The facts about plugins that decisions rest on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The most that a runbook, a plugin's standing or the guardrails let automation do. Lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autonomy {
    /// Plan and no more.
    Observe,
    /// Act after people approved.
    Approve,
    /// Act alone.
    Automatic,
}

impl Autonomy {
    /// The words in files.
    pub const WORDS: [(&'static str, Self); 3] =
        [("observe", Self::Observe), ("approve", Self::Approve), ("automatic", Self::Automatic)];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Automatic => "automatic",
        }
    }
}

/// A plugin version's place on the trust ladder, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may plan.
    Observe,
    /// It may act after people approved.
    Approve,
    /// It may act alone.
    Automatic,
    /// It failed too often: it does not run.
    Deprecated,
    /// A person took it out of service: it does not run.
    Revoked,
}

impl Standing {
    /// The words in files.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("observe", Self::Observe),
        ("approve", Self::Approve),
        ("automatic", Self::Automatic),
        ("deprecated", Self::Deprecated),
        ("revoked", Self::Revoked),
    ];

    /// What it lets the plugin do; `None` when it does not run at all.
    #[must_use]
    pub fn autonomy(self) -> Option<Autonomy> {
        match self {
            Self::Observe => Some(Autonomy::Observe),
            Self::Approve => Some(Autonomy::Approve),
            Self::Automatic => Some(Autonomy::Automatic),
            Self::Deprecated | Self::Revoked => None,
        }
    }

    /// The lower of two: out of the ladder is below it, and taken out by a person is below all.
    #[must_use]
    pub fn lower(self, other: Self) -> Self {
        if self.rank() <= other.rank() { self } else { other }
    }

    /// How much trust it is; the more the higher.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Revoked => 0,
            Self::Deprecated => 1,
            Self::Observe => 2,
            Self::Approve => 3,
            Self::Automatic => 4,
        }
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Automatic => "automatic",
            Self::Deprecated => "deprecated",
            Self::Revoked => "revoked",
        }
    }
}

impl From<Autonomy> for Standing {
    fn from(autonomy: Autonomy) -> Self {
        match autonomy {
            Autonomy::Observe => Self::Observe,
            Autonomy::Approve => Self::Approve,
            Autonomy::Automatic => Self::Automatic,
        }
    }
}

/// What a plugin's effects are like, as its manifest declares. Mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effects {
    /// It has none.
    ReadOnly,
    /// They can be undone, or do no harm.
    Reversible,
    /// They cannot be undone.
    Irreversible,
}

impl Effects {
    /// The words in files.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("read-only", Self::ReadOnly),
        ("reversible", Self::Reversible),
        ("irreversible", Self::Irreversible),
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Reversible => "reversible",
            Self::Irreversible => "irreversible",
        }
    }
}

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// It acts.
    Remediation,
    /// It tells people.
    Connector,
    /// It gathers evidence.
    Check,
}

impl PluginKind {
    /// The words in files.
    pub const WORDS: [(&'static str, Self); 3] =
        [("remediation", Self::Remediation), ("connector", Self::Connector), ("check", Self::Check)];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remediation => "remediation",
            Self::Connector => "connector",
            Self::Check => "check",
        }
    }
}

/// What decisions know about one installed plugin version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFacts {
    /// Its name.
    pub name: String,
    /// Its version, as text.
    pub version: String,
    /// What it is for.
    pub kind: PluginKind,
    /// What its effects are like.
    pub effects: Effects,
    /// Its place on the trust ladder.
    pub standing: Standing,
    /// The capabilities that it may use: requested and granted.
    pub capabilities: BTreeSet<String>,
}
