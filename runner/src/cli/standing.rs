//! `plugin standing`, `plugin reinstate`, `plugin revoke`: by the daemon when one holds the journal, else right here.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::args::Connection;
use super::client::Client;
use super::local;
use super::output::{Output, safe};
use super::{Done, Failure};
use crate::causes::chain;
use crate::config::Config;
use crate::journal::ViewQuery;
use crate::pipeline::ReadError;
use crate::pipeline::observed::observed;
use crate::pipeline::scribe::Scribe;
use crate::pipeline::standings::{Hand, by_hand, catch_up};
use crate::pipeline::views::{self, PluginRecord};

/// Who moves a plugin from the shell of the daemon's own machine, without a token.
const HOST: &str = "host";

/// The most installed plugins that are read.
const MOST_PLUGINS: u32 = 1_000;

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
    match asked {
        _ if output.is_json() => output.json(&report),
        Asked::Show => output.data(&described(&report)),
        Asked::Move(..) => output.data(report.get("standing").and_then(Value::as_str).unwrap_or("-")),
    }
    Ok(())
}

async fn online(client: &Client, name: &str, asked: Asked<'_>) -> Result<Value, Failure> {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let (what, body) = match asked {
        Asked::Show => {
            let plugin = client.get(&format!("/v1/plugins/{name}")).await?;
            return Ok(plugin.get("trust").cloned().unwrap_or_default());
        }
        Asked::Move(Hand::Reinstate(canary), reason) => {
            ("reinstate", json!({ "reason": reason, "canary": canary }))
        }
        Asked::Move(Hand::Revoke, reason) => ("revoke", json!({ "reason": reason })),
    };
    client.post(&format!("/v1/plugins/{name}/{what}"), &body).await
}

async fn offline_report(
    config: &Config,
    scribe: &Scribe,
    name: &str,
    asked: Asked<'_>,
) -> Result<Value, Failure> {
    let unreadable = |error: &dyn std::error::Error| Failure::Unreachable(chain(error));
    let now = scribe.clock().now();
    let mut records = installed(scribe).await.map_err(|error| unreadable(&error))?;
    // What its runs came to since it moved last; a move that comes of it is the daemon's to write down.
    let caught_up = catch_up(scribe.journal(), &config.standing, now, &mut records).await;
    let _moves = caught_up.map_err(|error| unreadable(&error))?;
    let Some(mut record) = records.remove(name) else {
        return Err(Failure::Refused(format!("there is no plugin {name:?}")));
    };
    if let Asked::Move(hand, reason) = asked {
        let moved = by_hand(scribe, &config.standing, record, hand, HOST, reason);
        let (line, after) = moved.map_err(|error| Failure::Refused(error.to_string()))?;
        scribe.commit(vec![line]).await.map_err(|error| unreadable(&error))?;
        record = after;
    }
    let mut report = json!(record.record.report(&config.standing, now));
    if let Asked::Show = asked {
        let compared = observed(scribe.journal(), &config.standing, &record, now).await;
        report["observed"] = json!(compared.map_err(|error| unreadable(&error))?);
    }
    Ok(report)
}

async fn installed(scribe: &Scribe) -> Result<HashMap<String, PluginRecord>, ReadError> {
    let (kind, keys) = (views::PLUGIN, [None, None, None]);
    let query = ViewQuery { kind, state: None, keys, after: None, limit: MOST_PLUGINS, newest_first: false };
    let mut records = HashMap::new();
    for row in scribe.journal().views(&query).await? {
        let record: PluginRecord = views::read(&row.doc).map_err(ReadError::Row)?;
        records.insert(record.name.clone(), record);
    }
    Ok(records)
}

/// What a person wants to see of a report.
fn described(report: &Value) -> String {
    let text = |path: &str| report.pointer(path).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
    let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let percent = |path: &str| {
        let rate = report.pointer(path).and_then(Value::as_f64).map(|rate| rate * 100.0);
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} %"))
    };
    let mut lines = vec![
        format!("{}  {}", text("/plugin"), text("/digest")),
        format!("standing  {}, in force {}", text("/standing"), text("/in_force")),
    ];
    if count("/canary") > 0 {
        lines.push(format!("canary    the next {} runs need approval", count("/canary")));
    }
    lines.push(format!(
        "rate      {} (95 %: {} to {}) of {} runs since {}",
        percent("/rate/rate"),
        percent("/rate/low"),
        percent("/rate/high"),
        count("/sample"),
        text("/since")
    ));
    lines.push(format!(
        "counted   {} fixed, {} not fixed, {} trapped",
        count("/fixed"),
        count("/not_fixed"),
        count("/trapped")
    ));
    lines.push(format!("unknown   {} (not counted)", count("/unknown")));
    lines.push(format!("excused   {} (not counted)", count("/excused")));
    for turned in report.get("intervened").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| turned.get(name).and_then(Value::as_str).map_or_else(String::new, safe);
        lines.push(format!("  not fixed after all: {} ({})", member("run"), member("how")));
    }
    lines.push(format!(
        "observed  {} agreed with people, {} differed, {} where nobody acted, {} open",
        count("/observed/agreed"),
        count("/observed/differed"),
        count("/observed/nobody_acted"),
        count("/observed/open")
    ));
    for moved in report.get("moves").and_then(Value::as_array).into_iter().flatten() {
        let member =
            |name: &str| moved.get(name).and_then(Value::as_str).map_or_else(|| "-".to_owned(), safe);
        lines.push(format!(
            "  {}  {} -> {}  {}: {}",
            member("at"),
            member("from"),
            member("to"),
            member("cause"),
            member("message")
        ));
    }
    lines.join("\n")
}
