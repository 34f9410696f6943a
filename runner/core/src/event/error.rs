//! Why an event cannot be written or read.

use super::{MAX_LEAF, VERSION};

/// An event that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The bytes are not an event of a known version.
    #[error("entry is not an event of version {VERSION}")]
    Unreadable(#[source] serde_json::Error),
    /// The leaf grew too long.
    #[error("leaf of {0} bytes is longer than {MAX_LEAF}")]
    TooLong(usize),
    /// The kind needs a payload and the entry has none.
    #[error("entry of kind {0} has no payload")]
    PayloadMissing(&'static str),
}
