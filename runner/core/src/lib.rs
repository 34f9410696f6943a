//! Every decision that Staunch makes, and its reason.
//!
//! Pure: no I/O, no waiting, no clock, no randomness, no logging. Facts and `now` are arguments, decisions are
//! return values. What happens with a decision is the business of the `staunch` crate.

#![warn(missing_docs)]

pub mod alert;
pub mod backtest;
pub mod breaker;
pub mod decision;
pub mod drill;
pub mod effect;
pub mod event;
pub mod gate;
pub mod halt;
pub mod id;
pub mod limit;
pub mod permit;
pub mod plan;
pub mod policy;
pub mod record;
pub mod run;
pub mod schedule;
pub mod silence;
pub mod stamp;
pub mod standing;
pub mod text;
pub mod tlog;
pub mod verify;
pub mod window;
pub mod zone;
