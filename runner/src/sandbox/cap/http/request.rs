//! Requests as guests make them, checked; and answers as guests get them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use staunch_core::effect::CallError;
use tokio::time::Instant;
use url::Url;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::sandbox::grants::{Grants, HttpLeave, Slot, secret_names};
use crate::sandbox::scrub::{Scrub, Scrubber};
use crate::sandbox::secrets::Secrets;

const MAX_ADDRESS: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 << 10;
/// The most bytes of a body, in either direction.
pub(super) const MAX_BODY: usize = 1 << 20;
const SECRET: &str = "secret://";

/// Headers that frame the message or belong to the connection, and the one that the broker adds.
const OWN_HEADERS: [&str; 13] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "proxy-connection",
    "proxy-authorization",
    "http2-settings",
    "idempotency-key",
];

/// `http.request`
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(in crate::sandbox) struct RequestRecord {
    pub(in crate::sandbox) method: String,
    pub(in crate::sandbox) url: String,
    pub(in crate::sandbox) headers: Vec<(String, String)>,
    pub(in crate::sandbox) body: Option<Vec<u8>>,
    #[component(name = "timeout-ms")]
    pub(in crate::sandbox) timeout_ms: Option<u32>,
}

/// A request that can be sent, but for its secrets.
#[derive(Debug)]
pub(in crate::sandbox) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    timeout: Option<u32>,
}

fn invalid(message: impl Into<String>) -> CallError {
    CallError { code: "invalid-argument".to_owned(), message: message.into(), retryable: false }
}

impl Request {
    pub(in crate::sandbox) fn new(record: RequestRecord) -> Result<Self, CallError> {
        let method = record.method.as_str();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid(format!("{method:?} is no method: upper-case letters")));
        }
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(invalid(format!("{method} is never sent")));
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| invalid("the method is too long"))?;
        let url = check_address(&record.url)?;
        let headers = check_headers(record.headers)?;
        if record.body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
            return Err(invalid(format!("the body has more than {MAX_BODY} bytes")));
        }
        Ok(Self { method, url, headers, body: record.body.map(Bytes::from), timeout: record.timeout_ms })
    }

    /// `http:HOST:PORT`
    pub(super) fn target(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("http:{host}:{}", self.url.port_or_known_default().unwrap_or_default())
    }

    pub(super) fn arguments(&self) -> Value {
        let mut arguments = json!({
            "method": self.method.as_str(),
            "url": address_text(&self.url),
            "headers": self.headers,
        });
        if let Value::Object(members) = &mut arguments {
            if let Some(body) = &self.body {
                members.insert("body".to_owned(), body_value(body));
            }
            if let Some(timeout) = self.timeout {
                members.insert("timeout_ms".to_owned(), timeout.into());
            }
        }
        arguments
    }

    pub(super) fn deadline(&self, run: Instant) -> Instant {
        let own = self.timeout.map(|timeout| Instant::now() + Duration::from_millis(u64::from(timeout)));
        own.map_or(run, |own| own.min(run))
    }

    pub(super) fn authorise(&self, grants: &Grants, function: &'static str) -> Result<HttpLeave, CallError> {
        let leave = grants.http(function, self.method.as_str(), &self.url)?;
        for (header, value) in &self.headers {
            for name in secret_names(value) {
                grants.secret(name, &Slot::Header(header), &self.url)?;
            }
        }
        for name in self.body_secrets() {
            grants.secret(name, &Slot::Body, &self.url)?;
        }
        Ok(leave)
    }

    /// The headers with their secrets.
    pub(super) fn header_map(&self, secrets: &Secrets) -> Result<HeaderMap, CallError> {
        let mut map = HeaderMap::with_capacity(self.headers.len() + 6);
        for (header, value) in &self.headers {
            let mut value = value.clone();
            let names: Vec<String> = secret_names(&value).map(str::to_owned).collect();
            for name in &names {
                value = value.replace(&format!("{SECRET}{name}"), secret(secrets, name)?);
            }
            let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| bad_header(header))?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad_header(header.as_str()))?;
            value.set_sensitive(!names.is_empty());
            map.append(header, value);
        }
        Ok(map)
    }

    /// The body with its secrets.
    pub(super) fn filled_body(&self, secrets: &Secrets) -> Result<Bytes, CallError> {
        let Some(body) = &self.body else { return Ok(Bytes::new()) };
        let names: Vec<&str> = self.body_secrets().collect();
        let Some(text) = names.first().and_then(|_| std::str::from_utf8(body).ok()) else {
            return Ok(body.clone());
        };
        if let Some(name) = text.trim().strip_prefix(SECRET) {
            return secret(secrets, name).map(|value| Bytes::copy_from_slice(value.as_bytes()));
        }
        let mut text = text.to_owned();
        for name in names {
            let quoted = Value::from(secret(secrets, name)?).to_string();
            text = text.replace(&format!("\"{SECRET}{name}\""), &quoted);
        }
        Ok(Bytes::from(text))
    }

    /// The secrets that the body refers to: it is `secret://NAME` as a whole, or JSON with such strings.
    fn body_secrets(&self) -> impl Iterator<Item = &str> {
        let text = self.body.as_deref().and_then(|body| std::str::from_utf8(body).ok()).unwrap_or_default();
        let text = if text.contains(SECRET) { text } else { "" };
        let whole = text.trim().starts_with(SECRET).then_some(text);
        let json = text.starts_with(['{', '[', '"', ' ', '\n', '\t', '\r'])
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let strings =
            json.then(|| text.split('"').filter(|part| part.starts_with(SECRET))).into_iter().flatten();
        whole.into_iter().chain(strings).flat_map(secret_names)
    }
}

fn bad_header(name: &str) -> CallError {
    invalid(format!("header {name:?} has a name or value that no header may have"))
}

fn secret<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a str, CallError> {
    secrets.value(name).ok_or_else(|| CallError {
        code: "secret-missing".to_owned(),
        message: format!(
            "secret `{name}` is granted but has no value: add it under `secrets:` in staunch.yaml"
        ),
        retryable: false,
    })
}

fn check_address(text: &str) -> Result<Url, CallError> {
    if text.len() > MAX_ADDRESS {
        return Err(invalid(format!("the address is longer than {MAX_ADDRESS} bytes")));
    }
    if text.contains(SECRET) {
        return Err(invalid("a secret has no place in an address: addresses are logged"));
    }
    let mut url = Url::parse(text).map_err(|error| invalid(format!("{text:?} is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!("{:?} is neither http nor https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("an address holds no user name and no password"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn check_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, CallError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!("more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")));
    }
    headers
        .into_iter()
        .map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            if OWN_HEADERS.contains(&name.as_str()) {
                return Err(invalid(format!("header `{name}` is the host's own")));
            }
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(&value).is_err() {
                return Err(bad_header(&name));
            }
            Ok((name, value))
        })
        .collect()
}

/// The normalised address, with the placeholders of plans as the plugin wrote them.
fn address_text(url: &Url) -> String {
    let text = url.as_str();
    if !text.contains("%7B%7Bstaunch:") {
        return text.to_owned();
    }
    text.replace("%7B%7Bstaunch:", "{{staunch:").replace("%7D%7D", "}}")
}

/// `http.response`; as JSON, the body is a text where it is one, else `{"base64": ...}`.
#[derive(Debug, Clone, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Response {
    pub(in crate::sandbox) status: u16,
    #[serde(default)]
    pub(in crate::sandbox) headers: Vec<(String, String)>,
    #[serde(default, serialize_with = "serialize_body", deserialize_with = "deserialize_body")]
    pub(in crate::sandbox) body: Vec<u8>,
}

impl Response {
    /// What a plan assumes.
    pub(super) fn empty() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new() }
    }
}

impl Scrub for Response {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.bytes(&mut self.body);
        for (_, value) in &mut self.headers {
            scrubber.text(value);
        }
    }
}

/// Bytes as JSON.
pub(in crate::sandbox) fn body_value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

pub(in crate::sandbox) fn serialize_body<S: Serializer>(
    bytes: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => body_value(bytes).serialize(serializer),
    }
}

pub(in crate::sandbox) fn deserialize_body<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    let problem = || serde::de::Error::custom("a body is a text, {\"base64\": ...}, or a list of bytes");
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text.into_bytes()),
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
            items.iter().map(byte).collect::<Option<_>>().ok_or_else(problem)
        }
        Value::Object(members) => {
            let text = members.get("base64").and_then(Value::as_str).ok_or_else(problem)?;
            STANDARD.decode(text).map_err(serde::de::Error::custom)
        }
        Value::Bool(_) | Value::Number(_) => Err(problem()),
    }
}
