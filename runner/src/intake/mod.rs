//! Intake: turns what monitoring systems send into alerts.
//!
//! A body walks through three steps, each with its own bound and its own refusal:
//!
//! 1. [`authenticate`]: is it from the sender that the source stands for? (401)
//! 2. JSON into a bounded tree that borrows from the body: depth, size, duplicate names. (400, 413, 422)
//! 3. The format's reader: the tree into [`Alert`]s, every refusal naming its place. (422)
//!
//! A message with one bad entry is refused whole, so that nothing of it is half stored. A genuine
//! message without an alert is an empty list.
//!
//! This room never decides anything about an alert, never stores, never sends, and reads neither
//! clock nor environment: `now` is an argument and secrets arrive resolved.

mod alertmanager;
mod authenticity;
mod config;
mod error;
mod format;
mod generic;
mod json;
mod limits;
mod mapping;
mod normal;
mod prometheus;
mod read;
mod source;
mod units;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use staunch_core::alert::Alert;
use staunch_core::id::Digest;

pub use authenticity::{authenticate, check_credentials, check_signature};
pub use config::{Authenticate, BasicConfig, Encoding, HmacConfig, SourceConfig};
pub use error::{IntakeError, SourceError};
pub use format::{Format, FormatError};
pub use limits::Limits;
pub use mapping::{Expression, LabelsMapping, MappingConfig, SeverityMapping, StatusMapping};
pub use source::Source;
pub use units::{ByteSize, Period};

/// What a format's reader needs beside the body.
#[derive(Debug, Clone, Copy)]
struct Context<'c> {
    source: &'c Source,
    headers: &'c HeaderMap,
    now: DateTime<Utc>,
    raw_digest: Digest,
}

impl Context<'_> {
    fn limits(&self) -> &Limits {
        self.source.limits()
    }
}

/// The alerts in one body, in its order; none for a genuine message without an alert.
///
/// Authenticity is not checked here: call [`authenticate`] first. `now` decides the status of
/// alerts that tell only when they end.
///
/// # Errors
/// When the body is too large, not JSON, or not in the source's format. Nothing is read in part.
pub fn parse(
    source: &Source,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Vec<Alert>, IntakeError> {
    let tree = json::parse(body, source.limits())?;
    let context = Context { source, headers, now, raw_digest: Digest::of(body) };
    match source.format() {
        Format::Alertmanager => alertmanager::read(&tree, &context),
        Format::Prometheus => prometheus::read(&tree, &context),
        Format::Generic => match source.mapping() {
            Some(mapping) => mapping.read(&tree, &context),
            None => generic::read(&tree, &context),
        },
    }
}

/// The alerts that a body in this format would give, without a configured source: `alerts parse`.
///
/// The alerts' `source` is the format's name. The limits are the default ones and nothing is
/// authenticated.
///
/// # Errors
/// As [`parse`], and [`IntakeError::Format`] for a name that is no format or one that is not there
/// yet: wrong usage, not a wrong body.
pub fn parse_offline(
    format: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Vec<Alert>, IntakeError> {
    let format = Format::parse_name(format)?;
    parse(&Source::offline(format), headers, body, now)
}
