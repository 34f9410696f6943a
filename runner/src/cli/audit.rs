//! `audit`

use std::path::Path;

use serde_json::{Value, json};

use super::args::{AuditArgs, AuditCommand, Connection};
use super::client::Client;
use super::output::Output;
use super::{Done, Failure, local};
use crate::journal::{self, Journal};
use crate::pipeline::plugins::chain;

pub(super) async fn run(args: AuditArgs, connection: &Connection, output: &Output) -> Done {
    match args.command {
        AuditCommand::Verify { directory, key } => verify(&directory, &key, output),
        AuditCommand::Export { to, without_payloads } => export(connection, &to, !without_payloads, output).await,
        AuditCommand::Prove { what, to } => prove(connection, &what, to.as_deref(), output).await,
        AuditCommand::Checkpoint => {
            let bytes = Client::new(connection)?.text("/v1/audit/checkpoint").await?;
            output.data(&String::from_utf8_lossy(&bytes));
            Ok(())
        }
    }
}

fn verify(directory: &Path, key: &Path, output: &Output) -> Done {
    let report = journal::verify(directory, key, |_| ()).map_err(|error| Failure::Usage(chain(&error)))?;
    if output.is_json() {
        output.json(&json!(report));
    } else {
        for problem in &report.problems {
            output.data(&format!("{}: {}: {}", problem.file, problem.place, problem.message));
        }
    }
    if !report.problems.is_empty() {
        let count = report.problems.len();
        return Err(Failure::Refused(format!("{count} {} found", if count == 1 { "problem was" } else { "problems were" })));
    }
    output.note(&format!(
        "verified: {} entries, {} payloads ({} removed), root {}",
        report.size,
        report.payloads,
        report.removed.len(),
        report.root,
    ));
    Ok(())
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
            let report = journal::export(&journal, to, payloads, |progress| {
                output.note(&format!("exported {progress}"));
            })
            .await
            .map_err(|error| Failure::Refused(chain(&error)));
            journal.shutdown().await;
            json!(report?)
        }
        None => {
            let to = std::path::absolute(to).map_err(|error| Failure::Usage(format!("{}: {error}", to.display())))?;
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
                let file = if proofs.len() == 1 { path.to_owned() } else { path.join(format!("{index}.tlog-proof")) };
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
