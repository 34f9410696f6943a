//! `plugin test --record`: what a signed and installed plugin meets in the live world becomes a scenario. The daemon
//! runs it, under its grants and through every gate; here is only written down what its journal says of that.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use staunch_core::event::Event;
use tokio::time::Instant;

use super::args::Connection;
use super::client::Client;
use super::output::Output;
use super::plugin::{name, read, read_envelope};
use super::{Done, Failure};
use crate::causes::chain;
use crate::plugin::manifest::{FILE_NAME, Manifest};
use crate::plugin::{Compiler, UnverifiedBuild};
use crate::scenario::{self, Open};

/// How long a run may wait for people, and act.
const PATIENCE: Duration = Duration::from_secs(660);
const INTERVAL: Duration = Duration::from_millis(50);

/// How the live world is asked.
#[derive(Debug)]
pub(super) struct Recording<'a> {
    /// Whether effects are done.
    pub(super) act: bool,
    /// What is acted on.
    pub(super) target: Option<&'a str>,
    /// Why.
    pub(super) reason: &'a str,
}

/// Records all scenarios of a project that say neither `world` nor `expect`.
pub(super) async fn run(
    directory: &Path,
    recording: &Recording<'_>,
    connection: &Connection,
    output: &Output,
) -> Done {
    let refused = |error: &(dyn std::error::Error + 'static)| Failure::Refused(chain(error));
    let open = scenario::open_scenarios(directory).map_err(|error| refused(&error))?;
    if open.is_empty() {
        let message = "there is no scenario to record: one that says neither `world` nor `expect`";
        return Err(Failure::Refused(message.to_owned()));
    }
    let file = component(directory)?;
    let (component, envelope) = (read(&file)?, read_envelope(&file)?);
    let build = UnverifiedBuild::for_scripted_world(&name(&file), component.to_vec())
        .map_err(|error| refused(&error))?;
    let client = Client::new(connection)?;
    let mut reports = Vec::with_capacity(open.len());
    for scenario in &open {
        let parts = [
            ("component", component.to_vec()),
            ("envelope", envelope.to_vec()),
            ("request", recording.request(scenario).to_string().into_bytes()),
        ];
        let run = ended(&client, &client.post_form("/v1/plugins/run", &parts).await?, output).await?;
        let events = events(&client, &run).await?;
        let report = scenario.record(&events, &build, &Compiler::uncached()).await;
        let report = report.map_err(|error| Failure::Refused(format!("run {run}: {}", chain(&error))))?;
        output.note(&format!("recorded {}: {} (run {run})", report.file, report.name));
        reports.push(report);
    }
    if output.is_json() {
        output.json(&json!({ "recorded": reports }));
    }
    Ok(())
}

impl Recording<'_> {
    fn request(&self, scenario: &Open) -> Value {
        let mode = if self.act { "act" } else { "plan" };
        json!({ "input": scenario.input, "target": self.target, "reason": self.reason, "mode": mode })
    }
}

/// The component as it was built last: nothing is built now, since what meets the world is signed.
fn component(directory: &Path) -> Result<std::path::PathBuf, Failure> {
    let path = directory.join(FILE_NAME);
    let bytes = read(&path).map_err(|_| {
        Failure::Usage(format!("{} is missing: `staunch plugin new NAME` makes a project", path.display()))
    })?;
    let manifest = Manifest::parse(&name(&path), &bytes).map_err(|error| Failure::Usage(chain(&error)))?;
    let file = directory.join("dist").join(format!("{}-{}.wasm", manifest.name, manifest.version));
    if file.exists() {
        return Ok(file);
    }
    Err(Failure::Refused(format!("{} is missing: `staunch plugin build` makes it", file.display())))
}

/// Waits for the end of a run; people are told when it is theirs to say something.
async fn ended(client: &Client, started: &Value, output: &Output) -> Result<String, Failure> {
    let id = started.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let patience = Instant::now() + PATIENCE;
    let mut told = "";
    while Instant::now() < patience {
        let run = client.get(&format!("/v1/runs/{id}")).await?;
        match run.get("state").and_then(Value::as_str) {
            Some("ended") => return Ok(id),
            Some("waiting") if told != "waiting" => {
                told = "waiting";
                output.note(&format!("run {id} asks people: `staunch runs approve {id}` lets it act"));
            }
            Some("parked") => {
                let message =
                    format!("run {id} is parked and no recording: `staunch runs show {id}` says why");
                return Err(Failure::Refused(message));
            }
            _ => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Err(Failure::Refused(format!("run {id} did not end within {} s", PATIENCE.as_secs())))
}

/// What the journal says of a run.
async fn events(client: &Client, run: &str) -> Result<Vec<Event>, Failure> {
    let journal = client.get(&format!("/v1/runs/{run}/journal")).await?;
    let items = journal.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let bytes =
        |item: &Value, member: &str| item.get(member).filter(|value| !value.is_null()).map(Value::to_string);
    let event = |item: &Value| {
        let (leaf, payload) = (bytes(item, "leaf").unwrap_or_default(), bytes(item, "payload"));
        Event::decode(leaf.as_bytes(), payload.as_ref().map(String::as_bytes))
    };
    let events: Result<_, _> = items.iter().map(event).collect();
    events.map_err(|error| Failure::Refused(format!("run {run}: {}", chain(&error))))
}
