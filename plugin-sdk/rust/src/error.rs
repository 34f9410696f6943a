//! Why a call failed, or why a plugin gave up.

use std::borrow::Cow;

/// Why a call through the host failed, or why the plugin could not do its work.
///
/// `?` hands a failed call on as the plugin's own error, unchanged. The run's record shows code and message.
///
/// ```
/// use staunch_plugin::Error;
///
/// let error = Error::new("unit-not-found", "there is no unit web.service").retryable();
/// assert_eq!(error.code(), "unit-not-found");
/// assert_eq!(error.to_string(), "unit-not-found: there is no unit web.service");
/// assert!(error.is_retryable() && !error.is_denied());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Cow<'static, str>,
    message: String,
    retryable: bool,
}

impl Error {
    /// An error that the same input would meet again.
    ///
    /// `code` is a word for programs, in kebab case (`unit-not-found`); `message` a sentence for people.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// The input cannot be used: code `invalid-input`.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new("invalid-input", message)
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The word for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Whether the host refused the call: no grant, no policy, a halt, or an effect outside the approved plan.
    pub fn is_denied(&self) -> bool {
        self.code == "access-denied"
    }

    /// Whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == "not-found"
    }

    /// Code, message and whether to try again, for the way over the border.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_parts(self) -> (String, String, bool) {
        (self.code.into_owned(), self.message, self.retryable)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
