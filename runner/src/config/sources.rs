//! Hands the sources of the file to `intake`, which knows what they mean, and places its refusals in the file.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use staunch_core::policy::problem::Problem;

use super::{Config, RawSource};
use crate::causes::chain;
use crate::intake::{Source, SourceConfig};

impl Config {
    /// All sources, checked and ready, by name.
    ///
    /// # Errors
    /// What is wrong with each that is wrong, at its place in the file.
    pub fn compile_sources(&self) -> Result<BTreeMap<String, Source>, Vec<Problem>> {
        let mut sources = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, raw) in &self.sources {
            match compile(name, raw) {
                Ok(source) => drop(sources.insert(name.clone(), source)),
                Err(message) => problems.push(self.problem(raw.at, message)),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}

fn compile(name: &str, raw: &RawSource) -> Result<Source, String> {
    let config = SourceConfig::deserialize(&raw.value)
        .map_err(|error| format!("source {name:?}: {}", without_value(&error.to_string())))?;
    Source::compile(name, &config).map_err(|error| chain(&error))
}

/// A value of the wrong type may be a secret that was filled in: the message keeps only what was expected.
fn without_value(message: &str) -> String {
    let value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if value => format!("a member has the wrong type, expected {expected}"),
        _ => message.to_owned(),
    }
}
