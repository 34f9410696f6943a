//! Circuit breakers: listed, opened and closed by hand.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::breaker::{Breaker, State as BreakerState};
use staunch_core::policy::{Object, PersonAction};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::{body, limit};
use super::shapes::Page;
use crate::pipeline::breakers::{Hand, Whose};

/// A circuit breaker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BreakerShape {
    /// `PLUGIN@TARGET`; `PLUGIN` for the one of a plugin at all targets; `probe:ENDPOINT` for one of probes.
    id: String,
    /// The plugin; `null`: it is one of probes.
    plugin: Option<String>,
    /// What probes look at: `http://HOST:PORT`, `tcp://HOST:PORT` or `service://HOST`.
    probe: Option<String>,
    /// The target; `null`: all of them together.
    target: Option<String>,
    /// `closed`, `open` or `half-open`.
    state: &'static str,
    /// Why it opened.
    why: Option<String>,
    /// When it came into this state.
    since: Option<DateTime<Utc>>,
    /// When a trial is let through; `null` where it is open until a person closes it.
    until: Option<DateTime<Utc>>,
    /// The run that tries now.
    trial: Option<String>,
    /// How many trials in a row were good.
    good: Option<u32>,
    /// How many runs it remembers while it is closed.
    runs: usize,
    /// How many of those did not help.
    failures: usize,
}

fn shape(whose: &Whose, breaker: &Breaker) -> BreakerShape {
    let failures = breaker.results().filter(|result| !result.good).count();
    let mut shape = BreakerShape {
        id: whose.to_string(),
        plugin: whose.endpoint().is_none().then(|| whose.plugin.clone()),
        probe: whose.endpoint().map(str::to_owned),
        target: whose.target.clone().filter(|_| whose.endpoint().is_none()),
        state: breaker.state().as_str(),
        why: None,
        since: None,
        until: None,
        trial: None,
        good: None,
        runs: breaker.results().count(),
        failures,
    };
    match breaker.state() {
        BreakerState::Closed {} => {}
        BreakerState::Open { since, until, why } => {
            (shape.since, shape.until, shape.why) = (Some(*since), *until, Some(why.clone()));
        }
        BreakerState::HalfOpen { since, good, trial, why } => {
            (shape.since, shape.good, shape.why) = (Some(*since), Some(*good), Some(why.clone()));
            shape.trial = trial.as_ref().map(ToString::to_string);
        }
    }
    shape
}

/// Filters of the breakers' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerQuery {
    /// Only those in this state: `closed`, `open` or `half-open`.
    state: Option<String>,
    /// Only those of this plugin.
    plugin: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Breakers that remember anything, by their names; every other one is closed.
#[utoipa::path(get, path = "/v1/breakers", tag = "breakers", params(BreakerQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<BreakerQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let most = limit(query.limit)? as usize;
    let mut shapes: Vec<BreakerShape> =
        app.pipeline().breakers().iter().map(|(whose, breaker)| shape(whose, breaker)).collect();
    shapes.sort_by(|a, b| a.id.cmp(&b.id));
    shapes.retain(|shape| {
        query.state.as_deref().is_none_or(|state| state == shape.state)
            && query.plugin.as_deref().is_none_or(|plugin| shape.plugin.as_deref() == Some(plugin))
            && query.after.as_deref().is_none_or(|after| shape.id.as_str() > after)
    });
    let more = shapes.len() > most;
    shapes.truncate(most);
    let next = shapes.last().filter(|_| more).map(|shape| shape.id.clone());
    Ok(Json(Page { items: shapes.iter().map(|shape| json!(shape)).collect(), next }))
}

/// Why a person opens or closes a breaker.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ByHand {
    /// Why.
    #[schema(value_type = String, required)]
    #[serde(default)]
    reason: Value,
}

/// Opens a breaker, until somebody closes it: `PLUGIN`, `PLUGIN@TARGET` or `probe:ENDPOINT`. Who may halt may do it.
#[utoipa::path(post, path = "/v1/breakers/{id}/trip", tag = "breakers", request_body = ByHand,
    responses((status = 200, body = BreakerShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn trip(
    state: State<App>,
    caller: Caller,
    id: Path<String>,
    request: Result<Json<ByHand>, JsonRejection>,
) -> Result<Json<BreakerShape>, Problem> {
    by_hand(state, caller, id, request, Hand::Trip, PersonAction::Halt).await
}

/// Closes a breaker; what was before no longer counts. Who may release halts may do it.
#[utoipa::path(post, path = "/v1/breakers/{id}/reset", tag = "breakers", request_body = ByHand,
    responses((status = 200, body = BreakerShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn reset(
    state: State<App>,
    caller: Caller,
    id: Path<String>,
    request: Result<Json<ByHand>, JsonRejection>,
) -> Result<Json<BreakerShape>, Problem> {
    by_hand(state, caller, id, request, Hand::Reset, PersonAction::Release).await
}

async fn by_hand(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<ByHand>, JsonRejection>,
    hand: Hand,
    action: PersonAction,
) -> Result<Json<BreakerShape>, Problem> {
    let request = body(request)?;
    let whose: Whose = id.parse().map_err(|()| Problem::not_found("breaker", &id))?;
    let scope = match whose.endpoint() {
        Some(endpoint) => format!("probe={endpoint}"),
        None => format!("plugin={}", whose.plugin),
    };
    caller.may(&app, action, Object::Scope(&scope))?;
    let reason = request.reason.as_str().unwrap_or_default();
    let (whose, breaker) = app.pipeline().breaker_by_hand(whose, hand, &caller.0.name, reason).await?;
    Ok(Json(shape(&whose, &breaker)))
}
