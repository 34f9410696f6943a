//! `storms`: what each holds, shown as one item and answered at once.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::args::{Connection, StormsArgs, StormsCommand};
use super::client::Client;
use super::output::{Output, safe};
use super::{Done, Failure};

/// `storms`
pub(super) async fn run(args: StormsArgs, connection: &Connection, output: &Output) -> Done {
    let client = Client::new(connection)?;
    match args.command {
        StormsCommand::List => {
            let listed = client.get("/v1/storms").await?;
            let items = listed.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let columns = [
                ("ID", "/id"),
                ("SINCE", "/since"),
                ("EXPIRES", "/expires"),
                ("EFFECTS", "/effects"),
                ("TARGETS", "/targets"),
            ];
            output.listing(&items, &columns);
            Ok(())
        }
        StormsCommand::Show { id } => {
            show(&client.get(&path(&id, "")).await?, output);
            Ok(())
        }
        StormsCommand::Approve { id, digest, comment } => {
            answer(&client, (&id, "approve"), digest, comment, output).await
        }
        StormsCommand::Reject { id, digest, comment } => {
            answer(&client, (&id, "reject"), digest, comment, output).await
        }
    }
}

fn path(id: &str, what: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    // In a path, a plus is a plus.
    format!("/v1/storms/{}{what}", encoded.replace('+', "%20"))
}

/// A storm: JSON, or its sentence, its digest and a table of its runs.
fn show(storm: &Value, output: &Output) {
    if output.is_json() {
        output.json(storm);
        return;
    }
    output.data(&summary(storm));
    let runs = storm.get("runs").and_then(Value::as_array).cloned().unwrap_or_default();
    let columns = [
        ("RUN", "/run"),
        ("RUNBOOK", "/runbook"),
        ("TARGET", "/target"),
        ("EFFECTS", "/effects"),
        ("PLAN", "/plan"),
    ];
    output.listing(&runs, &columns);
}

fn summary(storm: &Value) -> String {
    let text = |name: &str| storm.get(name).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
    let number = |name: &str| storm.get(name).and_then(Value::as_u64).unwrap_or_default();
    let runs = storm.get("runs").and_then(Value::as_array).map_or(0, Vec::len);
    let more = match number("left_out") {
        0 => String::new(),
        more => format!(", and {more} more that come later"),
    };
    format!(
        "{}  {}\nholds    {runs} runs with {} effects{more}\ndigest   {}",
        text("id"),
        text("message"),
        number("effects"),
        text("digest")
    )
}

/// Answers all that was shown. Without a digest, it is shown at the terminal and asked about.
async fn answer(
    client: &Client,
    (id, what): (&str, &str),
    digest: Option<String>,
    comment: Option<String>,
    output: &Output,
) -> Done {
    let digest = match digest {
        Some(digest) => digest,
        None => seen(client, id, what, output).await?,
    };
    let body = json!({ "digest": digest, "comment": comment });
    let said = client.post(&path(id, &format!("/{what}")), &body).await?;
    let part = |name: &str| said.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let left = part("left");
    if output.is_json() {
        output.json(&said);
    } else {
        output.listing(&part("answered"), &[("RUN", "/run"), ("TARGET", "/target"), ("MISSING", "/missing")]);
    }
    if left.is_empty() {
        return Ok(());
    }
    for one in &left {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
        output.note(&format!("{} stays as it is: {}: {}", text("run"), text("code"), text("message")));
    }
    Err(Failure::Refused(format!("{} runs stay as they are", left.len())))
}

async fn seen(client: &Client, id: &str, what: &str, output: &Output) -> Result<String, Failure> {
    let storm = client.get(&path(id, "")).await?;
    let digest = storm.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !std::io::stdin().is_terminal() {
        output.note(&summary(&storm));
        let message = format!("nobody is at the terminal to see the storm: give --digest {digest}");
        return Err(Failure::Usage(message));
    }
    show(&storm, output);
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "{} all of it? [y/N] ", if what == "approve" { "Approve" } else { "Reject" }));
    drop(stderr.flush());
    let mut said = String::new();
    let yes = std::io::stdin().read_line(&mut said).is_ok() && matches!(said.trim(), "y" | "Y" | "yes");
    if yes { Ok(digest) } else { Err(Failure::Refused("not answered".to_owned())) }
}
