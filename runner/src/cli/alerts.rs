//! `alerts`

use std::io::Read as _;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::args::{AlertsArgs, AlertsCommand, Connection};
use super::client::Client;
use super::output::{Output, safe};
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::read_mapping;
use crate::intake::{self, Format, Source};

/// Largest body that `parse` reads.
const MAX_BODY: u64 = 64 << 20;

pub(super) async fn run(args: AlertsArgs, connection: &Connection, output: &Output) -> Done {
    match args.command {
        AlertsCommand::Parse { source, mapping, headers, now, file } => {
            let now = now.unwrap_or_else(|| Clock::machine().now());
            let source = source_of(&source, mapping.as_deref(), &connection.config)?;
            let headers = header_map(&headers)?;
            let body = read(&file)?;
            let alerts = intake::parse(&source, &headers, &body, now).map_err(|error| {
                Failure::Refused(format!("{} {}: {error}", error.status().as_u16(), error.code()))
            })?;
            output.json(&json!(alerts));
            Ok(())
        }
        AlertsCommand::List { status, source, unanswered, patience, part } => {
            let wanted = unanswered.then(|| "true".to_owned());
            let filters =
                [("status", status), ("source", source), ("unanswered", wanted), ("patience", patience)];
            let listed = Client::new(connection)?.list("/v1/alerts", &filters, &part).await?;
            let (what, why) = if unanswered {
                (("CODE", "/unanswered/code"), ("WHY", "/unanswered/message"))
            } else {
                (("TARGET", "/target"), ("RUNS", "/runs"))
            };
            let columns = [
                ("ID", "/id"),
                ("STATUS", "/status"),
                ("SEVERITY", "/severity"),
                ("TITLE", "/title"),
                what,
                ("RECEIVED", "/received_at"),
                why,
            ];
            output.part(&listed, &columns);
            Ok(())
        }
        AlertsCommand::Show { id } => {
            output.json(&Client::new(connection)?.get(&format!("/v1/alerts/{id}")).await?);
            Ok(())
        }
        AlertsCommand::Why { id } => {
            why(&Client::new(connection)?.get(&format!("/v1/alerts/{id}/why")).await?, output);
            Ok(())
        }
    }
}

/// What reads a body: a format by its name, perhaps with a mapping, or else a source of the configuration.
fn source_of(name: &str, mapping: Option<&Path>, config: &Path) -> Result<Source, Failure> {
    match (Format::parse_name(name), mapping) {
        (Ok(format), None) => Ok(Source::offline(format)),
        (Ok(Format::Generic), Some(file)) => {
            let mapping = read_mapping(file).map_err(|problems| Failure::Usage(local::lines(&problems)))?;
            Source::offline_mapped(&mapping)
                .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), chain(&error))))
        }
        (Ok(format), Some(_)) => {
            Err(Failure::Usage(format!("--mapping belongs to --source generic, not to {format}")))
        }
        (Err(error), _) if !config.exists() => Err(Failure::Usage(format!("--source: {error}"))),
        (Err(error), _) => {
            let config = local::config(config)?;
            let names: Vec<&str> = config.sources.keys().map(String::as_str).collect();
            match config.compile_source(name) {
                Some(source) => source.map_err(|problem| Failure::Usage(problem.to_string())),
                None => Err(Failure::Usage(format!(
                    "--source: {error}; sources of {}: {}",
                    config.file.display(),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ))),
            }
        }
    }
}

/// The items of a page.
pub(super) fn items(page: &Value) -> Vec<Value> {
    page.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A decision trace: JSON, or a line a decision.
pub(super) fn why(trace: &Value, output: &Output) {
    if output.is_json() {
        return output.json(trace);
    }
    let text = |value: &Value, name: &str| safe(value.get(name).and_then(Value::as_str).unwrap_or("-"));
    let decisions = trace.get("decisions").and_then(Value::as_array).cloned().unwrap_or_default();
    for decision in &decisions {
        output.data(&format!(
            "{:7} {:9} {}: {} [{}]",
            text(decision, "result"),
            text(decision, "stage"),
            text(decision, "subject"),
            text(decision, "message"),
            text(decision, "code"),
        ));
    }
    for run in trace.get("runs").and_then(Value::as_array).into_iter().flatten() {
        output.data(&format!("run     {}", safe(run.as_str().unwrap_or("-"))));
    }
}

fn header_map(headers: &[String]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for header in headers {
        let wrong = || Failure::Usage(format!("--header {header:?}: `Name: value` is valid"));
        let (name, value) = header.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        map.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?);
    }
    Ok(map)
}

/// A file, or stdin for `-`.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BODY).read_to_end(&mut body)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_BODY).read_to_end(&mut body))
    };
    result.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    Ok(body)
}
