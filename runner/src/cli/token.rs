//! `token`: over HTTP when a daemon holds the journal, else into the journal itself.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use staunch_core::policy::duration;

use super::args::{Connection, TokenArgs, TokenCommand};
use super::client::Client;
use super::output::Output;
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::Clock;
use crate::people::check_token_request;
use crate::pipeline::token_line;

pub(super) async fn run(args: TokenArgs, connection: &Connection, output: &Output) -> Done {
    match args.command {
        TokenCommand::Create { name, roles, expires } => {
            check_token_request(&name, &roles).map_err(Failure::Usage)?;
            let expires = expires.map(|text| end(&text)).transpose()?;
            let made = create(connection, &name, &roles, expires).await?;
            if output.is_json() {
                output.json(&made);
            } else {
                output.note("This token is shown once:");
                output.data(made.get("token").and_then(Value::as_str).unwrap_or_default());
            }
            Ok(())
        }
        TokenCommand::List => {
            let page = Client::new(connection)?.get("/v1/tokens").await?;
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let columns = [
                ("ID", "/id"),
                ("NAME", "/name"),
                ("ROLES", "/roles"),
                ("EXPIRES", "/expires"),
                ("REVOKED", "/revoked_at"),
            ];
            output.listing(&items, &columns);
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            Client::new(connection)?.delete(&format!("/v1/tokens/{id}")).await?;
            output.note(&format!("{id} is revoked"));
            Ok(())
        }
    }
}

fn end(text: &str) -> Result<DateTime<Utc>, Failure> {
    let duration = duration::parse(text).map_err(|error| Failure::Usage(format!("--expires: {error}")))?;
    let delta = chrono::TimeDelta::from_std(duration)
        .map_err(|error| Failure::Usage(format!("--expires: {error}")))?;
    Ok(Clock::machine().now() + delta)
}

async fn create(
    connection: &Connection,
    name: &str,
    roles: &[String],
    expires: Option<DateTime<Utc>>,
) -> Result<Value, Failure> {
    if connection.url.is_none() {
        let config = local::config(&connection.config)?;
        if let Some(scribe) = local::scribe(&config).await? {
            let (line, record, token) = token_line(&scribe, name, roles.to_vec(), expires, "host");
            scribe.commit(vec![line]).await.map_err(|error| Failure::Unreachable(chain(&error)))?;
            scribe.journal().shutdown().await;
            return Ok(
                json!({ "id": record.id, "name": record.name, "token": token, "expires": record.expires }),
            );
        }
    }
    let body = json!({ "name": name, "roles": roles, "expires": expires });
    Client::new(connection)?.post("/v1/tokens", &body).await
}
