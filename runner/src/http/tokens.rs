//! Access tokens: made, listed, revoked.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use staunch_core::id::TokenId;
use staunch_core::policy::{Object, PersonAction};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use super::runs::{body, cursor, limit};
use super::shapes::{self, Page};
use crate::people::{TokenRecord, check_token_request};
use crate::pipeline::Listing;

/// Which tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenQuery {
    /// The last page's `next`.
    after: Option<String>,
    /// 1 to 500; 50 when absent.
    limit: Option<u32>,
}

/// All tokens, newest first, without what they are.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(TokenQuery),
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<TokenQuery>,
) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::ManageTokens, Object::System)?;
    let listing = Listing {
        after: cursor::<TokenId>(query.after.as_deref())?,
        limit: limit(query.limit)?,
        ..Listing::default()
    };
    let listed = app.pipeline().list_tokens(listing).await?;
    Ok(Json(Page {
        items: listed.items.iter().map(|record| shown(&app, record)).collect(),
        next: listed.next.map(|c| c.to_string()),
    }))
}

fn shown(app: &App, record: &TokenRecord) -> Value {
    shapes::token(record, app.pipeline().tokens().last_use(&record.id))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// Whose it is.
    name: String,
    /// `reader operator author auditor administrator`.
    roles: Vec<String>,
    /// When it ends to be good; never, when absent.
    expires: Option<DateTime<Utc>>,
}

/// Makes a token. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, body = Object), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<Value>), Problem> {
    caller.may(&app, PersonAction::ManageTokens, Object::System)?;
    let TokenRequest { name, roles, expires } = body(request)?;
    check_token_request(&name, &roles)
        .map_err(|message| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", message))?;
    let (record, token) = app.pipeline().create_token(&name, roles, expires, &caller.0.name).await?;
    let answer = json!({ "id": record.id, "name": record.name, "token": token, "expires": record.expires });
    // Nobody on the way stores it, and neither does the daemon for a repeated request.
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer)))
}

/// Takes a token back.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::ManageTokens, Object::System)?;
    let token = id.parse().map_err(|_| Problem::not_found("token", &id))?;
    let record = app.pipeline().revoke_token(&token, &caller.0.name).await?;
    Ok(Json(shown(&app, &record)))
}
