//! What all interfaces have in common: `staunch:types`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staunch_core::effect::CallError;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::sandbox::scrub::{Scrub, Scrubber};

/// `types.error`
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(in crate::sandbox) struct Error {
    code: String,
    message: String,
    retryable: bool,
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let CallError { code, message, retryable } = error;
        Self { code, message, retryable }
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        let Error { code, message, retryable } = error;
        Self { code, message, retryable }
    }
}

/// `types.intent`
#[derive(Debug, Clone, Default, ComponentType, Lift)]
#[component(record)]
pub(in crate::sandbox) struct Intent {
    pub(in crate::sandbox) reason: String,
    #[component(name = "idempotency-key")]
    pub(in crate::sandbox) idempotency_key: Option<String>,
    pub(in crate::sandbox) assume: Option<String>,
}

/// `types.awaited`
#[derive(Debug, Clone, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Awaited {
    pub(in crate::sandbox) met: bool,
    #[serde(default)]
    pub(in crate::sandbox) assumed: bool,
    #[serde(default)]
    pub(in crate::sandbox) last: String,
    #[serde(default)]
    pub(in crate::sandbox) polls: u32,
}

impl Awaited {
    /// Whether two looks found the same, however long each took.
    pub(in crate::sandbox) fn same(before: &Value, now: &Value) -> bool {
        before.get("met") == now.get("met")
    }

    /// What a plan assumes once an effect is planned.
    pub(in crate::sandbox) fn assumed(last: &str) -> Self {
        Self { met: true, assumed: true, last: last.to_owned(), polls: 0 }
    }
}

impl Scrub for Awaited {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.text(&mut self.last);
    }
}
