//! What end-to-end tests stand on: a throw-away installation of the real program, its daemon as a process, a
//! client that can also misbehave, and a target that notes everything that reaches it.
//!
//! Never here: assertions about what the product does. Everything is bounded, and whatever was started is ended by
//! its own process id when its value is dropped.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "this library is for tests alone: it panics where a test would, and it starts programs"
)]

pub mod alerts;
pub mod client;
pub mod daemon;
pub mod installation;
pub mod outside;
pub mod poll;
pub mod program;
pub mod target;

/// Says why a test shows nothing here; the test then passes.
pub fn skip(why: &str) {
    println!("SKIPPED: {why}");
}
