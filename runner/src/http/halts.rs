//! The kill switch: thrown, listed, released.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::halt::{HaltError, Scope, reason};
use staunch_core::id::HaltId;
use staunch_core::policy::{Object, PersonAction};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::{body, cursor, limit};
use super::shapes::{self, Page};
use crate::pipeline::Listing;
use crate::pipeline::halts::{FILE_ID, HaltRequest, Which};
use crate::pipeline::views::IN_FORCE;

/// A halt to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HaltBody {
    /// `"all"`, `{"runbook": NAME}`, `{"plugin": NAME}` or `{"target": NAME}`.
    #[schema(value_type = serde_json::Value, required)]
    #[serde(default)]
    scope: Value,
    /// Why.
    #[schema(value_type = String, required)]
    #[serde(default)]
    reason: Value,
}

/// A halt.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HaltShape {
    /// Its id; `file` for the file `HALT` in the data folder.
    id: String,
    /// `"all"`, `{"runbook": NAME}`, `{"plugin": NAME}` or `{"target": NAME}`.
    scope: Value,
    /// Why.
    reason: String,
    /// Who.
    by: String,
    /// When.
    created_at: chrono::DateTime<chrono::Utc>,
    /// Where it covers nothing yet: that it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Filters of the halts' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HaltQuery {
    /// `in-force`, `released` or `all`; `in-force` when absent.
    state: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Halts, newest first; the file `HALT` in the data folder is listed as the halt `file`.
#[utoipa::path(get, path = "/v1/halts", tag = "halts", params(HaltQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<HaltQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let which = query.state.as_deref().unwrap_or(IN_FORCE);
    let which =
        Which::WORDS.iter().find(|(word, _)| *word == which).map(|(_, which)| *which).ok_or_else(|| {
            let valid = Which::WORDS.map(|(word, _)| word).join(", ");
            wrong("state", &format!("{which:?} is none; valid are {valid}"))
        })?;
    let with_file = which != Which::Released && query.after.is_none();
    let listing = Listing {
        state: which.state(),
        after: cursor::<HaltId>(query.after.as_deref())?,
        limit: limit(query.limit)?,
        ..Listing::default()
    };
    let listed = app.pipeline().halts(listing).await?;
    let file = app.pipeline().halt_file().filter(|_| with_file);
    let items = file.iter().map(shapes::file_halt).chain(listed.items.iter().map(|halt| json!(halt)));
    Ok(Json(Page { items: items.collect(), next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Halts: when this is answered, nothing more that it covers acts, and a restart does not change that.
#[utoipa::path(post, path = "/v1/halts", tag = "halts", request_body = HaltBody,
    responses((status = 201, body = HaltShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Result<Json<HaltBody>, JsonRejection>,
) -> Result<(StatusCode, Json<HaltShape>), Problem> {
    let request = body(request)?;
    let scope = Scope::from_json(&request.scope).map_err(|error| refusal(&error))?;
    caller.may(&app, PersonAction::Halt, Object::Scope(&scope.to_string()))?;
    let reason = reason(request.reason.as_str().unwrap_or_default()).map_err(|error| refusal(&error))?;
    let halt = app.pipeline().halt(HaltRequest { scope, reason }, &caller.0.name).await?;
    let note = app.pipeline().covers_nothing_yet(&halt.scope);
    let shape = HaltShape {
        id: halt.id.to_string(),
        scope: json!(halt.scope),
        reason: halt.reason,
        by: halt.by,
        created_at: halt.created_at,
        note,
    };
    Ok((StatusCode::CREATED, Json(shape)))
}

fn wrong(field: &'static str, message: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", format!("{field}: {message}")).at(field)
}

fn refusal(error: &HaltError) -> Problem {
    wrong(error.field(), &error.to_string())
}

/// What may be said with a release.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseQuery {
    /// Why.
    reason: Option<String>,
}

/// Ends a halt. What it held is asked again from the beginning before it acts. The halt `file` ends with its file.
#[utoipa::path(delete, path = "/v1/halts/{id}", tag = "halts", params(ReleaseQuery),
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn release(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Asked(query): Asked<ReleaseQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let missing = || Problem::not_found("halt in force", &id);
    if id == FILE_ID {
        caller.may(&app, PersonAction::Release, Object::Scope(&Scope::All.to_string()))?;
        let file = app.pipeline().halt_file().ok_or_else(missing)?;
        let detail = format!("this halt is the file {}: remove the file to end it", file.path.display());
        return Err(Problem::new(StatusCode::CONFLICT, "halt", detail));
    }
    let halt_id: HaltId = id.parse().map_err(|_| missing())?;
    let halt = app.pipeline().halt_in_force(&halt_id).ok_or_else(missing)?;
    caller.may(&app, PersonAction::Release, Object::Scope(&halt.scope.to_string()))?;
    let why = query.reason.as_deref().map(reason).transpose().map_err(|error| refusal(&error))?;
    let released = app.pipeline().release(&halt_id, &caller.0.name, why).await?;
    Ok(Json(json!(released)))
}
