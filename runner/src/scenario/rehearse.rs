//! One scenario: planned and acted as in life, then compared with what was expected.

use std::sync::Arc;

use serde_json::Value;
use staunch_core::effect::EffectStatus;
use staunch_core::id::RunId;
use staunch_core::permit::{Permit, RehearsalPermit};
use staunch_core::plan::Cover;

use super::Rehearsal;
use super::compare::{differences, shown};
use super::format::{End, Entry, ExpectedEffect, Pass, Scenario, name_of};
use super::report::{Ended, ScenarioReport, SeenEffect, SeenLine};
use super::world::{NoJournal, World, entry_line, is_effect, line};
use crate::sandbox::{self, Ending, Export, Job, Mode, Resume};

/// The host that a scenario's target denotes.
const HOST: &str = "local";

/// One pass of a scenario.
struct Performed {
    report: sandbox::Report,
    /// How many calls each entry of the world answered.
    used: Vec<u32>,
    /// What the script or the plan did not provide for.
    failures: Vec<String>,
}

/// Runs one scenario.
pub(super) async fn rehearse(rehearsal: &Rehearsal, scenario: &Scenario) -> ScenarioReport {
    let mut report = ScenarioReport::empty(&scenario.file, &scenario.name);
    if !rehearsal.prepared.exports(scenario.export) {
        let message = format!("the plugin does not export `{}`", scenario.export.name());
        report.failures.push(message);
        return report.closed();
    }
    if let Err(error) = rehearsal.manifest.input.check(&scenario.input) {
        report.failures.push(error.to_string());
        return report.closed();
    }
    let entries: Arc<[Entry]> = scenario.world.as_slice().into();
    let mut used = vec![0_u32; entries.len()];
    let mut cover = None;
    let mut last = None;
    if scenario.export.may_act() {
        let planned = rehearsal.perform(scenario, Pass::Plan, &entries, None).await;
        report.plan = planned.report.effects.iter().map(SeenEffect::of).collect();
        let goes_on = matches!(planned.report.ending, Ending::Returned(_)) && planned.failures.is_empty();
        if goes_on {
            cover = Some(Cover::new(planned.report.clone().into_plan().0));
        }
        report.take(&planned, &mut used);
        last = Some(planned);
    }
    if cover.is_some() || !scenario.export.may_act() {
        let acted = rehearsal.perform(scenario, Pass::Act, &entries, cover).await;
        report.effects = acted.report.effects.iter().map(SeenEffect::of).collect();
        report.take(&acted, &mut used);
        last = Some(acted);
    }
    let Some(last) = last else { return report.closed() };
    let ended = ended(scenario.export, &last.report.ending);
    let whole = used.iter().all(|used| *used > 0) && looked_only(scenario.export, &last.report);
    report.complete = whole && report.failures.is_empty() && !matches!(ended, Ended::Broken(_));
    report.judge(scenario, &ended, &last.report, &used);
    report.ended = Some(ended);
    report.closed()
}

impl Rehearsal {
    async fn perform(
        &self,
        scenario: &Scenario,
        pass: Pass,
        entries: &Arc<[Entry]>,
        cover: Option<Cover>,
    ) -> Performed {
        let wall = u64::try_from(scenario.began.timestamp_millis()).unwrap_or_default();
        let world = Arc::new(World::new(pass, wall, entries.clone(), cover));
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&scenario.seed.to_le_bytes());
        let job = Job {
            prepared: self.prepared.clone(),
            export: scenario.export,
            input: scenario.input.to_string(),
            outcome: scenario.details.as_ref().map(Value::to_string),
            run: RunId::from_bits(0),
            step: 0,
            began: scenario.began,
            seed,
            host: Some(HOST.to_owned()),
            grants: self.grants.clone(),
            limits: self.manifest.limits,
            ledger: Arc::new(NoJournal),
            replay: Vec::new(),
            resume: Resume::default(),
            mode: Mode::Rehearse(world.clone()),
        };
        let report = self.sandbox.execute(Permit::Rehearsal(RehearsalPermit::new()), job).await;
        let told = &mut *world.told();
        let (used, failures) = (std::mem::take(&mut told.used), std::mem::take(&mut told.failures));
        Performed { report, used, failures }
    }
}

/// Whether an export that may only look did so.
fn looked_only(export: Export, report: &sandbox::Report) -> bool {
    export.may_act() || !report.denials.iter().any(|denial| is_effect(&denial.call))
}

/// The end of a pass in the words of a scenario.
fn ended(export: Export, ending: &Ending) -> Ended {
    match ending {
        Ending::Returned(value) => Ended::Result(result_of(export, value)),
        Ending::Failed(error) => Ended::Error(error.clone()),
        Ending::Trapped { code: "answer", message } => {
            let message = message.replacen("the journaled answer of", "the world's answer to", 1);
            Ended::Broken(message)
        }
        Ending::Trapped { code, message } => Ended::Broken(format!("it trapped ({code}): {message}")),
        other => Ended::Broken(format!("it ended as no rehearsal can: {other:?}")),
    }
}

/// What the export answered, without the member that the sandbox puts it into.
fn result_of(export: Export, value: &Value) -> Value {
    let member = match export {
        Export::Remediate => return value.clone(),
        Export::Deliver => "id",
        Export::Inspect => "findings",
        Export::Verify => "verdict",
        Export::Undo => "summary",
    };
    value.get(member).cloned().unwrap_or_default()
}

impl ScenarioReport {
    /// Takes over what one pass tells whatever was expected.
    fn take(&mut self, pass: &Performed, used: &mut [u32]) {
        used.iter_mut().zip(&pass.used).for_each(|(all, one)| *all += one);
        self.failures.extend(pass.failures.iter().cloned());
        self.fuel = self.fuel.max(pass.report.fuel);
        self.log = pass.report.log.iter().map(SeenLine::of).collect();
    }

    /// Compares. After a call that the script or the plan does not provide for, the rest only follows from it
    /// and is not told.
    fn judge(&mut self, scenario: &Scenario, ended: &Ended, last: &sandbox::Report, used: &[u32]) {
        if let Ended::Broken(message) = ended {
            self.failures.push(message.clone());
        }
        if self.failures.is_empty() {
            let expect = &scenario.expect;
            if scenario.export.may_act() {
                let (what, wanted) = match &expect.plan {
                    Some(plan) => ("plan", plan),
                    None => ("plan (as `effects`)", &expect.effects),
                };
                compare_effects(what, wanted, &self.plan, false, &mut self.failures);
            }
            compare_effects("effects", &expect.effects, &self.effects, true, &mut self.failures);
            compare_end(scenario.export, &expect.end, ended, &mut self.failures);
        }
        if !scenario.export.may_act() {
            let looked = scenario.export.name();
            let tried = last.denials.iter().map(|denial| &denial.call).filter(|call| is_effect(call));
            self.failures
                .extend(tried.map(|call| format!("`{looked}` may only look, but called {}", line(call))));
        }
        if self.failures.is_empty() {
            let unused = scenario.world.iter().zip(used).filter(|(_, used)| **used == 0);
            self.failures.extend(unused.map(|(entry, _)| {
                format!("{}:{}: nothing called {}", scenario.file, entry.line, entry_line(entry))
            }));
        } else {
            let refused = last.denials.iter();
            self.failures.extend(
                refused.map(|denial| format!("{} was refused: {}", line(&denial.call), denial.error.message)),
            );
        }
    }
}

fn compare_effects(
    what: &str,
    wanted: &[ExpectedEffect],
    actual: &[SeenEffect],
    acted: bool,
    failures: &mut Vec<String>,
) {
    let wanted_names: Vec<String> = wanted.iter().map(|effect| name_of(effect.function)).collect();
    let actual_names: Vec<&str> = actual.iter().map(|effect| effect.call.as_str()).collect();
    if wanted_names != actual_names {
        let listed = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let wanted_names = listed(wanted_names.iter().map(String::as_str).collect());
        failures.push(format!("{what}: expected {wanted_names}, got {}", listed(actual_names)));
        return;
    }
    for (index, (wanted, actual)) in wanted.iter().zip(actual).enumerate() {
        let place = format!("{what}[{index}] {}", actual.call);
        differences(&format!("{place}: arguments"), &wanted.arguments, &actual.arguments, failures);
        if let Some(status) = wanted.status.filter(|status| acted && *status != actual.status) {
            let (wanted, got) = (word(status), word(actual.status));
            failures.push(format!("{place}: expected the status {wanted}, got {got}"));
        }
        if let Some(reason) = wanted.reason.as_ref().filter(|reason| **reason != actual.reason) {
            failures.push(format!("{place}: expected the reason {reason:?}, got {:?}", actual.reason));
        }
    }
}

/// The only statuses that a scripted world gives.
fn word(status: EffectStatus) -> &'static str {
    if status == EffectStatus::Failed { "failed" } else { "done" }
}

fn compare_end(export: Export, wanted: &End, ended: &Ended, failures: &mut Vec<String>) {
    match (wanted, ended) {
        (End::Result(wanted), Ended::Result(actual)) => {
            if export == Export::Deliver && wanted != actual {
                failures.push(format!("result: expected {}, got {}", shown(wanted), shown(actual)));
                return;
            }
            differences("result", wanted, actual, failures);
        }
        (End::Error(wanted), Ended::Error(error)) => {
            let actual = serde_json::json!({
                "code": error.code, "message": error.message, "retryable": error.retryable,
            });
            differences("error", wanted, &actual, failures);
        }
        (End::Result(_), Ended::Error(error)) => {
            failures.push(format!("expected a result, got the error {}: {}", error.code, error.message));
        }
        (End::Error(wanted), Ended::Result(actual)) => {
            failures.push(format!("expected the error {}, got the result {}", shown(wanted), shown(actual)));
        }
        (_, Ended::Broken(_)) => {}
    }
}
