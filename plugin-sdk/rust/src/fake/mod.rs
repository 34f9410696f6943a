//! A scripted host for unit tests: `cargo test`, natively, with no daemon, no sandbox and no network.
//!
//! It answers calls from a script and records them. Calls, arguments and answers have the JSON form that
//! scenarios and the run's record have (`plugin-sdk/README.md`). For tests in the real sandbox there are
//! scenarios and `staunch plugin test`.

mod script;
mod world;

use std::cell::Ref;
use std::ops::Deref;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::world::World;

use crate::backend::Backend;
use crate::log::Level;
use crate::{Check, Connector, Error, Finding, Host, Outcome, Remediation, Undo, Verdict, Verification};

/// A call that the plugin made.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Capability and function: `service.restart`.
    pub call: String,
    /// Its arguments, without what an effect states beside them.
    pub arguments: Value,
    /// An effect's reason; none for a reading.
    pub reason: Option<String>,
    /// The key that an effect gave.
    pub idempotency_key: Option<String>,
    /// The answer that an effect stated for plans.
    pub assume: Option<Value>,
}

impl Recorded {
    /// Whether it was an effect; else it was a reading.
    #[must_use]
    pub fn is_effect(&self) -> bool {
        self.reason.is_some()
    }
}

/// A scripted host.
///
/// A call is answered by the first entry of the script for it that is not used up and whose arguments, if it has
/// any, are all found in the call's. A call without an entry panics and says what the script holds.
///
/// ```
/// use serde_json::json;
/// use staunch_plugin::{Error, fake::FakeHost};
///
/// let host = FakeHost::new()
///     .answer_when("file.stat", json!({ "path": "/a" }),
///         json!({ "path": "/a", "kind": "file", "size": 1, "modified": 0, "allocated": 4096 }))
///     .fail("file.stat", Error::new("not-found", "/b does not exist"));
///
/// assert!(host.file().stat("/b").unwrap_err().is_not_found());
/// assert_eq!(host.file().stat("/a").unwrap().size, 1);
/// assert_eq!(host.calls().len(), 2);
/// host.assert_used_up();
/// ```
#[derive(Debug)]
pub struct FakeHost {
    host: Host,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A host whose script is empty, at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self { host: Host::new(Backend::default()) }
    }

    /// Answers one such call.
    #[must_use]
    pub fn answer(self, call: &str, answer: Value) -> Self {
        self.entry(script::Entry::new(call, Value::Null, Ok(answer)))
    }

    /// Answers one such call with these arguments among its own.
    #[must_use]
    pub fn answer_when(self, call: &str, arguments: Value, answer: Value) -> Self {
        self.entry(script::Entry::new(call, arguments, Ok(answer)))
    }

    /// Answers every such call.
    #[must_use]
    pub fn answer_always(self, call: &str, answer: Value) -> Self {
        self.entry(script::Entry::new(call, Value::Null, Ok(answer)).always())
    }

    /// Fails one such call.
    #[must_use]
    pub fn fail(self, call: &str, error: Error) -> Self {
        self.entry(script::Entry::new(call, Value::Null, Err(error)))
    }

    /// Fails one such call with these arguments among its own.
    #[must_use]
    pub fn fail_when(self, call: &str, arguments: Value, error: Error) -> Self {
        self.entry(script::Entry::new(call, arguments, Err(error)))
    }

    fn entry(self, entry: script::Entry) -> Self {
        self.host.backend().world.borrow_mut().script.add(entry);
        self
    }

    /// Makes it plan: an effect is recorded and answered with what it assumes, not from the script, and after
    /// one, an `await-…` call is assumed to be met.
    #[must_use]
    pub fn planning(self) -> Self {
        self.host.backend().world.borrow_mut().planning = true;
        self
    }

    /// Sets when the run began, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn began(self, began: Duration) -> Self {
        self.host.backend().world.borrow_mut().begin(began);
        self
    }

    /// Seeds the run's randomness.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.host.backend().world.borrow_mut().seed = seed;
        self
    }

    /// Runs a remediation with that input, by way of JSON as the host does.
    ///
    /// # Errors
    /// The plugin's own, and `invalid-input` when the input does not have its shape.
    pub fn remediate<P: Remediation>(&self, input: Value) -> Result<Outcome, Error> {
        P::remediate(parse(input)?, &self.host)
    }

    /// Asks a remediation whether its fix worked.
    ///
    /// # Errors
    /// As [`remediate`](Self::remediate).
    pub fn verify<P: Verification>(&self, input: Value) -> Result<Verdict, Error> {
        P::verify(parse(input)?, &self.host)
    }

    /// Has a remediation take back what it did; `details` are those of its outcome.
    ///
    /// # Errors
    /// As [`remediate`](Self::remediate).
    pub fn undo<P: Undo>(&self, input: Value, details: Option<Value>) -> Result<String, Error> {
        P::undo(parse(input)?, details.map(parse).transpose()?, &self.host)
    }

    /// Has a connector deliver a message.
    ///
    /// # Errors
    /// As [`remediate`](Self::remediate).
    pub fn deliver<P: Connector>(&self, input: Value) -> Result<Option<String>, Error> {
        P::deliver(parse(input)?, &self.host)
    }

    /// Has a check look.
    ///
    /// # Errors
    /// As [`remediate`](Self::remediate).
    pub fn inspect<P: Check>(&self, input: Value) -> Result<Vec<Finding>, Error> {
        P::inspect(parse(input)?, &self.host)
    }

    fn world(&self) -> Ref<'_, World> {
        self.host.backend().world.borrow()
    }

    /// All readings and effects so far, in order. `log`, `clock` and `random` are not among them.
    #[must_use]
    pub fn calls(&self) -> Vec<Recorded> {
        self.world().calls.clone()
    }

    /// The effects among them.
    #[must_use]
    pub fn effects(&self) -> Vec<Recorded> {
        self.world().calls.iter().filter(|call| call.is_effect()).cloned().collect()
    }

    /// The lines that were logged.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.world().logged.clone()
    }

    /// How long the plugin slept in all.
    #[must_use]
    pub fn slept(&self) -> Duration {
        Duration::from_millis(self.world().slept_ms)
    }

    /// Checks that every entry of the script was used.
    ///
    /// # Panics
    /// If one was not.
    pub fn assert_used_up(&self) {
        let left = self.world().script.left();
        assert!(left.is_empty(), "the script holds answers that nothing asked for: {}", left.join(", "));
    }
}

impl Deref for FakeHost {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|e| Error::invalid_input(e.to_string()))
}

#[cfg(test)]
mod tests;
