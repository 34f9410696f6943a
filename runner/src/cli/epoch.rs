//! `audit new-epoch`: the log ends under its key and goes on under another one, on the daemon's own machine and while
//! none runs.
//!
//! The order is such that whatever was done can be told from the files when it is cut off, and asking again goes on
//! from there: the end of the old log, its last checkpoint put aside, the new key in its place, the first entry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use staunch_core::event::{self, Before, Fact, Outside, payload};

use super::args::Connection;
use super::local::{self, JOURNAL_KEY};
use super::output::Output;
use super::{Done, Failure};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{self, Journal, JournalError, LOG_VKEY};
use crate::keys;
use crate::pipeline::scribe::{Line, Scribe};
use crate::plugin::dsse::key_id;

/// Where the new key waits until it is in force, beside the configuration.
const NEXT_KEY: &str = "keys/journal.next.key";
/// What comes into the place of what, when it is; the private key last, since its place tells that all is done.
const IN_FORCE: [(&str, &str); 2] = [("keys/journal.next.pub", "keys/journal.pub"), (NEXT_KEY, JOURNAL_KEY)];

pub(super) async fn run(reason: &str, connection: &Connection, output: &Output) -> Done {
    if reason.trim().is_empty() {
        return Err(Failure::Usage("--reason: a reason is needed".to_owned()));
    }
    if connection.url.is_some() {
        let message =
            "a new epoch begins on the daemon's own machine, while it does not run: leave out --url";
        return Err(Failure::Usage(message.to_owned()));
    }
    let config = local::config(&connection.config)?;
    let clock = Clock::machine();
    finish_interrupted(&config)?;
    let next = next_key(&config)?;
    let ended = end_old(&config, &clock, &next, reason, output).await?;
    let begun = journal::begin_epoch(&config.data, &local::base_origin(&config))
        .await
        .map_err(|error| refused(&error))?;
    put_in_place(&config, begun.number)?;

    let journal =
        Journal::open(local::journal_options(&config, &clock)?).await.map_err(|error| refused(&error))?;
    let vkey = journal.verifier_key().to_string();
    let scribe = Scribe::new(journal, clock);
    let before = begun.before.as_ref().map(|(checkpoint, _)| Before {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
    });
    let leaf = event::LogBegun { epoch: begun.number, before, continues: begun.continues };
    let outside = payload::LogBegun {
        reason: reason.trim().to_owned(),
        checkpoint: begun.before.as_ref().map(|(_, note)| note.clone()),
    };
    let written = note(&scribe, Fact::LogBegun(leaf, Outside::Kept(outside))).await;
    scribe.journal().shutdown().await;
    written?;
    let file = local::beside(&config, "keys").join(LOG_VKEY);
    std::fs::write(&file, format!("{vkey}\n"))
        .map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))?;
    if output.is_json() {
        output.json(&json!({
            "epoch": begun.number, "origin": begun.origin, "log_vkey": vkey,
            "continues": begun.continues, "ended": ended,
        }));
        return Ok(());
    }
    output.data(&vkey);
    if !begun.continues {
        output.note(
            "the entries do not continue the last checkpoint, and the first entry of the epoch says so",
        );
    }
    output.note(&format!(
        "epoch {} has begun; give the new key to whoever verifies the log, and take the old one out of use",
        begun.number
    ));
    Ok(())
}

fn refused(error: &JournalError) -> Failure {
    match error {
        JournalError::Locked { .. } => Failure::Refused(format!("{}; stop it first", chain(error))),
        _ => Failure::Refused(chain(error)),
    }
}

/// Where an attempt was cut off when the old key was aside and the new one not yet in its place, that is made good.
fn finish_interrupted(config: &Config) -> Done {
    if local::beside(config, JOURNAL_KEY).exists() {
        return Ok(());
    }
    IN_FORCE.iter().try_for_each(|(from, to)| move_key(config, from, to))
}

/// The key of the next epoch: one that an interrupted attempt made is used.
fn next_key(config: &Config) -> Result<PathBuf, Failure> {
    let path = local::beside(config, NEXT_KEY);
    if !path.exists() {
        let _made = keys::generate(&path).map_err(|error| Failure::Refused(chain(&error)))?;
    }
    Ok(path)
}

/// Lets the old log say that it ends and which key is next, under its own signature; false where it does not open,
/// because it does not continue what was signed.
async fn end_old(
    config: &Config,
    clock: &Clock,
    next: &Path,
    reason: &str,
    output: &Output,
) -> Result<bool, Failure> {
    let next = keys::load_private(next).map_err(|error| Failure::Refused(chain(&error)))?;
    let journal = match Journal::open(local::journal_options(config, clock)?).await {
        Ok(journal) => journal,
        Err(error @ JournalError::Forked { .. }) => {
            output.note(&format!("{}; the old key signs no end of it", chain(&error)));
            return Ok(false);
        }
        Err(error) => return Err(refused(&error)),
    };
    let scribe = Scribe::new(journal, clock.clone());
    let next_key = key_id(&next.verifying_key());
    let outside = payload::LogEnded { reason: reason.trim().to_owned() };
    let written = note(&scribe, Fact::LogEnded(event::LogEnded { next_key }, Outside::Kept(outside))).await;
    scribe.journal().shutdown().await;
    written.map(|()| true)
}

async fn note(scribe: &Scribe, fact: Fact) -> Result<(), Failure> {
    let event = Arc::new(scribe.event(None, None, fact));
    let written = scribe.commit(vec![Line { event, views: Vec::new() }]).await;
    written.map_err(|error| Failure::Refused(chain(&error)))
}

/// Moves a file beside the configuration, if it is there.
fn move_key(config: &Config, from: &str, to: &str) -> Done {
    let (from, to) = (local::beside(config, from), local::beside(config, to));
    if from.exists() {
        std::fs::rename(&from, &to)
            .map_err(|error| Failure::Refused(format!("{}: {error}", from.display())))?;
    }
    Ok(())
}

/// Puts the old keys aside and the new one in their place.
fn put_in_place(config: &Config, number: u32) -> Done {
    let ended = number.saturating_sub(1);
    let moves = [
        (format!("keys/{LOG_VKEY}"), format!("keys/log.ended-{ended}.vkey")),
        ("keys/journal.pub".to_owned(), format!("keys/journal.ended-{ended}.pub")),
        (JOURNAL_KEY.to_owned(), format!("keys/journal.ended-{ended}.key")),
    ];
    moves.iter().try_for_each(|(from, to)| move_key(config, from, to))?;
    IN_FORCE.iter().try_for_each(|(from, to)| move_key(config, from, to))
}
