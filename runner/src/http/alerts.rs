//! Alerts in, and what became of them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use chrono::TimeDelta;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use staunch_core::id::AlertId;
use staunch_core::policy::{Object, PersonAction, duration};
use staunch_core::record::PATIENCE;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::cursor;
use super::shapes::{self, Page};
use super::{App, runs};
use crate::intake::{self, Format, IntakeError, Source};
use crate::pipeline::{Accepted, Listing};

/// What became of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Receipt {
    /// One entry an alert, in the body's order.
    pub alerts: Vec<Accepted>,
}

/// A delivery of a configured source; `id` is the source's name.
#[utoipa::path(post, path = "/v1/alerts/{id}", tag = "alerts",
    request_body(content = String, content_type = "application/json"),
    responses((status = 202, body = Receipt), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn receive(
    State(app): State<App>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let alerts = take(&app, &source, &headers, None, body).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { alerts })))
}

/// A delivery of a source that can set no header: `id` is the source's name, and the token is in the path, and
/// never in a log.
#[utoipa::path(post, path = "/v1/alerts/{id}/{token}", tag = "alerts",
    request_body(content = String, content_type = "application/json"),
    responses((status = 202, body = Receipt), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn receive_with_token(
    State(app): State<App>,
    Path((source, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let alerts = take(&app, &source, &headers, Some(&token), body).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { alerts })))
}

/// Alertmanager's own API, so that Prometheus can send here directly. It authenticates as the source whose
/// format is `prometheus`.
#[utoipa::path(post, path = "/api/v2/alerts", tag = "alerts",
    request_body(content = String, content_type = "application/json"),
    responses((status = 200), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn receive_alertmanager_api(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let sources = app.sources();
    let Some(source) = sources.values().find(|source| source.format() == Format::Prometheus) else {
        let detail = "no source of staunch.yaml has the format `prometheus`";
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", detail));
    };
    take(&app, source.name(), &headers, None, body).await?;
    Ok(StatusCode::OK)
}

async fn take(
    app: &App,
    name: &str,
    headers: &HeaderMap,
    token: Option<&str>,
    body: Body,
) -> Result<Vec<Accepted>, Problem> {
    let sources = app.sources();
    let Some(source) = sources.get(name) else {
        app.metrics().delivery_refused();
        app.pipeline().delivery_refused(None, "not-found", &format!("there is no source {name:?}")).await;
        return Err(Problem::not_found("source", name));
    };
    let read = async {
        // Who cannot name the token is not listened to any further.
        intake::check_credentials(source, headers, token)?;
        let body = collect(source, body).await?;
        let now = app.pipeline().clock().now();
        intake::check_signature(source, headers, &body, now)?;
        let alerts = intake::parse(source, headers, &body, now)?;
        Ok::<_, IntakeError>((body, alerts))
    };
    let (body, alerts) = match read.await {
        Ok(read) => read,
        Err(error) => {
            app.metrics().delivery_refused();
            app.pipeline().delivery_refused(Some(name), error.code(), &error.to_string()).await;
            return Err(problem(&error));
        }
    };
    app.metrics().received(alerts.len());
    if alerts.is_empty() {
        return Ok(Vec::new());
    }
    Ok(app.pipeline().receive(name, body, alerts).await?)
}

/// Reads the body, at most as much as the source takes.
async fn collect(source: &Source, body: Body) -> Result<Bytes, IntakeError> {
    let limit = source.limits().body;
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(IntakeError::TooLarge { size: limit.saturating_add(1), limit })
        }
        Err(_) => Err(IntakeError::NotJson { message: "the body broke off".to_owned(), line: 1, column: 1 }),
    }
}

fn problem(error: &IntakeError) -> Problem {
    let problem = Problem::new(error.status(), error.code(), error.to_string());
    match error.location() {
        Some(location) => problem.at(location),
        None => problem,
    }
}

/// Filters of the alerts' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertQuery {
    /// `firing`, `resolved` or `stale`.
    status: Option<String>,
    /// The source's name.
    source: Option<String>,
    /// The fingerprint.
    fingerprint: Option<String>,
    /// The label `alertname`.
    alertname: Option<String>,
    /// Only alerts that fire and lead nowhere, each with its reason in `unanswered`.
    unanswered: Option<bool>,
    /// How long a run may wait before its alert is unanswered, as in `30m`, which it is when absent.
    patience: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(AlertQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<AlertQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    if let Some(status) =
        query.status.as_deref().filter(|word| !["firing", "resolved", "stale"].contains(word))
    {
        let detail = format!("status: {status:?} is none; valid are firing, resolved, stale");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("status"));
    }
    let patience = patience(query.patience.as_deref())?;
    let wants_unanswered = query.unanswered == Some(true);
    if wants_unanswered && query.status.as_deref().is_some_and(|status| status != "firing") {
        let detail = "status: only what fires can be unanswered";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("status"));
    }
    let listing = Listing {
        state: query.status,
        keys: [query.source, query.fingerprint, query.alertname],
        after: cursor::<AlertId>(query.after.as_deref())?,
        limit: runs::limit(query.limit)?,
    };
    if wants_unanswered {
        let listed = app.pipeline().unanswered(listing, patience).await?;
        let items = listed.items.iter().map(|(record, reason)| shapes::unanswered(record, reason));
        let next = listed.next.map(|cursor| cursor.to_string());
        return Ok(Json(Page { items: items.collect(), next }));
    }
    let listed = app.pipeline().alerts(listing).await?;
    Ok(Json(Page {
        items: listed.items.iter().map(shapes::alert).collect(),
        next: listed.next.map(|cursor| cursor.to_string()),
    }))
}

fn patience(text: Option<&str>) -> Result<TimeDelta, Problem> {
    let Some(text) = text else { return Ok(PATIENCE) };
    let wrong = |message: String| {
        let detail = format!("patience: {message}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("patience")
    };
    let patience = duration::parse(text).map_err(|error| wrong(error.to_string()))?;
    TimeDelta::from_std(patience).map_err(|error| wrong(error.to_string()))
}

/// One alert.
#[utoipa::path(get, path = "/v1/alerts/{id}", tag = "alerts",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let record = app.pipeline().alert(&parse(&id)?).await?;
    record.map(|record| Json(shapes::alert(&record))).ok_or_else(|| Problem::not_found("alert", &id))
}

fn parse(id: &str) -> Result<AlertId, Problem> {
    id.parse().map_err(|_| Problem::not_found("alert", id))
}

/// Why it ran, or why not: the decision trace of the alert and of its runs.
#[utoipa::path(get, path = "/v1/alerts/{id}/why", tag = "alerts",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn why(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let pipeline = app.pipeline();
    let Some(record) = pipeline.alert(&parse(&id)?).await? else {
        return Err(Problem::not_found("alert", &id));
    };
    let mut of_runs = Vec::new();
    for run in &record.runs {
        of_runs.extend(pipeline.run(run).await?);
    }
    let mut halted = Vec::new();
    for run in &record.runs {
        halted.extend(pipeline.halted_now(run).await);
    }
    let of_runs: Vec<_> = of_runs.iter().flat_map(|run| &run.decisions).collect();
    let mut decisions = shapes::trace(&record.decisions, &of_runs);
    decisions.extend(&halted);
    let runs: Vec<String> = record.runs.iter().map(ToString::to_string).collect();
    Ok(Json(shapes::why(Some(record.id.as_str()), &decisions, &runs)))
}
