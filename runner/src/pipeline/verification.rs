//! Probes before the first effect and after the last, and the verdict that they give.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use staunch_core::decision::{Code, Reason};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::permit::Permit;
use staunch_core::policy::{PluginKind, ReadyProbe};
use staunch_core::record::Standing;
use staunch_core::run::{Outcome, ProbeAnswer, Run, State, Verdict, VerifyPlan};
use staunch_core::verify::Watch;

use super::act::{conclude, summary};
use super::breakers::Heard;
use super::drive::{End, Interrupted};
use super::job::{self, Part, Purpose};
use super::live::{LiveRun, Wait};
use super::shared::Shared;
use crate::sandbox::{Ending, Mode};

/// Longest that one look of one probe may take.
pub(super) const LOOK: Duration = Duration::from_secs(10);

/// What one look at all probes gave.
struct Look {
    answers: Vec<ProbeAnswer>,
    details: Vec<String>,
}

/// Looks before anything is done. When all probes pass already there is nothing to fix, and the run ends.
pub(super) async fn baseline(shared: &Arc<Shared>, live: &Arc<LiveRun>) -> Result<Option<End>, Interrupted> {
    let run = live.snapshot().await;
    let Some(verify) = &run.verify else { return Ok(None) };
    if run.baseline.is_some() || run.touched_the_world() {
        return Ok(None);
    }
    let look = look(shared, live, &run, verify, None).await;
    let recovered = look.answers.iter().all(|answer| *answer == ProbeAnswer::Passed);
    let message = format!("all probes pass already: {}", look.details.join("; "));
    live.record(vec![probed(true, look)], Wait::Rides).await?;
    Ok(recovered.then(|| End::new(Outcome::Cancelled, Code::RecoveredBeforeActing, message)))
}

fn probed(baseline: bool, look: Look) -> Fact {
    let leaf = event::RunProbed { baseline, answers: look.answers };
    Fact::RunProbed(leaf, Outside::Kept(payload::RunProbed { details: look.details }))
}

/// Watches the probes until there is a verdict, and says how the run ends. `None` when somebody else ended it.
pub(super) async fn verify(shared: &Arc<Shared>, live: &Arc<LiveRun>) -> Result<Option<End>, Interrupted> {
    let run = live.snapshot().await;
    if run.state == State::Ended {
        return Ok(None);
    }
    if let Some(over) = conclude(&run, kind(shared, &run)) {
        return Ok(Some(over));
    }
    let Some(verify) = run.verify.clone() else {
        return Ok(Some(unverified(&run)));
    };
    if run.state == State::Running {
        let fact = Fact::RunVerifying(event::RunVerifying {}, Outside::Kept(payload::RunVerifying {}));
        live.record(vec![fact], Wait::Rides).await?;
    }
    watch(shared, live, &run, &verify).await
}

fn kind(shared: &Shared, run: &Run) -> PluginKind {
    let last =
        run.steps.last().and_then(|step| shared.plugins.exactly(&step.plugin, step.plugin_digest).ok());
    last.map_or(PluginKind::Remediation, |plugin| plugin.kind())
}

/// The end of a run that did something and has no probe: nobody knows whether it helped.
fn unverified(run: &Run) -> End {
    if let Some(reason) = run.given_up.clone() {
        return End {
            outcome: Outcome::Unknown,
            verdict: Some(Verdict::Unknown),
            reason,
            decisions: Vec::new(),
        };
    }
    let message = error_of(run).unwrap_or_else(|| format!("{}; the runbook has no probe", summary(run)));
    End { verdict: Some(Verdict::Unknown), ..End::new(Outcome::Unknown, Code::NoProbe, message) }
}

fn error_of(run: &Run) -> Option<String> {
    if let Some(reason) = &run.given_up {
        return Some(reason.message.clone());
    }
    run.steps.iter().find_map(|step| step.error.clone())
}

async fn watch(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    verify: &VerifyPlan,
) -> Result<Option<End>, Interrupted> {
    let delta = |ms: u64| TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX / 2));
    let mut watch = Watch::new(
        shared.now(),
        delta(verify.within_ms),
        delta(verify.stable_for_ms),
        run.baseline.as_deref(),
    );
    let mut before: Vec<ProbeAnswer> = Vec::new();
    let mut heard = Heard::default();
    loop {
        let look = look(shared, live, run, verify, Some(&mut heard)).await;
        if live.look(|run| run.state).await == State::Ended {
            return Ok(None);
        }
        let now = shared.now();
        let judgement = watch.observe(now, &look.answers);
        let details = look.details.join("; ");
        // Every change is written down, and the look that gave the verdict.
        if look.answers != before || judgement.is_some() {
            before.clone_from(&look.answers);
            live.record(vec![probed(false, look)], Wait::Rides).await?;
        }
        if let Some(judgement) = judgement {
            shared.never_heard(run, &heard).await;
            let message = match error_of(run) {
                Some(error) => format!("{error}; probes: {details}"),
                None => details,
            };
            let reason = Reason::new(judgement.code, message);
            let outcome = judgement.verdict.outcome();
            return Ok(Some(End {
                outcome,
                verdict: Some(judgement.verdict),
                reason,
                decisions: Vec::new(),
            }));
        }
        let rest = (watch.next_deadline() - now).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(rest.min(Duration::from_millis(verify.interval_ms.max(10)))) => {}
            () = live.woken() => {}
        }
    }
}

/// Looks at all probes once, in order.
async fn look(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    verify: &VerifyPlan,
    mut heard: Option<&mut Heard>,
) -> Look {
    let mut look = Look { answers: Vec::new(), details: Vec::new() };
    for probe in &verify.probes {
        let (answer, detail) = match probe {
            ReadyProbe::AlertResolved {} => alert_resolved(shared, live).await,
            ReadyProbe::Plugin {} => plugin_verifies(shared, live, run).await,
            ReadyProbe::Http { .. }
            | ReadyProbe::Sequence { .. }
            | ReadyProbe::Tcp { .. }
            | ReadyProbe::Service { .. } => shared.look_at(run, probe, heard.as_deref_mut()).await,
        };
        look.answers.push(answer);
        look.details.push(detail);
    }
    look
}

/// The alert's own word: it can pass, and it cannot fail, because a source that says nothing proves nothing.
async fn alert_resolved(shared: &Shared, live: &LiveRun) -> (ProbeAnswer, String) {
    let Some(id) = live.alert() else {
        return (ProbeAnswer::NoAnswer, "the run answers no alert".to_owned());
    };
    match shared.alert(id).await {
        Ok(Some(record)) if record.status == Standing::Resolved => {
            (ProbeAnswer::Passed, "the alert is resolved".to_owned())
        }
        Ok(_) => (ProbeAnswer::NoAnswer, "the alert has not been resolved".to_owned()),
        Err(error) => (ProbeAnswer::NoAnswer, format!("the alert cannot be read: {error}")),
    }
}

/// The `verify` export of the first step's plugin.
async fn plugin_verifies(shared: &Arc<Shared>, live: &Arc<LiveRun>, run: &Run) -> (ProbeAnswer, String) {
    let no_answer = |message: String| (ProbeAnswer::NoAnswer, message);
    let Some(step) = run.steps.first() else { return no_answer("the run has no step".to_owned()) };
    let plugin = match shared.plugins.exactly(&step.plugin, step.plugin_digest) {
        Ok(plugin) => plugin,
        Err(reason) => return no_answer(reason.message),
    };
    let permit = match live.look(gate::permit_verification).await {
        Ok(permit) => permit,
        Err(reason) => return no_answer(reason.message),
    };
    let job = match job::make(shared, live, run, &Part::Step(0), &plugin, Purpose::Verify, Mode::Plan) {
        Ok(job) => job,
        Err(over) => return no_answer(over.reason.message),
    };
    let report = shared.execute(Permit::Plan(permit), job).await;
    match &report.ending {
        Ending::Returned(result) => {
            let word = result.get("verdict").and_then(serde_json::Value::as_str).unwrap_or_default();
            let answer = match word {
                "passed" => ProbeAnswer::Passed,
                "failed" => ProbeAnswer::Failed,
                _ => ProbeAnswer::NoAnswer,
            };
            (answer, format!("{} says {word}", step.plugin))
        }
        ending => no_answer(super::planning::describe(ending).1),
    }
}
