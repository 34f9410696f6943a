//! Silences: made, listed, ended.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use staunch_core::id::SilenceId;
use staunch_core::policy::{Object, PersonAction, duration};
use staunch_core::silence::{Matchers, Silence};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::{body, cursor, limit};
use super::shapes::Page;
use crate::pipeline::Listing;
use crate::pipeline::silences::{MAX_COMMENT, STATES, SilenceRequest};

/// A silence to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SilenceBody {
    /// Matchers over labels in Alertmanager's syntax: `alertname="DiskFull"`, `env=~"test|stage"`. All must fit.
    matchers: Vec<String>,
    /// Its first instant; now when absent.
    starts_at: Option<DateTime<Utc>>,
    /// The first instant after it; this or `duration`.
    ends_at: Option<DateTime<Utc>>,
    /// How long it lasts from its first instant on, as in `2h`; this or `ends_at`.
    duration: Option<String>,
    /// Why.
    comment: String,
}

/// Filters of the silences' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SilenceQuery {
    /// `active`, `pending`, `expired` or `all`; those that have not ended when absent.
    state: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

fn shape(silence: &Silence, now: DateTime<Utc>) -> Value {
    let mut shape = json!(silence);
    if let Value::Object(members) = &mut shape {
        members.insert("state".to_owned(), json!(silence.state(now)));
    }
    shape
}

fn wrong(field: &'static str, message: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", format!("{field}: {message}")).at(field)
}

/// The instant at which the silence ends.
fn end(request: &SilenceBody, starts_at: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
    match (request.ends_at, &request.duration) {
        (Some(ends_at), None) => Ok(ends_at),
        (None, Some(text)) => {
            let length = duration::parse(text).map_err(|error| wrong("duration", &error.to_string()))?;
            let length = TimeDelta::from_std(length).ok();
            let end = length.and_then(|length| starts_at.checked_add_signed(length));
            end.ok_or_else(|| wrong("duration", "it ends later than any time that can be written"))
        }
        (Some(_), Some(_)) => Err(wrong("duration", "give either ends_at or duration, not both")),
        (None, None) => Err(wrong("ends_at", "say when it ends: ends_at, or duration as in 2h")),
    }
}

/// Silences, newest first. Those that ended stay listed for a week.
#[utoipa::path(get, path = "/v1/silences", tag = "silences", params(SilenceQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<SilenceQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let words = STATES.map(|(word, _)| word);
    let state = query.state.as_deref().filter(|state| *state != "all");
    if let Some(state) = state.filter(|state| !words.contains(state)) {
        let message = format!("{state:?} is none; valid are {}, all", words.join(", "));
        return Err(wrong("state", &message));
    }
    let listing = Listing {
        state: state.map(str::to_owned),
        after: cursor::<SilenceId>(query.after.as_deref())?,
        limit: limit(query.limit)?,
        ..Listing::default()
    };
    let listed = app.pipeline().silences(&listing, query.state.is_none());
    let now = app.pipeline().clock().now();
    let items = listed.items.iter().map(|silence| shape(silence, now)).collect();
    Ok(Json(Page { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Makes a silence: alerts with these labels are recorded, start nothing, and are taken up when it ends.
#[utoipa::path(post, path = "/v1/silences", tag = "silences", request_body = SilenceBody,
    responses((status = 201, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Result<Json<SilenceBody>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(&app, PersonAction::Silence, Object::System)?;
    let request = body(request)?;
    let now = app.pipeline().clock().now();
    let starts_at = request.starts_at.unwrap_or(now);
    let ends_at = end(&request, starts_at)?;
    if request.comment.len() > MAX_COMMENT {
        return Err(wrong("comment", &format!("it has more than {MAX_COMMENT} bytes")));
    }
    let matchers =
        Matchers::parse(&request.matchers).map_err(|error| wrong("matchers", &error.to_string()))?;
    let silence = SilenceRequest { matchers, starts_at, ends_at, comment: request.comment };
    let silence = app.pipeline().silence(silence, &caller.0.name).await?;
    Ok((StatusCode::CREATED, Json(shape(&silence, now))))
}

/// Ends a silence before its time. What it kept quiet and still fires is taken up.
#[utoipa::path(delete, path = "/v1/silences/{id}", tag = "silences",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn expire(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Silence, Object::System)?;
    let silence: SilenceId = id.parse().map_err(|_| Problem::not_found("silence", &id))?;
    let silence = app.pipeline().unsilence(&silence, &caller.0.name).await?;
    Ok(Json(shape(&silence, app.pipeline().clock().now())))
}
