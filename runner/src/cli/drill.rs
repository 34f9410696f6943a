//! `drill`: a synthetic alert on a runbook's road, watched until it ends or asks people.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use staunch_core::policy::duration;
use tokio::time::Instant;

use super::alerts::{read, why};
use super::args::{Connection, DrillArgs};
use super::client::Client;
use super::output::Output;
use super::runs::{label_map, show};
use super::{Done, Failure};

/// From one look at the run to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Outcomes of a drill that found nothing wanting.
const GOOD: [&str; 4] = ["observed", "fixed", "done", "unknown"];

pub(super) async fn run(args: &DrillArgs, connection: &Connection, output: &Output) -> Done {
    let patience = duration::parse(&args.wait).map_err(|error| Failure::Usage(format!("--wait: {error}")))?;
    let body = json!({
        "runbook": args.runbook,
        "labels": label_map(&args.labels)?,
        "alert": args.alert.as_deref().map(alert).transpose()?,
        "reason": args.reason,
        "mode": if args.act { "act" } else { "plan" },
        "drill": true,
    });
    let client = Client::new(connection)?;
    let begun = client.post("/v1/runs", &body).await?;
    let id = begun.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let run = watch(&client, &id, patience).await?;
    show(&run, output);
    if !output.is_json() {
        why(&client.get(&format!("/v1/runs/{id}/why")).await?, output);
    }
    let outcome = run.get("outcome").and_then(Value::as_str);
    match outcome {
        Some(outcome) if !GOOD.contains(&outcome) => {
            let reason = run.pointer("/reason/message").and_then(Value::as_str).unwrap_or("no reason given");
            Err(Failure::Refused(format!("the drill ended {outcome}: {reason}")))
        }
        Some(_) => Ok(()),
        None => {
            let state = run.get("state").and_then(Value::as_str).unwrap_or("open");
            output.note(&format!("the drill is {state}; `staunch runs show {id}` tells how it goes on"));
            Ok(())
        }
    }
}

/// The run as it is when it has ended or asks people, or when patience is over.
async fn watch(client: &Client, id: &str, patience: Duration) -> Result<Value, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let run = client.get(&format!("/v1/runs/{id}")).await?;
        let state = run.get("state").and_then(Value::as_str);
        if matches!(state, Some("ended" | "waiting" | "parked")) || Instant::now() >= deadline {
            return Ok(run);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The alert of a file: alone, or the only one of an array.
fn alert(file: &Path) -> Result<Value, Failure> {
    let wrong = |message: String| Failure::Usage(format!("--alert {}: {message}", file.display()));
    let value = serde_json::from_slice(&read(file)?).map_err(|error| wrong(format!("not JSON: {error}")))?;
    match value {
        Value::Array(mut items) if items.len() == 1 => Ok(items.remove(0)),
        Value::Array(items) => Err(wrong(format!("one alert is valid, and there are {}", items.len()))),
        alone => Ok(alone),
    }
}
