//! Installed plugins, and their installation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use staunch_core::policy::{Autonomy, Object, PersonAction, Standing};
use utoipa::ToSchema;

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::runs::body;
use super::shapes::{self, Page, RunShape};
use crate::causes::chain;
use crate::install::{InstallError, InstallRequest, install as install_plugin};
use crate::pipeline::plugins::Plugins;
use crate::pipeline::standings::Hand;
use crate::pipeline::views::PluginRecord;
use crate::pipeline::{Listing, PluginRunRequest, ReadError};
use crate::plugin::trust::{Candidate, verify};

fn shown(plugins: &Plugins, record: &PluginRecord) -> Value {
    let loaded = plugins.exactly(&record.name, record.digest);
    let manifest = loaded.as_ref().ok().map(|loaded| loaded.verified().manifest().clone());
    json!({
        "name": record.name,
        "version": record.version,
        "release": record.release,
        "digest": record.digest,
        "signers": record.signers,
        "signed_by": plugins.holders(&record.signers),
        "standing": record.standing.as_str(),
        "in_force": record.record.in_force().as_str(),
        "installed_at": record.installed_at,
        "kind": manifest.as_ref().map(|manifest| manifest.kind.as_str()),
        "description": manifest.as_ref().map(|manifest| manifest.description.clone()),
        "effects": manifest.as_ref().map(|manifest| manifest.effects.as_str()),
        "replaced_by": manifest.as_ref().and_then(|manifest| manifest.replaced_by.clone()),
        "capabilities": manifest.as_ref().map(|manifest| json!(manifest.capabilities)),
        "genuine": loaded.is_ok(),
        "problem": loaded.err().map(|reason| json!(reason)),
    })
}

/// All installed plugins.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins",
    responses((status = 200, body = Page), (status = 401, body = Problem)))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let plugins = app.pipeline().plugins();
    let items = plugins.records().iter().map(|record| shown(plugins, record)).collect();
    Ok(Json(Page { items, next: None }))
}

/// One plugin, with its last runs.
#[utoipa::path(get, path = "/v1/plugins/{name}", tag = "plugins",
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let plugins = app.pipeline().plugins();
    let record = plugins.record(&name).ok_or_else(|| Problem::not_found("plugin", &name))?;
    let listing = Listing { keys: [None, Some(name), None], limit: 10, ..Listing::default() };
    let runs = app.pipeline().runs(listing).await?;
    let mut shape = shown(plugins, &record);
    let mut trust = json!(app.pipeline().standing(&record.name));
    if let Value::Object(members) = &mut trust {
        members.insert("observed".to_owned(), json!(app.pipeline().observed(&record.name).await?));
    }
    if let Value::Object(members) = &mut shape {
        members.insert("trust".to_owned(), trust);
        let last = runs.items.iter().map(|run| {
            json!({ "id": run.id, "runbook": run.runbook, "target": run.target, "state": run.state, "outcome": run.outcome })
        });
        members.insert("last_runs".to_owned(), last.collect());
    }
    Ok(Json(shape))
}

/// Installs a plugin: multipart with `component` and `envelope`; `standing` and `reason` where it is not to
/// begin with the initial standing.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins",
    request_body(content = Object, content_type = "multipart/form-data"),
    responses((status = 201, body = Object), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn install(
    State(app): State<App>,
    caller: Caller,
    multipart: Multipart,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(&app, PersonAction::Install, Object::System)?;
    let mut request = read(multipart).await?;
    request.by = caller.0.name.clone();
    if request.standing.is_some() {
        // More standing than a new plugin gets is a reinstatement in all but name.
        caller.may(&app, PersonAction::Reinstate, Object::System)?;
    }
    let installed = install_plugin(app.pipeline(), request).await.map_err(|error| match error {
        InstallError::Refused { code, message } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
        }
        InstallError::Pipeline(refusal) => refusal.into(),
    })?;
    Ok((StatusCode::CREATED, Json(json!(installed))))
}

/// Runs one plugin once from the shell: multipart with `component`, `envelope` and `request` (JSON). The
/// signature must satisfy the trust policy, and every gate is passed as by any run.
#[utoipa::path(post, path = "/v1/plugins/run", tag = "plugins",
    request_body(content = Object, content_type = "multipart/form-data"),
    responses((status = 202, body = RunShape), (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn run(
    State(app): State<App>,
    caller: Caller,
    multipart: Multipart,
) -> Result<(StatusCode, Json<RunShape>), Problem> {
    caller.may(&app, PersonAction::Start, Object::Runbook("plugin-run", Some(Autonomy::Approve)))?;
    let request = read(multipart).await?;
    let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail);
    let asked: PluginRunRequest = serde_json::from_str(request.request.as_deref().unwrap_or_default())
        .map_err(|error| wrong(format!("request: {error}")))?;
    if let Some(target) = &asked.target {
        // Now that it is known what it is about.
        let target = app.pipeline().rules().config.hosts.canonical(target);
        let (runbook, autonomy, labels) = ("plugin-run", Some(Autonomy::Approve), &BTreeMap::new());
        caller.may(
            &app,
            PersonAction::Start,
            Object::Run { runbook, autonomy, target: Some(&target), labels },
        )?;
    }
    let now = app.pipeline().clock().now();
    let candidate =
        Candidate { file: "component", component: &request.component, envelope: &request.envelope };
    let verified = app
        .pipeline()
        .plugins()
        .with_set(|set| verify(&candidate, &set.trust, None, now))
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "signature", chain(&error)))?;
    let run = app.pipeline().run_plugin(caller.0, verified, asked).await?;
    Ok((StatusCode::ACCEPTED, Json(shapes::run(&run))))
}

/// Why a person moves a plugin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// Why.
    #[schema(value_type = String, required)]
    #[serde(default)]
    reason: Value,
    /// To `automatic`: how many runs need approval still; else as `standing.canary` of the configuration says.
    canary: Option<u32>,
}

/// Puts a plugin one step up: from out of the ladder to `observe`, then `approve`, then `automatic`, where its first
/// runs need approval still.
#[utoipa::path(post, path = "/v1/plugins/{name}/reinstate", tag = "plugins", request_body = MoveBody,
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn reinstate(
    state: State<App>,
    caller: Caller,
    name: Path<String>,
    request: Result<Json<MoveBody>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    by_hand(state, caller, name, request, Hand::Reinstate(None), PersonAction::Reinstate).await
}

/// Takes a plugin out of service: what it would do next is not done.
#[utoipa::path(post, path = "/v1/plugins/{name}/revoke", tag = "plugins", request_body = MoveBody,
    responses((status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn revoke(
    state: State<App>,
    caller: Caller,
    name: Path<String>,
    request: Result<Json<MoveBody>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    by_hand(state, caller, name, request, Hand::Revoke, PersonAction::Revoke).await
}

async fn by_hand(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    request: Result<Json<MoveBody>, JsonRejection>,
    hand: Hand,
    action: PersonAction,
) -> Result<Json<Value>, Problem> {
    let request = body(request)?;
    caller.may(&app, action, Object::System)?;
    let hand = match (hand, request.canary) {
        (Hand::Reinstate(_), canary) => Hand::Reinstate(canary),
        (Hand::Revoke, None) => Hand::Revoke,
        (Hand::Revoke, Some(_)) => {
            let detail = "canary: only what is reinstated has runs that need approval first";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail).at("canary"));
        }
    };
    let reason = request.reason.as_str().unwrap_or_default();
    let report = app.pipeline().move_plugin(&name, hand, &caller.0.name, reason).await?;
    Ok(Json(json!(report)))
}

async fn read(mut multipart: Multipart) -> Result<InstallRequest, Problem> {
    let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail);
    let mut component: Option<Bytes> = None;
    let mut envelope: Option<Bytes> = None;
    let mut request = InstallRequest::default();
    while let Some(field) = multipart.next_field().await.map_err(|error| wrong(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field
            .bytes()
            .await
            .map_err(|error| Problem::new(error.status(), "wrong-shape", error.body_text()))?;
        let text = || String::from_utf8_lossy(&bytes).trim().to_owned();
        match name.as_str() {
            "component" => component = Some(bytes),
            "envelope" => envelope = Some(bytes),
            "reason" => request.reason = Some(text()),
            "request" => request.request = Some(text()),
            "allow_downgrade" => request.allow_downgrade = text() == "true",
            "standing" => {
                let word = text();
                let known = Standing::WORDS.iter().take(3).find(|(known, _)| *known == word);
                let message = format!("standing: {word:?} is none; valid are observe, approve, automatic");
                request.standing = Some(known.ok_or_else(|| wrong(message))?.1);
            }
            _ => {
                return Err(wrong(format!(
                    "{name}: no such part; valid are component, envelope, standing, reason, allow_downgrade, request"
                )));
            }
        }
    }
    request.component =
        component.ok_or_else(|| wrong("component: the plugin's bytes are missing".to_owned()))?;
    request.envelope =
        envelope.ok_or_else(|| wrong("envelope: the signature envelope is missing".to_owned()))?;
    Ok(request)
}

impl From<crate::journal::JournalError> for Problem {
    fn from(error: crate::journal::JournalError) -> Self {
        ReadError::from(error).into()
    }
}
