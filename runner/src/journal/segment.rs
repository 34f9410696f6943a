//! Segments: up to [`MAX_LEAVES`] consecutive entries as one row of the store.
//!
//! A row for each entry would cost the database more than all the rest of a run: its tree of pages is searched,
//! and a page dirtied, for every one. A segment costs that once. Its leaves are the bytes of an entry bundle of
//! C2SP tlog-tiles; beside them stand the payloads, in a form of our own, one after the other:
//!
//! ```text
//! place in the segment, 2 bytes | 1 | salt, 16 bytes | length, 4 bytes | bytes      a payload
//! place in the segment, 2 bytes | 0                                                 one that was removed
//! ```
//!
//! Numbers are big-endian. Never here: SQL, and what a leaf means.

use std::collections::BTreeMap;

use staunch_core::tlog::{entries_of_bundle, push_bundle_entry};

use super::error::JournalError;
use super::read::StoredPayload;
use super::{Entry, Payload};

/// Entries of a segment: few enough that reading one of them does not read much of the others.
pub(super) const MAX_LEAVES: usize = 64;
/// Bytes of a segment after which a new one begins.
const MAX_BYTES: usize = 256 * 1024;

const REMOVED: u8 = 0;
const KEPT: u8 = 1;

/// Consecutive entries on their way into the store.
#[derive(Debug)]
pub(super) struct Segment {
    /// The index of its first entry.
    pub(super) first: u64,
    /// The leaves, as an entry bundle.
    pub(super) leaves: Vec<u8>,
    /// The payloads, in the order of their entries.
    pub(super) payloads: Vec<u8>,
    /// Which of its entries belong to which run, each in two bytes.
    pub(super) runs: BTreeMap<String, Vec<u8>>,
    count: u16,
}

impl Segment {
    pub(super) fn new(first: u64) -> Self {
        Self { first, leaves: Vec::new(), payloads: Vec::new(), runs: BTreeMap::new(), count: 0 }
    }

    /// Whether the next entry belongs into another segment.
    pub(super) fn is_full(&self) -> bool {
        usize::from(self.count) >= MAX_LEAVES || self.leaves.len() + self.payloads.len() >= MAX_BYTES
    }

    /// Adds the next entry. Its leaf is not longer than a bundle can hold: that was checked when it was queued.
    pub(super) fn push(&mut self, leaf: &[u8], payload: Option<&Payload>, run: Option<String>) {
        push_bundle_entry(&mut self.leaves, leaf)
            .expect("the length of a leaf is checked before it is queued");
        let place = self.count.to_be_bytes();
        if let Some(payload) = payload {
            push_payload(&mut self.payloads, place, payload);
        }
        if let Some(run) = run {
            self.runs.entry(run).or_default().extend_from_slice(&place);
        }
        self.count += 1;
    }
}

fn push_payload(payloads: &mut Vec<u8>, place: [u8; 2], payload: &Payload) {
    let length = u32::try_from(payload.bytes.len()).expect("payloads are bounded far below that");
    payloads.extend_from_slice(&place);
    payloads.push(KEPT);
    payloads.extend_from_slice(&payload.salt);
    payloads.extend_from_slice(&length.to_be_bytes());
    payloads.extend_from_slice(&payload.bytes);
}

/// The columns of a stored segment: index of its first entry, leaves, payloads where there are any.
pub(super) type SegmentColumns = (i64, Vec<u8>, Option<Vec<u8>>);

fn damaged(first: u64, what: &str) -> JournalError {
    JournalError::Damaged(format!("the segment at entry {first} has {what} of a wrong form"))
}

/// The leaves of a segment.
pub(super) fn leaves(first: u64, bundle: &[u8]) -> Result<Vec<&[u8]>, JournalError> {
    entries_of_bundle(bundle).map_err(|_| damaged(first, "leaves"))
}

/// The payloads of a segment, by the index of their entry.
pub(super) fn payloads(first: u64, mut rest: &[u8]) -> Result<BTreeMap<u64, StoredPayload>, JournalError> {
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let (place, payload) = take_payload(&mut rest).ok_or_else(|| damaged(first, "payloads"))?;
        found.insert(first + u64::from(place), payload);
    }
    Ok(found)
}

fn take_payload(rest: &mut &[u8]) -> Option<(u16, StoredPayload)> {
    let place = u16::from_be_bytes(*take(rest)?);
    let [state] = *take(rest)?;
    match state {
        REMOVED => Some((place, StoredPayload::Removed)),
        KEPT => {
            let salt = *take(rest)?;
            let length = usize::try_from(u32::from_be_bytes(*take(rest)?)).ok()?;
            let (bytes, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            Some((place, StoredPayload::Kept(Payload { salt, bytes: bytes.to_vec() })))
        }
        _ => None,
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

/// The payloads of a segment without those of some entries, which leave their mark.
pub(super) fn without(
    first: u64,
    payloads: BTreeMap<u64, StoredPayload>,
    removed: &[u64],
) -> Result<Vec<u8>, JournalError> {
    let mut kept = Vec::new();
    for (index, payload) in payloads {
        let place = u16::try_from(index - first).map_err(|_| damaged(first, "payloads"))?.to_be_bytes();
        match payload {
            StoredPayload::Kept(payload) if !removed.contains(&index) => {
                push_payload(&mut kept, place, &payload);
            }
            StoredPayload::Kept(_) | StoredPayload::Removed => {
                kept.extend_from_slice(&place);
                kept.push(REMOVED);
            }
        }
    }
    Ok(kept)
}

/// The indices that a run's places in a segment stand for.
pub(super) fn indices(first: u64, places: &[u8]) -> impl Iterator<Item = u64> {
    let (places, _) = places.as_chunks::<2>();
    places.iter().map(move |place| first + u64::from(u16::from_be_bytes(*place)))
}

/// Cuts entries into segments, the first of which begins at `first`.
pub(super) fn cut(segments: &mut Vec<Segment>, index: u64, entry: &mut Entry) {
    if segments.last().is_none_or(Segment::is_full) {
        segments.push(Segment::new(index));
    }
    if let Some(segment) = segments.last_mut() {
        segment.push(&entry.leaf, entry.payload.as_ref(), entry.run.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Payload {
        Payload { salt: [9; 16], bytes: text.as_bytes().to_vec() }
    }

    fn segment() -> Segment {
        let mut segment = Segment::new(100);
        segment.push(b"a", Some(&payload("first")), Some("r1".to_owned()));
        segment.push(b"b", None, Some("r2".to_owned()));
        segment.push(b"c", Some(&payload("")), Some("r1".to_owned()));
        segment
    }

    #[test]
    fn what_went_in_comes_out() {
        let segment = segment();
        assert_eq!(leaves(100, &segment.leaves).unwrap(), [b"a", b"b", b"c"]);
        let kept = |text| StoredPayload::Kept(payload(text));
        let found = payloads(100, &segment.payloads).unwrap();
        assert_eq!(found, BTreeMap::from([(100, kept("first")), (102, kept(""))]));
        let of = |run: &str| indices(100, &segment.runs[run]).collect::<Vec<_>>();
        assert_eq!((of("r1"), of("r2")), (vec![100, 102], vec![101]));
    }

    #[test]
    fn a_removed_payload_leaves_its_mark_and_nothing_else() {
        let all = segment().payloads;
        let without =
            |bytes: &[u8], removed: &[u64]| without(100, payloads(100, bytes).unwrap(), removed).unwrap();
        let left = without(&all, &[100]);
        assert_eq!(payloads(100, &left).unwrap()[&100], StoredPayload::Removed);
        assert_eq!(payloads(100, &left).unwrap()[&102], StoredPayload::Kept(payload("")));
        assert!(!left.windows(5).any(|bytes| bytes == b"first"));
        assert_eq!(without(&left, &[100, 101]), left);
    }

    #[test]
    fn a_cut_or_strange_row_is_damage() {
        let Segment { leaves: bundle, payloads: bytes, .. } = segment();
        for end in (1..bytes.len()).filter(|end| *end != bytes.len() - 23) {
            assert!(payloads(100, &bytes[..end]).is_err(), "{end}");
        }
        let mut strange = bytes;
        strange[2] = 7;
        let error = payloads(100, &strange).unwrap_err().to_string();
        assert!(error.contains("entry 100"), "{error}");
        assert!(leaves(100, &bundle[..bundle.len() - 1]).is_err());
    }

    #[test]
    fn segments_end_when_they_are_full() {
        let mut segments = Vec::new();
        for index in 0..130 {
            cut(&mut segments, index, &mut Entry { leaf: b"x".to_vec(), ..Entry::default() });
        }
        assert_eq!(segments.iter().map(|segment| segment.first).collect::<Vec<_>>(), [0, 64, 128]);
    }
}
