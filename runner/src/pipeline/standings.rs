//! Standing at work: each plugin version's record, moved down by the ends of its runs and up by people.
//!
//! A move is an entry of its own, `plugin-moved`, with the whole record in it. What runs came to since is put
//! together again from the rows of kinds `action` and `intervention`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::RunId;
use staunch_core::policy::duration;
use staunch_core::standing::{Cause, Intervention, Move, MoveError, Report, Settings, outage};

use super::interventions::InterventionRecord;
use super::plugins::Plugins;
use super::reading::newest;
use super::scribe::{Line, Scribe};
use super::shared::Shared;
use super::views::{self, Action, PluginRecord};
use super::{OpenError, Pipeline, ReadError, Refusal};
use crate::journal::{Journal, ViewQuery};

/// How many of the runs that caused a move the log names.
const MOST_NAMED: usize = 10;

/// What a person does to a plugin's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// One step up; to `automatic`, so many runs need approval still as are named, else as the settings say.
    Reinstate(Option<u32>),
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
        Hand::Reinstate(canary) => record.record.reinstate(settings, now, by, reason, canary)?,
        Hand::Revoke => record.record.revoke(now, by, reason)?,
    };
    let moved = moved.clone();
    record.standing = moved.to;
    let line = line(scribe, &record, &moved);
    Ok((line, record))
}

/// Counts the end of a run for its plugins: the entries of the moves that it caused.
pub(super) fn count(plugins: &Plugins, settings: &Settings, scribe: &Scribe, action: &Action) -> Vec<Line> {
    lines(scribe, &plugins.with_records(|records| note(records, settings, action)))
}

/// The entries of moves.
pub(super) fn lines(scribe: &Scribe, moved: &[(PluginRecord, Move)]) -> Vec<Line> {
    let lines = moved.iter().map(|(record, moved)| {
        let (to, runs) = (moved.to.as_str(), named(&moved.runs));
        tracing::warn!(
            plugin.name = %record.name, plugin.standing = to,
            "plugin {} {} moves down to {to}: {}; by {runs}", record.name, record.version, moved.message
        );
        line(scribe, record, moved)
    });
    lines.collect()
}

/// The newest of the runs that caused a move, as the log has them; the record has all.
fn named(runs: &[RunId]) -> String {
    let newest: Vec<&str> = runs.iter().rev().take(MOST_NAMED).map(RunId::as_str).collect();
    let more = runs.len().saturating_sub(newest.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} before them") };
    format!("{}{more}", newest.join(", "))
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

/// Counts a run as one that did not fix it, for each plugin for which it counted as one that did.
pub(super) fn turn(
    records: &mut HashMap<String, PluginRecord>,
    settings: &Settings,
    at: DateTime<Utc>,
    run: &RunId,
    how: Intervention,
) -> Vec<(PluginRecord, Move)> {
    let mut moves = Vec::new();
    let names: Vec<String> = records.keys().cloned().collect();
    for name in names {
        let outage = outage(settings, at, records.values().map(|known| &known.record));
        let Some(known) = records.get_mut(&name) else { continue };
        let Some(moved) = known.record.intervened(settings, at, run, how, outage).cloned() else { continue };
        known.standing = moved.to;
        moves.push((known.clone(), moved));
    }
    moves
}

/// What happened to the count, as it is read back.
enum Told {
    Ended(Action),
    Intervened(InterventionRecord),
}

impl Told {
    fn key(&self) -> (DateTime<Utc>, bool, &RunId) {
        match self {
            Self::Ended(action) => (action.at, false, &action.run),
            Self::Intervened(record) => (record.at, true, &record.run),
        }
    }
}

/// Of how many plugins the ended runs are read at once.
const PLUGINS_AT_ONCE: usize = 16;

/// Counts for the plugins what their runs came to since they moved last: the moves that come of it now.
///
/// # Errors
/// When the views cannot be read.
pub async fn catch_up(
    journal: &Journal,
    settings: &Settings,
    now: DateTime<Utc>,
    records: &mut HashMap<String, PluginRecord>,
) -> Result<Vec<(PluginRecord, Move)>, ReadError> {
    let earliest = duration::before(now, settings.within);
    let mut told = Vec::new();
    // More of each than a page never count.
    let of_plugin = |plugin: &&PluginRecord| ViewQuery {
        keys: [None, Some(plugin.name.clone()), None],
        ..newest(views::ACTION, None)
    };
    let plugins: Vec<&PluginRecord> = records.values().collect();
    for plugins in plugins.chunks(PLUGINS_AT_ONCE) {
        let queries: Vec<ViewQuery> = plugins.iter().map(of_plugin).collect();
        for (plugin, actions) in plugins.iter().zip(journal.views_at_once(&queries).await?) {
            let earliest = earliest.max(plugin.installed_at);
            for row in actions {
                let action: Action = views::read(&row.doc).map_err(ReadError::Row)?;
                if action.at < earliest {
                    break;
                }
                told.push(Told::Ended(action));
            }
        }
    }
    for row in journal.views(&newest(views::INTERVENTION, None)).await? {
        let record: InterventionRecord = views::read(&row.doc).map_err(ReadError::Row)?;
        if record.at < earliest {
            break;
        }
        told.push(Told::Intervened(record));
    }
    told.sort_by(|a, b| a.key().cmp(&b.key()));
    told.dedup_by(|a, b| a.key() == b.key());
    // That it was soon enough was found when it happened.
    let any_time = Settings { fires_again_within: duration::LONGEST, ..*settings };
    let moves = told.iter().flat_map(|told| match told {
        Told::Ended(action) => note(records, settings, action),
        Told::Intervened(record) => turn(records, &any_time, record.at, &record.run, record.how),
    });
    Ok(moves.collect())
}

impl Shared {
    /// Counts again what runs came to since their plugins moved last.
    pub(super) async fn restore_standings(&self) -> Result<(), OpenError> {
        let settings = self.rules().config.standing;
        let mut records = self.plugins.with_records(|records| records.clone());
        let moves = catch_up(self.scribe.journal(), &settings, self.now(), &mut records).await?;
        self.plugins.with_records(|known| *known = records);
        let lines = lines(&self.scribe, &moves);
        if !lines.is_empty() {
            self.scribe.commit(lines).await?;
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
        MoveError::NoCanary(_) | MoveError::CanaryTooLong => {
            Refusal::Invalid { field: "canary", message: error.to_string() }
        }
        MoveError::AtTop | MoveError::Revoked => Refusal::Conflict(staunch_core::decision::Reason::new(
            staunch_core::decision::Code::Standing,
            error.to_string(),
        )),
    }
}
