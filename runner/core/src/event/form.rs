//! An event as bytes: the leaf, and what commits it to its payload.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{EventError, Fact};
use crate::id::{AlertId, Digest, RunId};

/// Version of the leaves written now.
pub const VERSION: u32 = 1;

/// The member of a leaf that commits to its payload.
pub const PAYLOAD_MEMBER: &str = "payload";

/// Longest leaf in bytes: what an entry bundle of C2SP tlog-tiles can hold.
pub const MAX_LEAF: usize = 65_535;

/// As long as most leaves and payloads are.
const USUAL_BYTES: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// The run that it belongs to.
    pub run: Option<RunId>,
    /// The alert that it belongs to.
    pub alert: Option<AlertId>,
    /// What.
    pub fact: Fact,
}

/// An event as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The leaf, at most [`MAX_LEAF`] bytes.
    pub leaf: Vec<u8>,
    /// Salt and payload.
    pub payload: Option<([u8; 16], Vec<u8>)>,
}

#[derive(Serialize)]
struct LeafOut<'a, L: Serialize> {
    v: u32,
    #[serde(serialize_with = "crate::stamp::serialize")]
    at: DateTime<Utc>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a AlertId>,
    fact: &'a L,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Digest>,
}

#[derive(Deserialize)]
pub(super) struct LeafIn<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) kind: String,
    pub(super) run: Option<RunId>,
    pub(super) alert: Option<AlertId>,
    #[serde(borrow)]
    pub(super) fact: &'a serde_json::value::RawValue,
    pub(super) payload: Option<Digest>,
}

/// The kind of the first entry of an epoch, for those who read leaves without knowing events.
pub const LOG_BEGUN: &str = "log-begun";

/// What the last checkpoint of a log said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The log's name.
    pub origin: String,
    /// How many entries it covered.
    pub size: u64,
    /// The root over them, in hex.
    pub root: String,
}

/// The commitment to a payload.
#[must_use]
pub fn commitment(salt: &[u8; 16], bytes: &[u8]) -> Digest {
    Digest::of_parts(&[salt, bytes])
}

pub(super) fn json_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, value).expect("payloads hold only what JSON can hold");
    bytes
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EventError> {
    serde_json::from_slice(bytes).map_err(EventError::Unreadable)
}

impl Event {
    pub(super) fn finish<L: Serialize>(
        &self,
        kind: &'static str,
        fact: &L,
        payload: Option<Vec<u8>>,
        salt: [u8; 16],
    ) -> Result<Encoded, EventError> {
        let leaf = json_bytes(&LeafOut {
            v: VERSION,
            at: self.at,
            kind,
            run: self.run.as_ref(),
            alert: self.alert.as_ref(),
            fact,
            payload: payload.as_ref().map(|bytes| commitment(&salt, bytes)),
        });
        if leaf.len() > MAX_LEAF {
            return Err(EventError::TooLong(leaf.len()));
        }
        Ok(Encoded { leaf, payload: payload.map(|bytes| (salt, bytes)) })
    }
}
