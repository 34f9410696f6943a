//! `plugin.toml`: what a plugin is, asks for and needs.
//!
//! Written by authors, embedded byte for byte into the component, covered by the release statement. Read
//! strictly: an unknown key is an error that names the valid ones, with file, line and column. It never
//! decides what a plugin may do: that is the operator's grant.

mod input;
mod limits;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::effect::{Access, Repeat};
use staunch_core::id::Digest;
use staunch_core::policy::{Effects, PluginKind};
use toml::de::DeTable;

use super::listed;
use crate::sandbox::Limits;
use crate::sandbox::capability::{self, CAPABILITIES, Capability};

pub use input::{InputError, InputSchema};
pub use reader::Problem;
use reader::{Source, Table};

/// The name that authors give the file.
pub const FILE_NAME: &str = "plugin.toml";

/// A longer manifest is refused unread.
pub const MAX_BYTES: usize = 256 << 10;

const MAX_DESCRIPTION_CHARS: usize = 1000;
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN_BYTES: usize = 2048;
const MAX_VERSION_BYTES: usize = 64;

/// What a plugin asks for, or is granted: capability, function, patterns.
pub type Patterns = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A manifest that holds to every rule of the format.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// Semantic version, for people; order is told by `release`.
    pub version: semver::Version,
    /// Which export the host calls.
    pub kind: PluginKind,
    /// One sentence for listings.
    pub description: String,
    /// What it is written in.
    pub language: Language,
    /// Counts up with every release; older ones are refused.
    pub release: u64,
    /// The worst that its effects can be: decides the default gate.
    pub effects: Effects,
    /// What it asks for.
    pub capabilities: Patterns,
    /// Functions that the author wants sent at most once although their class is repeatable.
    pub once: BTreeMap<String, BTreeSet<String>>,
    /// What one execution may use.
    pub limits: Limits,
    /// When the release stops being accepted.
    pub expires: Option<DateTime<Utc>>,
    /// The plugin that takes its place, once it is out of service.
    pub replaced_by: Option<String>,
    /// What its input must look like.
    pub input: InputSchema,
    /// Of the file's bytes.
    pub digest: Digest,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Go,
    C,
    Zig,
}

impl Language {
    /// The words in files.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("rust", Self::Rust),
        ("python", Self::Python),
        ("javascript", Self::JavaScript),
        ("typescript", Self::TypeScript),
        ("go", Self::Go),
        ("c", Self::C),
        ("zig", Self::Zig),
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Go => "go",
            Self::C => "c",
            Self::Zig => "zig",
        }
    }
}

/// A manifest that breaks the format's rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ManifestError {
    /// Everything that is wrong, in the order of the file; never empty.
    pub problems: Vec<Problem>,
}

/// Makes the schema of a plugin's input, or tells what is wrong with it.
type MakeSchema = fn(serde_json::Value) -> Result<InputSchema, String>;

impl Manifest {
    /// Reads a manifest; `file` is its name in problems.
    ///
    /// # Errors
    /// Every problem found, each with its place.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::parse_by(file, bytes, InputSchema::compile)
    }

    /// Reads the manifest of a plugin that was installed: the schema of its input is compiled when it is needed.
    ///
    /// # Errors
    /// As [`Manifest::parse`], but for that schema.
    pub fn parse_again(file: &str, bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::parse_by(file, bytes, |schema| Ok(InputSchema::compiled_before(schema)))
    }

    fn parse_by(file: &str, bytes: &[u8], schema: MakeSchema) -> Result<Self, ManifestError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() <= MAX_BYTES => text,
            Ok(_) => {
                return Err(alone(
                    file,
                    format!("larger than the {MAX_BYTES} bytes that a manifest may have"),
                ));
            }
            Err(error) => return Err(alone(file, format!("not UTF-8 from byte {} on", error.valid_up_to()))),
        };
        let source = Source::new(file, text);
        let manifest = match DeTable::parse(text) {
            Ok(document) => read(&Table::root(&source, &document), Digest::of(bytes), schema),
            Err(error) => {
                source.problem(error.span().unwrap_or(0..0), error.message());
                None
            }
        };
        let problems = source.into_problems();
        match manifest {
            Some(manifest) if problems.is_empty() => Ok(manifest),
            _ => Err(ManifestError { problems }),
        }
    }

    /// Whether some function that it asks for changes the world.
    #[must_use]
    pub fn asks_for_effects(&self) -> bool {
        asks_for_effects(&self.capabilities)
    }

    /// How a function's effects may be repeated: its own class, or tighter.
    #[must_use]
    pub fn repeat(&self, capability: &str, function: &str) -> Repeat {
        let tightened = self.once.get(capability).is_some_and(|functions| functions.contains(function));
        let known = capability::find(capability).and_then(|capability| capability.function(function));
        match known.map(|function| function.kind) {
            Some(capability::Kind::Effect(repeat)) if !tightened => repeat,
            Some(capability::Kind::Own | capability::Kind::Reading | capability::Kind::Await) => {
                Repeat::Repeatable
            }
            Some(capability::Kind::Effect(_)) | None => Repeat::Once,
        }
    }
}

fn alone(file: &str, message: String) -> ManifestError {
    ManifestError { problems: vec![Problem { file: file.to_owned(), line: 1, column: 1, message }] }
}

/// Whether `name` may be a plugin's name: `[a-z][a-z0-9-]{0,62}`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn read(root: &Table<'_>, digest: Digest, schema: MakeSchema) -> Option<Manifest> {
    root.only(&["plugin", "capabilities", "repeat", "limits", "input"]);
    let capabilities = root.table("capabilities").map(|table| requests(&table)).unwrap_or_default();
    let once = root.table("repeat").map(|table| tightened(&table, &capabilities)).unwrap_or_default();
    let limits = root.table("limits").map_or_else(Limits::default, |table| limits::read(&table));
    let input = root.table("input").and_then(|table| input_schema(&table, schema));
    let Some(plugin) = root.table("plugin") else {
        if !root.has("plugin") {
            root.problem(
                "`[plugin]` is missing: name, version, kind, description, language, release, effects",
            );
        }
        return None;
    };
    let effects = word(&plugin, "effects", &Effects::WORDS);
    if effects == Some(Effects::ReadOnly) && asks_for_effects(&capabilities) {
        plugin.problem_at("effects", "a read-only plugin cannot ask for functions that change the world");
    }
    let identity = identity(&plugin);
    Some(Manifest {
        effects: effects?,
        capabilities,
        once,
        limits,
        input: input.unwrap_or_else(InputSchema::anything),
        digest,
        ..identity?
    })
}

/// The manifest with everything of `[plugin]` but `effects`, and nothing else yet.
fn identity(plugin: &Table<'_>) -> Option<Manifest> {
    plugin.only(&[
        "name",
        "version",
        "kind",
        "description",
        "language",
        "release",
        "effects",
        "expires",
        "replaced_by",
    ]);
    let name = plugin.required_text("name").filter(|name| {
        let valid = is_name(name);
        if !valid {
            plugin.problem_at("name", format!("{name:?} is no plugin name: `[a-z][a-z0-9-]{{0,62}}`"));
        }
        valid
    });
    let description = plugin.required_text("description").filter(|text| {
        let valid = !text.trim().is_empty() && text.chars().count() <= MAX_DESCRIPTION_CHARS;
        if !valid {
            plugin.problem_at("description", format!("must have 1 to {MAX_DESCRIPTION_CHARS} characters"));
        }
        valid
    });
    if !plugin.has("release") {
        plugin.problem("`plugin.release` is missing: a whole number that counts up with every release");
    }
    let (version, expires, replaced_by) = (version(plugin), expires(plugin), replaced_by(plugin));
    let kind = word(plugin, "kind", &PluginKind::WORDS);
    let language = word(plugin, "language", &Language::WORDS);
    let release = plugin.unsigned("release");
    Some(Manifest {
        name: name?.to_owned(),
        version: version?,
        kind: kind?,
        description: description?.to_owned(),
        language: language?,
        release: release?,
        effects: Effects::Irreversible,
        capabilities: Patterns::new(),
        once: BTreeMap::new(),
        limits: Limits::default(),
        expires,
        replaced_by,
        input: InputSchema::anything(),
        digest: Digest::of(b""),
    })
}

fn version(plugin: &Table<'_>) -> Option<semver::Version> {
    let text = plugin.required_text("version")?;
    if text.len() > MAX_VERSION_BYTES {
        plugin.problem_at("version", format!("longer than {MAX_VERSION_BYTES} bytes"));
        return None;
    }
    semver::Version::parse(text)
        .map_err(|error| plugin.problem_at("version", format!("{text:?} is no semantic version: {error}")))
        .ok()
}

fn replaced_by(plugin: &Table<'_>) -> Option<String> {
    let name = plugin.has("replaced_by").then(|| plugin.required_text("replaced_by")).flatten()?;
    if !is_name(name) || Some(name) == plugin.required_text("name") {
        let message = format!("{name:?} cannot be what replaces it: the name of another plugin");
        plugin.problem_at("replaced_by", message);
        return None;
    }
    Some(name.to_owned())
}

fn expires(plugin: &Table<'_>) -> Option<DateTime<Utc>> {
    let text = plugin.moment("expires")?;
    match DateTime::parse_from_rfc3339(&text) {
        Ok(moment) => Some(moment.with_timezone(&Utc)),
        Err(_) => {
            let message = "`plugin.expires` must be a date-time with an offset, like 2027-01-31T00:00:00Z";
            plugin.problem_at("expires", message);
            None
        }
    }
}

fn word<T: Copy>(table: &Table<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let text = table.required_text(key)?;
    let value = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if value.is_none() {
        let valid = listed(words.iter().map(|(word, _)| *word));
        table.problem_at(key, format!("`{}` cannot be {text:?}; valid: {valid}", table.name(key)));
    }
    value
}

fn input_schema(table: &Table<'_>, make: MakeSchema) -> Option<InputSchema> {
    match make(table.json()) {
        Ok(schema) => Some(schema),
        Err(reason) => {
            table.problem(format!("`[input]` is not a JSON Schema (2020-12): {reason}"));
            None
        }
    }
}

fn asks_for_effects(requests: &Patterns) -> bool {
    requests.iter().any(|(name, functions)| {
        let capability = capability::find(name);
        functions
            .keys()
            .filter_map(|function| capability.and_then(|capability| capability.function(function)))
            .any(|function| function.kind.access() == Some(Access::Effect))
    })
}

/// The tables of `[capabilities]` and `[repeat]`, each with its capability; unknown ones are reported.
fn by_capability<'a>(table: &Table<'a>) -> Vec<(&'static Capability, Table<'a>)> {
    let mut found = Vec::new();
    for (name, place, _) in table.iter() {
        match capability::find(name) {
            Some(capability) if capability.pattern.is_some() => {
                found.extend(table.table(name).map(|inner| (capability, inner)));
            }
            Some(_) => {
                table.source.problem(place, format!("`{name}` needs no request: every plugin may use it"))
            }
            None => {
                let grantable = CAPABILITIES.iter().filter(|capability| capability.pattern.is_some());
                let valid = listed(grantable.map(|capability| capability.name));
                table.source.problem(place, format!("unknown capability `{name}`; valid: {valid}"));
            }
        }
    }
    found
}

fn unknown_function(spec: &Capability, function: &str) -> String {
    let valid = listed(spec.functions.iter().map(|function| function.name));
    format!("capability `{}` has no function `{function}`; valid: {valid}", spec.name)
}

fn requests(table: &Table<'_>) -> Patterns {
    let mut requests = Patterns::new();
    for (spec, inner) in by_capability(table) {
        let mut functions = BTreeMap::new();
        for (function, (place, patterns)) in inner.string_lists() {
            if spec.function(function).is_none() {
                table.source.problem(place.clone(), unknown_function(spec, function));
            }
            if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
                let message = format!("`{}` needs 1 to {MAX_PATTERNS} patterns", inner.name(function));
                table.source.problem(place, message);
            }
            for (place, pattern) in &patterns {
                if pattern.is_empty()
                    || pattern.len() > MAX_PATTERN_BYTES
                    || pattern.contains(char::is_control)
                {
                    let message =
                        format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes and no control characters");
                    table.source.problem(place.clone(), message);
                }
            }
            functions
                .insert(function.to_owned(), patterns.into_iter().map(|(_, text)| text.to_owned()).collect());
        }
        if functions.is_empty() {
            inner.problem(format!("`{}` asks for no function", table.name(spec.name)));
        }
        requests.insert(spec.name.to_owned(), functions);
    }
    requests
}

fn tightened(table: &Table<'_>, requests: &Patterns) -> BTreeMap<String, BTreeSet<String>> {
    let mut once: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (spec, inner) in by_capability(table) {
        for (function, place, _) in inner.iter() {
            let asked = requests.get(spec.name).is_some_and(|functions| functions.contains_key(function));
            let problem = match spec.function(function) {
                None => Some(unknown_function(spec, function)),
                Some(_) if !asked => {
                    Some(format!("`{}` is not asked for in `[capabilities]`", inner.name(function)))
                }
                Some(known) if known.kind.access() != Some(Access::Effect) => {
                    Some(format!("`{function}` is a reading: it may always be repeated"))
                }
                Some(_) => None,
            };
            match (problem, inner.text(function)) {
                (Some(problem), _) => table.source.problem(place, problem),
                (None, Some("once")) => {
                    once.entry(spec.name.to_owned()).or_default().insert(function.to_owned());
                }
                (None, Some(_)) => {
                    inner.problem_at(function, "a manifest may only tighten: the one valid word is \"once\"")
                }
                (None, None) => {}
            }
        }
    }
    once
}
