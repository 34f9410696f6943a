//! Hands the sources of the file to `intake`, which knows what they mean, and places its refusals in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use staunch_core::policy::problem::{Position, Problem};
use staunch_core::policy::reader::Reader;
use staunch_core::policy::yaml;

use super::resolve::{Environment, Resolver};
use super::{Config, FILE_LIMIT, RawSource, files};
use crate::causes::chain;
use crate::intake::{MappingConfig, Source, SourceConfig};

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

    /// One source, checked and ready; `None` where there is none of that name.
    ///
    /// # Errors
    /// What is wrong with it, at its place in the file.
    pub fn compile_source(&self, name: &str) -> Option<Result<Source, Problem>> {
        let raw = self.sources.get(name)?;
        Some(compile(name, raw).map_err(|message| self.problem(raw.at, message)))
    }
}

/// Reads a file that holds what a source's `mapping` holds, for bodies that are read without a daemon.
///
/// # Errors
/// What is wrong with the file.
pub fn read_mapping(path: &Path) -> Result<MappingConfig, Vec<Problem>> {
    let name = path.display().to_string();
    let wrong = |at, message: String| vec![Problem::error(&name, at, message)];
    let text = files::read_text(path, FILE_LIMIT).map_err(|message| wrong(Position::START, message))?;
    let root = yaml::parse(&name, &text).map_err(|problem| vec![problem])?;
    let mut reader = Reader::new(&name);
    let environment = Environment::process();
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let resolver = Resolver { folder, environment: &environment };
    let value = resolver.json(&mut reader, &root, "the mapping");
    let Some(value) = value else { return Err(reader.finish()) };
    MappingConfig::deserialize(&value).map_err(|error| wrong(root.at, without_value(&error.to_string())))
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
