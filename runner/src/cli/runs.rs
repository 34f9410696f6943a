//! `runs`

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use staunch_core::id::Digest;

use super::alerts::why;
use super::args::{Connection, Part, RunsArgs, RunsCommand};
use super::client::Client;
use super::output::{Output, safe};
use super::{Done, Failure};
use crate::causes::chain;
use crate::clock::Clock;
use crate::keys;
use crate::pipeline::sign_approval;

/// What a listing of runs shows.
const COLUMNS: [(&str, &str); 7] = [
    ("ID", "/id"),
    ("RUNBOOK", "/runbook"),
    ("TARGET", "/target"),
    ("STATE", "/state"),
    ("OUTCOME", "/outcome"),
    ("REASON", "/reason/code"),
    ("CREATED", "/created_at"),
];

pub(super) async fn run(args: RunsArgs, connection: &Connection, output: &Output) -> Done {
    let client = Client::new(connection)?;
    match args.command {
        RunsCommand::List { state, runbook, plugin, target, part } => {
            let filters = [("state", state), ("runbook", runbook), ("plugin", plugin), ("target", target)];
            output.part(&client.list("/v1/runs", &filters, &part).await?, &COLUMNS);
        }
        RunsCommand::Show { id } => show(&client.get(&format!("/v1/runs/{id}")).await?, output),
        RunsCommand::Why { id } => why(&client.get(&format!("/v1/runs/{id}/why")).await?, output),
        RunsCommand::Start { runbook, target, input, labels, reason, act, break_glass } => {
            let body = json!({
                "runbook": runbook,
                "target": target,
                "input": input.as_deref().map(|text| parse_json("--input", text)).transpose()?,
                "labels": label_map(&labels)?,
                "reason": reason,
                "mode": if act { "act" } else { "plan" },
                "break_glass": break_glass,
            });
            show(&client.post("/v1/runs", &body).await?, output);
        }
        RunsCommand::Approve { id, plan, comment, key } => {
            approve(&client, &id, plan, comment, key.as_deref(), output).await?;
        }
        RunsCommand::Reject { id, comment } => {
            let body = json!({ "comment": comment });
            show(&client.post(&format!("/v1/runs/{id}/reject"), &body).await?, output);
        }
        RunsCommand::Cancel { id, comment } => {
            let body = json!({ "comment": comment });
            show(&client.post(&format!("/v1/runs/{id}/cancel"), &body).await?, output);
        }
        RunsCommand::Takeover { id, comment, hold } => {
            let body = json!({ "comment": comment, "hold": hold });
            show(&client.post(&format!("/v1/runs/{id}/takeover"), &body).await?, output);
        }
        RunsCommand::GiveBack { id, comment } => {
            let body = json!({ "comment": comment });
            show(&client.post(&format!("/v1/runs/{id}/give-back"), &body).await?, output);
        }
        RunsCommand::BreakGlass { id, plan, reason, passes } => {
            let path = format!("/v1/runs/{id}/break-glass");
            let body = json!({ "plan": plan, "reason": reason, "passes": passes });
            show(&client.post(&path, &body).await?, output);
        }
        RunsCommand::Justifications { reviewed, part } => {
            justifications(&client, reviewed, &part, output).await?
        }
        RunsCommand::Review { id, comment, unjustified } => {
            let body = json!({ "comment": comment, "justified": !unjustified });
            show(&client.post(&format!("/v1/justifications/{id}/review"), &body).await?, output);
        }
        RunsCommand::Settle { id, outcome, effect, answer, comment } => {
            let answer = answer.as_deref().map(|text| parse_json("--answer", text)).transpose()?;
            let body = json!({ "outcome": outcome, "effect": effect, "answer": answer, "comment": comment });
            show(&client.post(&format!("/v1/runs/{id}/settle"), &body).await?, output);
        }
    }
    Ok(())
}

async fn justifications(client: &Client, reviewed: bool, part: &Part, output: &Output) -> Done {
    let state = reviewed.then(|| "reviewed".to_owned());
    let listed = client.list("/v1/justifications", &[("state", state)], part).await?;
    let columns = [
        ("RUN", "/run"),
        ("RUNBOOK", "/runbook"),
        ("TARGET", "/target"),
        ("BY", "/by"),
        ("AT", "/at"),
        ("REASON", "/reason"),
        ("REVIEWED BY", "/review/by"),
    ];
    output.part(&listed, &columns);
    Ok(())
}

/// JSON that came as a flag.
pub(super) fn parse_json(flag: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Usage(format!("{flag}: not JSON: {error}")))
}

pub(super) fn label_map(labels: &[String]) -> Result<BTreeMap<&str, &str>, Failure> {
    labels
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--label {label:?}: `name=value` is valid")))
        })
        .collect()
}

/// Approves the shown plan. Without a digest, the plan is shown at the terminal and asked about.
async fn approve(
    client: &Client,
    id: &str,
    plan: Option<String>,
    comment: Option<String>,
    key: Option<&Path>,
    output: &Output,
) -> Done {
    let key = key.map(keys::load_private).transpose();
    let key = key.map_err(|error| Failure::Usage(format!("--key: {}", chain(&error))))?;
    let plan = match plan {
        Some(plan) => plan,
        None => {
            let run = client.get(&format!("/v1/runs/{id}")).await?;
            let Some(digest) = run.pointer("/plan/digest").and_then(Value::as_str) else {
                return Err(Failure::Refused(format!("run {id} has no plan yet")));
            };
            output.note(&described(&run));
            if !std::io::stdin().is_terminal() {
                let message = format!("nobody is at the terminal to see the plan: give --plan {digest}");
                return Err(Failure::Usage(message));
            }
            if !confirmed() {
                return Err(Failure::Refused("not approved".to_owned()));
            }
            digest.to_owned()
        }
    };
    let mut body = json!({ "plan": plan, "comment": comment });
    if let Some(key) = key {
        let digest: Digest = plan.parse().map_err(|error| Failure::Usage(format!("--plan: {error}")))?;
        let now = Clock::machine().now();
        body["envelope"] = sign_approval(id, &digest, comment.as_deref(), now, &key);
    }
    show(&client.post(&format!("/v1/runs/{id}/approve"), &body).await?, output);
    Ok(())
}

fn confirmed() -> bool {
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "Approve this plan? [y/N] "));
    drop(stderr.flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A run: JSON, or what a person wants to see of it.
pub(super) fn show(run: &Value, output: &Output) {
    if output.is_json() {
        output.json(run);
    } else {
        output.data(&described(run));
    }
}

fn described(run: &Value) -> String {
    let text = |path: &str| run.pointer(path).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
    let drill = run.get("drill").and_then(Value::as_bool).is_some_and(|drill| drill);
    let drill = if drill { "  (a drill)" } else { "" };
    let mut lines = vec![
        format!("{}  {} on {}{drill}", text("/id"), text("/runbook"), text("/target")),
        format!("state    {}  outcome {}", text("/state"), text("/outcome")),
    ];
    if run.pointer("/reason/code").is_some() {
        lines.push(format!("reason   {}: {}", text("/reason/code"), text("/reason/message")));
    }
    if let Some(missing) = run.pointer("/quorum/missing").and_then(Value::as_u64) {
        let names = run.pointer("/quorum/counted").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<String> = names.filter_map(Value::as_str).map(safe).collect();
        let by = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        lines.push(format!("asks     approved by {by}, {missing} missing"));
    }
    if run.pointer("/plan/digest").is_some() {
        lines.push(format!("plan     {}", text("/plan/digest")));
        lines.push(text("/plan/summary"));
    }
    lines.extend(effects(run.get("effects")));
    if run.pointer("/undo/state").is_some() {
        let reason = run.pointer("/undo/reason/message").and_then(Value::as_str).map(safe);
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        lines.push(format!("undo     {}{reason}", text("/undo/state")));
        lines.extend(effects(run.pointer("/undo/effects")));
    }
    lines.join("\n")
}

/// Effects, two lines each.
fn effects(list: Option<&Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for effect in list.and_then(Value::as_array).into_iter().flatten() {
        let member =
            |name: &str| effect.get(name).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
        let arguments = effect.get("arguments").map_or_else(String::new, |value| safe(&value.to_string()));
        lines.push(format!(
            "  {:8} {}.{} {}  {}",
            member("status"),
            member("capability"),
            member("function"),
            member("target"),
            member("reason"),
        ));
        lines.push(format!("           {arguments}"));
    }
    lines
}

/// Waits until a run has ended or waits for people.
pub(super) async fn settled(client: &Client, id: &str) -> Result<Value, Failure> {
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(660);
    loop {
        let run = client.get(&format!("/v1/runs/{id}")).await?;
        let state = run.get("state").and_then(Value::as_str).unwrap_or_default();
        if matches!(state, "ended" | "waiting" | "parked") || tokio::time::Instant::now() > patience {
            return Ok(run);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
