//! The room as a whole: samples of real senders, bad input, sources, authenticity, mappings.

mod authenticity;
mod bad_input;
mod hostile;
mod mapping;
mod samples;
mod sources;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use staunch_core::alert::Alert;

use super::{IntakeError, Source, SourceConfig, parse, parse_offline};

/// Some time after all samples were made.
const NOW: &str = "2026-11-21T03:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn offline(format: &str, body: impl AsRef<[u8]>) -> Result<Vec<Alert>, IntakeError> {
    parse_offline(format, &HeaderMap::new(), body.as_ref(), at(NOW))
}

fn source(yaml: &str) -> Source {
    let config: SourceConfig = serde_saphyr::from_str(yaml).unwrap();
    Source::compile("shop", &config).unwrap()
}

/// What `staunch check` would print for this source: the error and its cause.
fn source_error(yaml: &str) -> String {
    match serde_saphyr::from_str::<SourceConfig>(yaml) {
        Err(error) => error.to_string(),
        Ok(config) => format!("{:#}", anyhow::Error::from(Source::compile("shop", &config).unwrap_err())),
    }
}

fn mapped(yaml: &str, body: &str) -> Result<Vec<Alert>, IntakeError> {
    parse(&source(yaml), &HeaderMap::new(), body.as_bytes(), at(NOW))
}

/// A file of the shared material; `None`, with a line that says so, where there is none.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STAUNCH_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The JSON files of a folder of shared payloads, sorted by name.
fn payloads(folder: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = shared(&format!("payloads/{folder}")) else { return Vec::new() };
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}
