//! Text from outside, and what is said with it.

use super::payload;

impl payload::RunGivenUp {
    /// The sentence with the person's name and words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let by = self.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let comment = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{}{by}{comment}", self.message)
    }
}

/// Text from outside: there, or removed under retention or erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside<T> {
    /// As it was written.
    Kept(T),
    /// Gone; the proofs stay.
    Removed,
}

impl<T> Outside<T> {
    /// The text, if it is still there.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Kept(value) => Some(value),
            Self::Removed => None,
        }
    }
}
