//! What all effects have in common: a reason, a key, and what to assume of the answer in a plan.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What an effect states beside its arguments. Built by [`Effect`] and [`Request`](crate::http::Request).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Why this effect is wanted, in a sentence that an approver will read.
    pub reason: String,
    /// Mixed into the key that the host derives.
    pub idempotency_key: Option<String>,
    /// JSON text of the answer to assume in a plan; the host's default when absent.
    pub assume: Option<String>,
}

/// An effect that is not done yet: say why, and [`perform`](Effect::perform) it.
///
/// ```
/// use serde_json::json;
/// use staunch_plugin::fake::FakeHost;
/// use staunch_plugin::file::Freed;
///
/// let host = FakeHost::new().answer("file.truncate", json!({ "files": 1, "bytes": 4096 }));
/// let freed = host
///     .file()
///     .truncate("/var/log/app/debug.log", 0)
///     .because("the log tree is full")
///     .assume(&Freed { files: 1, bytes: 8192 })
///     .perform()?;
/// assert_eq!(freed.bytes, 4096);
/// assert_eq!(host.effects()[0].reason.as_deref(), Some("the log tree is full"));
/// # Ok::<(), staunch_plugin::Error>(())
/// ```
#[must_use = "an effect does nothing until it is performed"]
pub struct Effect<T, F> {
    call: F,
    intent: Intent,
    answer: std::marker::PhantomData<T>,
}

impl<T: Serialize, F: FnOnce(Intent) -> Result<T, Error>> Effect<T, F> {
    pub(crate) fn new(call: F) -> Self {
        Self { call, intent: Intent::default(), answer: std::marker::PhantomData }
    }

    /// Why this effect is wanted, in a sentence that an approver will read. Not part of the plan's digest.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.intent.reason = reason.into();
        self
    }

    /// Mixed into the key that the host derives; say it when two equal effects are meant to be two.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.intent.idempotency_key = Some(key.into());
        self
    }

    /// What the plan is to assume of the answer. Text in it may be a [`placeholder`].
    pub fn assume(mut self, answer: &T) -> Self {
        // An answer type is a plain record, whose JSON form cannot fail; the host's default is right if it did.
        self.intent.assume = serde_json::to_string(answer).ok();
        self
    }

    /// Does it when acting, after its intent is durably journaled, and waits for its completion. In a plan it
    /// is written down and answered with what it assumes.
    ///
    /// # Errors
    /// The target's refusal or failure, or `access-denied` from the host.
    pub fn perform(self) -> Result<T, Error> {
        (self.call)(self.intent)
    }
}

impl<T, F> std::fmt::Debug for Effect<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effect").field("intent", &self.intent).finish_non_exhaustive()
    }
}

/// What was seen while the host waited for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Whether it came about within the time.
    pub met: bool,
    /// Whether the host assumed so, because an effect before it was only planned.
    #[serde(default)]
    pub assumed: bool,
    /// The last thing seen: a status code, a unit's state.
    #[serde(default)]
    pub last: String,
    /// How often the host looked.
    #[serde(default)]
    pub polls: u32,
}

/// Stands in an assumed answer for text that only the real answer will hold.
///
/// Where a later planned argument contains it, the host fills in what stood at the same place of the real
/// answer, so that "create a ticket, then comment on it" is one plan. A name is made of `a-z`, `0-9` and `-`.
///
/// ```
/// use staunch_plugin::placeholder;
///
/// let ticket = placeholder("ticket");
/// assert_eq!(format!("/tickets/{ticket}/comments"), "/tickets/{{staunch:ticket}}/comments");
/// ```
///
/// # Panics
/// If the name is empty or has other characters: that is a mistake in the plugin.
#[must_use]
pub fn placeholder(name: &str) -> String {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    assert!(
        !name.is_empty() && name.bytes().all(valid),
        "placeholder names are made of a-z, 0-9 and -: {name}"
    );
    ["{{staunch:", name, "}}"].concat()
}
