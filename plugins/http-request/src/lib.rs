//! Makes one HTTP request: `GET` and `HEAD` as readings, everything else as an effect. Its undo is another request, if
//! the input names one.
//!
//! This plugin is on the road that `make bench` measures: it parses its input once, hands the body on as it
//! came, and allocates little besides.

mod input;
mod keep;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use staunch_plugin::http::{Request, Response};
use staunch_plugin::{Error, Host, Outcome, Remediation, Undo};

use crate::input::{Body, Input, Undo as ToUndo, UndoRequest};
use crate::keep::Kept;

/// The remediation.
#[derive(Debug)]
struct HttpRequest;

impl Remediation for HttpRequest {
    type Input = Input;

    fn remediate(input: Input, host: &Host) -> Result<Outcome, Error> {
        absolute(&input.url)?;
        let mut method = input.method;
        method.make_ascii_uppercase();
        let reading = matches!(method.as_str(), "GET" | "HEAD");
        let what = [method.as_str(), " ", input.url.as_str()].concat();

        let mut request = host.http().request(method, input.url);
        for (name, value) in input.headers.0 {
            request = request.header(name, value);
        }
        request = with_body(request, input.body)?;
        if let Some(seconds) = input.timeout {
            request = request.timeout(seconds.0);
        }
        let answer = if reading {
            request.read()?
        } else {
            if let Some(status) = input.expect_status.assumed() {
                request = request.assume_status(status);
            }
            if !input.keep.is_empty() {
                request = request.assume_json(&keep::assumed(&input.keep));
            }
            request.because(input.reason.unwrap_or_default()).send()?
        };
        if !input.expect_status.accepts(answer.status) {
            return Err(answer.unexpected(&input.expect_status.to_string()));
        }
        let kept = keep::take(&input.keep, &answer)?;
        Ok(outcome(&what, &answer, reading, &kept))
    }
}

fn absolute(url: &str) -> Result<(), Error> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(());
    }
    Err(Error::invalid_input(format!("url must start with http:// or https://: {url}")))
}

/// What the request left for its undo.
#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    kept: Kept,
}

impl Undo for HttpRequest {
    type Details = Details;

    fn undo(input: Input, details: Option<Details>, host: &Host) -> Result<String, Error> {
        let kept = details.unwrap_or_default().kept;
        match input.undo {
            Some(ToUndo::Request(request)) => take_back(*request, &kept, &input.url, host),
            Some(ToUndo::Nothing(_)) => Ok("there is nothing to take back".to_owned()),
            None => Err(Error::invalid_input(
                "the runbook wants undo: say in the input what takes the request back (undo: { method, url }), or \
                 that nothing does (undo: nothing)",
            )),
        }
    }
}

/// Makes the request that takes another one back.
fn take_back(request: UndoRequest, kept: &Kept, of: &str, host: &Host) -> Result<String, Error> {
    let url = keep::fill(&request.url, kept)?;
    absolute(&url)?;
    let mut method = request.method;
    method.make_ascii_uppercase();
    if matches!(method.as_str(), "GET" | "HEAD") {
        return Err(Error::invalid_input(format!(
            "undo.method: {method} is a reading, and takes nothing back"
        )));
    }
    let what = format!("{method} {url}");
    let mut undo = host.http().request(method, url);
    for (name, value) in request.headers.0 {
        undo = undo.header(name, keep::fill(&value, kept)?);
    }
    undo = match request.body {
        None => undo,
        Some(serde_json::Value::String(text)) => undo.body(keep::fill(&text, kept)?),
        Some(json) => undo.json_text(keep::fill(&json.to_string(), kept)?),
    };
    if let Some(status) = request.expect_status.assumed() {
        undo = undo.assume_status(status);
    }
    let answer = undo.because(format!("takes back the request to {of}")).send()?;
    if !request.expect_status.accepts(answer.status) {
        return Err(answer.unexpected(&request.expect_status.to_string()));
    }
    Ok(format!("{what}: {}", answer.status))
}

/// Text goes out as it is; any other JSON as its own text, with its content type.
fn with_body<'h>(request: Request<'h>, body: Option<Body>) -> Result<Request<'h>, Error> {
    match body {
        None => Ok(request),
        Some(Body(json)) if json.get().starts_with('"') => {
            let text: String =
                serde_json::from_str(json.get()).map_err(|e| Error::invalid_input(format!("body: {e}")))?;
            Ok(request.body(text))
        }
        Some(Body(json)) => Ok(request.json_text(String::from(Box::<str>::from(json)))),
    }
}

fn outcome(what: &str, answer: &Response, reading: bool, kept: &Kept) -> Outcome {
    let status = answer.status.to_string();
    let summary = [what, ": ", status.as_str()].concat();
    let outcome = if reading { Outcome::unchanged(summary) } else { Outcome::changed(summary) };
    if kept.is_empty() {
        return outcome.with_details_text(["{\"status\":", status.as_str(), "}"].concat());
    }
    outcome.with_details_text(serde_json::json!({ "status": answer.status, "kept": kept }).to_string())
}

staunch_plugin::export!(HttpRequest with undo);
