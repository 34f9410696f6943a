//! The journal for auditors: proofs, entries, and the whole of it as a C2SP tiled log.

use axum::Json;
use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use staunch_core::id::push_hex;
use staunch_core::policy::{Object, PersonAction};
use staunch_core::tlog::{Hash, TilePath};
use utoipa::IntoParams;

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::query::Asked;
use crate::journal::MAX_PAGE;
use crate::pipeline::ReadError;

/// Most entries in one answer.
const MAX_ENTRIES: u64 = 1000;

fn text(bytes: impl Into<bytes::Bytes>, cache: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, cache)];
    (headers, bytes.into()).into_response()
}

/// The latest signed checkpoint: C2SP bytes.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn checkpoint(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    Ok(text(app.pipeline().journal().checkpoint().note, "no-cache"))
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesQuery {
    /// The first index; 0 when absent.
    #[serde(default)]
    from: u64,
    /// Behind the last index; at most 1,000 further than `from`.
    to: Option<u64>,
}

/// Leaves of the journal, as they are.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(EntriesQuery),
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn entries(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<EntriesQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let journal = app.pipeline().journal();
    let size = journal.size();
    let to = query.to.unwrap_or(size).min(size).min(query.from.saturating_add(MAX_ENTRIES));
    let entries = journal.entries(query.from, to, MAX_PAGE).await.map_err(ReadError::from)?;
    let items: Vec<Value> = entries
        .iter()
        .map(|entry| json!({ "index": entry.index, "leaf": STANDARD.encode(&entry.leaf) }))
        .collect();
    Ok(Json(json!({ "items": items, "size": size })))
}

/// Which inclusion proof.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionQuery {
    /// The entry.
    index: u64,
    /// The tree; the latest one when absent.
    size: Option<u64>,
}

/// That an entry is in a tree (RFC 6962, section 2.1.1).
#[utoipa::path(get, path = "/v1/audit/inclusion", tag = "audit", params(InclusionQuery),
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn inclusion(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<InclusionQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let journal = app.pipeline().journal();
    let latest = journal.size();
    let size = query.size.unwrap_or(latest);
    if size > latest || query.index >= size {
        let detail = format!("index and size: index < size <= {latest} is valid");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("index"));
    }
    let hashes = journal.inclusion(query.index, size).await.map_err(ReadError::from)?;
    Ok(Json(json!({ "index": query.index, "size": size, "hashes": hex(&hashes) })))
}

/// Which consistency proof.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    /// The smaller tree.
    from: u64,
    /// The larger tree; the latest one when absent.
    to: Option<u64>,
}

/// That a tree is the beginning of another (RFC 6962, section 2.1.2).
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "audit", params(ConsistencyQuery),
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn consistency(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<ConsistencyQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let journal = app.pipeline().journal();
    let latest = journal.size();
    let to = query.to.unwrap_or(latest);
    if to > latest || query.from > to {
        let detail = format!("from and to: from <= to <= {latest} is valid");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("from"));
    }
    // Every tree begins with the empty one: there is nothing to prove.
    if query.from == 0 {
        return Ok(Json(json!({ "from": 0, "to": to, "hashes": [] })));
    }
    let hashes = journal.consistency(query.from, to).await.map_err(ReadError::from)?;
    Ok(Json(json!({ "from": query.from, "to": to, "hashes": hex(&hashes) })))
}

fn hex(hashes: &[Hash]) -> Vec<String> {
    hashes
        .iter()
        .map(|hash| {
            let mut digits = String::with_capacity(64);
            push_hex(&mut digits, &hash.0);
            digits
        })
        .collect()
}

/// The journal as a C2SP tiled log: `checkpoint`, `tile/...`, `tile/entries/...`, and `log.vkey`.
#[utoipa::path(get, path = "/log/{*path}", tag = "audit",
    responses((status = 200, content_type = "application/octet-stream"), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn log(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    if !app.pipeline().rules().config.public.log {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &app).await?;
        caller.may(&app, PersonAction::Read, Object::System)?;
    }
    let journal = app.pipeline().journal();
    let missing = || Problem::not_found("file of the log", &path);
    match path.as_str() {
        "checkpoint" => Ok(text(journal.checkpoint().note, "no-cache")),
        "log.vkey" => Ok(text(format!("{}\n", journal.verifier_key()).into_bytes(), "no-cache")),
        _ => {
            let tile = match TilePath::parse(&path) {
                Some(path) => journal.tile(path).await.map_err(ReadError::from)?,
                None => None,
            };
            let mut response = tile.ok_or_else(missing)?.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            // A tile never changes: a longer one has another name.
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=31536000, immutable"));
            Ok(response)
        }
    }
}

/// Where an export goes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportRequest {
    /// A directory of the daemon's host, absolute; it must be empty or not exist.
    to: String,
    /// Whether what came from outside goes along.
    #[serde(default = "yes")]
    payloads: bool,
}

fn yes() -> bool {
    true
}

/// Writes the whole log into a directory of the daemon's host.
#[utoipa::path(post, path = "/v1/audit/export", tag = "audit", request_body = ExportRequest,
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    request: Result<Json<ExportRequest>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Export, Object::System)?;
    let request = super::runs::body(request)?;
    let to = std::path::Path::new(&request.to);
    if !to.is_absolute() {
        let detail = "to: an absolute path of the daemon's host is valid";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("to"));
    }
    let journal = app.pipeline().journal();
    let exported = journal.export(to, request.payloads, |_| ()).await.map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "export", crate::causes::chain(&error)).at("to")
    })?;
    Ok(Json(json!({ "size": exported.size, "to": request.to })))
}

/// Proofs that the entries of a run, or one entry, are in the log: C2SP `tlog-proof` texts.
#[utoipa::path(get, path = "/v1/audit/prove/{what}", tag = "audit",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn prove(
    State(app): State<App>,
    caller: Caller,
    Path(what): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let journal = app.pipeline().journal();
    let indices = match what.parse::<u64>() {
        Ok(index) => vec![index],
        Err(_) => journal.run_indices(&what).await.map_err(ReadError::from)?,
    };
    if indices.is_empty() || indices.iter().any(|index| *index >= journal.size()) {
        return Err(Problem::not_found("run or entry", &what));
    }
    let proofs = journal.prove(&indices).await.map_err(ReadError::from)?;
    let items: Vec<Value> =
        proofs.iter().map(|proof| json!({ "index": proof.index, "proof": proof.to_string() })).collect();
    Ok(Json(json!({ "proofs": items })))
}
