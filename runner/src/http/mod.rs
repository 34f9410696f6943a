//! Requests to the domain and back: routes, status codes, problem documents.
//!
//! Handlers translate, nothing more. Every route names the action that `people.cedar` decides over, and passes
//! [`auth::Caller`] before anything else. Never here: SQL, wasmtime, decisions.

mod alerts;
mod audit;
pub mod auth;
mod breakers;
mod by_hand;
mod events;
mod halts;
mod health;
mod idempotency;
mod limits;
mod plugins;
pub mod problem;
mod query;
mod runs;
mod schedules;
pub mod shapes;
mod silences;
mod storms;
mod surface;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Request, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi as _;

use crate::intake::Source;
use crate::people::oidc::Oidc;
use crate::pipeline::{Pipeline, ReadError, Refusal};
use idempotency::Answers;
use problem::Problem;
use surface::surface;

/// Longest that a request may take. Approving may plan anew, which the plugins' own deadlines bound.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Largest plugin that can be installed over HTTP, with its envelope.
const MAX_PLUGIN_UPLOAD: usize = 66 << 20;

/// Retry-After of refusals that pass by themselves, in seconds.
const RETRY_AFTER: u32 = 5;

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pipeline: Pipeline,
    sources: RwLock<Arc<BTreeMap<String, Arc<Source>>>>,
    identity: RwLock<Option<Arc<Oidc>>>,
    answers: Answers,
    metrics: health::Metrics,
}

impl App {
    /// An app over a pipeline, the configured alert sources, and who vouches for people beside the tokens.
    #[must_use]
    pub fn new(
        pipeline: Pipeline,
        sources: BTreeMap<String, Arc<Source>>,
        identity: Option<Arc<Oidc>>,
    ) -> Self {
        Self(Arc::new(Inner {
            pipeline,
            sources: RwLock::new(Arc::new(sources)),
            identity: RwLock::new(identity),
            answers: Answers::default(),
            metrics: health::Metrics::default(),
        }))
    }

    fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    fn sources(&self) -> Arc<BTreeMap<String, Arc<Source>>> {
        Arc::clone(&self.0.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn metrics(&self) -> &health::Metrics {
        &self.0.metrics
    }

    fn identity(&self) -> Option<Arc<Oidc>> {
        self.0.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other sources, and perhaps another identity provider, in force.
    pub fn reload(&self, sources: BTreeMap<String, Arc<Source>>, identity: Option<Arc<Oidc>>) {
        *self.0.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        *self.0.sources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
    }
}

surface! {
    /// The API's description.
    struct Api = info(
        title = "Staunch",
        description = "Signed, sandboxed plugins in answer to alerts: planned, gated, verified, journaled.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    );

    /// What senders deliver to: bodies are limited by their sources.
    routes deliveries:
        alerts::receive, alerts::receive_with_token, alerts::receive_alertmanager_api;

    /// What takes plugins.
    routes uploads:
        plugins::list, plugins::install, plugins::show, plugins::reinstate, plugins::revoke, plugins::run;

    /// All the rest.
    routes others:
        alerts::list, alerts::show, alerts::why,
        runs::list, runs::start, runs::show, runs::journal, runs::plan, runs::why, runs::approvals, runs::approve,
        runs::reject, runs::cancel, runs::settle,
        storms::list, storms::show, storms::approve, storms::reject,
        by_hand::takeover, by_hand::give_back, by_hand::break_glass, by_hand::justifications, by_hand::review,
        tokens::list, tokens::create, tokens::revoke,
        halts::list, halts::create, halts::release,
        silences::list, silences::create, silences::expire,
        schedules::list, limits::list, breakers::list, breakers::trip, breakers::reset,
        audit::checkpoint, audit::entries, audit::inclusion, audit::consistency, audit::export, audit::prove,
        audit::log,
        events::stream, health::livez, health::readyz, health::metrics, health::root;
}

/// A delivery that is repeated is known by its alerts, all else by the key that it may have.
fn routes(app: &App) -> Router<App> {
    let keyed = uploads().layer(DefaultBodyLimit::max(MAX_PLUGIN_UPLOAD)).merge(others());
    deliveries().merge(keyed.layer(middleware::from_fn_with_state(app.clone(), idempotency::layer)))
}

/// The OpenAPI 3.1 document, as JSON.
#[must_use]
pub fn openapi() -> String {
    Api::openapi().to_pretty_json().unwrap_or_default()
}

/// The whole HTTP surface.
pub fn router(app: App) -> Router {
    // Few ask for it, and it is long: it is made anew each time.
    let openapi = || async { ([(axum::http::header::CONTENT_TYPE, "application/json")], openapi()) };
    routes(&app)
        .route("/openapi.json", axum::routing::get(openapi))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(own_words))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

async fn not_found(uri: axum::http::Uri) -> Problem {
    Problem::not_found("page", uri.path())
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this path does not take that method; see /openapi.json",
    )
}

fn panicked(_payload: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request broke; the log tells more")
        .into_response()
}

/// Turns refusals that axum made itself (bad path, query or body) into problem documents.
async fn own_words(request: Request<axum::body::Body>, next: middleware::Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let headers = response.headers();
    let is_text = headers
        .get(axum::http::header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let is_own = headers.contains_key(HeaderName::from_static("x-staunch-text"));
    if !(status.is_client_error() || status.is_server_error()) || !is_text || is_own {
        return response;
    }
    let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let detail = String::from_utf8_lossy(&bytes).into_owned();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type",
        StatusCode::UNPROCESSABLE_ENTITY => "wrong-shape",
        _ => "bad-request",
    };
    Problem::new(status, code, if detail.is_empty() { status.to_string() } else { detail }).into_response()
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound { what, id } => Self::not_found(what, &id),
            Refusal::Invalid { field, message } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", format!("{field}: {message}"))
                    .at(field)
            }
            Refusal::Forbidden(message) => Self::new(StatusCode::FORBIDDEN, "forbidden", message),
            Refusal::Conflict(reason) => {
                Self::new(StatusCode::CONFLICT, reason.code.as_str(), reason.message)
            }
            Refusal::PlanChanged { run, changes } => {
                let detail = if changes.is_empty() {
                    "the plan shown is not the plan that the run waits on".to_owned()
                } else {
                    format!("the plan changed: {}", changes.join("; "))
                };
                let plan = shapes::plan(&run).unwrap_or_default();
                Self::new(StatusCode::CONFLICT, "plan-changed", detail).with_plan(plan, changes)
            }
            Refusal::QueueFull => Self::unavailable(
                "queue-full",
                "too many runs wait already; send it again later",
                RETRY_AFTER,
            ),
            Refusal::JournalUnavailable | Refusal::Record(_) => {
                tracing::error!(error = %refusal, "a request could not be recorded");
                Self::unavailable(
                    "journal",
                    "the journal cannot be written, so nothing was done",
                    RETRY_AFTER,
                )
            }
            Refusal::Read(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::error!(error = %error, "the views cannot be read");
        Self::unavailable("journal", "the journal cannot be read now", RETRY_AFTER)
    }
}
