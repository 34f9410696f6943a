//! Payload files: one line for each leaf that commits to a payload, in one spelling.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;
use staunch_core::event::{PAYLOAD_MEMBER, commitment};
use staunch_core::tlog::{TILE_WIDTH, from_base64};

use super::super::export::{payload_line, payload_path};
use super::super::{MAX_PAYLOAD_BYTES, Payload, StoredPayload};
use super::files::{Export, failed};
use super::{Report, VerifyError, first_difference};

/// The longest line: a payload in base64, with its salt and index.
const MAX_LINE_BYTES: u64 = (MAX_PAYLOAD_BYTES as u64) / 3 * 4 + 1024;

/// A line as it is read; whether it is spelled right is found by spelling it again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    index: u64,
    bytes: Option<String>,
    salt: Option<String>,
    removed: Option<bool>,
}

/// Checks the payload file of a bundle against its leaves.
pub(super) fn check(
    export: &Export,
    bundle: u64,
    leaves: &[&[u8]],
    report: &mut Report,
) -> Result<(), VerifyError> {
    let name = payload_path(bundle);
    let first = bundle * u64::from(TILE_WIDTH);
    let committed = (first..).zip(leaves).filter_map(|(index, leaf)| Some((index, commitment_of(leaf)?)));
    let committed: Vec<_> = committed.collect();
    if committed.is_empty() || !report.has_payloads {
        if export.has(&name) {
            report.problem(name, "", "the file does not belong to the export: no entry has a payload");
        }
        return Ok(());
    }
    let Some(file) = export.open_file(&name, report)? else { return Ok(()) };
    let mut lines = Lines { file: BufReader::new(file), name, number: 0 };
    for (index, commitment) in committed {
        let Some(line) = lines.next()? else {
            report.problem(
                &*lines.name,
                format!("line {}", lines.number),
                format!("entry {index}'s payload is missing"),
            );
            return Ok(());
        };
        match check_line(&line, index, &commitment) {
            Ok(StoredPayload::Kept(_)) => report.payloads_checked += 1,
            Ok(StoredPayload::Removed) => report.removed.push(index),
            Err(message) => {
                report.problem(&*lines.name, format!("line {} (entry {index})", lines.number), message);
            }
        }
    }
    if lines.next()?.is_some() {
        report.problem(&*lines.name, format!("line {}", lines.number), "no entry has this payload");
    }
    Ok(())
}

/// What a leaf commits to. A leaf that is no JSON object commits to nothing.
fn commitment_of(leaf: &[u8]) -> Option<String> {
    let leaf: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(leaf).ok()?;
    leaf.get(PAYLOAD_MEMBER)?.as_str().map(str::to_owned)
}

fn check_line(line: &[u8], index: u64, expected: &str) -> Result<StoredPayload, String> {
    let parsed: Line = serde_json::from_slice(line).map_err(|error| format!("not a payload: {error}"))?;
    if parsed.index != index {
        return Err(format!("the line is of entry {}", parsed.index));
    }
    let payload = read_payload(parsed).ok_or("the line holds neither salt and bytes nor `removed`")?;
    let spelled = payload_line(index, &payload);
    if spelled.as_bytes() != line {
        let place = first_difference(line, spelled.as_bytes());
        return Err(format!("the line is not spelled as it was exported, from its byte {place} on"));
    }
    match &payload {
        StoredPayload::Kept(kept) if commitment(&kept.salt, &kept.bytes).to_string() != expected => {
            Err("the payload is not the one that its entry commits to".to_owned())
        }
        StoredPayload::Kept(_) | StoredPayload::Removed => Ok(payload),
    }
}

fn read_payload(line: Line) -> Option<StoredPayload> {
    match line {
        Line { bytes: Some(bytes), salt: Some(salt), removed: None, .. } => {
            let salt = from_base64(&salt)?.try_into().ok()?;
            Some(StoredPayload::Kept(Payload { salt, bytes: from_base64(&bytes)? }))
        }
        Line { bytes: None, salt: None, removed: Some(true), .. } => Some(StoredPayload::Removed),
        Line { .. } => None,
    }
}

/// The lines of a file, each with its newline, within a bound.
struct Lines {
    file: BufReader<File>,
    name: String,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Vec<u8>>, VerifyError> {
        self.number += 1;
        let mut line = Vec::new();
        let read = (&mut self.file).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(failed(self.name.as_ref()))?;
        Ok(Some(line).filter(|line| !line.is_empty()))
    }
}
