//! Why a message or a source's configuration is refused.

use http::StatusCode;

use super::format::FormatError;

/// Why a message is refused, with what its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The body is not JSON, or not UTF-8.
    #[error("not JSON: {message} (line {line}, column {column})")]
    NotJson {
        /// What the parser met.
        message: String,
        /// Line of the body, from 1.
        line: usize,
        /// Column in that line, in bytes, from 1.
        column: usize,
    },
    /// The message is not from the sender that the source stands for.
    #[error("not authentic: {reason}")]
    NotAuthentic {
        /// What is missing or wrong; never holds anything secret.
        reason: &'static str,
    },
    /// The body is larger than the source takes.
    #[error("the body has {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes that are taken.
        limit: usize,
    },
    /// JSON, but not in the source's format.
    #[error("{location}: {problem}")]
    WrongShape {
        /// Place in the body, such as `alerts[3].labels.x`.
        location: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// In the source's format, but over a bound of [`super::Limits`].
    #[error("{location}: {problem}")]
    OverLimit {
        /// Place in the body, such as `alerts[3].labels.x`.
        location: String,
        /// The bound and what was found.
        problem: String,
    },
    /// Offline only: the format is unknown or not available.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl IntakeError {
    /// The HTTP status that the sender gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotJson { .. } => StatusCode::BAD_REQUEST,
            Self::NotAuthentic { .. } => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongShape { .. } | Self::OverLimit { .. } | Self::Format(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        }
    }

    /// The stable code of the problem: the last part of the problem document's `type`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not-json",
            Self::NotAuthentic { .. } => "not-authentic",
            Self::TooLarge { .. } => "too-large",
            Self::WrongShape { .. } => "wrong-shape",
            Self::OverLimit { .. } => "over-limit",
            Self::Format(FormatError::Unknown { .. }) => "unknown-format",
            Self::Format(FormatError::NotAvailable { .. }) => "format-not-available",
        }
    }

    /// The place in the body, where the refusal has one.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        match self {
            Self::WrongShape { location, .. } | Self::OverLimit { location, .. } => Some(location),
            Self::NotJson { .. } | Self::NotAuthentic { .. } | Self::TooLarge { .. } | Self::Format(_) => {
                None
            }
        }
    }

    /// Whether the caller named a wrong format, so that no body could have been right.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Format(_))
    }
}

/// Why a source's configuration is refused. Every message names the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing would tell the sender from anybody else.
    #[error(
        "source {source_name:?} has no authentication: give it bearer, basic, hmac or token, \
         or write `authenticate: none`"
    )]
    NoAuthentication {
        /// The source.
        source_name: String,
    },
    /// `authenticate: none` stands beside a credential.
    #[error("source {source_name:?} says `authenticate: none` and has {member} too: remove one of them")]
    Contradiction {
        /// The source.
        source_name: String,
        /// The credential's member.
        member: &'static str,
    },
    /// A secret is empty, so that anybody knows it.
    #[error("source {source_name:?}: {member} is empty")]
    EmptySecret {
        /// The source.
        source_name: String,
        /// The secret's member.
        member: &'static str,
    },
    /// A member holds what it may not hold.
    #[error("source {source_name:?}: {member}: {problem}")]
    Member {
        /// The source.
        source_name: String,
        /// The member's path.
        member: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A template of the mapping does not compile.
    #[error("source {source_name:?}: mapping.{member}: the template does not compile")]
    Template {
        /// The source.
        source_name: String,
        /// The member's path below `mapping`.
        member: String,
        /// What the template engine says.
        #[source]
        cause: minijinja::Error,
    },
}
