//! Talks to a daemon over HTTP.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::args::{Connection, Part};
use super::local;

/// Longest that a command waits for an answer: approving may plan anew.
const TIMEOUT: Duration = Duration::from_secs(130);

/// Longest page that the daemon gives.
const LONGEST_PAGE: usize = 500;

/// A part of a list, and where the rest begins.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    pub(super) next: Option<String>,
}

/// An address as a base of paths.
fn address(text: &str) -> Result<String, Failure> {
    let parsed = url::Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    match parsed {
        Some(url) if url.has_host() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Failure::Usage(format!("--url {text:?}: an address as in http://127.0.0.1:7878 is valid"))),
    }
}

/// A daemon and the right to talk to it.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    patience: Duration,
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
            Some(url) => address(url)?,
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
        Ok(Self { http, url, token, patience })
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

    /// A list: as many pages as it takes.
    pub(super) async fn list(
        &self,
        path: &str,
        filters: &[(&str, Option<String>)],
        part: &Part,
    ) -> Result<Listed, Failure> {
        let mut listed = Listed { items: Vec::new(), next: part.after.clone() };
        loop {
            let limit = (part.most() - listed.items.len()).min(LONGEST_PAGE).to_string();
            let mut query = filters.to_vec();
            query.extend([("limit", Some(limit)), ("after", listed.next.take())]);
            let page = self.get_query(path, &query).await?;
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_empty = items.is_empty();
            listed.items.extend(items);
            listed.next = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if listed.next.is_none() || is_empty || listed.items.len() >= part.most() {
                return Ok(listed);
            }
        }
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
        let url = &self.url;
        if error.is_timeout() {
            return Failure::Unreachable(format!(
                "{url} did not answer within {} s",
                self.patience.as_secs()
            ));
        }
        // What lies between is the client's own layers.
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let question = if error.is_connect() { "; is `staunch serve` running?" } else { "" };
        Failure::Unreachable(format!("no daemon answers at {url}: {cause}{question}"))
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
