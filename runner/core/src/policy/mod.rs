//! What operators decided in advance: runbooks, guardrails, rules about people, and cases that test them.
//!
//! Pure: texts in, checked types and decisions out. Never here: files, halts, limits and anything that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub mod cases;
mod cedar;
pub mod duration;
pub mod facts;
pub mod gate;
pub mod guardrails;
mod ladder;
pub mod matcher;
pub mod people;
pub mod prepare;
pub mod problem;
pub mod reader;
pub mod routing;
pub mod runbook;
pub mod template;
pub mod yaml;

pub use cases::{Case, CaseResult};
pub use cedar::{Answer, SCHEMA};
pub use facts::{Autonomy, Effects, PluginFacts, PluginKind, Standing};
pub use guardrails::Guardrails;
pub use people::{Object, People, Person, PersonAction};
pub use problem::{Position, Problem};
pub use routing::{Routed, Routing};
pub use runbook::{
    Comment, Deputies, Gate, OnFailure, Probe, ReadyProbe, Retry, Runbook, Rung, Separation, Step, Undo,
    Verify,
};

use crate::id::Digest;
use crate::window::{self, Windows};
use reader::Reader;

/// The largest policy file, in bytes.
pub const FILE_LIMIT: usize = 1 << 20;

/// The most policy files.
pub const MOST_FILES: usize = 10_000;

/// All policies of an installation, checked and compiled.
#[derive(Debug, Clone)]
pub struct Policies {
    routing: Routing,
    guardrails: Guardrails,
    people: People,
    cases: Vec<Case>,
    windows: Windows,
    warnings: Vec<Problem>,
    /// Of guardrails.cedar and people.cedar.
    rules: [Digest; 2],
}

/// The files of a policy directory by what they are.
#[derive(Default)]
struct Sorted<'f> {
    runbooks: Vec<(&'f str, &'f str)>,
    cases: Vec<(&'f str, &'f str)>,
    guardrails: Option<(&'f str, &'f str)>,
    people: Option<(&'f str, &'f str)>,
    windows: Option<(&'f str, &'f str)>,
    problems: Vec<Problem>,
}

impl Policies {
    /// Checks and compiles the files of a policy directory, given as path and text.
    ///
    /// What a file is follows from its name: `runbooks/*.yaml`, `cases/*.yaml`, `guardrails.cedar`,
    /// `people.cedar`, `schema.cedarschema`, `windows.yaml`. Files whose
    /// names begin with a dot or end in `.md` are passed over.
    ///
    /// # Errors
    /// All problems of all files, in the order of files and lines.
    pub fn load<S: AsRef<str>>(files: &[(S, S)]) -> Result<Self, Vec<Problem>> {
        let mut sorted = Sorted::default();
        for (path, text) in files {
            sorted.sort(path.as_ref(), text.as_ref());
        }
        if files.len() > MOST_FILES {
            sorted.problems.push(Problem::error("policies", Position::START, "more than 10,000 files"));
        }
        let mut problems = std::mem::take(&mut sorted.problems);
        let guardrails = match sorted.guardrails {
            Some((file, text)) => {
                let mut reader = Reader::new(file);
                let schema = cedar::schema(guardrails::FILE).map_err(|problem| vec![problem])?;
                let guardrails = Guardrails::load(&mut reader, text, &schema);
                problems.extend(reader.finish());
                guardrails
            }
            None => Guardrails::none(),
        };
        let people = match sorted.people {
            Some((file, text)) => {
                let mut reader = Reader::new(file);
                let schema = cedar::schema(people::FILE).map_err(|problem| vec![problem])?;
                let people = People::load(&mut reader, text, &schema);
                problems.extend(reader.finish());
                people
            }
            None => People::none(),
        };
        let runbooks = read_runbooks(&sorted.runbooks, &people, &mut problems);
        let cases = read_cases(&sorted.cases, &mut problems);
        let windows = read_windows(sorted.windows, &mut problems);
        problems.extend(runbooks.iter().flat_map(|runbook| unknown_windows(runbook, &windows)));
        problems.extend(ladder::problems(&runbooks));
        problems.sort();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        let digest = |file: Option<(&str, &str)>| Digest::of(file.map_or("", |(_, text)| text).as_bytes());
        let rules = [digest(sorted.guardrails), digest(sorted.people)];
        Ok(Self {
            routing: Routing::new(runbooks),
            guardrails,
            people,
            cases,
            windows,
            warnings: problems,
            rules,
        })
    }

    /// The runbooks, and which of them answer to an alert.
    #[must_use]
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// A runbook by its name.
    #[must_use]
    pub fn runbook(&self, name: &str) -> Option<&Arc<Runbook>> {
        self.routing.get(name)
    }

    /// What automation may do.
    #[must_use]
    pub fn guardrails(&self) -> &Guardrails {
        &self.guardrails
    }

    /// What people may do.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// Maintenance windows, change freezes and business hours.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// What an operator should know, although nothing keeps the policies from being used.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Runs all cases.
    #[must_use]
    pub fn run_cases(&self) -> Vec<CaseResult> {
        self.cases.iter().map(|case| case.run(self)).collect()
    }

    /// The digest that approvals are bound to: SHA-256 over the SHA-256 of the runbook's file, of guardrails.cedar
    /// and of people.cedar, in this order. `None` when there is no such runbook.
    #[must_use]
    pub fn policy_digest(&self, runbook: &str) -> Option<Digest> {
        let runbook = self.runbook(runbook)?;
        let [guardrails, people] = &self.rules;
        let parts = [runbook.digest.as_bytes(), guardrails.as_bytes(), people.as_bytes()];
        Some(Digest::of_parts(&parts.map(<[u8; 32]>::as_slice)))
    }

    /// A warning for each step whose plugin is not installed.
    #[must_use]
    pub fn missing_plugins(&self, installed: &BTreeSet<String>) -> Vec<Problem> {
        let steps = self.routing.runbooks().iter().flat_map(|r| r.steps.iter().map(move |step| (r, step)));
        steps
            .filter(|(_, step)| !installed.contains(&step.plugin))
            .map(|(runbook, step)| {
                let message = format!(
                    "plugin {:?} is not installed; runs of {} are refused until it is",
                    step.plugin, runbook.name
                );
                Problem::warning(&runbook.file, step.at, message)
            })
            .collect()
    }
}

impl Policies {
    /// What runbooks want to be taken back by plugins that cannot: an error where none of a runbook's can, else a
    /// warning for each step that stays as it is.
    #[must_use]
    pub fn missing_undo(&self, without: &BTreeSet<String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for runbook in self.routing.runbooks().iter().filter(|runbook| runbook.wants_undo()) {
            let cannot: Vec<&Step> =
                runbook.steps.iter().filter(|step| without.contains(&step.plugin)).collect();
            let none_can = cannot.len() == runbook.steps.len();
            problems.extend(cannot.into_iter().map(|step| {
                let message =
                    format!("{} cannot take back what it does, and the runbook wants undo", step.plugin);
                let file = &runbook.file;
                if none_can {
                    Problem::error(file, step.at, message)
                } else {
                    Problem::warning(file, step.at, format!("{message}: this step stays as it is"))
                }
            }));
        }
        problems
    }
}

impl<'f> Sorted<'f> {
    fn sort(&mut self, path: &'f str, text: &'f str) {
        let mut parts = path.rsplit('/');
        let name = parts.next().unwrap_or(path);
        let folder = parts.next().unwrap_or_default();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        let mut problem = |message: &str| self.problems.push(Problem::error(path, Position::START, message));
        if text.len() > FILE_LIMIT {
            problem("larger than 1 MiB");
            return;
        }
        match (folder, name) {
            _ if name.starts_with('.') || name.ends_with(".md") => {}
            ("runbooks", _) if yaml => self.runbooks.push((path, text)),
            ("cases", _) if yaml => self.cases.push((path, text)),
            (_, guardrails::FILE) => self.guardrails = Some((path, text)),
            (_, people::FILE) => self.people = Some((path, text)),
            (_, "schema.cedarschema") => {
                if text != SCHEMA {
                    let message = "differs from the schema of this version, which is the one that is used";
                    self.problems.push(Problem::warning(path, Position::START, message));
                }
            }
            (_, window::FILE) => self.windows = Some((path, text)),
            _ => problem(
                "not a policy file; valid are runbooks/*.yaml, cases/*.yaml, guardrails.cedar, people.cedar, \
                 schema.cedarschema, windows.yaml",
            ),
        }
    }
}

fn read_runbooks(files: &[(&str, &str)], people: &People, problems: &mut Vec<Problem>) -> Vec<Runbook> {
    let mut runbooks: Vec<Runbook> = Vec::new();
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (file, text) in files {
        match runbook::read(file, text) {
            Ok((runbook, warnings)) => {
                problems.extend(warnings);
                problems.extend(unknown_roles(&runbook, people));
                problems.extend(not_yet(&runbook));
                if let Some(other) = taken.insert(runbook.name.clone(), file) {
                    let message = format!("runbook {:?} is defined in {other} already", runbook.name);
                    problems.push(Problem::error(file, Position::START, message));
                }
                runbooks.push(runbook);
            }
            Err(found) => problems.extend(found),
        }
    }
    runbooks
}

/// What a runbook may say already and nothing does yet: that nobody is told is worth a warning.
fn not_yet(runbook: &Runbook) -> Option<Problem> {
    let message = "tell: connectors are not available in this version, and nobody is told";
    let nobody = || Problem::warning(&runbook.file, Position::START, message);
    (!runbook.tell.is_empty()).then(nobody)
}

/// A gate whose roles nobody could hold can never be passed.
fn unknown_roles(runbook: &Runbook, people: &People) -> Vec<Problem> {
    let unknown = runbook.gate.roles.iter().filter(|role| !people.knows_role(role));
    unknown
        .map(|role| {
            let message = format!("neither Staunch nor people.cedar knows the role {role:?} of the gate");
            Problem::warning(&runbook.file, Position::START, message)
        })
        .collect()
}

/// A schedule that keeps clear of a window that does not exist would keep clear of nothing.
fn unknown_windows(runbook: &Runbook, windows: &Windows) -> Vec<Problem> {
    let named = runbook.schedule.iter().flat_map(|schedule| &schedule.blackout);
    let unknown = named.filter(|name| windows.get(name).is_none());
    unknown
        .map(|name| {
            let message = format!("blackout names the window {name:?}, which windows.yaml does not have");
            Problem::error(&runbook.file, Position::START, message)
        })
        .collect()
}

fn read_windows(file: Option<(&str, &str)>, problems: &mut Vec<Problem>) -> Windows {
    let Some((file, text)) = file else { return Windows::default() };
    let (windows, found) = Windows::read(file, text).unwrap_or_else(|found| (Windows::default(), found));
    problems.extend(found);
    windows
}

fn read_cases(files: &[(&str, &str)], problems: &mut Vec<Problem>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, text) in files {
        match cases::read(file, text) {
            Ok(read) => cases.extend(read),
            Err(found) => problems.extend(found),
        }
    }
    cases
}

#[cfg(test)]
mod tests;
