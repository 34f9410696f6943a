//! Liveness, readiness, metrics, and the page at `/`.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use staunch_core::policy::{Object, PersonAction};

use super::App;
use super::auth::Caller;
use super::problem::Problem;

/// Counts that the journal does not hold in this form.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    alerts_received: AtomicU64,
    deliveries_refused: AtomicU64,
}

impl Metrics {
    pub(super) fn received(&self, alerts: usize) {
        self.alerts_received.fetch_add(alerts as u64, Ordering::Relaxed);
    }

    pub(super) fn delivery_refused(&self) {
        self.deliveries_refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, content_type = "text/plain")))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Alerts can be taken in and effects can be written down.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, content_type = "text/plain"), (status = 503, body = Problem)))]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.pipeline().journal().accepting() {
        Ok("ready\n")
    } else {
        Err(Problem::unavailable(
            "journal",
            "the journal cannot be written, so nothing acts",
            super::RETRY_AFTER,
        ))
    }
}

/// Figures for Prometheus, in its text format.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "text/plain"), (status = 401, body = Problem)))]
pub(super) async fn metrics(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    if !app.pipeline().rules().config.public.metrics {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &app).await?;
        caller.may(&app, PersonAction::Metrics, Object::System)?;
    }
    let journal = app.pipeline().journal();
    let figures = [
        (
            "staunch_alerts_received_total",
            "counter",
            "Alerts in bodies that were genuine.",
            app.metrics().alerts_received.load(Ordering::Relaxed),
        ),
        (
            "staunch_deliveries_refused_total",
            "counter",
            "Bodies that were refused.",
            app.metrics().deliveries_refused.load(Ordering::Relaxed),
        ),
        ("staunch_runs_open", "gauge", "Runs that have not ended.", app.pipeline().open_runs() as u64),
        (
            "staunch_halts_in_force",
            "gauge",
            "Halts in force, the file HALT included.",
            app.pipeline().halts_in_force() as u64,
        ),
        ("staunch_journal_entries_total", "counter", "Entries of the journal.", journal.size()),
        (
            "staunch_journal_accepting",
            "gauge",
            "1 when the journal can be written.",
            u64::from(journal.accepting()),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in figures {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((StatusCode::OK, headers, text).into_response())
}

/// What this is and where the API is.
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, content_type = "text/html")))]
pub(super) async fn root() -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Staunch</title>\
         <body style=\"font-family:sans-serif;max-width:40em;margin:3em auto\"><h1>Staunch {}</h1>\
         <p>Runs signed, sandboxed plugins in answer to alerts: planned, gated, verified, journaled.</p>\
         <ul><li><a href=\"/openapi.json\">The API</a></li><li><a href=\"/readyz\">Whether it is ready</a></li>\
         <li><code>staunch runs list</code>, <code>staunch alerts why ID</code>, <code>staunch runs approve ID</code></li></ul>",
        env!("CARGO_PKG_VERSION")
    ))
}
