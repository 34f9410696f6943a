//! Staunch: signed, sandboxed plugins in answer to alerts.
//!
//! The rooms, in the order in which an alert walks through them, are described in `ARCHITECTURE.md`.

pub mod clock;
pub mod intake;
pub mod journal;
pub mod keys;
