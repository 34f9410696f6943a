//! What the journal knows: through the daemon that holds it, or, where none does, read here.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use staunch_core::backtest::{MOST_ALERTS, Recorded};
use staunch_core::id::Digest;
use staunch_core::policy::Standing;
use staunch_core::record::AlertRecord;
use staunch_core::silence::Silence;

use super::super::args::{Connection, Part};
use super::super::client::Client;
use super::super::{Failure, local};
use super::recorded::{heard, received_at};
use crate::causes::chain;
use crate::config::Config;
use crate::http::shapes;
use crate::journal::{MAX_PAGE, ViewQuery};
use crate::pipeline::scribe::Scribe;
use crate::pipeline::views::{self, PluginRecord};

/// A page of the daemon's listings.
const PAGE: &str = "500";

/// Where the past is.
#[derive(Debug)]
pub(super) enum Past {
    /// A daemon tells.
    Daemon(Client),
    /// It is read here.
    Store(Scribe),
    /// Nothing has happened yet.
    Nothing,
}

/// An installed plugin, as the journal knows it.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) standing: Standing,
}

impl Past {
    /// The past of the installation; or of the daemon that `--url` names.
    pub(super) async fn open(config: &Config, connection: &Connection) -> Result<Self, Failure> {
        if connection.url.is_some() {
            return Client::new(connection).map(Self::Daemon);
        }
        if !config.data.join("journal.db").exists() {
            return Ok(Self::Nothing);
        }
        match local::scribe(config).await? {
            Some(scribe) => Ok(Self::Store(scribe)),
            None => Client::new(connection).map(Self::Daemon),
        }
    }

    pub(super) async fn close(&self) {
        if let Self::Store(scribe) = self {
            scribe.journal().shutdown().await;
        }
    }

    /// The installed plugins with their standing; `None` where nothing is known.
    pub(super) async fn standings(&self) -> Result<Option<Vec<Installed>>, Failure> {
        match self {
            Self::Nothing => Ok(None),
            Self::Daemon(client) => {
                let page = client.get("/v1/plugins").await?;
                let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                Ok(Some(items.iter().filter_map(installed).collect()))
            }
            Self::Store(scribe) => {
                let mut all = Vec::new();
                each_row(scribe, views::PLUGIN, false, |record: PluginRecord| {
                    let standing = record.record.in_force();
                    all.push(Installed { name: record.name, digest: record.digest, standing });
                    true
                })
                .await?;
                Ok(Some(all))
            }
        }
    }

    /// All silences that are still known.
    pub(super) async fn silences(&self) -> Result<Vec<Silence>, Failure> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Daemon(client) => {
                let part = Part { limit: 50, after: None, all: true };
                let listed = client.list("/v1/silences", &[("state", Some("all".to_owned()))], &part).await?;
                Ok(listed.items.into_iter().filter_map(silence).collect())
            }
            Self::Store(scribe) => {
                let mut all = Vec::new();
                each_row(scribe, views::SILENCE, false, |silence: Silence| {
                    all.push(silence);
                    true
                })
                .await?;
                Ok(all)
            }
        }
    }

    /// The alerts that were received since a time, in the order of time.
    pub(super) async fn alerts(&self, since: DateTime<Utc>) -> Result<Vec<Recorded>, Failure> {
        let mut all: Vec<Recorded> = Vec::new();
        let mut count = 0;
        // Newest first: the rest lies before the time.
        let mut take = |item: &Value| {
            count += 1;
            let wanted = received_at(item).is_some_and(|at| at >= since) && count <= MOST_ALERTS;
            if wanted {
                all.extend(heard(item).unwrap_or_default());
            }
            wanted
        };
        match self {
            Self::Nothing => {}
            Self::Daemon(client) => pages(client, "/v1/alerts", &mut take).await?,
            Self::Store(scribe) => {
                each_row(scribe, views::ALERT, true, |record: AlertRecord| take(&shapes::alert(&record)))
                    .await?;
            }
        }
        if count > MOST_ALERTS {
            let message =
                format!("since {since} there were more than the {MOST_ALERTS} alerts of one backtest");
            return Err(Failure::Refused(message));
        }
        // Newest were read first; where times are equal, the order in which they were received counts.
        all.reverse();
        all.sort_by_key(|recorded| recorded.at);
        Ok(all)
    }
}

fn installed(item: &Value) -> Option<Installed> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let standing = text("in_force").or_else(|| text("standing"))?;
    Some(Installed {
        name: text("name")?.to_owned(),
        digest: text("digest")?.parse().ok()?,
        standing: Standing::WORDS.iter().find(|(word, _)| *word == standing)?.1,
    })
}

fn silence(mut item: Value) -> Option<Silence> {
    item.as_object_mut()?.remove("state");
    serde_json::from_value(item).ok()
}

/// Hands over the items of a listing until one is not wanted.
async fn pages(client: &Client, path: &str, take: &mut dyn FnMut(&Value) -> bool) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let query = [("limit", Some(PAGE.to_owned())), ("after", after.take())];
        let page = client.get_query(path, &query).await?;
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        if !items.iter().all(&mut *take) {
            return Ok(());
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() || items.is_empty() {
            return Ok(());
        }
    }
}

/// Hands over the rows of a view until one is not wanted.
async fn each_row<T: DeserializeOwned>(
    scribe: &Scribe,
    kind: &'static str,
    newest_first: bool,
    mut take: impl FnMut(T) -> bool,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let query = ViewQuery {
            kind,
            state: None,
            keys: [None, None, None],
            after: after.take(),
            limit: MAX_PAGE,
            newest_first,
        };
        let rows = scribe.journal().views(&query).await.map_err(|error| Failure::Usage(chain(&error)))?;
        for row in &rows {
            let record = views::read(&row.doc).map_err(|error| {
                Failure::Usage(format!("{kind} {} cannot be read: {error}", json!(row.id)))
            })?;
            if !take(record) {
                return Ok(());
            }
        }
        match rows.last().filter(|_| rows.len() >= MAX_PAGE as usize) {
            Some(last) => after = Some(crate::journal::ViewCursor { id: last.id.clone() }),
            None => return Ok(()),
        }
    }
}
