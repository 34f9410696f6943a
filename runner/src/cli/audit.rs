//! `audit`

use std::path::Path;

use serde_json::{Value, json};
use staunch_core::id::push_hex;
use staunch_core::tlog::VerifierKey;

use super::args::{AuditArgs, AuditCommand, Connection};
use super::client::Client;
use super::output::Output;
use super::{Done, Failure, epoch, local};
use crate::causes::chain;
use crate::journal::{self, Journal, Report};

/// After how many entries an export says how far it is.
const PROGRESS_STEP: u64 = 65_536;

pub(super) async fn run(args: AuditArgs, connection: &Connection, output: &Output) -> Done {
    match args.command {
        AuditCommand::Verify { directory, key } => verify(&directory, &key, output),
        AuditCommand::Export { to, without_payloads } => {
            export(connection, &to, !without_payloads, output).await
        }
        AuditCommand::Prove { what, to } => prove(connection, &what, to.as_deref(), output).await,
        AuditCommand::Checkpoint => {
            let bytes = Client::new(connection)?.text("/v1/audit/checkpoint").await?;
            output.data(&String::from_utf8_lossy(&bytes));
            Ok(())
        }
        AuditCommand::NewEpoch { reason } => epoch::run(&reason, connection, output).await,
    }
}

/// With a key file, or the text of a key as `init` prints it.
fn verify(directory: &Path, key: &str, output: &Output) -> Done {
    let file = Path::new(key);
    let report = match VerifierKey::parse(key) {
        Ok(key) if !file.exists() => journal::verify_with(directory, &key),
        Err(error) if !file.exists() && key.contains('+') => {
            return Err(Failure::Usage(format!("--key: neither a file nor a verifier key: {error}")));
        }
        _ => journal::verify(directory, file),
    };
    let report = report.map_err(|error| Failure::Usage(chain(&error)))?;
    if output.is_json() {
        output.json(&shown(&report));
    } else {
        for problem in &report.problems {
            output.data(&format!("{}: {}: {}", problem.file, problem.place, problem.message));
        }
    }
    if !report.problems.is_empty() {
        let count = report.problems.len();
        return Err(Failure::Refused(format!(
            "{count} {} found",
            if count == 1 { "problem was" } else { "problems were" }
        )));
    }
    for epoch in &report.epochs {
        let before = epoch.before.as_ref().map_or_else(
            || "nobody knows what was before".to_owned(),
            |(origin, size)| {
                let word = if epoch.continues { "continues" } else { "does NOT continue" };
                format!("it {word} the {size} entries of {origin}")
            },
        );
        output.note(&format!("epoch {} from entry {} on: {before}", epoch.number, epoch.index));
    }
    output.note(&format!(
        "verified: {} entries, {} payloads ({} removed), root {}",
        report.size,
        report.payloads_checked,
        report.removed.len(),
        root_of(&report),
    ));
    Ok(())
}

fn root_of(report: &Report) -> String {
    let mut digits = String::with_capacity(64);
    if let Some(root) = &report.root {
        push_hex(&mut digits, &root.0);
    }
    digits
}

fn shown(report: &Report) -> Value {
    let problems: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| json!({ "file": problem.file, "place": problem.place, "message": problem.message }))
        .collect();
    let epochs: Vec<Value> = report
        .epochs
        .iter()
        .map(|seen| {
            json!({
                "epoch": seen.number, "index": seen.index, "continues": seen.continues,
                "before": seen.before.as_ref().map(|(origin, size)| json!({ "origin": origin, "size": size })),
            })
        })
        .collect();
    json!({
        "origin": report.origin,
        "size": report.size,
        "root": root_of(report),
        "payloads": report.payloads_checked,
        "has_payloads": report.has_payloads,
        "removed": report.removed,
        "epochs": epochs,
        "other_signatures": report.other_signatures,
        "problems": problems,
        "more_problems": report.more_problems,
    })
}

/// The journal itself, when no daemon holds it.
async fn offline(connection: &Connection) -> Result<Option<Journal>, Failure> {
    if connection.url.is_some() {
        return Ok(None);
    }
    let config = local::config(&connection.config)?;
    Ok(local::scribe(&config).await?.map(|scribe| scribe.journal().clone()))
}

async fn export(connection: &Connection, to: &Path, payloads: bool, output: &Output) -> Done {
    let report = match offline(connection).await? {
        Some(journal) => {
            let exported = journal
                .export(to, payloads, |progress| {
                    if progress.done > 0 && progress.done.is_multiple_of(PROGRESS_STEP) {
                        output.note(&format!("exported {} of {} entries", progress.done, progress.total));
                    }
                })
                .await
                .map_err(|error| Failure::Refused(chain(&error)));
            journal.shutdown().await;
            json!({ "size": exported?.size, "to": to })
        }
        None => {
            let to = std::path::absolute(to)
                .map_err(|error| Failure::Usage(format!("{}: {error}", to.display())))?;
            let body = json!({ "to": to, "payloads": payloads });
            Client::new(connection)?.post("/v1/audit/export", &body).await?
        }
    };
    if output.is_json() {
        output.json(&report);
    } else {
        let size = report.get("size").and_then(Value::as_u64).unwrap_or_default();
        output.data(&format!("exported {size} entries to {}", to.display()));
    }
    Ok(())
}

async fn prove(connection: &Connection, what: &str, to: Option<&Path>, output: &Output) -> Done {
    let client = Client::new(connection)?;
    let answer = client.get(&format!("/v1/audit/prove/{what}")).await?;
    let proofs = answer.get("proofs").and_then(Value::as_array).cloned().unwrap_or_default();
    if output.is_json() && to.is_none() {
        output.json(&answer);
        return Ok(());
    }
    for proof in &proofs {
        let text = proof.get("proof").and_then(Value::as_str).unwrap_or_default();
        let index = proof.get("index").and_then(Value::as_u64).unwrap_or_default();
        match to {
            None => output.data(text),
            Some(path) => {
                // One proof goes to the file itself; several to files beside each other in a directory.
                let file = if proofs.len() == 1 {
                    path.to_owned()
                } else {
                    path.join(format!("{index}.tlog-proof"))
                };
                let folder = file.parent().unwrap_or_else(|| Path::new("."));
                std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(&file, text))
                    .map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))?;
                output.note(&format!("wrote {}", file.display()));
            }
        }
    }
    Ok(())
}
