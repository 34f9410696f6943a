//! What a plugin can be, and what it hands back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Host};

/// A plugin that repairs something.
///
/// Exported by [`export!`](crate::export!). The example at the [top of this crate](crate) is complete.
pub trait Remediation {
    /// What the runbook hands over, already checked against the `[input]` schema of `plugin.toml`.
    type Input: DeserializeOwned;

    /// Looks, and then does what is needed: called once to plan and once to act.
    ///
    /// # Errors
    /// Whatever kept the plugin from its work. What it did before the error stays done, and is in the record.
    fn remediate(input: Self::Input, host: &Host) -> Result<Outcome, Error>;
}

/// A remediation that can tell whether its fix worked: one of the runbook's probes. Readings only.
///
/// Exported by `export!(Plugin with verification)`.
pub trait Verification: Remediation {
    /// Looks once; the host asks again until the runbook's `within` is over.
    ///
    /// # Errors
    /// An error counts as [`Verdict::NoAnswer`].
    fn verify(input: Self::Input, host: &Host) -> Result<Verdict, Error>;
}

/// A remediation that can take back what it did. Planned together with it, on assumed answers.
///
/// Exported by `export!(Plugin with undo)`.
pub trait Undo: Remediation {
    /// What the remediation left in [`Outcome::with_details`].
    type Details: DeserializeOwned;

    /// Takes back what `remediate` did and says so in a sentence.
    ///
    /// # Errors
    /// Whatever kept the plugin from it.
    fn undo(input: Self::Input, details: Option<Self::Details>, host: &Host) -> Result<String, Error>;
}

/// A plugin that delivers messages. Exported by `export!(Plugin as connector)`.
///
/// ```
/// use serde::Deserialize;
/// use serde_json::json;
/// use staunch_plugin::{Connector, Error, Host};
///
/// struct Chat;
///
/// #[derive(Deserialize)]
/// struct Message {
///     text: String,
/// }
///
/// impl Connector for Chat {
///     type Input = Message;
///
///     fn deliver(input: Message, host: &Host) -> Result<Option<String>, Error> {
///         let answer = host
///             .http()
///             .post("https://chat.example.com/messages")
///             .json(&json!({ "text": input.text }))
///             .because("tell the team")
///             .assume_status(201)
///             .send()?
///             .success()?;
///         Ok(answer.header("x-message-id").map(str::to_owned))
///     }
/// }
///
/// staunch_plugin::export!(Chat as connector);
/// # fn main() {}
/// ```
pub trait Connector {
    /// The message, as the connector's `[input]` schema describes it.
    type Input: DeserializeOwned;

    /// Delivers one message; answers the receiver's own id for it, if it has one.
    ///
    /// # Errors
    /// Whatever kept the message from its receiver; [retryable](Error::retryable) if it may pass later.
    fn deliver(input: Self::Input, host: &Host) -> Result<Option<String>, Error>;
}

/// A plugin that looks whether something is as it should be, and changes nothing: effects are refused.
/// Exported by `export!(Plugin as check)`.
///
/// ```
/// use serde::Deserialize;
/// use staunch_plugin::{Check, Error, Finding, Host};
///
/// struct UnitIsActive;
///
/// #[derive(Deserialize)]
/// struct Input {
///     unit: String,
/// }
///
/// impl Check for UnitIsActive {
///     type Input = Input;
///
///     fn inspect(input: Input, host: &Host) -> Result<Vec<Finding>, Error> {
///         let status = host.service().status(&input.unit)?;
///         Ok(vec![Finding::new(input.unit, status.active == "active", status.sub)])
///     }
/// }
///
/// staunch_plugin::export!(UnitIsActive as check);
/// # fn main() {}
/// ```
pub trait Check {
    /// What to look at, as the check's `[input]` schema describes it.
    type Input: DeserializeOwned;

    /// Looks.
    ///
    /// # Errors
    /// Whatever kept it from looking. That something is not as it should be is a [`Finding`], not an error.
    fn inspect(input: Self::Input, host: &Host) -> Result<Vec<Finding>, Error>;
}

/// What a remediation found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) summary: String,
    pub(crate) changed: bool,
    pub(crate) details: Option<String>,
}

impl Outcome {
    /// Something was done. `summary` says in a sentence what was found and done.
    pub fn changed(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), changed: true, details: None }
    }

    /// There was nothing to do. `summary` says in a sentence why.
    pub fn unchanged(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), changed: false, details: None }
    }

    /// Adds facts for the record, for later steps and for [`Undo`]; at most 64 KiB of JSON.
    ///
    /// # Errors
    /// `invalid-details`, if the value has no JSON form.
    pub fn with_details(self, details: &impl Serialize) -> Result<Self, Error> {
        let text =
            serde_json::to_string(details).map_err(|e| Error::new("invalid-details", e.to_string()))?;
        Ok(self.with_details_text(text))
    }

    /// The same from JSON text that the caller has already.
    #[must_use]
    pub fn with_details_text(mut self, json: String) -> Self {
        self.details = Some(json);
        self
    }

    /// What was found and done.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Whether anything was done.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The details' JSON text.
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }
}

/// Whether the fix worked, as far as one look can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The world has recovered.
    Passed,
    /// There is positive evidence that it is still broken.
    Failed,
    /// It can't be told.
    NoAnswer,
}

/// One thing that a check looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub satisfied: bool,
    /// What was seen.
    pub evidence: String,
}

impl Finding {
    /// A finding about `subject`.
    pub fn new(subject: impl Into<String>, satisfied: bool, evidence: impl Into<String>) -> Self {
        Self { subject: subject.into(), satisfied, evidence: evidence.into() }
    }
}
