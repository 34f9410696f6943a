//! Reads a runbook from YAML, strictly: unknown keys and parts of later versions are refused.

use std::time::Duration;

use super::schedule::BESIDE;
use super::{Probe, Runbook, Step, Verify, limits, probe, steps};
use crate::id::Digest;
use crate::policy::duration;
use crate::policy::facts::{Autonomy, Effects};
use crate::policy::matcher::{self, Matcher};
use crate::policy::problem::{Position, Problem};
use crate::policy::reader::{Fields, Reader};
use crate::policy::template::{Input, Template, Templates};
use crate::policy::yaml::{self, Node};

const KEYS: [&str; 24] = [
    "schedule",
    BESIDE[0],
    BESIDE[1],
    BESIDE[2],
    BESIDE[3],
    BESIDE[4],
    BESIDE[5],
    "runbook",
    "description",
    "priority",
    "match",
    "target",
    "autonomy",
    "steps",
    "gate",
    "verify",
    "undo",
    "next",
    "safe",
    "cancel_when_resolved",
    "tell",
    "parallel",
    "group",
    "limits",
];
const STEP_KEYS: [&str; 6] = ["plugin", "input", "effects", steps::KEYS[0], steps::KEYS[1], steps::KEYS[2]];
const VERIFY_KEYS: [&str; 4] = ["within", "stable_for", "interval", "probes"];
const PROBES: [&str; 6] = ["http", "sequence", "tcp", "alert_resolved", "service", "plugin"];

/// The most steps of one runbook.
const MOST_STEPS: usize = 32;

/// The most probes of one runbook.
const MOST_PROBES: usize = 32;

/// Reads one file.
///
/// # Errors
/// All problems of the file. Its warnings come with the runbook.
pub fn read(file: &str, text: &str) -> Result<(Runbook, Vec<Problem>), Vec<Problem>> {
    let root = yaml::parse(file, text).map_err(|problem| vec![problem])?;
    let mut reading = Reading { reader: Reader::new(file), templates: Templates::new(file) };
    let runbook = reading.runbook(&root, text);
    let failed = reading.reader.failed();
    let problems = reading.reader.finish();
    match runbook {
        Some(runbook) if !failed => Ok((Runbook { templates: reading.templates, ..runbook }, problems)),
        _ => Err(problems),
    }
}

pub(super) struct Reading<'f> {
    pub(super) reader: Reader<'f>,
    pub(super) templates: Templates,
}

impl Reading<'_> {
    fn runbook(&mut self, root: &Node, text: &str) -> Option<Runbook> {
        let fields = self.reader.fields(root, "the runbook", &KEYS);
        let name = self.reader.required(fields, "runbook", "the runbook");
        let name = name.and_then(|node| self.reader.name(node, "runbook"));
        let description = self.optional(fields, "description", |reading, node| {
            reading.reader.text(node, "description").map(str::to_owned)
        });
        let priority = self
            .optional(fields, "priority", |this, node| this.reader.integer(node, "priority", -1000, 1000));
        let schedule = self.schedule(fields);
        let matchers = self.matchers(fields);
        let target = self.optional(fields, "target", |this, node| this.template(node, "target"));
        let autonomy = self
            .optional(fields, "autonomy", |this, node| this.reader.word(node, "autonomy", &Autonomy::WORDS));
        let steps = self.steps(fields);
        let gate = self.optional(fields, "gate", |this, node| Some(this.gate(node)));
        let verify = self.optional(fields, "verify", Self::verify);
        let parallel = self.optional(fields, "parallel", |this, node| this.reader.boolean(node, "parallel"));
        let group = limits::group(&mut self.reader, fields);
        let limits = limits::read(&mut self.reader, fields);
        Some(Runbook {
            name: name?.to_owned(),
            description: description.unwrap_or_default(),
            priority: priority.unwrap_or_default(),
            schedule,
            matchers,
            target,
            autonomy: autonomy.unwrap_or(Autonomy::Approve),
            steps,
            gate: gate.unwrap_or_default(),
            verify,
            undo: self.undo(fields),
            next: self.next(fields),
            safe: self.flag(fields, "safe"),
            cancel_when_resolved: self.flag(fields, "cancel_when_resolved"),
            tell: self.tell(fields),
            parallel: parallel.unwrap_or_default(),
            group,
            limits,
            file: self.reader.file().to_owned(),
            digest: Digest::of(text.as_bytes()),
            templates: Templates::new(self.reader.file()),
        })
    }

    pub(super) fn optional<T>(
        &mut self,
        fields: Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        fields.get(key).and_then(|node| read(self, node))
    }

    fn matchers(&mut self, fields: Fields<'_>) -> Vec<Matcher> {
        let Some(node) = fields.get("match") else {
            if fields.get("schedule").is_some() {
                return Vec::new();
            }
            let message = "without \"match\" this runbook is started by hand only; write \"match: []\" if so";
            self.reader.warning(fields.at(), message);
            return Vec::new();
        };
        let mut matchers = Vec::new();
        for item in self.reader.list(node, "match").unwrap_or_default() {
            let Some(text) = self.reader.text(item, "each of match") else { continue };
            match matcher::parse(text) {
                Ok(parsed) => matchers.extend(parsed),
                Err(error) => self.reader.error(item.at, format!("matcher {text:?}: {error}")),
            }
        }
        let all_empty = !matchers.is_empty() && matchers.iter().all(|m| m.matches(&Default::default()));
        if all_empty {
            let message = "these matchers fit an alert without any label: say what the runbook is for";
            self.reader.error(node.at, message);
        }
        matchers
    }

    pub(super) fn template(&mut self, node: &Node, key: &str) -> Option<Template> {
        let text = self.reader.text(node, key)?;
        let compiled = self.templates.compile(key, text);
        compiled.map_err(|error| self.template_error(node.at, &error.key, &error.message)).ok()
    }

    pub(super) fn template_error(&mut self, at: Position, key: &str, message: &str) {
        self.reader.error(at, format!("template {key:?}: {message}"));
    }

    fn steps(&mut self, fields: Fields<'_>) -> Vec<Step> {
        let Some(node) = self.reader.required(fields, "steps", "the runbook") else { return Vec::new() };
        let Some(items) = self.reader.list(node, "steps") else { return Vec::new() };
        if items.is_empty() || items.len() > MOST_STEPS {
            self.reader.error(node.at, format!("steps must be from 1 to {MOST_STEPS}"));
        }
        items.iter().enumerate().filter_map(|(index, item)| self.step(index, item)).collect()
    }

    fn step(&mut self, index: usize, node: &Node) -> Option<Step> {
        let what = format!("steps[{index}]");
        let fields = self.reader.fields(node, &what, &STEP_KEYS);
        let plugin = self.reader.required(fields, "plugin", &what);
        let plugin = plugin.and_then(|node| self.reader.name(node, "plugin"));
        let effects =
            self.optional(fields, "effects", |this, node| this.reader.word(node, "effects", &Effects::WORDS));
        let input = match fields.get("input") {
            Some(node) => self.input(&format!("{what}.input"), node),
            None => Some(Input::Literal(serde_json::json!({}))),
        };
        let steps::Flow { when, retry, on_failure } = self.flow(fields, &what);
        Some(Step {
            plugin: plugin?.to_owned(),
            input: input?,
            effects,
            when,
            retry,
            on_failure,
            at: node.at,
        })
    }

    fn input(&mut self, key: &str, node: &Node) -> Option<Input> {
        match self.templates.compile_input(key, node) {
            Ok(input) => Some(input),
            Err(errors) => {
                for (at, error) in errors {
                    self.template_error(at, &error.key, &error.message);
                }
                None
            }
        }
    }

    fn verify(&mut self, node: &Node) -> Option<Verify> {
        let fields = self.reader.fields(node, "verify", &VERIFY_KEYS);
        let mut duration = |key: &str| {
            self.optional(fields, key, |this, node| this.reader.duration(node, &format!("verify.{key}")))
        };
        let within = duration("within").unwrap_or(Duration::from_secs(10 * 60));
        let stable_for = duration("stable_for").unwrap_or(Duration::from_secs(30));
        let interval = duration("interval").unwrap_or(Duration::from_secs(5));
        if interval < Duration::from_millis(100) {
            self.reader.error(fields.at(), "verify.interval must be at least 100ms");
        }
        let probes = self.reader.required(fields, "probes", "verify")?;
        let items = self.reader.list(probes, "verify.probes")?;
        if items.is_empty() || items.len() > MOST_PROBES {
            self.reader.error(probes.at, format!("verify.probes must be from 1 to {MOST_PROBES}"));
        }
        let probes = items.iter().enumerate().filter_map(|(index, item)| {
            let key = format!("verify.probes[{index}]");
            probe::read(&mut self.reader, &mut self.templates, &key, item, &PROBES)
        });
        let probes: Vec<Probe> = probes.collect();
        self.provable(fields, within, stable_for, &probes);
        Some(Verify { within, stable_for, interval, probes })
    }

    /// Refuses what can never come to `fixed`, and warns of what can never come to `not-fixed`.
    fn provable(&mut self, fields: Fields<'_>, within: Duration, stable_for: Duration, probes: &[Probe]) {
        if stable_for > within {
            let message = format!(
                "verify.stable_for ({}) is longer than verify.within ({}): such a run could never end fixed",
                duration::print(stable_for),
                duration::print(within)
            );
            match fields.get("stable_for") {
                Some(node) => self.reader.error(node.at, message),
                None => self.reader.warning(fields.at(), format!("{message}; write a shorter stable_for")),
            }
        }
        let passive = |probe: &Probe| matches!(probe, Probe::AlertResolved);
        if !probes.is_empty() && probes.iter().all(passive) {
            let message = "alert_resolved can pass but not fail: without another probe such a run ends fixed or \
                           unknown, never not-fixed";
            self.reader.warning(fields.get("probes").map_or(fields.at(), |node| node.at), message);
        }
    }
}

#[cfg(test)]
mod tests;
