//! What came of a plugin's scenarios, for people and for programs.

use serde::Serialize;
use serde_json::Value;
use staunch_core::effect::{CallError, EffectStatus};
use std::sync::Arc;

use crate::plugin::Manifest;
use crate::sandbox::{self, EffectRecord, LogLevel};

/// The most failures that are told of one scenario.
const MOST_FAILURES: usize = 20;

/// What came of all scenarios of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Whether all scenarios passed.
    pub passed: bool,
    /// One for each file, in the order of their names.
    pub scenarios: Vec<ScenarioReport>,
}

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioReport {
    /// The file, from the project's folder.
    pub file: String,
    /// What it shows; empty if the file could not be read.
    pub name: String,
    /// Whether everything came as expected.
    pub passed: bool,
    /// What did not, in sentences.
    pub failures: Vec<String>,
    /// The effects that were planned; empty for exports that only look.
    pub plan: Vec<SeenEffect>,
    /// The effects that were asked of the world when acting.
    pub effects: Vec<SeenEffect>,
    /// How the last pass ended; `None` if none was made.
    pub ended: Option<Ended>,
    /// The plugin's log of the last pass.
    pub log: Vec<SeenLine>,
    /// The most fuel that one pass used.
    pub fuel: u64,
    /// Whether all calls were answered and covered and no answer is left over, so that it makes sense to take
    /// what happened for right.
    #[serde(skip)]
    pub(super) complete: bool,
}

/// An effect that was planned or done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenEffect {
    /// `service.restart`
    pub call: String,
    /// What it acts on.
    pub target: String,
    /// As in plans and journals.
    pub arguments: Arc<Value>,
    /// Why, in the plugin's words.
    pub reason: String,
    /// `planned`, `done` or `failed`.
    pub status: EffectStatus,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The export's result, as scenarios write it.
    Result(Value),
    /// The plugin's own error.
    Error(CallError),
    /// It broke, or a bound ended it.
    Broken(String),
}

/// A line of the plugin's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenLine {
    /// `debug info warn error`
    pub level: &'static str,
    /// The text.
    pub message: String,
}

impl Report {
    pub(super) fn new(manifest: &Manifest, scenarios: Vec<ScenarioReport>) -> Self {
        Self {
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            passed: scenarios.iter().all(|scenario| scenario.passed),
            scenarios,
        }
    }
}

impl ScenarioReport {
    /// Nothing happened yet.
    pub(super) fn empty(file: &str, name: &str) -> Self {
        Self {
            file: file.to_owned(),
            name: name.to_owned(),
            passed: false,
            failures: Vec::new(),
            plan: Vec::new(),
            effects: Vec::new(),
            ended: None,
            log: Vec::new(),
            fuel: 0,
            complete: false,
        }
    }

    /// The file is no scenario.
    pub(super) fn unreadable(file: &str, problems: Vec<String>) -> Self {
        Self { failures: problems, ..Self::empty(file, "") }.closed()
    }

    /// The same with its failures counted.
    pub(super) fn closed(mut self) -> Self {
        self.passed = self.failures.is_empty();
        if self.failures.len() > MOST_FAILURES {
            let more = self.failures.len() - MOST_FAILURES;
            self.failures.truncate(MOST_FAILURES);
            self.failures.push(format!("and {more} more"));
        }
        self
    }
}

impl SeenEffect {
    pub(super) fn of(record: &EffectRecord) -> Self {
        Self {
            call: format!("{}.{}", record.call.capability, record.call.function),
            target: record.call.target.to_string(),
            arguments: Arc::clone(&record.call.arguments),
            reason: record.reason.clone(),
            status: record.status,
        }
    }
}

impl SeenLine {
    pub(super) fn of(line: &sandbox::LogLine) -> Self {
        let level = match line.level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        Self { level, message: line.message.clone() }
    }
}
