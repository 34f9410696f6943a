//! `Idempotency-Key`: the same POST twice is done once.
//!
//! Same key, path and body: the first answer again. Same key, another body: 422. The first one still under way:
//! 409. Kept for 24 hours, in memory: the state machines behind the routes refuse a second approval or
//! cancellation by themselves after a restart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use staunch_core::id::Digest;
use tokio::time::Instant;

use super::App;
use super::problem::Problem;

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Most answers kept; the oldest go first.
const MAX_KEPT: usize = 10_000;

/// Longest key in bytes.
const MAX_KEY: usize = 256;

/// Largest request or answer that is kept.
const MAX_BODY: usize = 1 << 20;

/// The answers that were given.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Digest, Kept>>);

#[derive(Debug, Clone)]
struct Kept {
    since: Instant,
    request: Digest,
    /// `None` while the first request is under way.
    answer: Option<(StatusCode, Option<header::HeaderValue>, Bytes)>,
}

impl Answers {
    /// Takes the key for a request, or says what it was taken for before.
    fn take(&self, key: Digest, request: Digest) -> Option<Kept> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(kept) = table.get(&key).filter(|kept| now - kept.since < KEPT_FOR) {
            return Some(kept.clone());
        }
        if table.len() >= MAX_KEPT {
            table.retain(|_, kept| now - kept.since < KEPT_FOR);
        }
        if table.len() >= MAX_KEPT
            && let Some(oldest) = table.iter().min_by_key(|(_, kept)| kept.since).map(|(key, _)| *key)
        {
            table.remove(&oldest);
        }
        table.insert(key, Kept { since: now, request, answer: None });
        None
    }

    fn keep(&self, key: Digest, answer: Option<(StatusCode, Option<header::HeaderValue>, Bytes)>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => {
                if let Some(kept) = table.get_mut(&key) {
                    kept.answer = Some(answer);
                }
            }
            None => {
                table.remove(&key);
            }
        }
    }
}

/// The middleware over all routes; requests without the header pass untouched.
pub(super) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get("idempotency-key").cloned() else { return next.run(request).await };
    if request.method() != Method::POST || request.uri().path().starts_with("/v1/alerts/") {
        return next.run(request).await;
    }
    if key.is_empty() || key.len() > MAX_KEY {
        let detail = format!("Idempotency-Key: 1 to {MAX_KEY} bytes are valid");
        return Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
            .at("Idempotency-Key")
            .into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        let detail = "a request with an Idempotency-Key may have at most 1 MiB";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).into_response();
    };
    let who =
        parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let path = parts.uri.path().as_bytes();
    let key = Digest::of_parts(&[&who, &[0], path, &[0], key.as_bytes()]);
    let fingerprint = Digest::of(&body);
    match app.0.answers.take(key, fingerprint) {
        Some(kept) if kept.request != fingerprint => {
            let detail = "this Idempotency-Key was used with another body";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key", detail).into_response()
        }
        Some(Kept { answer: Some((status, kind, bytes)), .. }) => {
            let mut response = (status, bytes).into_response();
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        Some(_) => {
            let detail = "the first request with this Idempotency-Key is still under way";
            Problem::new(StatusCode::CONFLICT, "idempotency-key", detail).into_response()
        }
        None => {
            let under_way = UnderWay { app: app.clone(), key, done: false };
            // To its end even when the client goes away: what was begun must not be begun again by the retry.
            let work = tokio::spawn(async move {
                let response = next.run(Request::from_parts(parts, Body::from(body))).await;
                under_way.keep(response).await
            });
            work.await.unwrap_or_else(|_| {
                let detail = "the request broke; the log tells more";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
            })
        }
    }
}

/// A request whose answer is not known yet. When it is dropped without one, because the handler broke, the key is
/// free again.
struct UnderWay {
    app: App,
    key: Digest,
    done: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.done {
            self.app.0.answers.keep(self.key, None);
        }
    }
}

impl UnderWay {
    /// Keeps the answer and gives it on. What failed here, and may succeed later, is not kept.
    async fn keep(mut self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, MAX_BODY).await else {
            return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer was too long")
                .into_response();
        };
        let passing = parts.status.is_server_error() || parts.status == StatusCode::UNAUTHORIZED;
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        self.app.0.answers.keep(self.key, (!passing).then(|| (parts.status, kind, bytes.clone())));
        self.done = true;
        Response::from_parts(parts, Body::from(bytes))
    }
}
