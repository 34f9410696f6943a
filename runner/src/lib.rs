//! Staunch: signed, sandboxed plugins in answer to alerts.
//!
//! The rooms, in the order in which an alert walks through them, are described in `ARCHITECTURE.md`.

pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod install;
pub mod intake;
pub mod journal;
pub mod keys;
pub mod memory;
pub mod people;
pub mod pipeline;
pub mod plugin;
pub mod sandbox;
pub mod scenario;
