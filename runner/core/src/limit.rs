//! Limits: how much may be done, how fast, to how many things at once.
//!
//! A run takes a [`Reservation`] before it acts, in the transaction that makes its act permit. The reservation
//! counts from then on; it is settled when the run ends, and given back when the run ends without an effect
//! having been intended. [`Ledger`] holds all of them, decides by them and by nothing else, and can be put
//! together again from its rows.
//!
//! ```text
//!  ask (pure: the pre-gate, a backtest)          forget: rows outside every window
//!       |                                              ^
//!  reserve --> open --- acted (each intent) --> open --- settle --> ended, counts until its windows are over
//!                 \--- release (no intent) --> gone
//! ```
//!
//! Rates are exact sliding windows: an action counts at its latest effect, and as long as one that was reserved
//! has not acted, it counts as happening now. Time never runs backwards here: the latest moment that a ledger
//! was told is the earliest that it believes.
//!
//! Never here: finding out who the members of a group are and how they do; that is a fact, handed in as a
//! [`Population`], and one that is unknown or old refuses.

mod config;
mod group;
mod held;
mod judge;
mod ledger;
mod left;
mod query;
pub(crate) mod read;
mod storm;
mod tally;

pub use config::{Cooldown, GlobalLimits, Limits, Rate, RateError, Share, Storm};
pub use group::{Group, Members, Population, Roll, check_groups};
pub use held::{HeldRun, HeldStorm, MOST_HELD, NoStormId, StormId, held, storm_of, waits_for_room};
pub use judge::{LimitName, Refusal, Stop};
pub use ledger::{End, Horizon, Ledger, MOST_ROWS, Request, Reservation, SERVICE};
pub use left::Left;
pub use query::{Bearer, MemberQuery};
pub use read::{global, groups};
pub use storm::{Sightings, StormQuestion};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
