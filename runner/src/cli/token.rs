//! `token`: over HTTP when a daemon holds the journal, else into the journal itself.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use staunch_core::id::TokenId;
use staunch_core::policy::duration;

use super::args::{Connection, Part, TokenArgs, TokenCommand};
use super::client::{Client, Listed};
use super::output::Output;
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::Clock;
use crate::http::shapes::token as token_shape;
use crate::journal::MAX_PAGE;
use crate::people::{TokenRecord, check_token_request};
use crate::pipeline::scribe::Scribe;
use crate::pipeline::{Cursor, Listing, Refusal, list_tokens, revocation, token_line};

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
        TokenCommand::List { part } => {
            let columns = [
                ("ID", "/id"),
                ("NAME", "/name"),
                ("ROLES", "/roles"),
                ("EXPIRES", "/expires"),
                ("LAST USED", "/last_used_at"),
                ("REVOKED", "/revoked_at"),
            ];
            output.part(&list(connection, &part).await?, &columns);
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            revoke(connection, &id).await?;
            output.note(&format!("{id} is revoked"));
            Ok(())
        }
    }
}

/// The journal itself, where no daemon holds it and no other one is asked for.
async fn offline(connection: &Connection) -> Result<Option<Scribe>, Failure> {
    if connection.url.is_some() {
        return Ok(None);
    }
    local::scribe(&local::config(&connection.config)?).await
}

async fn list(connection: &Connection, part: &Part) -> Result<Listed, Failure> {
    let Some(scribe) = offline(connection).await? else {
        return Client::new(connection)?.list("/v1/tokens", &[], part).await;
    };
    let listed = list_here(&scribe, part).await;
    scribe.journal().shutdown().await;
    listed
}

async fn list_here(scribe: &Scribe, part: &Part) -> Result<Listed, Failure> {
    let wrong = || Failure::Usage("--after: not what an earlier listing said".to_owned());
    let mut after =
        part.after.as_deref().map(|text| Cursor::among::<TokenId>(text).ok_or_else(wrong)).transpose()?;
    let uses = scribe.journal().token_uses().await;
    let uses: HashMap<String, DateTime<Utc>> =
        uses.map_err(|error| Failure::Unreachable(chain(&error)))?.into_iter().collect();
    let shown = |record: &TokenRecord| token_shape(record, uses.get(record.id.as_str()).copied());
    let mut items = Vec::new();
    loop {
        let limit = u32::try_from(part.most() - items.len()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let page = list_tokens(scribe.journal(), Listing { after, limit, ..Listing::default() }).await;
        let page = page.map_err(|error| Failure::Unreachable(chain(&error)))?;
        items.extend(page.items.iter().map(shown));
        if page.next.is_none() || items.len() >= part.most() {
            return Ok(Listed { items, next: page.next.map(|next| next.to_string()) });
        }
        after = page.next;
    }
}

async fn revoke(connection: &Connection, id: &str) -> Done {
    let Some(scribe) = offline(connection).await? else {
        return Client::new(connection)?.delete(&format!("/v1/tokens/{id}")).await.map(drop);
    };
    let revoked = revoke_here(&scribe, id).await;
    scribe.journal().shutdown().await;
    revoked
}

async fn revoke_here(scribe: &Scribe, id: &str) -> Done {
    let id: TokenId =
        id.parse().map_err(|error| Failure::Refused(format!("there is no such token: {error}")))?;
    let (line, _) = revocation(scribe, &id, "host").await.map_err(|refusal| match refusal {
        Refusal::NotFound { .. } => Failure::Refused(refusal.to_string()),
        other => Failure::Unreachable(chain(&other)),
    })?;
    let committed = scribe.commit(line.into_iter().collect()).await;
    committed.map_err(|error| Failure::Unreachable(chain(&error)))
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
    if let Some(scribe) = offline(connection).await? {
        let (line, record, token) = token_line(&scribe, name, roles.to_vec(), expires, "host");
        let committed = scribe.commit(vec![line]).await;
        scribe.journal().shutdown().await;
        committed.map_err(|error| Failure::Unreachable(chain(&error)))?;
        return Ok(
            json!({ "id": record.id, "name": record.name, "token": token, "expires": record.expires }),
        );
    }
    let body = json!({ "name": name, "roles": roles, "expires": expires });
    Client::new(connection)?.post("/v1/tokens", &body).await
}
