//! Calls through a capability: readings and effects, and how they are written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::Text;

/// Whether a function changes the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It only looks.
    Reading,
    /// It changes something.
    Effect,
}

/// What may be done about an effect in doubt. Fixed by the function; a manifest or grant may only tighten it,
/// except that a grant may say that an http target honours `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repeat {
    /// Sending it again with the same key gives the same result.
    Repeatable,
    /// It must not be sent twice.
    Once,
}

/// One call of a plugin through a capability, as plans, approvals and the journal hold it.
///
/// Two calls are the same when all four members are equal. Secrets stand as `secret://name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The capability: `http`, `service`, ...
    pub capability: Text,
    /// The function of its interface: `send`, `restart`, ...
    pub function: Text,
    /// What it acts on, derived by the broker from the arguments: `web-7/service:web.service`,
    /// `http:api.example.com:443`.
    pub target: Text,
    /// All arguments but the reason, the key and the assumption.
    pub arguments: Arc<Value>,
}

/// What a call came back with. Errors are answers too: the plugin decides what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The function's result.
    Ok(Arc<Value>),
    /// The function's error.
    Err(CallError),
}

impl Answer {
    /// Whether it is a result.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }
}

/// Why a call failed, in the shape that every interface has. `code` is an open set; `access-denied` is the
/// broker's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// A word for programs: `access-denied`, `timeout`, `not-found`, ...
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether trying again later makes sense.
    pub retryable: bool,
}

impl CallError {
    /// The broker's refusal.
    #[must_use]
    pub fn denied(message: impl Into<String>) -> Self {
        Self { code: "access-denied".to_owned(), message: message.into(), retryable: false }
    }

    /// Whether the broker refused the call.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        self.code == "access-denied"
    }
}

/// Where an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectStatus {
    /// In the plan, not yet reached.
    Planned,
    /// Durably written down, outcome not known yet.
    Intended,
    /// Performed.
    Done,
    /// Performed, or tried, and failed with a known result.
    Failed,
    /// Nobody knows whether it happened.
    Unknown,
    /// The broker refused it.
    Denied,
    /// Planned, and left out when the plugin acted.
    Skipped,
}

/// An effect of a run, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Its place among the effects of its step, from 0.
    pub index: u32,
    /// The capability.
    pub capability: Text,
    /// The function.
    pub function: Text,
    /// What it acts on.
    pub target: Text,
    /// Its arguments.
    pub arguments: Arc<Value>,
    /// Why the plugin wants it, in its own words.
    pub reason: String,
    /// Fixed at the first intent; `null` before.
    pub idempotency_key: Option<String>,
    /// Where it stands.
    pub status: EffectStatus,
}
