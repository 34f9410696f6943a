//! HTTP requests to hosts that the grants name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::clock::milliseconds;
use crate::{Awaited, Error, Intent, json};

/// How much of a body [`Response::excerpt`] shows, in characters.
const EXCERPT: usize = 200;

/// HTTP requests. Made by [`Host::http`](crate::Host::http).
#[derive(Debug, Clone, Copy)]
pub struct Http<'h> {
    backend: &'h Backend,
}

impl<'h> Http<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// A request with that method, in upper case, to an absolute http or https address.
    pub fn request(&self, method: impl Into<String>, url: impl Into<String>) -> Request<'h> {
        Request {
            backend: self.backend,
            parts: Parts {
                method: method.into(),
                url: url.into(),
                headers: Vec::new(),
                body: None,
                timeout_ms: None,
            },
            intent: Intent::default(),
            failure: None,
        }
    }

    /// A `GET` request, to be [read](Request::read).
    pub fn get(&self, url: impl Into<String>) -> Request<'h> {
        self.request("GET", url)
    }

    /// A `POST` request, to be [sent](Request::send).
    pub fn post(&self, url: impl Into<String>) -> Request<'h> {
        self.request("POST", url)
    }

    /// A `PUT` request, to be [sent](Request::send).
    pub fn put(&self, url: impl Into<String>) -> Request<'h> {
        self.request("PUT", url)
    }

    /// A `PATCH` request, to be [sent](Request::send).
    pub fn patch(&self, url: impl Into<String>) -> Request<'h> {
        self.request("PATCH", url)
    }

    /// A `DELETE` request, to be [sent](Request::send).
    pub fn delete(&self, url: impl Into<String>) -> Request<'h> {
        self.request("DELETE", url)
    }
}

/// What crosses the border: the `request` record of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout_ms: Option<u32>,
}

/// A request that is not on its way yet.
///
/// ```
/// use serde_json::json;
/// use staunch_plugin::{fake::FakeHost, placeholder};
///
/// let host = FakeHost::new()
///     .answer("http.send", json!({ "status": 201, "headers": [], "body": "{\"id\":\"T-7\"}" }))
///     .answer("http.send", json!({ "status": 204, "headers": [], "body": "" }));
///
/// let created: serde_json::Value = host
///     .http()
///     .post("https://tickets.example.com/tickets")
///     .header("authorization", "secret://ticket-token")
///     .json(&json!({ "title": "disk full" }))
///     .because("someone must look at it")
///     .assume_status(201)
///     .assume_json(&json!({ "id": placeholder("ticket") }))
///     .send()?
///     .success()?
///     .json()?;
/// let id = created["id"].as_str().unwrap_or_default();
/// host.http().post(format!("https://tickets.example.com/tickets/{id}/comments")).send()?.success()?;
///
/// assert_eq!(host.effects()[1].arguments["url"], "https://tickets.example.com/tickets/T-7/comments");
/// # Ok::<(), staunch_plugin::Error>(())
/// ```
#[must_use = "a request does nothing until it is read or sent"]
#[derive(Debug)]
pub struct Request<'h> {
    backend: &'h Backend,
    parts: Parts,
    intent: Intent,
    failure: Option<Error>,
}

impl Request<'_> {
    /// Adds a header. The value `secret://NAME` is filled in by the host, where a grant binds that secret to
    /// this header and host. `host`, `content-length` and other framing headers are the host's own.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body, at most 1 MiB.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body = Some(body.into());
        self
    }

    /// Sets the body to the value's JSON text, and `content-type` with it unless it is set already. A value
    /// that has no JSON form fails the request with `invalid-body`.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.json_text(body),
            Err(error) => {
                self.failure = Some(Error::new("invalid-body", error.to_string()));
                self
            }
        }
    }

    /// The same from JSON text that the caller has already.
    pub fn json_text(mut self, text: impl Into<Vec<u8>>) -> Self {
        if !self.parts.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            self.parts.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        self.body(text)
    }

    /// How long to wait for the whole answer; never longer than what is left of the run.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout_ms = Some(milliseconds(timeout));
        self
    }

    /// Why the request is wanted, in a sentence that an approver will read. Without one it is `METHOD URL`.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.intent.reason = reason.into();
        self
    }

    /// Mixed into the key that the host derives and sends as `Idempotency-Key`; say it when two equal requests
    /// are meant to be two.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.intent.idempotency_key = Some(key.into());
        self
    }

    /// What the plan is to assume of the answer's status, with an empty body; 200 without it.
    pub fn assume_status(self, status: u16) -> Self {
        let mut assumed = self.assumed();
        assumed.status = status;
        self.assume(&assumed)
    }

    /// What the plan is to assume of the answer's body. Text in it may be a [`placeholder`](crate::placeholder).
    pub fn assume_json(self, value: &impl Serialize) -> Self {
        let mut assumed = self.assumed();
        assumed.headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        assumed.body = serde_json::to_vec(value).unwrap_or_default();
        self.assume(&assumed)
    }

    /// What the plan is to assume of the whole answer.
    pub fn assume(mut self, answer: &Response) -> Self {
        self.intent.assume = serde_json::to_string(answer).ok();
        self
    }

    fn assumed(&self) -> Response {
        let stated = self.intent.assume.as_deref().and_then(|text| serde_json::from_str(text).ok());
        stated.unwrap_or_else(|| Response { status: 200, headers: Vec::new(), body: Vec::new() })
    }

    /// A reading: the request must not change anything. Redirects are not followed.
    ///
    /// # Errors
    /// No complete answer (`timeout`, `connection-failed`, ...), or `access-denied`. Any status is an answer.
    pub fn read(self) -> Result<Response, Error> {
        match self.failure {
            None => self.backend.http_read(self.parts),
            Some(failure) => Err(failure),
        }
    }

    /// An effect, to be done once: sends the request and waits for the answer.
    ///
    /// # Errors
    /// No complete answer (`timeout`, `connection-failed`, ...), or `access-denied`. Any status is an answer.
    pub fn send(mut self) -> Result<Response, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.intent.reason.is_empty() {
            self.intent.reason = [self.parts.method.as_str(), " ", self.parts.url.as_str()].concat();
        }
        self.backend.http_send(self.parts, self.intent)
    }

    /// A reading: the host repeats the request until the status is the wanted one, or the time is over. In a
    /// plan, after a planned effect, it is assumed to be met.
    ///
    /// # Errors
    /// `access-denied`. That the time is over is an answer, not an error.
    pub fn await_status(self, status: u16, timeout: Duration) -> Result<Awaited, Error> {
        match self.failure {
            None => self.backend.http_await_status(self.parts, status, milliseconds(timeout)),
            Some(failure) => Err(failure),
        }
    }
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case. `set-cookie` and authorization-like headers are left out unless granted.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB, decompressed.
    #[serde(default, with = "json")]
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer itself if its status is 200 to 299.
    ///
    /// # Errors
    /// `unexpected-status` with the start of the body; retryable for 429 and 5xx.
    pub fn success(self) -> Result<Self, Error> {
        if self.is_success() { Ok(self) } else { Err(self.unexpected("2xx")) }
    }

    /// The error `unexpected-status`, with the start of the body; retryable for 429 and 5xx.
    #[must_use]
    pub fn unexpected(&self, wanted: &str) -> Error {
        let message = format!("the answer was {}, not {wanted}: {}", self.status, self.excerpt());
        let error = Error::new("unexpected-status", message);
        if self.status == 429 || self.status >= 500 { error.retryable() } else { error }
    }

    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body from JSON.
    ///
    /// # Errors
    /// `invalid-answer`, if it is not JSON of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Error::new("invalid-answer", format!("the body is not the JSON that was expected: {e}"))
        })
    }

    /// The first 200 characters of the body, for messages.
    #[must_use]
    pub fn excerpt(&self) -> String {
        // A character has at most 4 bytes; one more may be cut in two and is then not among the first 200.
        let start = self.body.get(..EXCERPT * 4 + 4).unwrap_or(&self.body);
        String::from_utf8_lossy(start).chars().take(EXCERPT).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Response;
    use crate::fake::FakeHost;

    fn response(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }

    #[test]
    fn json_does_not_overrule_a_content_type() {
        let host = FakeHost::new().answer_always("http.send", serde_json::json!({ "status": 200 }));
        let post = || host.http().post("https://a.example/");
        post().header("Content-Type", "application/vnd.api+json").json(&1).send().unwrap();
        post().json(&1).send().unwrap();
        let headers: Vec<_> = host.effects().iter().map(|e| e.arguments["headers"].clone()).collect();
        assert_eq!(headers[0], serde_json::json!([["Content-Type", "application/vnd.api+json"]]));
        assert_eq!(headers[1], serde_json::json!([["content-type", "application/json"]]));
    }

    #[test]
    fn assumptions_add_up() {
        let host = FakeHost::new().planning();
        let request = host.http().post("https://a.example/").assume_status(201);
        let answer = request.assume_json(&serde_json::json!({ "id": 7 })).send().unwrap();
        assert_eq!((answer.status, answer.text().as_ref()), (201, "{\"id\":7}"));
    }

    #[test]
    fn a_value_without_json_form_fails_the_request() {
        let host = FakeHost::new();
        let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = host.http().post("https://a.example/").json(&bad).send().unwrap_err();
        assert_eq!(error.code(), "invalid-body");
        assert!(host.calls().is_empty());
    }

    #[test]
    fn unexpected_status_shows_the_start_of_the_body() {
        let error = response(503, &"ü".repeat(300)).success().unwrap_err();
        assert_eq!(error.code(), "unexpected-status");
        assert!(error.is_retryable());
        assert_eq!(error.message(), format!("the answer was 503, not 2xx: {}", "ü".repeat(200)));
        assert!(!response(404, "").success().unwrap_err().is_retryable());
    }
}
