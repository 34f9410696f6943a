//! The secrets' values: the one place that holds them.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::scrub::Scrubber;

/// Secrets shorter than this are refused: they cannot be told from ordinary text when answers are scrubbed.
pub const MIN_SECRET_BYTES: usize = 8;

/// A secret that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short.
    #[error("secret `{0}` is shorter than {MIN_SECRET_BYTES} bytes, so answers could not be scrubbed of it")]
    TooShort(String),
    /// A name that no reference can spell.
    #[error("secret name {0:?} has other characters than letters, digits, `-`, `_` and `.`")]
    BadName(String),
    /// Too many or too long for the scrubber.
    #[error("the secrets are too many or too long to be searched for: {0}")]
    TooMany(String),
}

/// All secrets that the configuration holds, by name.
#[derive(Default)]
pub(super) struct Secrets {
    values: BTreeMap<String, SecretString>,
    scrubber: Scrubber,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    pub(super) fn new(values: BTreeMap<String, SecretString>) -> Result<Self, SecretError> {
        for (name, value) in &values {
            if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            {
                return Err(SecretError::BadName(name.clone()));
            }
            if value.expose_secret().len() < MIN_SECRET_BYTES {
                return Err(SecretError::TooShort(name.clone()));
            }
        }
        let scrubber = Scrubber::new(values.values().map(|value| value.expose_secret()))
            .map_err(|error| SecretError::TooMany(error.to_string()))?;
        Ok(Self { values, scrubber })
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.expose_secret())
    }

    pub(super) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }
}
