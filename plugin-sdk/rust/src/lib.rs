//! Write Staunch plugins in Rust.
//!
//! A plugin is a WASM component with one job: a [`Remediation`] that repairs something, a [`Connector`] that
//! delivers messages, or a [`Check`] that looks whether something is as it should be. It has no files, sockets,
//! clock or randomness of its own: all contact with the world goes through the [`Host`], and the host lets
//! through what its operator granted.
//!
//! ```
//! use serde::Deserialize;
//! use staunch_plugin::{Error, Host, Outcome, Remediation};
//!
//! /// Restarts one unit.
//! struct Plugin;
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     unit: String,
//! }
//!
//! impl Remediation for Plugin {
//!     type Input = Input;
//!
//!     fn remediate(input: Input, host: &Host) -> Result<Outcome, Error> {
//!         let status = host.service().status(&input.unit)?;
//!         if status.active == "active" {
//!             return Ok(Outcome::unchanged(format!("{} is active", input.unit)));
//!         }
//!         host.service()
//!             .restart(&input.unit)
//!             .because(format!("{} is {}", input.unit, status.active))
//!             .perform()?;
//!         Ok(Outcome::changed(format!("restarted {}", input.unit)))
//!     }
//! }
//!
//! staunch_plugin::export!(Plugin);
//! # fn main() {
//! // Unit tests run natively, against a scripted host.
//! use serde_json::json;
//! use staunch_plugin::fake::FakeHost;
//!
//! let failed = json!({ "load": "loaded", "active": "failed", "sub": "failed", "invocation": "a" });
//! let active = json!({ "load": "loaded", "active": "active", "sub": "running", "invocation": "b" });
//! let host = FakeHost::new().answer("service.status", failed).answer("service.restart", active);
//!
//! let outcome = host.remediate::<Plugin>(json!({ "unit": "web.service" })).unwrap();
//! assert!(outcome.is_changed());
//! assert_eq!(host.effects()[0].call, "service.restart");
//! assert_eq!(host.effects()[0].arguments, json!({ "unit": "web.service" }));
//! # }
//! ```
//!
//! The same code is run twice: once to **plan**, where readings are real and effects are only written down and
//! answered with what they [assume](Effect::assume), and once to **act**. Both have the same input, clock and
//! random seed. The guide beside this crate (`plugin-sdk/README.md`) says what follows from that.
//!
//! What this crate never does: decide anything that the host must trust. It is comfort, no more.

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod allocator;
mod backend;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
pub mod clock;
mod effect;
mod error;
#[doc(hidden)]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
pub mod file;
mod host;
pub mod http;
mod json;
mod kinds;
pub mod log;
pub mod process;
pub mod random;
pub mod service;

pub use effect::{Awaited, Effect, Intent, placeholder};
pub use error::Error;
pub use host::Host;
pub use kinds::{Check, Connector, Finding, Outcome, Remediation, Undo, Verdict, Verification};

/// The serde that the SDK uses, for `#[derive(Deserialize)]` on inputs.
pub use serde;
/// The JSON library that the SDK uses.
pub use serde_json;
