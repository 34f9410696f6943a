//! Standing: the trust ladder `observe`, `approve`, `automatic`, and the ways out of it.
//!
//! Each plugin version, by the digest of its bytes, has a [`Record`]: where it stands, what its runs came to, and
//! every move with its reason and the runs that caused it. Downwards it moves by itself, upwards only by a person
//! with a reason, one step at a time.
//!
//! What counts is verified recovery: `fixed` against `not-fixed` and the plugin's own traps, over the last runs
//! of the last days, from a minimum sample on. Runs by hand, plans, tests, drills and whatever never came to act
//! do not count; `unknown` is shown beside them, as a class of its own. A `fixed` after which a person had to
//! step in, or the alert fired again, turns into a `not-fixed`. Failures while most plugins fail are the world's
//! and not the plugin's: they are excused and nobody is demoted.
//!
//! After every move the count begins anew, with runs that began after it: what was held against the plugin once
//! is not held against it a second time, and a plugin that was reinstated gets its full sample to show itself.
//!
//! Never here: what a standing lets a plugin do; that is the gate's.

mod count;
mod moves;
mod observed;
mod outage;
mod record;
mod report;
mod settings;
mod wilson;

pub use count::{Class, Ended, Intervention, classify};
pub use moves::{Cause, Move, MoveError};
pub use observed::{Agreement, Compared, Observed, compare, is_observed};
pub use outage::outage;
pub use record::{Counted, Record};
pub use report::{Intervened, Report};
pub use settings::{Settings, read};
pub use wilson::{Interval, interval};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
