//! A scenario as its file says it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use staunch_core::effect::{Answer, EffectStatus};

use crate::sandbox::Export;
use crate::sandbox::capability::Function;

/// One scenario, checked.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) file: String,
    /// What it shows.
    pub(super) name: String,
    pub(super) export: Export,
    /// The run's clock.
    pub(super) began: DateTime<Utc>,
    /// The run's randomness.
    pub(super) seed: u64,
    /// Rendered; not yet checked against the manifest.
    pub(super) input: Value,
    /// For `undo`: the details of the outcome to take back.
    pub(super) details: Option<Value>,
    /// What the world answers, in the order of the file.
    pub(super) world: Vec<Entry>,
    pub(super) expect: Expect,
}

/// One answer of the world.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) function: &'static Function,
    /// Found among the call's arguments; null asks for nothing.
    pub(super) arguments: Value,
    pub(super) answer: Answer,
    /// How many calls it answers; `None` is any number.
    pub(super) times: Option<u32>,
    /// The only kind of pass in which it answers.
    pub(super) within: Option<Pass>,
    /// Its line in the file.
    pub(super) line: u32,
}

/// What a pass does with effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Records them.
    Plan,
    /// Asks the world.
    Act,
}

/// What a scenario expects.
#[derive(Debug, Clone)]
pub(super) struct Expect {
    /// Asked of the world when acting.
    pub(super) effects: Vec<ExpectedEffect>,
    /// What is planned, where that is not the same.
    pub(super) plan: Option<Vec<ExpectedEffect>>,
    pub(super) end: End,
}

/// An effect that is expected; what is absent is not looked at.
#[derive(Debug, Clone)]
pub(super) struct ExpectedEffect {
    pub(super) function: &'static Function,
    /// Found among the call's arguments; null asks for nothing.
    pub(super) arguments: Value,
    pub(super) status: Option<EffectStatus>,
    pub(super) reason: Option<String>,
}

/// What the export answers, in part.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// Its result.
    Result(Value),
    /// Its error: `{code, message, retryable}`.
    Error(Value),
}

/// `service.restart`
pub(super) fn name_of(function: &Function) -> String {
    format!("{}.{}", function.capability, function.name)
}
