//! Probes of several requests: each may take values out of its answer for the ones after it.
//!
//! In a runbook, `${name}` in an address, header or `body_contains` stands for a value that an earlier request
//! took out. It is told from templates before they are rendered: no label can smuggle one in.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::probe::Reading;
use crate::policy::reader::is_name;
use crate::policy::template::{Template, TemplateError};
use crate::policy::yaml::Node;

const KEYS: [&str; 6] = ["url", "method", "status", "headers", "body_contains", "extract"];
const EXTRACTS: [&str; 3] = ["json", "header", "regex"];

/// The most requests of one sequence.
pub const MOST_REQUESTS: usize = 16;

/// The most headers, and the most values taken out of one answer.
const MOST_PARTS: usize = 16;

/// The longest value that is taken out, in bytes.
pub const VALUE_LIMIT: usize = 4 * 1024;

/// The largest compiled regular expression, in bytes.
const REGEX_LIMIT: usize = 1 << 20;

/// One request of a sequence, as the runbook says it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The address.
    pub url: Vec<Piece<Template>>,
    /// Names and values.
    pub headers: Vec<(String, Vec<Piece<Template>>)>,
    /// The status that passes. `None`: any from 200 to 299.
    pub status: Option<u16>,
    /// What the body must contain.
    pub body_contains: Option<Vec<Piece<Template>>>,
    /// What is taken out of the answer, by name.
    pub extract: Vec<(String, Extract)>,
}

/// One request with its templates rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyRequest {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The address.
    pub url: Vec<Piece<String>>,
    /// Names and values.
    pub headers: Vec<(String, Vec<Piece<String>>)>,
    /// The status that passes. `None`: any from 200 to 299.
    pub status: Option<u16>,
    /// What the body must contain.
    pub body_contains: Option<Vec<Piece<String>>>,
    /// What is taken out of the answer, by name.
    pub extract: Vec<(String, Extract)>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece<T> {
    /// It stands here.
    Text(T),
    /// It is the value that an earlier request took out.
    Extracted(String),
}

/// Where in an answer a value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extract {
    /// A JSON pointer (RFC 6901) into the body: a text, number or boolean.
    Json(String),
    /// The first header of this name.
    Header(String),
    /// The first group of a regular expression over the body; all that it fits where it has no group.
    Regex(String),
}

impl Extract {
    fn take(&self, headers: &[(String, String)], body: &[u8]) -> Result<String, String> {
        let value = match self {
            Self::Json(pointer) => {
                let body: Value =
                    serde_json::from_slice(body).map_err(|_| "its body is no JSON".to_owned())?;
                match body.pointer(pointer) {
                    Some(Value::String(text)) => Some(text.clone()),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
                    Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
                }
            }
            Self::Header(wanted) => {
                let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.clone())
            }
            Self::Regex(pattern) => {
                let text = String::from_utf8_lossy(body);
                let regex = compile(pattern)?;
                let found = regex.captures(&text);
                found.and_then(|groups| groups.get(1).or(groups.get(0)).map(|part| part.as_str().to_owned()))
            }
        };
        match value {
            Some(value) if value.len() <= VALUE_LIMIT => Ok(value),
            Some(_) => Err(format!("it is longer than {VALUE_LIMIT} bytes")),
            None => Err("it is not there".to_owned()),
        }
    }
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(REGEX_LIMIT).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

/// A request that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledRequest {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The address, values percent-encoded.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// One walk through a sequence: ask for the request, send it, say what came back, until there is no request.
#[derive(Debug, Clone)]
pub struct Walk<'r> {
    requests: std::slice::Iter<'r, ReadyRequest>,
    values: BTreeMap<&'r str, String>,
}

impl<'r> Walk<'r> {
    /// A walk that has not begun.
    #[must_use]
    pub fn new(requests: &'r [ReadyRequest]) -> Self {
        Self { requests: requests.iter(), values: BTreeMap::new() }
    }

    /// The request to send next. `None`: all passed.
    #[must_use]
    pub fn request(&self) -> Option<FilledRequest> {
        let request = self.requests.as_slice().first()?;
        let headers = request.headers.iter();
        Some(FilledRequest {
            method: request.method.clone(),
            url: self.fill(&request.url, encode),
            headers: headers.map(|(name, value)| (name.clone(), self.fill(value, str::to_owned))).collect(),
        })
    }

    fn fill(&self, pieces: &[Piece<String>], encode: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece<String>| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Extracted(name) => encode(self.values.get(name.as_str()).map_or("", String::as_str)),
        };
        pieces.iter().map(piece).collect()
    }

    /// Takes in the answer to the request that was sent.
    ///
    /// # Errors
    /// Why the probe fails: another status, a body without what it must contain, a value that is not there.
    pub fn answered(&mut self, status: u16, headers: &[(String, String)], body: &[u8]) -> Result<(), String> {
        let Some(request) = self.requests.next() else { return Ok(()) };
        if !request.status.map_or((200..300).contains(&status), |wanted| status == wanted) {
            return Err(format!("answered {status}"));
        }
        if let Some(wanted) = &request.body_contains {
            let wanted = self.fill(wanted, str::to_owned);
            if !String::from_utf8_lossy(body).contains(&wanted) {
                return Err(format!("answered {status}, and its body lacks what it must contain"));
            }
        }
        for (name, extract) in &request.extract {
            let value = extract.take(headers, body).map_err(|why| format!("gives no {name}: {why}"))?;
            self.values.insert(name, value);
        }
        Ok(())
    }
}

/// A value must not change what the rest of an address means.
fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            crate::id::push_hex(&mut text, &[byte]);
        }
    }
    text
}

impl Request {
    pub(super) fn ready(
        &self,
        render: impl Fn(&Template) -> Result<String, TemplateError>,
    ) -> Result<ReadyRequest, TemplateError> {
        let pieces = |pieces: &Vec<Piece<Template>>| -> Result<Vec<Piece<String>>, TemplateError> {
            let piece = |piece: &Piece<Template>| match piece {
                Piece::Text(template) => render(template).map(Piece::Text),
                Piece::Extracted(name) => Ok(Piece::Extracted(name.clone())),
            };
            pieces.iter().map(piece).collect()
        };
        let headers = self.headers.iter();
        Ok(ReadyRequest {
            method: self.method.clone(),
            url: pieces(&self.url)?,
            headers: headers
                .map(|(name, value)| Ok((name.clone(), pieces(value)?)))
                .collect::<Result<_, _>>()?,
            status: self.status,
            body_contains: self.body_contains.as_ref().map(pieces).transpose()?,
            extract: self.extract.clone(),
        })
    }
}

impl Reading<'_, '_> {
    pub(super) fn sequence(&mut self, what: &str, node: &Node) -> Option<Vec<Request>> {
        let items = self.reader.list(node, what)?;
        if items.is_empty() || items.len() > MOST_REQUESTS {
            self.reader.error(node.at, format!("{what} must be from 1 to {MOST_REQUESTS} requests"));
        }
        let mut known = Vec::new();
        let mut requests = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let request = self.request(&format!("{what}[{index}]"), item, &known)?;
            known.extend(request.extract.iter().map(|(name, _)| name.clone()));
            requests.push(request);
        }
        Some(requests)
    }

    fn request(&mut self, what: &str, node: &Node, known: &[String]) -> Option<Request> {
        let fields = self.reader.fields(node, what, &KEYS);
        let url = self.reader.required(fields, "url", what)?;
        let url = self.pieces(&format!("{what}.url"), url, known);
        let (method, status) = self.method_and_status(fields);
        let headers = fields.get("headers").and_then(|node| {
            let what = format!("{what}.headers");
            let entries = self.reader.entries(node, &what).entries();
            self.at_most(node, &what, entries.len());
            let pairs = entries.iter().map(|entry| {
                let value = self.pieces(&format!("{what}.{}", entry.key), &entry.node, known)?;
                Some((entry.key.to_ascii_lowercase(), value))
            });
            pairs.collect::<Option<Vec<_>>>()
        });
        let body_contains = fields
            .get("body_contains")
            .and_then(|node| self.pieces(&format!("{what}.body_contains"), node, known));
        let extract = fields.get("extract").and_then(|node| self.extracts(&format!("{what}.extract"), node));
        Some(Request {
            method,
            url: url?,
            headers: headers.unwrap_or_default(),
            status,
            body_contains,
            extract: extract.unwrap_or_default(),
        })
    }

    fn at_most(&mut self, node: &Node, what: &str, count: usize) {
        if count > MOST_PARTS {
            self.reader.error(node.at, format!("{what} may have at most {MOST_PARTS} entries"));
        }
    }

    fn extracts(&mut self, what: &str, node: &Node) -> Option<Vec<(String, Extract)>> {
        let entries = self.reader.entries(node, what).entries();
        self.at_most(node, what, entries.len());
        let mut extracts = Vec::new();
        for entry in entries {
            let what = format!("{what}.{}", entry.key);
            if !is_name(&entry.key) {
                self.reader
                    .error(entry.at, crate::policy::reader::not_a_name("a name below extract", &entry.key));
            }
            let fields = self.reader.fields(&entry.node, &what, &EXTRACTS);
            let [from] = fields.entries() else {
                let valid = EXTRACTS.join(", ");
                self.reader.error(entry.node.at, format!("{what} must have exactly one key of {valid}"));
                return None;
            };
            let text = self.reader.text(&from.node, &what)?.to_owned();
            let extract = match from.key.as_str() {
                "json" if text.starts_with('/') => Extract::Json(text),
                "json" => {
                    let message = format!("{what} must be a JSON pointer, as /data/id, but is {text:?}");
                    self.reader.error(from.node.at, message);
                    return None;
                }
                "header" => Extract::Header(text),
                "regex" => match compile(&text) {
                    Ok(_) => Extract::Regex(text),
                    Err(error) => {
                        self.reader
                            .error(from.node.at, format!("{what} is not a regular expression: {error}"));
                        return None;
                    }
                },
                _ => return None,
            };
            extracts.push((entry.key.clone(), extract));
        }
        Some(extracts)
    }

    /// A text in pieces: `${name}`, and the templates between.
    fn pieces(&mut self, key: &str, node: &Node, known: &[String]) -> Option<Vec<Piece<Template>>> {
        let mut rest = self.reader.text(node, key)?;
        let mut pieces = Vec::new();
        while let Some((text, tail)) = rest.split_once("${") {
            let Some((name, tail)) = tail.split_once('}') else {
                self.reader.error(node.at, format!("{key}: the closing brace of \"${{\" is missing"));
                return None;
            };
            if !known.iter().any(|known| known == name) {
                let valid = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
                let message = format!("{key}: no earlier request takes out {name:?}; known are: {valid}");
                self.reader.error(node.at, message);
                return None;
            }
            self.piece(key, node, text, &mut pieces)?;
            pieces.push(Piece::Extracted(name.to_owned()));
            rest = tail;
        }
        self.piece(key, node, rest, &mut pieces)?;
        Some(pieces)
    }

    fn piece(&mut self, key: &str, node: &Node, text: &str, pieces: &mut Vec<Piece<Template>>) -> Option<()> {
        if !text.is_empty() {
            let compiled = self.templates.compile(&format!("{key}#{}", pieces.len()), text);
            let message = |error: TemplateError| format!("template {key:?}: {}", error.message);
            let compiled = compiled.map_err(|error| self.reader.error(node.at, message(error))).ok()?;
            pieces.push(Piece::Text(compiled));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
