//! Recording: a scenario that says no more than what it is about gets its `world` and `expect` from a run in the live
//! world, as the journal holds it. Secrets are not in the journal, and so in no recording.
//!
//! What the recording expects is what a rehearsal of it does. One that does not do what the run did is no recording:
//! the file stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use staunch_core::effect::{Answer, Call, CallError};
use staunch_core::event::{Event, Fact, Outside};
use staunch_core::policy::yaml::{self, Tree};

use super::format::Pass;
use super::report::{Ended, ScenarioReport, SeenEffect};
use super::{Rehearsal, ScenarioError, bless, files, read, rehearse, text_of};
use crate::plugin::{Compiler, UnverifiedBuild};
use crate::sandbox::capability;

/// A scenario that waits for what the live world answers.
#[derive(Debug, Clone)]
pub struct Open {
    /// The file, as reports name it.
    pub file: String,
    /// What it shows.
    pub name: String,
    /// What its plugin is given, rendered.
    pub input: Value,
    path: PathBuf,
    text: String,
    /// Whether the file says when the run's clock began.
    timed: bool,
}

/// The scenarios of a project that say neither `world` nor `expect`.
///
/// # Errors
/// When a file cannot be read, or one of these is no scenario.
pub fn open_scenarios(project: &Path) -> Result<Vec<Open>, ScenarioError> {
    let mut open = Vec::new();
    for (file, path) in files(project)? {
        let text = text_of(&path).map_err(|source| ScenarioError::File {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        let Ok(root) = yaml::parse(&file, &text) else { continue };
        let Tree::Map(entries) = &root.tree else { continue };
        let says = |key: &str| entries.iter().any(|entry| entry.key == key);
        if says("world") || says("expect") {
            continue;
        }
        let refused = |message| ScenarioError::Record { file: file.clone(), message };
        for key in ["export", "seed", "details"] {
            if says(key) {
                let message = format!(
                    "{key}: only what a step of a run does can be recorded: `remediate`, with the run's own randomness"
                );
                return Err(refused(message));
            }
        }
        let timed = says("began");
        let scenario = read::read(&file, &format!("{}{PLACEHOLDER}", ended_line(&text)))
            .map_err(|problems| refused(lines(&problems)))?;
        open.push(Open { name: scenario.name, input: scenario.input, timed, file, path, text });
    }
    Ok(open)
}

/// What a scenario expects until a rehearsal has shown it.
const PLACEHOLDER: &str = "expect: { effects: [], result: {} }\n";

fn ended_line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

fn lines(problems: &[impl ToString]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a run did in its first step.
#[derive(Debug, Default)]
struct Recorded {
    began: Option<DateTime<Utc>>,
    entries: Vec<Answered>,
    /// The effects that were planned, or asked of the world where it acted.
    effects: Vec<Call>,
    acted: bool,
    /// What the step came to, where it acted.
    result: Option<Value>,
}

/// An entry of `world`, as it is written.
#[derive(Debug, Serialize)]
struct Answered {
    call: String,
    arguments: Arc<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Arc<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<CallError>,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    within: Option<&'static str>,
}

impl Recorded {
    /// Takes the events of a run; an error where they cannot be repeated by a script.
    fn of(events: &[Event]) -> Result<Self, String> {
        let mut recorded = Self {
            began: events
                .iter()
                .find(|event| matches!(event.fact, Fact::RunCreated(..)))
                .map(|event| event.at),
            acted: events.iter().any(|event| matches!(event.fact, Fact::RunPermitted(..))),
            ..Self::default()
        };
        recorded.take_plan(events)?;
        let mut intended = None;
        for event in events {
            match &event.fact {
                Fact::ReadingMade(leaf, Outside::Kept(outside)) if leaf.step == 0 => {
                    recorded.push(&outside.call, &outside.answer, Some(Pass::Act));
                }
                Fact::EffectIntended(leaf, Outside::Kept(outside)) if leaf.step == 0 => {
                    intended = Some(&outside.call);
                }
                Fact::EffectSettled(leaf, Outside::Kept(outside)) if leaf.step == 0 => {
                    let (Some(call), Some(answer)) = (intended.take(), &outside.answer) else {
                        return Err("an effect of the run was in doubt, or was settled by hand".to_owned());
                    };
                    recorded.push(call, answer, Some(Pass::Act));
                    recorded.effects.push(call.clone());
                }
                Fact::CallDenied(leaf, Outside::Kept(outside)) if leaf.step == 0 => {
                    let call = &outside.call;
                    return Err(format!("the run was denied {}.{}", call.capability, call.function));
                }
                Fact::StepEnded(leaf, Outside::Kept(outside)) if leaf.step == 0 => {
                    recorded.result.clone_from(&outside.result);
                }
                Fact::ReadingChanged(..) | Fact::StepRetried(..) => {
                    return Err("the run was planned or tried again while it acted".to_owned());
                }
                _ => {}
            }
        }
        Ok(recorded)
    }

    /// The last plan. Of a run that only planned, the answers that it assumed are those of the world.
    fn take_plan(&mut self, events: &[Event]) -> Result<(), String> {
        let planned = events.iter().rev().find_map(|event| match &event.fact {
            Fact::RunPlanned(_, Outside::Kept(outside)) => outside.steps.first(),
            _ => None,
        });
        let plan = planned.ok_or("the run has no plan")?;
        let within = self.acted.then_some(Pass::Plan);
        for reading in plan.readings.iter().filter(|reading| !reading.assumed) {
            self.push(&reading.call, &reading.answer, within);
        }
        if !self.acted {
            for reading in plan.readings.iter().filter(|reading| reading.assumed) {
                self.push(&reading.call, &reading.answer, Some(Pass::Act));
            }
            for effect in &plan.effects {
                self.push(&effect.call, &effect.assumed, Some(Pass::Act));
                self.effects.push(effect.call.clone());
            }
        }
        Ok(())
    }

    /// Log, clock and randomness are the sandbox's own, and not asked of the world.
    fn push(&mut self, call: &Call, answer: &Answer, within: Option<Pass>) {
        if capability::find(&call.capability).is_none_or(|found| found.pattern.is_none()) {
            return;
        }
        let (answer, error) = match answer {
            Answer::Ok(value) => (Some(value.clone()), None),
            Answer::Err(error) => (None, Some(error.clone())),
        };
        self.entries.push(Answered {
            call: format!("{}.{}", call.capability, call.function),
            arguments: call.arguments.clone(),
            answer,
            error,
            within: within.map(|pass| match pass {
                Pass::Plan => "plan",
                Pass::Act => "act",
            }),
        });
    }

    /// What the rehearsal did otherwise than the run.
    fn differs(&self, report: &ScenarioReport) -> Option<String> {
        let of_run = |call: &Call| (format!("{}.{}", call.capability, call.function), call.arguments.clone());
        let of_rehearsal = |seen: &SeenEffect| (seen.call.clone(), seen.arguments.clone());
        let same = self.effects.iter().map(of_run).eq(report.effects.iter().map(of_rehearsal));
        let result = match &report.ended {
            Some(Ended::Result(result)) => Some(result),
            _ => None,
        };
        if !same {
            return Some("the effects are others than those of the run".to_owned());
        }
        (self.acted && self.result.as_ref() != result)
            .then(|| "the result is another than that of the run".to_owned())
    }
}

impl Open {
    /// Writes what a run that began with this input met into the file, once a rehearsal of it has done the same.
    /// `events` are all of the run's.
    ///
    /// # Errors
    /// [`ScenarioError::Record`] when a script cannot repeat what the run did; then the file stays as it is.
    pub async fn record(
        &self,
        events: &[Event],
        build: &UnverifiedBuild,
        compiler: &Compiler,
    ) -> Result<ScenarioReport, ScenarioError> {
        let refused = |message: String| ScenarioError::Record { file: self.file.clone(), message };
        let recorded = Recorded::of(events).map_err(refused)?;
        let draft = self.draft(&recorded).map_err(refused)?;
        let rehearsal = Rehearsal::new(build, compiler)?;
        let first = self.rehearse(&rehearsal, &draft).await.map_err(refused)?;
        if !first.complete {
            return Err(refused(format!("a script cannot repeat it: {}", first.failures.join("; "))));
        }
        if let Some(difference) = recorded.differs(&first) {
            return Err(refused(format!("a script cannot repeat it: {difference}")));
        }
        let text = bless::blessed(&first, &draft).map_err(refused)?;
        let last = self.rehearse(&rehearsal, &text).await.map_err(refused)?;
        if !last.passed {
            return Err(refused(format!("it does not pass: {}", last.failures.join("; "))));
        }
        fs::write(&self.path, text).map_err(|source| ScenarioError::File {
            doing: "write",
            path: self.path.clone(),
            source,
        })?;
        Ok(last)
    }

    async fn rehearse(&self, rehearsal: &Rehearsal, text: &str) -> Result<ScenarioReport, String> {
        let scenario = read::read(&self.file, text).map_err(|problems| lines(&problems))?;
        Ok(rehearse::rehearse(rehearsal, &scenario).await)
    }

    /// The file with the answers of the world, and nothing expected yet.
    fn draft(&self, recorded: &Recorded) -> Result<String, String> {
        let mut text = ended_line(&self.text);
        if let Some(began) = recorded.began.filter(|_| !self.timed) {
            text.push_str(&format!(
                "began: {}\n",
                began.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            ));
        }
        let world = serde_saphyr::to_string(&json!({ "world": recorded.entries }));
        text.push_str(world.map_err(|error| error.to_string())?.trim_end());
        text.push('\n');
        text.push_str(PLACEHOLDER);
        if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= super::FILE_LIMIT) {
            return Ok(text);
        }
        Err(format!("the answers of the world are larger than {} bytes", super::FILE_LIMIT))
    }
}

#[cfg(test)]
mod tests;
