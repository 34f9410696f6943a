//! `plugin standing`, `plugin reinstate`, `plugin revoke`: by the daemon when one holds the journal, else right here.

use serde_json::{Value, json};

use super::args::Connection;
use super::client::Client;
use super::local;
use super::output::Output;
use super::{Done, Failure};
use crate::causes::chain;
use crate::config::Config;
use crate::pipeline::scribe::Scribe;
use crate::pipeline::standings::{Hand, by_hand};
use crate::pipeline::views::{self, PluginRecord};

/// Who moves a plugin from the shell of the daemon's own machine, without a token.
const HOST: &str = "host";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// How it stands.
    Show,
    /// A move, and why.
    Move(Hand, &'a str),
}

pub(super) async fn run(name: &str, asked: Asked<'_>, connection: &Connection, output: &Output) -> Done {
    let offline = if connection.url.is_none() {
        let config = local::config(&connection.config)?;
        local::scribe(&config).await?.map(|scribe| (config, scribe))
    } else {
        None
    };
    let report = match offline {
        Some((config, scribe)) => {
            let done = offline_report(&config, &scribe, name, asked).await;
            scribe.journal().shutdown().await;
            done?
        }
        None => online(&Client::new(connection)?, name, asked).await?,
    };
    if output.is_json() || matches!(asked, Asked::Show) {
        output.json(&report);
    } else {
        output.data(report.get("standing").and_then(Value::as_str).unwrap_or("-"));
    }
    Ok(())
}

async fn online(client: &Client, name: &str, asked: Asked<'_>) -> Result<Value, Failure> {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let (what, reason) = match asked {
        Asked::Show => {
            let plugin = client.get(&format!("/v1/plugins/{name}")).await?;
            return Ok(plugin.get("trust").cloned().unwrap_or_default());
        }
        Asked::Move(Hand::Reinstate, reason) => ("reinstate", reason),
        Asked::Move(Hand::Revoke, reason) => ("revoke", reason),
    };
    client.post(&format!("/v1/plugins/{name}/{what}"), &json!({ "reason": reason })).await
}

async fn offline_report(
    config: &Config,
    scribe: &Scribe,
    name: &str,
    asked: Asked<'_>,
) -> Result<Value, Failure> {
    let unreadable = |error: &dyn std::error::Error| Failure::Unreachable(chain(error));
    let row = scribe.journal().view(views::PLUGIN, name).await.map_err(|error| unreadable(&error))?;
    let Some(row) = row else { return Err(Failure::Refused(format!("there is no plugin {name:?}"))) };
    let mut record: PluginRecord = views::read(&row.doc).map_err(|error| unreadable(&error))?;
    if let Asked::Move(hand, reason) = asked {
        let moved = by_hand(scribe, &config.standing, record, hand, HOST, reason);
        let (line, after) = moved.map_err(|error| Failure::Refused(error.to_string()))?;
        scribe.commit(vec![line]).await.map_err(|error| unreadable(&error))?;
        record = after;
    }
    Ok(json!(record.record.report(&config.standing, scribe.clock().now())))
}
