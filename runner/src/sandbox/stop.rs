//! Why the host ends a run from inside a call. It crosses the guest as a trap, which no guest can catch.

use staunch_core::effect::{Answer, Call};
use staunch_core::plan::Recorded;

/// A reason to end the run at a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The effect needs an approval of its own.
    #[error("{}.{} on {} parks the run: {reason}", call.capability, call.function, call.target)]
    Parked { call: Box<Call>, reason: String },
    /// Nobody knows whether the effect happened.
    #[error("{}.{} on {} is in doubt: {message}", call.capability, call.function, call.target)]
    InDoubt { index: u32, call: Box<Call>, message: String },
    /// The kill switch.
    #[error("halted: {0}")]
    Halted(String),
    /// An old reading answers otherwise now.
    #[error("{}.{} on {} answers otherwise than before", call.capability, call.function, call.target)]
    ReadingChanged { calls: u32, call: Box<Call>, before: Box<Answer>, now: Box<Answer> },
    /// A replay met another call than the journal holds.
    #[error("the call differs from the journaled one")]
    Diverged { expected: Option<Box<Recorded>>, call: Box<Call>, fuel: u64 },
    /// A journaled answer does not have the function's shape.
    #[error("the journaled answer of {}.{} does not fit: {message}", call.capability, call.function)]
    BadAnswer { call: Box<Call>, answer: Box<Answer>, message: String },
    /// The journal cannot be written.
    #[error("the journal cannot be written: {0}")]
    Ledger(String),
    /// A bound of the run.
    #[error("{message}")]
    Limit { code: &'static str, message: String },
}

impl Stop {
    pub(super) fn limit(code: &'static str, message: impl Into<String>) -> Self {
        Self::Limit { code, message: message.into() }
    }
}
