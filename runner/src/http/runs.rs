//! Runs: looking, starting, and what people decide about them.

use std::str::FromStr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::event::{Fact, Outside};
use staunch_core::id::{Digest, RunId};
use staunch_core::policy::{Object, PersonAction};
use staunch_core::run::{Run, State as RunState};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::shapes::{self, Page, RunShape};
use crate::pipeline::{Cursor, Listing, ReadError, SettleRequest, StartRequest, Yes};

/// Longest page of a listing.
const MAX_PAGE: u32 = 500;

/// Page of a listing unless the request says otherwise.
const DEFAULT_PAGE: u32 = 50;

pub(super) fn limit(wanted: Option<u32>) -> Result<u32, Problem> {
    match wanted {
        None => Ok(DEFAULT_PAGE),
        Some(wanted @ 1..=MAX_PAGE) => Ok(wanted),
        Some(wanted) => {
            let detail = format!("limit: {wanted} is not from 1 to {MAX_PAGE}");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("limit"))
        }
    }
}

/// Where a page of things with such ids begins.
pub(super) fn cursor<I: FromStr>(after: Option<&str>) -> Result<Option<Cursor>, Problem> {
    let parse = |text: &str| {
        Cursor::among::<I>(text).ok_or_else(|| {
            let detail = "after: not the `next` of an earlier page";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("after")
        })
    };
    after.map(parse).transpose()
}

/// Filters of the runs' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RunQuery {
    /// `queued planning waiting running parked verifying undoing ended`.
    state: Option<String>,
    /// The runbook.
    runbook: Option<String>,
    /// The first step's plugin.
    plugin: Option<String>,
    /// The target.
    target: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<RunQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    if let Some(state) =
        query.state.as_deref().filter(|word| RunState::ALL.iter().all(|s| s.as_str() != *word))
    {
        let valid = RunState::ALL.map(RunState::as_str).join(", ");
        let detail = format!("state: {state:?} is no state; valid are {valid}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("state"));
    }
    let listing = Listing {
        state: query.state,
        keys: [query.runbook, query.plugin, query.target],
        after: cursor::<RunId>(query.after.as_deref())?,
        limit: limit(query.limit)?,
    };
    let listed = app.pipeline().runs(listing).await?;
    let items = listed.items.iter().map(|run| json!(shapes::run(run))).collect();
    Ok(Json(Page { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// The run of a path, with the caller's right to it checked.
pub(super) async fn find(app: &App, caller: &Caller, id: &str, action: PersonAction) -> Result<Run, Problem> {
    let missing = || Problem::not_found("run", id);
    let run_id: RunId = id.parse().map_err(|_| missing())?;
    // The right to read comes first: who may not read is not told what exists.
    caller.may(app, PersonAction::Read, Object::System)?;
    let run = app.pipeline().run(&run_id).await?.ok_or_else(missing)?;
    let autonomy = app.pipeline().rules().policies.runbook(&run.runbook).map(|runbook| runbook.autonomy);
    if action != PersonAction::Read {
        let (runbook, target, labels) = (&run.runbook, run.target.as_deref(), &run.labels);
        caller.may(app, action, Object::Run { runbook, autonomy, target, labels })?;
    }
    Ok(run)
}

/// A run with what its approvals are worth now.
pub(super) fn shown(app: &App, run: &Run) -> RunShape {
    let quorum = app.pipeline().quorum(run);
    RunShape { quorum: quorum.as_ref().map(shapes::quorum), ..shapes::run(run) }
}

/// The digest of a plan that was shown.
pub(super) fn digest(plan: &str) -> Result<Digest, Problem> {
    plan.parse().map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", format!("plan: {error}")).at("plan")
    })
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs",
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunShape>, Problem> {
    Ok(Json(shown(&app, &find(&app, &caller, &id, PersonAction::Read).await?)))
}

/// What the journal holds of a run: leaves and payloads, in order.
#[utoipa::path(get, path = "/v1/runs/{id}/journal", tag = "runs",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn journal(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Read).await?;
    let entries = app.pipeline().entries_of(&run.id).await.map_err(ReadError::from)?;
    let items: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let json_or_null = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            json!({
                "index": entry.index,
                "leaf": json_or_null(&entry.leaf),
                "payload": entry.bytes().map(json_or_null),
                "removed": matches!(entry.payload, Some(crate::journal::StoredPayload::Removed)),
            })
        })
        .collect();
    Ok(Json(json!({ "items": items })))
}

/// The plan of a run: its effects, and the readings and log of its making.
#[utoipa::path(get, path = "/v1/runs/{id}/plan", tag = "runs",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn plan(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Read).await?;
    let Some(mut plan) = shapes::plan(&run) else {
        let detail = format!("run {id} has no plan yet; it is {}", run.state.as_str());
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-plan", detail));
    };
    let events = app.pipeline().events_of(&run.id).await.map_err(crate::pipeline::Refusal::from)?;
    let planned = events.iter().rev().find_map(|event| match &event.fact {
        Fact::RunPlanned(_, Outside::Kept(outside)) => Some(outside),
        _ => None,
    });
    if let (Value::Object(members), Some(planned)) = (&mut plan, planned) {
        members.insert("steps".to_owned(), json!(planned.steps));
        members.insert("undo_steps".to_owned(), json!(planned.undo));
        members.insert("log".to_owned(), json!(planned.log));
        members.insert("changes".to_owned(), json!(planned.changes));
        members.insert("readings".to_owned(), readings(planned.steps.iter().chain(&planned.undo)));
    }
    Ok(Json(plan))
}

/// All readings; those behind a planned effect show the world without it.
fn readings<'a>(steps: impl Iterator<Item = &'a staunch_core::plan::StepPlan>) -> Value {
    let readings = steps.flat_map(|step| &step.readings).map(|reading| {
        json!({
            "call": reading.call,
            "answer": reading.answer,
            "assumed": reading.assumed,
            "stale-in-plan": reading.after_effects > 0 && !reading.assumed,
        })
    });
    readings.collect()
}

/// Why it ran as it did: its decision trace.
#[utoipa::path(get, path = "/v1/runs/{id}/why", tag = "runs",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn why(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Read).await?;
    let alert = match &run.alert {
        Some(alert) => app.pipeline().alert(alert).await?,
        None => None,
    };
    let of_alert = alert.as_ref().map(|record| record.decisions.as_slice()).unwrap_or_default();
    let mut decisions = shapes::trace(of_alert, &run.decisions.iter().collect::<Vec<_>>());
    let halted = app.pipeline().halted_now(&run.id).await;
    decisions.extend(&halted);
    let alert = run.alert.as_ref().map(staunch_core::id::AlertId::as_str);
    Ok(Json(shapes::why(alert, &decisions, &[run.id.to_string()])))
}

/// Runs that wait for people: waiting and parked ones.
#[utoipa::path(get, path = "/v1/approvals", tag = "runs",
    responses((status = 200, body = Page), (status = 401, body = Problem)))]
pub(super) async fn approvals(State(app): State<App>, caller: Caller) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let mut items = Vec::new();
    for state in [RunState::Waiting, RunState::Parked] {
        let state = Some(state.as_str().to_owned());
        let listed = app.pipeline().runs(Listing { state, limit: MAX_PAGE, ..Listing::default() }).await?;
        items.extend(listed.items.iter().map(|run| json!(shown(&app, run))));
    }
    Ok(Json(Page { items, next: None }))
}

/// Starts a runbook by hand.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = StartRequest,
    responses((status = 202, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn start(
    State(app): State<App>,
    caller: Caller,
    request: Result<Json<StartRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<RunShape>), Problem> {
    let request = body(request)?;
    let autonomy = app.pipeline().rules().policies.runbook(&request.runbook).map(|runbook| runbook.autonomy);
    let (target, labels) = app.pipeline().asked_of(&request);
    let (runbook, target, labels) = (&request.runbook, target.as_deref(), &labels);
    caller.may(&app, PersonAction::Start, Object::Run { runbook, autonomy, target, labels })?;
    if request.break_glass.is_some() {
        caller.may(&app, PersonAction::BreakGlass, Object::Run { runbook, autonomy, target, labels })?;
    }
    let run = app.pipeline().start(caller.0, request).await?;
    Ok((StatusCode::ACCEPTED, Json(shapes::run(&run))))
}

pub(super) fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    request.map(|Json(body)| body).map_err(|rejection| {
        let code = match rejection.status() {
            StatusCode::BAD_REQUEST => "not-json",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type",
            _ => "wrong-shape",
        };
        Problem::new(rejection.status(), code, rejection.body_text())
    })
}

/// An approval.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveRequest {
    /// The digest of the plan that was shown.
    plan: String,
    /// What the approver says.
    comment: Option<String>,
    /// A DSSE envelope over the in-toto statement of the approval, signed with a key of the approver.
    #[schema(value_type = Option<Object>)]
    envelope: Option<Value>,
}

/// A word of a person about a run.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommentRequest {
    /// What they say.
    pub(super) comment: Option<String>,
}

/// Approves the plan that was shown. 409 with the plan as it is now when it is no longer that one.
#[utoipa::path(post, path = "/v1/runs/{id}/approve", tag = "runs", request_body = ApproveRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<ApproveRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Approve).await?;
    let ApproveRequest { plan, comment, envelope } = body(request)?;
    let yes = Yes { plan: digest(&plan)?, comment, envelope, storm: None };
    let run = app.pipeline().approve(&run.id, caller.0, yes).await?;
    Ok(Json(shown(&app, &run)))
}

/// Says no.
#[utoipa::path(post, path = "/v1/runs/{id}/reject", tag = "runs", request_body = CommentRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn reject(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<CommentRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Reject).await?;
    let run = app.pipeline().reject(&run.id, caller.0, body(request)?.comment).await?;
    Ok(Json(shapes::run(&run)))
}

/// Ends a run that is no longer wanted.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "runs", request_body = CommentRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<CommentRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Cancel).await?;
    let run = app.pipeline().cancel(&run.id, caller.0, body(request)?.comment).await?;
    Ok(Json(shapes::run(&run)))
}

/// Says what became of an effect in doubt.
#[utoipa::path(post, path = "/v1/runs/{id}/settle", tag = "runs", request_body = SettleRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn settle(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<SettleRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::Settle).await?;
    let run = app.pipeline().settle(&run.id, caller.0, body(request)?).await?;
    Ok(Json(shapes::run(&run)))
}
