//! Storms: what each holds, as one item, and one answer for all of it.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::limit::{HeldRun, HeldStorm, StormId};
use staunch_core::policy::{Object, PersonAction};
use utoipa::ToSchema;

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::runs::{body, find};
use super::shapes::Page;
use crate::pipeline::storms::Answer;

/// The runs that one storm holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StormShape {
    /// `all`, or `runbook=NAME` where it is a runbook's own storm brake.
    id: String,
    /// Why they are held.
    message: String,
    /// When the first of them was held.
    since: DateTime<Utc>,
    /// When the first of their questions expires.
    expires: Option<DateTime<Utc>>,
    /// What an answer is about: exactly these runs with exactly these plans.
    digest: String,
    /// All targets, each once.
    targets: Vec<String>,
    /// How many effects all plans have together.
    effects: usize,
    /// `run`, `runbook`, `target`, `plan` (its digest), `effects`, `expires` of each, oldest first.
    #[schema(value_type = Vec<Object>)]
    runs: Vec<Value>,
    /// How many more are held than one answer is about; they are shown once these have been answered.
    left_out: usize,
}

fn shape(storm: &HeldStorm) -> StormShape {
    let mut targets: Vec<String> = storm.runs.iter().filter_map(|held| held.target.clone()).collect();
    targets.sort_unstable();
    targets.dedup();
    let run = |held: &HeldRun| {
        json!({
            "run": held.run, "runbook": held.runbook, "target": held.target, "plan": held.plan.to_string(),
            "effects": held.effects, "expires": held.expires,
        })
    };
    StormShape {
        id: storm.id.to_string(),
        message: storm.question.clone(),
        since: storm.since,
        expires: storm.runs.iter().map(|held| held.expires).min(),
        digest: storm.digest().to_string(),
        targets,
        effects: storm.effects(),
        runs: storm.runs.iter().map(run).collect(),
        left_out: storm.left_out,
    }
}

/// The storms that hold runs now; `next` is always `null`.
#[utoipa::path(get, path = "/v1/storms", tag = "storms",
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let storms = app.pipeline().storms().await;
    Ok(Json(Page { items: storms.iter().map(|storm| json!(shape(storm))).collect(), next: None }))
}

/// What one storm holds: `all`, or `runbook=NAME`.
#[utoipa::path(get, path = "/v1/storms/{id}", tag = "storms",
    responses((status = 200, body = StormShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<StormShape>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    Ok(Json(shape(&held(&app, &id).await?)))
}

async fn held(app: &App, id: &str) -> Result<HeldStorm, Problem> {
    let missing = || Problem::not_found("storm that holds a run", id);
    let wanted: StormId = id.parse().map_err(|_| missing())?;
    app.pipeline().storms().await.into_iter().find(|storm| storm.id == wanted).ok_or_else(missing)
}

/// An answer to all runs that a storm holds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StormAnswer {
    /// The digest that was shown.
    #[schema(value_type = String, required)]
    #[serde(default)]
    digest: Value,
    /// What the person says; it stands with each run.
    comment: Option<String>,
}

/// What became of each run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StormAnswered {
    /// The storm.
    id: String,
    /// The digest that was answered.
    digest: String,
    /// The runs that were answered: `run`, `target`, and `missing`, how many approvals it lacks still.
    #[schema(value_type = Vec<Object>)]
    answered: Vec<Value>,
    /// The runs that stay as they were: `run`, `target`, and the `code` and `message` of why.
    #[schema(value_type = Vec<Object>)]
    left: Vec<Value>,
}

/// Approves all runs that a storm holds, each as if alone: whoever may not approve one, or does not count for it,
/// leaves it waiting. 409 with the storm as it is now when it is no longer the one that was shown.
#[utoipa::path(post, path = "/v1/storms/{id}/approve", tag = "storms", request_body = StormAnswer,
    responses((status = 200, body = StormAnswered), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn approve(
    state: State<App>,
    caller: Caller,
    id: Path<String>,
    request: Result<Json<StormAnswer>, JsonRejection>,
) -> Result<Json<StormAnswered>, Problem> {
    answer(state, caller, id, request, Answer::Approve, PersonAction::Approve).await
}

/// Says no to all runs that a storm holds.
#[utoipa::path(post, path = "/v1/storms/{id}/reject", tag = "storms", request_body = StormAnswer,
    responses((status = 200, body = StormAnswered), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn reject(
    state: State<App>,
    caller: Caller,
    id: Path<String>,
    request: Result<Json<StormAnswer>, JsonRejection>,
) -> Result<Json<StormAnswered>, Problem> {
    answer(state, caller, id, request, Answer::Reject, PersonAction::Reject).await
}

async fn answer(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<StormAnswer>, JsonRejection>,
    answer: Answer,
    action: PersonAction,
) -> Result<Json<StormAnswered>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let request = body(request)?;
    let storm = held(&app, &id).await?;
    let digest = storm.digest();
    if request.digest.as_str() != Some(digest.to_string().as_str()) {
        return Err(not_as_shown(&storm, &request.digest));
    }
    let (mut may, mut left) = (Vec::new(), Vec::new());
    for held in storm.runs {
        match find(&app, &caller, held.run.as_str(), action).await {
            Ok(_) => may.push(held),
            Err(problem) => left.push((held, problem)),
        }
    }
    let said = app.pipeline().answer_storm(may, digest, caller.0, answer, request.comment).await?;
    let mut answered = Vec::new();
    for (held, said) in said {
        match said {
            Ok(run) => {
                let missing = app.pipeline().quorum(&run).map_or(0, |quorum| quorum.missing());
                answered.push(json!({ "run": held.run, "target": held.target, "missing": missing }));
            }
            Err(refusal) => left.push((held, refusal.into())),
        }
    }
    if answered.is_empty()
        && let Some((_, problem)) = left.first()
    {
        return Err(nothing_answered(problem, left.len()));
    }
    let left = left.iter().map(|(held, problem)| {
        let (code, message) = problem.code_and_detail();
        json!({ "run": held.run, "target": held.target, "code": code, "message": message })
    });
    Ok(Json(StormAnswered { id, digest: digest.to_string(), answered, left: left.collect() }))
}

/// The answer is about another set of runs and plans than the storm holds now.
fn not_as_shown(storm: &HeldStorm, given: &Value) -> Problem {
    let Some(given) = given.as_str() else {
        let detail = "digest: the digest of the storm that was shown is needed";
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("digest");
    };
    if let Err(error) = given.parse::<staunch_core::id::Digest>() {
        let detail = format!("digest: {error}");
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("digest");
    }
    let detail = format!(
        "storm {} does not hold what was shown: it holds {} runs now, with digest {}",
        storm.id,
        storm.runs.len(),
        storm.digest()
    );
    Problem::new(StatusCode::CONFLICT, "storm-changed", detail).with_storm(json!(shape(storm)))
}

/// Not one run was answered: the first one's problem stands for all.
fn nothing_answered(problem: &Problem, count: usize) -> Problem {
    let (code, detail) = problem.code_and_detail();
    Problem::new(
        problem.status(),
        code,
        format!("none of the {count} runs was answered; the first: {detail}"),
    )
}
