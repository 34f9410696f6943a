//! The journal's words: what can happen, and how it is written down.
//!
//! An event is a **leaf**, which anyone may keep for ever, and often a **payload**, which holds all that came
//! from outside (bodies, labels, inputs, arguments, answers, comments, people's names) and can be removed. The
//! leaf commits to the payload: its member `payload` is `sha256:` of `salt ‖ bytes`.
//!
//! Leaves and payloads are JSON. Names of kinds and members are never reused with another meaning; `v` counts
//! up when a reader of an older version could go wrong.

mod error;
mod facts;
mod form;
mod outside;

pub use error::EventError;
pub use facts::*;
pub use form::{Before, Encoded, Event, LOG_BEGUN, MAX_LEAF, PAYLOAD_MEMBER, VERSION, commitment};
pub use outside::Outside;

#[cfg(test)]
mod tests;
