//! The shapes of the API's documents, made from what the pipeline knows. `surface.md` names their members.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::decision::{Decision, Reason};
use staunch_core::effect::Effect;
use staunch_core::gate::Quorum;
use staunch_core::record::AlertRecord;
use staunch_core::run::{Run, Step, UndoRecord};
use utoipa::ToSchema;

use crate::people::TokenRecord;
use crate::pipeline::halts::{FILE_ID, FileHalt};
use crate::pipeline::views::Justification;

/// A page of a listing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// The items, newest first.
    pub items: Vec<Value>,
    /// What to pass as `after` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// One execution of a runbook.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunShape {
    /// Its id.
    pub id: String,
    /// The runbook.
    pub runbook: String,
    /// The first step's plugin.
    pub plugin: Option<String>,
    /// Its exact bytes.
    pub plugin_digest: Option<String>,
    /// The alert that it answers.
    pub alert: Option<String>,
    /// What it is about.
    pub target: Option<String>,
    /// `queued planning waiting running parked verifying undoing ended`.
    pub state: String,
    /// How it ended; `null` before.
    pub outcome: Option<String>,
    /// `fixed`, `not-fixed`, `unknown`; `null` before the probes said.
    pub verdict: Option<String>,
    /// `{code, message}`.
    pub reason: Option<Value>,
    /// `{digest, summary, effects, undo}`; `null` before there is one.
    pub plan: Option<Value>,
    /// All effects with their status.
    #[schema(value_type = Vec<Object>)]
    pub effects: Vec<Value>,
    /// The steps, with their effects.
    #[schema(value_type = Vec<Object>)]
    pub steps: Vec<Value>,
    /// What takes back what it does: `{state, reason, effects}`, `state` being one of `planned waiting undoing done
    /// failed skipped`; `null` where none was planned.
    pub undo: Option<Value>,
    /// `plan` or `act`.
    pub mode: String,
    /// Whether it is a drill: a synthetic alert, counted nowhere.
    #[serde(default)]
    pub drill: bool,
    /// Who started it by hand.
    pub requested_by: Option<String>,
    /// Whom it waits for: `{approvals, roles, expires}`.
    pub gate: Option<Value>,
    /// What the approvals are worth now: `{needed, counted, missing, uncounted: [{by, code, message}]}`; `null` while
    /// nobody is asked.
    pub quorum: Option<Value>,
    /// Who has it in hand: `{by, at}`; `null` while nobody has.
    #[schema(value_type = Option<Object>)]
    pub held: Option<Value>,
    /// Every time that somebody broke the glass for it: `{passes, plan, by, at, reason, review}`.
    #[schema(value_type = Vec<Object>)]
    pub glass: Vec<Value>,
    /// Who approved the plan as it is now.
    #[schema(value_type = Vec<Object>)]
    pub approvals: Vec<Value>,
    /// The effect outside the approved plan that it is parked on.
    pub question: Option<Value>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was first permitted to act.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A value as JSON. What is passed here has only string keys, so that it always has a JSON form.
fn to_json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The run as the API shows it.
#[must_use]
pub fn run(run: &Run) -> RunShape {
    let first = run.steps.first();
    RunShape {
        id: run.id.to_string(),
        runbook: run.runbook.clone(),
        plugin: first.map(|step| step.plugin.clone()),
        plugin_digest: first.map(|step| step.plugin_digest.to_string()),
        alert: run.alert.as_ref().map(ToString::to_string),
        target: run.target.clone(),
        state: run.state.as_str().to_owned(),
        outcome: run.outcome.map(|outcome| outcome.as_str().to_owned()),
        verdict: run.verdict.map(|verdict| verdict.outcome().as_str().to_owned()),
        reason: run.reason.as_ref().map(to_json),
        plan: plan(run),
        effects: run.effects().iter().map(to_json).collect(),
        steps: run.steps.iter().map(step).collect(),
        undo: run.undo.as_ref().map(undo),
        mode: to_json(&run.mode).as_str().unwrap_or_default().to_owned(),
        drill: run.drill.is_some(),
        requested_by: run.by.clone(),
        gate: run.ask.as_ref().map(to_json),
        quorum: None,
        held: run.held.as_ref().map(|held| json!({ "by": held.by, "at": held.at })),
        glass: run.glass.iter().map(to_json).collect(),
        approvals: run.approvals.iter().map(to_json).collect(),
        question: run.question.as_ref().map(to_json),
        created_at: run.created_at,
        started_at: run.started_at,
        ended_at: run.ended_at,
    }
}

/// What the approvals of a run are worth.
#[must_use]
pub fn quorum(quorum: &Quorum) -> Value {
    let uncounted = quorum
        .uncounted
        .iter()
        .map(|not| json!({ "by": not.by, "code": not.reason.code, "message": not.reason.message }));
    json!({
        "needed": quorum.needed,
        "counted": quorum.counted,
        "missing": quorum.missing(),
        "uncounted": uncounted.collect::<Vec<_>>(),
    })
}

/// One time that somebody broke the glass.
#[must_use]
pub fn justification(record: &Justification) -> Value {
    let mut shape = to_json(&record.broken);
    if let Value::Object(members) = &mut shape {
        members.insert("run".to_owned(), json!(record.run));
        members.insert("runbook".to_owned(), json!(record.runbook));
        members.insert("target".to_owned(), json!(record.target));
        members.insert("glass".to_owned(), json!(record.glass));
    }
    shape
}

fn step(step: &Step) -> Value {
    json!({
        "plugin": step.plugin,
        "plugin_digest": step.plugin_digest,
        "input": step.input,
        "state": step.ending.as_deref().unwrap_or("pending"),
        "effects": step.shown(),
        "result": step.result,
        "error": step.error,
        "retries": step.retries,
    })
}

/// The undo, its effects in the order in which they are done.
fn undo(undo: &UndoRecord) -> Value {
    json!({ "state": undo.state.as_str(), "reason": undo.reason, "effects": undo.effects() })
}

/// The plan as an approver sees it: digest, a one-line summary, and its effects.
#[must_use]
pub fn plan(run: &Run) -> Option<Value> {
    let digest = run.plan?;
    let planned = |step: &Step| {
        let shown = step.shown().into_iter().zip(&step.effects);
        let planned = shown.filter(|(_, record)| record.assumed.is_some()).map(|(effect, _)| effect);
        planned.collect::<Vec<Effect>>()
    };
    let effects: Vec<Effect> = run.steps.iter().flat_map(planned).collect();
    let undo: Vec<Effect> =
        run.undo.iter().flat_map(|undo| undo.steps.iter().rev()).flat_map(planned).collect();
    Some(json!({
        "digest": digest,
        "summary": summary(run),
        "effects": effects,
        "undo": undo,
        "planned_at": run.planned_at,
    }))
}

/// `Plan: 2 effects, 1 needs approval, 0 irreversible`; where there is an undo, `, 1 to undo them` behind it.
#[must_use]
pub fn summary(run: &Run) -> String {
    let planned: Vec<_> =
        run.steps.iter().flat_map(|step| &step.effects).filter(|effect| effect.assumed.is_some()).collect();
    let count = planned.len();
    let asks = if run.ask.is_some() || run.approved { count } else { 0 };
    let irreversible = if run.irreversible { count } else { 0 };
    let undo = run.undo.as_ref().map(|undo| format!(", {} to undo them", undo.effects().len()));
    format!(
        "Plan: {count} {}, {asks} {} approval, {irreversible} irreversible{}",
        if count == 1 { "effect" } else { "effects" },
        if asks == 1 { "needs" } else { "need" },
        undo.unwrap_or_default(),
    )
}

/// The alert as the API shows it: the normalised members and what became of it.
#[must_use]
pub fn alert(record: &AlertRecord) -> Value {
    let mut shape = record.alert.as_ref().map_or_else(|| json!({"removed": true}), to_json);
    if let Value::Object(members) = &mut shape {
        members.insert("id".to_owned(), to_json(&record.id));
        members.insert("source".to_owned(), to_json(&record.source));
        members.insert("status".to_owned(), json!(record.status.as_str()));
        members.insert("received_at".to_owned(), to_json(&record.received_at));
        members.insert("last_seen".to_owned(), to_json(&record.last_seen));
        if record.ended_at.is_some() {
            members.insert("ends_at".to_owned(), to_json(&record.ended_at));
        }
        members.insert("repeats".to_owned(), json!(record.repeats));
        members.insert("runs".to_owned(), to_json(&record.runs));
    }
    shape
}

/// The alert with the reason why it leads nowhere.
#[must_use]
pub fn unanswered(record: &AlertRecord, reason: &Reason) -> Value {
    let mut shape = alert(record);
    if let Value::Object(members) = &mut shape {
        members.insert("unanswered".to_owned(), to_json(reason));
    }
    shape
}

/// The file that halts everything, as a halt.
#[must_use]
pub fn file_halt(file: &FileHalt) -> Value {
    let reason = file.reason.as_deref().unwrap_or("the file is there");
    json!({
        "id": FILE_ID,
        "scope": "all",
        "reason": reason,
        "by": "file",
        "created_at": file.since,
        "file": file.path,
    })
}

/// An access token as the API shows it: without what it is, and with the minute in which it was used last.
#[must_use]
pub fn token(record: &TokenRecord, last_used_at: Option<DateTime<Utc>>) -> Value {
    json!({
        "id": record.id,
        "name": record.name,
        "roles": record.roles,
        "created_at": record.created_at,
        "expires": record.expires,
        "revoked_at": record.revoked_at,
        "last_used_at": last_used_at,
    })
}

/// The trace of an alert and of runs that answer to it: some of a run's first decisions stand in the alert's too.
pub(super) fn trace<'a>(of_alert: &'a [Decision], of_runs: &[&'a Decision]) -> Vec<&'a Decision> {
    let own = of_alert.iter().filter(|decision| !of_runs.contains(decision));
    own.chain(of_runs.iter().copied()).collect()
}

/// The answer to "why did it run, or why not?".
#[must_use]
pub fn why(alert: Option<&str>, decisions: &[&Decision], runs: &[String]) -> Value {
    let mut decisions = decisions.to_vec();
    decisions.sort_by_key(|decision| decision.at);
    json!({ "alert": alert, "decisions": decisions, "runs": runs })
}
