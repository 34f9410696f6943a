//! Talks to a daemon over HTTP.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::args::Connection;
use super::local;

/// Longest that a command waits for an answer: approving may plan anew.
const TIMEOUT: Duration = Duration::from_secs(130);

/// A daemon and the right to talk to it.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// The daemon that flags, environment or the local configuration name.
    pub(super) fn new(connection: &Connection) -> Result<Self, Failure> {
        Self::within(connection, TIMEOUT)
    }

    /// As [`Client::new`], for answers that come sooner or not at all.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the shell's client of the daemon, no plugin's way out"
    )]
    pub(super) fn within(connection: &Connection, patience: Duration) -> Result<Self, Failure> {
        let url = match &connection.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => local::daemon_url(connection)?,
        };
        let token = match &connection.token {
            Some(token) => token.clone(),
            None => local::administrator_token(connection)?,
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(patience)
            .build()
            .map_err(|error| Failure::Unreachable(format!("the HTTP client cannot be made: {error}")))?;
        Ok(Self { http, url, token })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn get_query(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Value, Failure> {
        let mut serializer = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            if let Some(value) = value {
                serializer.append_pair(name, value);
            }
        }
        self.send(Method::GET, &format!("{path}?{}", serializer.finish()), None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, None).await
    }

    pub(super) async fn text(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() { Ok(bytes.to_vec()) } else { Err(problem(status, &bytes)) }
    }

    /// Sends a multipart form; each part is a name and its bytes.
    pub(super) async fn post_form(&self, path: &str, parts: &[(&str, Vec<u8>)]) -> Result<Value, Failure> {
        let mut bits = [0; 16];
        crate::clock::random(&mut bits);
        let boundary = format!("staunch{}", staunch_core::id::Digest::of(&bits).hex());
        let mut body = Vec::new();
        for (name, bytes) in parts {
            let head = format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\ncontent-type: application/octet-stream\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .body(body);
        self.answer(request).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            return Err(problem(status, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::Unreachable(format!("{} answers something else than JSON: {error}", self.url))
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = crate::causes::chain(error);
        Failure::Unreachable(format!(
            "no daemon answers at {}: {cause}; is `staunch serve` running?",
            self.url
        ))
    }
}

/// A refusal in the daemon's own words; the plan as it is now goes along, so that it can be shown.
fn problem(status: StatusCode, bytes: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    let plan = problem.pointer("/plan/digest").and_then(Value::as_str);
    let detail = match plan {
        Some(digest) => format!("{detail}\nthe plan now: {digest}"),
        None => detail,
    };
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::GATEWAY_TIMEOUT {
        Failure::Unreachable(detail)
    } else {
        Failure::Refused(detail)
    }
}
