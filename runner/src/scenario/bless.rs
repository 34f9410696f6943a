//! Blessing: what happened becomes what is expected.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use staunch_core::effect::{CallError, EffectStatus};
use staunch_core::policy::yaml::{self, Entry, Tree};

use super::report::{Ended, Report, ScenarioReport, SeenEffect};
use super::{ScenarioError, read, text_of};

/// The member `expect` of a scenario, as it is written anew.
#[derive(Serialize)]
struct Document<'a> {
    expect: Expected<'a>,
}

#[derive(Serialize)]
struct Expected<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Vec<Effect<'a>>>,
    effects: Vec<Effect<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a CallError>,
}

#[derive(Serialize)]
struct Effect<'a> {
    call: &'a str,
    arguments: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<EffectStatus>,
}

/// Rewrites `expect` of every scenario in `report` that failed only in what it expects (all calls were
/// answered and covered, and no answer is left over), so that it passes from now on; the rest of its file stays as it is. Answers the files that changed.
///
/// # Errors
/// When a file cannot be read or written, or what happened cannot be written as a scenario.
pub fn bless(project: &Path, report: &Report) -> Result<Vec<String>, ScenarioError> {
    let mut changed = Vec::new();
    for scenario in report.scenarios.iter().filter(|scenario| !scenario.passed && scenario.complete) {
        let path = project.join(&scenario.file);
        let file = |doing| {
            let path = path.clone();
            move |source| ScenarioError::File { doing, path, source }
        };
        let text = text_of(&path).map_err(file("read"))?;
        let bless = |message| ScenarioError::Bless { file: scenario.file.clone(), message };
        let text = blessed(scenario, &text).map_err(bless)?;
        fs::write(&path, text).map_err(file("write"))?;
        changed.push(scenario.file.clone());
    }
    Ok(changed)
}

/// The text with another `expect`.
pub(super) fn blessed(scenario: &ScenarioReport, text: &str) -> Result<String, String> {
    let root = yaml::parse(&scenario.file, text).map_err(|problem| problem.to_string())?;
    let Tree::Map(entries) = &root.tree else { return Err("it is no mapping".to_owned()) };
    let (first, next) = lines_of(entries).ok_or("`expect` does not begin a line of its own")?;
    let expected = serde_saphyr::to_string(&document(scenario)?).map_err(|error| error.to_string())?;
    let mut lines = text.split_inclusive('\n');
    let mut new: String = lines.by_ref().take(first).collect();
    new.push_str(expected.trim_end());
    new.push('\n');
    if let Some(next) = next {
        new.extend(lines.skip(next - first));
    }
    match read::read(&scenario.file, &new) {
        Ok(_) => Ok(new),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// The line of `expect`, and that of the member behind it; both counted from 0.
fn lines_of(entries: &[Entry]) -> Option<(usize, Option<usize>)> {
    let expect = entries.iter().find(|entry| entry.key == "expect").filter(|entry| entry.at.column == 1)?;
    let line = |entry: &Entry| usize::try_from(entry.at.line).unwrap_or(usize::MAX).saturating_sub(1);
    let behind = entries.iter().map(line).filter(|other| *other > line(expect)).min();
    Some((line(expect), behind))
}

fn document(scenario: &ScenarioReport) -> Result<Document<'_>, String> {
    let (result, error) = match &scenario.ended {
        Some(Ended::Result(result)) => (Some(result), None),
        Some(Ended::Error(error)) => (None, Some(error)),
        Some(Ended::Broken(_)) | None => return Err("it did not come to an end".to_owned()),
    };
    let same = |(planned, done): (&SeenEffect, &SeenEffect)| {
        planned.call == done.call && planned.arguments == done.arguments
    };
    let as_planned = scenario.plan.len() == scenario.effects.len()
        && scenario.plan.iter().zip(&scenario.effects).all(same);
    let plan = (!as_planned).then(|| scenario.plan.iter().map(effect).collect());
    let effects = scenario.effects.iter().map(effect).collect();
    Ok(Document { expect: Expected { plan, effects, result, error } })
}

fn effect(seen: &SeenEffect) -> Effect<'_> {
    let status = Some(seen.status).filter(|status| *status == EffectStatus::Failed);
    Effect { call: &seen.call, arguments: &seen.arguments, status }
}
