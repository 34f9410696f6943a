//! `Idempotency-Key`: the same POST twice is done once.
//!
//! Same person, key, path and body: the first answer again. Another body: 422. The first one still under way: 409.
//! Kept for 24 hours in the daemon's store, over restarts. A request is on the disk as taken before anything that
//! it leads to; one whose answer a crash took away is therefore never done again by itself, but answered 409.
//!
//! What must not be stored (`Cache-Control: no-store`: an answer that holds a new token) stays in memory. Where the
//! store takes nothing, memory serves alone: a repeated key must never be the reason why a halt is not set.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use staunch_core::id::Digest;

use super::auth::Caller;
use super::problem::Problem;
use super::{App, MAX_PLUGIN_UPLOAD};
use crate::journal::{MAX_ANSWER_BYTES, REQUESTS_KEPT_FOR, TakenAnswer, TakenRequest};

/// Most answers that are held in memory; the oldest go first.
const MAX_HELD: usize = 256;

/// Longest key in bytes.
const MAX_KEY: usize = 256;

/// Largest request with a key: what handlers take without one, too.
const MAX_BODY: usize = 2 << 20;

/// Largest answer of a handler; those that are longer than the store takes are given once.
const MAX_ANSWER: usize = 64 << 20;

/// What is not, or not only, in the store.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Requests on which a handler works now, with the digests of their bodies.
    under_way: HashMap<Digest, Digest>,
    /// Answers that are in memory alone.
    held: HashMap<Digest, Held>,
    /// Their keys, oldest first.
    order: VecDeque<Digest>,
}

#[derive(Debug)]
struct Held {
    since: DateTime<Utc>,
    request: TakenRequest,
}

impl Table {
    /// What memory knows of a key.
    fn known(&self, key: &Digest, now: DateTime<Utc>) -> Option<Taken> {
        if let Some(first) = self.under_way.get(key) {
            return Some(Taken::UnderWay(*first));
        }
        let held = self.held.get(key).filter(|held| now - held.since < REQUESTS_KEPT_FOR)?;
        Some(Taken::Before(held.request.clone()))
    }
}

impl Answers {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, key: Digest, held: Held) {
        let mut table = self.table();
        if table.held.insert(key, held).is_none() {
            table.order.push_back(key);
        }
        while table.order.len() > MAX_HELD {
            if let Some(oldest) = table.order.pop_front() {
                table.held.remove(&oldest);
            }
        }
    }
}

/// What a key stands for.
enum Taken {
    Now(UnderWay),
    UnderWay(Digest),
    Before(TakenRequest),
}

/// A request on which a handler works. Its key is under way for as long as the value lives.
struct UnderWay {
    app: App,
    key: Digest,
    body: Digest,
    since: DateTime<Utc>,
    /// Whether the store knows of it.
    stored: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.app.0.answers.table().under_way.remove(&self.key);
    }
}

/// The middleware over all handlers but those of deliveries; requests without the header pass untouched.
pub(super) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get("idempotency-key").cloned() else { return next.run(request).await };
    // Who has no good token is refused by the route itself, and leaves nothing in the store.
    let caller = Caller::of(&app, request.headers()).await;
    let (Ok(caller), &Method::POST) = (caller, request.method()) else { return next.run(request).await };
    match with_key(&app, &caller, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn with_key(
    app: &App,
    caller: &Caller,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if key.is_empty() || key.len() > MAX_KEY {
        let detail = format!("Idempotency-Key: 1 to {MAX_KEY} bytes are valid");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).at("Idempotency-Key"));
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let limit = if path.starts_with("/v1/plugins") { MAX_PLUGIN_UPLOAD } else { MAX_BODY };
    let body = to_bytes(body, limit).await.map_err(|_| {
        let detail = format!("a request to {path} with an Idempotency-Key may have at most {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    })?;
    let key = Digest::of_parts(&[caller.0.name.as_bytes(), &[0], path.as_bytes(), &[0], key.as_bytes()]);
    let under_way = match take(app, key, Digest::of(&body)).await {
        Taken::Now(under_way) => under_way,
        Taken::UnderWay(first) => {
            same_body(first, Digest::of(&body))?;
            return Err(conflict("the first request with this Idempotency-Key is still under way"));
        }
        Taken::Before(first) => {
            same_body(first.body, Digest::of(&body))?;
            return again(first.answer);
        }
    };
    // To its end even when the client goes away: what was begun must not be begun again by the retry.
    let work = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        under_way.keep(response).await
    });
    work.await.map_err(|_| {
        let detail = "the request broke; the log tells more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })
}

fn same_body(first: Digest, now: Digest) -> Result<(), Problem> {
    if first == now {
        return Ok(());
    }
    let detail = "this Idempotency-Key was used with another body";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key", detail).at("Idempotency-Key"))
}

fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, "idempotency-key", detail)
}

/// The first answer again, as far as there is one.
fn again(answer: Option<TakenAnswer>) -> Result<Response, Problem> {
    let Some(TakenAnswer { status, media_type, body }) = answer else {
        return Err(conflict(
            "the daemon stopped while it worked on the first request with this Idempotency-Key: look whether it \
             was done, and if not, send it with another key",
        ));
    };
    let Some(body) = body else {
        return Err(conflict(format!(
            "the first request with this Idempotency-Key was answered {status}; its answer was not kept, because \
             it holds a secret or is too long"
        )));
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    let kind = media_type.and_then(|kind| HeaderValue::try_from(kind).ok());
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// Takes the key for a request, or says what it was taken for before.
async fn take(app: &App, key: Digest, body: Digest) -> Taken {
    let now = app.pipeline().clock().now();
    {
        let mut table = app.0.answers.table();
        if let Some(known) = table.known(&key, now) {
            return known;
        }
        table.under_way.insert(key, body);
    }
    let mut under_way = UnderWay { app: app.clone(), key, body, since: now, stored: true };
    match app.pipeline().journal().take_request(key, body, now).await {
        Ok(None) => Taken::Now(under_way),
        Ok(Some(first)) => Taken::Before(first),
        Err(error) => {
            tracing::warn!(error = %error, "an Idempotency-Key is kept in memory only");
            under_way.stored = false;
            Taken::Now(under_way)
        }
    }
}

impl UnderWay {
    /// Keeps the answer and gives it on. What failed here, and may succeed later, is not kept.
    async fn keep(self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, MAX_ANSWER).await else {
            return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer was too long")
                .into_response();
        };
        if parts.status.is_server_error() {
            self.forget().await;
        } else {
            let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let answer = TakenAnswer {
                status: parts.status.as_u16(),
                media_type: media_type.map(str::to_owned),
                body: (bytes.len() <= MAX_ANSWER_BYTES).then(|| bytes.to_vec()),
            };
            self.put(answer, must_not_be_stored(&parts.headers)).await;
        }
        Response::from_parts(parts, Body::from(bytes))
    }

    async fn put(&self, answer: TakenAnswer, secret: bool) {
        let for_store = TakenAnswer { body: answer.body.clone().filter(|_| !secret), ..answer.clone() };
        let stored = self.stored && self.stores(for_store).await;
        if secret || !stored {
            let request = TakenRequest { body: self.body, answer: Some(answer) };
            self.app.0.answers.hold(self.key, Held { since: self.since, request });
        }
    }

    async fn stores(&self, answer: TakenAnswer) -> bool {
        let kept = self.app.pipeline().journal().keep_answer(self.key, answer).await;
        if let Err(error) = &kept {
            tracing::warn!(error = %error, "an answer is kept in memory only");
        }
        kept.is_ok()
    }

    async fn forget(&self) {
        if !self.stored {
            return;
        }
        if let Err(error) = self.app.pipeline().journal().forget_request(self.key).await {
            tracing::warn!(error = %error, "the Idempotency-Key of a request that failed stays taken");
        }
    }
}

fn must_not_be_stored(headers: &HeaderMap) -> bool {
    let of = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("no-store"));
    headers.get_all(header::CACHE_CONTROL).iter().any(of)
}
