//! Runs in the hands of people: taken over, let through by breaking the glass, and the reasons that are owed for it.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use staunch_core::policy::{Object, PersonAction};
use staunch_core::run::Passes;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::{CommentRequest, body, cursor, digest, find, limit, shown};
use super::shapes::{self, Page, RunShape};
use crate::pipeline::views::JustificationId;
use crate::pipeline::{Broken, JustificationQuery};

/// A takeover.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeoverRequest {
    /// What they say.
    comment: Option<String>,
    /// Whether the run is kept as it is, to be given back; else it comes to its end.
    #[serde(default)]
    hold: bool,
}

/// Ends a run because a person does it by hand: it does no further effect. Where something was done, the probes say
/// how it ended. With `hold`, one that waits or is parked is kept as it is, and can be given back.
#[utoipa::path(post, path = "/v1/runs/{id}/takeover", tag = "runs", request_body = TakeoverRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn takeover(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<TakeoverRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::TakeOver).await?;
    let TakeoverRequest { comment, hold } = body(request)?;
    let run = app.pipeline().take_over(&run.id, caller.0, comment, hold).await?;
    Ok(Json(shapes::run(&run)))
}

/// Gives back a run that somebody took over with `hold`: it is planned anew, and asks anew.
#[utoipa::path(post, path = "/v1/runs/{id}/give-back", tag = "runs", request_body = CommentRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn give_back(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<CommentRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::TakeOver).await?;
    let run = app.pipeline().give_back(&run.id, caller.0, body(request)?.comment).await?;
    Ok(Json(shown(&app, &run)))
}

/// A glass to be broken.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GlassRequest {
    /// The digest of the plan that was shown.
    plan: String,
    /// Why it cannot wait: a second person reviews it.
    reason: String,
    /// `freeze` or `quorum`: what is to be passed; whatever of both holds the run when absent.
    #[schema(value_type = Option<String>)]
    passes: Option<Passes>,
}

/// Lets a run act without the approvals that it lacks, for exactly the plan that was shown, and through a change
/// freeze. Halts, maintenance and silences hold.
#[utoipa::path(post, path = "/v1/runs/{id}/break-glass", tag = "runs", request_body = GlassRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn break_glass(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Result<Json<GlassRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &id, PersonAction::BreakGlass).await?;
    let GlassRequest { plan, reason, passes } = body(request)?;
    let broken = Broken { plan: digest(&plan)?, reason, only: passes };
    let run = app.pipeline().break_glass(&run.id, caller.0, broken).await?;
    Ok(Json(shown(&app, &run)))
}

/// Filters of the justifications' listing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JustificationFilter {
    /// `owed` (when absent) or `reviewed`.
    state: Option<String>,
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// Why somebody broke the glass: what a second person has to review yet, or what was reviewed. Newest first.
#[utoipa::path(get, path = "/v1/justifications", tag = "runs", params(JustificationFilter),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn justifications(
    State(app): State<App>,
    caller: Caller,
    Asked(filter): Asked<JustificationFilter>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let which = match filter.state.as_deref() {
        None | Some("owed") => JustificationQuery::Owed,
        Some("reviewed") => JustificationQuery::Reviewed,
        Some(other) => {
            let detail = format!("state: {other:?} is no state; valid are owed, reviewed");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("state"));
        }
    };
    let (after, limit) = (cursor::<JustificationId>(filter.after.as_deref())?, limit(filter.limit)?);
    let listed = app.pipeline().justifications(which, after, limit).await?;
    let items = listed.items.iter().map(shapes::justification).collect();
    Ok(Json(Page { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// What a second person found.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewRequest {
    /// What they found.
    comment: String,
    /// Whether it was justified.
    #[serde(default = "yes")]
    justified: bool,
}

fn yes() -> bool {
    true
}

/// Reviews why others broke the glass for a run, also when it has ended.
#[utoipa::path(post, path = "/v1/justifications/{run}/review", tag = "runs", request_body = ReviewRequest,
    responses((status = 200, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn review(
    State(app): State<App>,
    caller: Caller,
    Path(run): Path<String>,
    request: Result<Json<ReviewRequest>, JsonRejection>,
) -> Result<Json<RunShape>, Problem> {
    let run = find(&app, &caller, &run, PersonAction::Review).await?;
    let ReviewRequest { comment, justified } = body(request)?;
    let run = app.pipeline().review(&run.id, caller.0, justified, comment).await?;
    Ok(Json(shown(&app, &run)))
}
