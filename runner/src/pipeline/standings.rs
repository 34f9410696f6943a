//! Standing at work: each plugin version's record, moved down by the ends of its runs and up by people.
//!
//! A move is an entry of its own, `plugin-moved`, with the whole record in it. What runs came to since is put
//! together again from the rows of kind `action`.

use std::collections::HashMap;
use std::sync::Arc;

use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::policy::duration;
use staunch_core::standing::{Cause, Move, MoveError, Report, Settings, outage};

use super::plugins::Plugins;
use super::scribe::{Line, Scribe};
use super::shared::{ROWS_AT_ONCE, Shared};
use super::views::{self, Action, PluginRecord};
use super::{OpenError, Pipeline, ReadError, Refusal};
use crate::journal::ViewQuery;

/// What a person does to a plugin's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// One step up.
    Reinstate,
    /// Out of service.
    Revoke,
}

fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Installed => "installed",
        Cause::Rate => "rate",
        Cause::Demotions => "demotions",
        Cause::Reinstated => "reinstated",
        Cause::Revoked => "revoked",
    }
}

/// The entry of a move, with the row that it changes: `record` is as it is after it.
fn line(scribe: &Scribe, record: &PluginRecord, moved: &Move) -> Line {
    let leaf = event::PluginMoved {
        plugin: record.name.clone(),
        digest: record.digest,
        from: moved.from.map(|from| from.as_str().to_owned()),
        to: moved.to.as_str().to_owned(),
        cause: cause_word(moved.cause).to_owned(),
        runs: moved.runs.clone(),
    };
    let outside = payload::PluginMoved {
        message: moved.message.clone(),
        by: moved.by.clone(),
        record: record.record.clone(),
    };
    let fact = Fact::PluginMoved(leaf, Outside::Kept(outside));
    Line { event: Arc::new(scribe.event(None, None, fact)), views: vec![views::plugin(record)] }
}

/// A person's move, with what the plugin is after it; nothing is written down yet.
///
/// # Errors
/// When there is no reason, or no such step.
pub fn by_hand(
    scribe: &Scribe,
    settings: &Settings,
    mut record: PluginRecord,
    hand: Hand,
    by: &str,
    reason: &str,
) -> Result<(Line, PluginRecord), MoveError> {
    let now = scribe.clock().now();
    let moved = match hand {
        Hand::Reinstate => record.record.reinstate(settings, now, by, reason)?,
        Hand::Revoke => record.record.revoke(now, by, reason)?,
    };
    let moved = moved.clone();
    record.standing = moved.to;
    let line = line(scribe, &record, &moved);
    Ok((line, record))
}

/// Counts the end of a run for its plugins: the entries of the moves that it caused.
pub(super) fn count(plugins: &Plugins, settings: &Settings, scribe: &Scribe, action: &Action) -> Vec<Line> {
    let moved = plugins.with_records(|records| note(records, settings, action));
    let lines = moved.iter().map(|(record, moved)| {
        let to = moved.to.as_str();
        tracing::warn!("plugin {} {} moves down to {to}: {}", record.name, record.version, moved.message);
        line(scribe, record, moved)
    });
    lines.collect()
}

fn note(
    records: &mut HashMap<String, PluginRecord>,
    settings: &Settings,
    action: &Action,
) -> Vec<(PluginRecord, Move)> {
    let mut moves = Vec::new();
    for acted in &action.acted {
        let outage = outage(settings, action.at, records.values().map(|known| &known.record));
        let known = records.get_mut(&acted.name).filter(|known| known.digest == acted.digest);
        let Some(known) = known else { continue };
        let Some(moved) = known.record.note(settings, action.at, &acted.ended, outage).cloned() else {
            continue;
        };
        known.standing = moved.to;
        moves.push((known.clone(), moved));
    }
    moves
}

impl Shared {
    /// Counts again what runs came to since their plugins moved last.
    pub(super) async fn restore_standings(&self) -> Result<(), OpenError> {
        let settings = self.rules().config.standing;
        let mut actions = Vec::new();
        for plugin in self.plugins.records() {
            let earliest = duration::before(self.now(), settings.within);
            self.actions_of(&plugin, earliest.max(plugin.installed_at), &mut actions).await?;
        }
        actions.sort_by(|a, b| (a.at, &a.run).cmp(&(b.at, &b.run)));
        actions.dedup_by(|a, b| a.run == b.run);
        let lines: Vec<Line> =
            actions.iter().flat_map(|action| count(&self.plugins, &settings, &self.scribe, action)).collect();
        if !lines.is_empty() {
            self.scribe.commit(lines).await?;
        }
        Ok(())
    }

    /// A page of what the latest runs of a plugin came to; more of them never count.
    async fn actions_of(
        &self,
        plugin: &PluginRecord,
        earliest: chrono::DateTime<chrono::Utc>,
        actions: &mut Vec<Action>,
    ) -> Result<(), ReadError> {
        let query = ViewQuery {
            kind: views::ACTION,
            state: None,
            keys: [None, Some(plugin.name.clone()), None],
            after: None,
            limit: ROWS_AT_ONCE,
            newest_first: true,
        };
        for row in self.scribe.journal().views(&query).await? {
            let action: Action = views::read(&row.doc).map_err(ReadError::Row)?;
            if action.at < earliest {
                break;
            }
            actions.push(action);
        }
        Ok(())
    }
}

impl Pipeline {
    /// What the record of a plugin says now; `None` where it is not installed.
    #[must_use]
    pub fn standing(&self, name: &str) -> Option<Report> {
        let settings = self.rules().config.standing;
        self.plugins().record(name).map(|known| known.record.report(&settings, self.clock().now()))
    }

    /// Moves a plugin by hand. Durable when it returns, and in force for the next decision.
    ///
    /// # Errors
    /// When there is no such plugin, no reason, no such step, or the journal does not take it.
    pub async fn move_plugin(
        &self,
        name: &str,
        hand: Hand,
        by: &str,
        reason: &str,
    ) -> Result<Report, Refusal> {
        let pipeline = self.clone();
        let (name, by, reason) = (name.to_owned(), by.to_owned(), reason.to_owned());
        self.whole(async move {
            let settings = pipeline.rules().config.standing;
            let Some(record) = pipeline.plugins().record(&name) else {
                return Err(Refusal::NotFound { what: "plugin", id: name });
            };
            let scribe = pipeline.scribe();
            let moved = by_hand(scribe, &settings, record, hand, &by, &reason);
            let (line, record) = moved.map_err(|error| refusal(&error))?;
            let report = record.record.report(&settings, pipeline.clock().now());
            // What takes trust away holds before it is durable, what gives trust only after.
            if hand == Hand::Revoke {
                pipeline.plugins().installed(record.clone());
            }
            scribe.commit(vec![line]).await?;
            pipeline.plugins().installed(record);
            tracing::warn!("plugin {name} stands at {} by {by}: {reason}", report.standing.as_str());
            Ok(report)
        })
        .await
    }
}

fn refusal(error: &MoveError) -> Refusal {
    match error {
        MoveError::NoReason => Refusal::Invalid { field: "reason", message: error.to_string() },
        MoveError::AtTop | MoveError::Revoked => Refusal::Conflict(staunch_core::decision::Reason::new(
            staunch_core::decision::Code::Standing,
            error.to_string(),
        )),
    }
}
