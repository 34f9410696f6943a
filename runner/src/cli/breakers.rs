//! `breakers`: listed, opened and closed by hand.

use serde_json::{Value, json};

use super::Done;
use super::args::{BreakersArgs, BreakersCommand, Connection};
use super::client::Client;
use super::output::Output;

/// `breakers`
pub(super) async fn run(args: BreakersArgs, connection: &Connection, output: &Output) -> Done {
    let client = Client::new(connection)?;
    match args.command {
        BreakersCommand::List { state, part } => {
            let listed = client.list("/v1/breakers", &[("state", state)], &part).await?;
            let columns = [
                ("ID", "/id"),
                ("STATE", "/state"),
                ("FAILURES", "/failures"),
                ("RUNS", "/runs"),
                ("UNTIL", "/until"),
                ("WHY", "/why"),
            ];
            output.part(&listed, &columns);
            Ok(())
        }
        BreakersCommand::Trip { id, reason } => by_hand(&client, &id, "trip", &reason, output).await,
        BreakersCommand::Reset { id, reason } => by_hand(&client, &id, "reset", &reason, output).await,
    }
}

async fn by_hand(client: &Client, id: &str, what: &str, reason: &str, output: &Output) -> Done {
    let encoded: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    // In a path, a plus is a plus.
    let path = format!("/v1/breakers/{}/{what}", encoded.replace('+', "%20"));
    let breaker = client.post(&path, &json!({ "reason": reason })).await?;
    if output.is_json() {
        output.json(&breaker);
    } else {
        output.data(breaker.get("state").and_then(Value::as_str).unwrap_or("-"));
    }
    Ok(())
}
