//! The installation on this machine: its configuration, and its journal when no daemon holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::policy::Problem;

use super::Failure;
use super::args::Connection;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{Config, init};
use crate::journal::{self, Entry, Journal, JournalError, Options};
use crate::keys;
use crate::pipeline::scribe::{Line, Scribe, entry};

/// Where `init` leaves the administrator's token, beside the configuration.
pub(super) const ADMINISTRATOR_TOKEN: &str = "keys/administrator.token";

/// The journal's private key, beside the configuration.
pub(super) const JOURNAL_KEY: &str = "keys/journal.key";

/// Where a daemon writes its address, in the data folder.
pub(super) const DAEMON_URL: &str = "daemon.url";

/// While this file exists in the data folder, nothing acts.
pub(super) const HALT_FILE: &str = "HALT";

/// Problems as lines.
pub(super) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Says how to get a configuration where there is none.
pub(super) fn must_exist(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let message = format!(
        "there is no configuration {}: `staunch init` writes one, --config names another",
        path.display()
    );
    Err(Failure::Usage(message))
}

/// The configuration, or what is wrong with it.
pub(super) fn config(path: &Path) -> Result<Config, Failure> {
    must_exist(path)?;
    Config::load(path).map_err(|problems| Failure::Usage(lines(&problems)))
}

/// A path beside the configuration.
pub(super) fn beside(config: &Config, name: &str) -> PathBuf {
    config.file.parent().unwrap_or_else(|| Path::new(".")).join(name)
}

/// The address of the daemon of the local configuration.
pub(super) fn daemon_url(connection: &Connection) -> Result<String, Failure> {
    let config = config(&connection.config)?;
    match std::fs::read_to_string(config.data.join(DAEMON_URL)) {
        Ok(url) => Ok(url.trim().to_owned()),
        Err(_) => Ok(format!("http://{}", config.listen)),
    }
}

/// The token that `init` left for the administrator.
pub(super) fn administrator_token(connection: &Connection) -> Result<String, Failure> {
    if !connection.config.exists() {
        let path = connection.config.display();
        let message =
            format!("no token: give --token or STAUNCH_TOKEN; there is no configuration {path} either");
        return Err(Failure::Usage(message));
    }
    let config = config(&connection.config)?;
    let path = beside(&config, ADMINISTRATOR_TOKEN);
    let token = std::fs::read_to_string(&path).map_err(|error| {
        Failure::Usage(format!("no token: {}: {error}; give --token or STAUNCH_TOKEN", path.display()))
    })?;
    Ok(token.trim().to_owned())
}

/// The name of the journal's log in its first epoch: what the configuration says, else what the journal has been called
/// so far, else a name after this machine.
pub(super) fn base_origin(config: &Config) -> String {
    let begun = || {
        let note = std::fs::read_to_string(config.data.join("checkpoint")).ok()?;
        note.lines().next().map(|origin| journal::base_origin(origin).to_owned())
    };
    config.log_origin.clone().or_else(begun).unwrap_or_else(|| init::origin(&host_name()))
}

/// The name of this machine, as the kernel has it.
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What opens the journal of a configuration.
pub(super) fn journal_options(config: &Config, clock: &Clock) -> Result<Options, Failure> {
    let path = beside(config, JOURNAL_KEY);
    let signer = keys::load_private(&path).map_err(|error| Failure::Usage(chain(&error)))?;
    let mut options = Options::new(config.data.clone(), base_origin(config), signer);
    let clock = clock.clone();
    options.make_heartbeat = Some(Arc::new(move |_| heartbeat(&clock)));
    Ok(options)
}

/// The entry that proves, in a quiet hour, that nothing was left out.
fn heartbeat(clock: &Clock) -> Entry {
    let fact = Fact::Heartbeat(event::Heartbeat {}, Outside::Kept(payload::Heartbeat {}));
    let event = Event { at: clock.now(), run: None, alert: None, fact };
    entry(Line { event: Arc::new(event), views: Vec::new() }).unwrap_or_default()
}

/// The journal, when no daemon holds it; `None` when one does.
pub(super) async fn scribe(config: &Config) -> Result<Option<Scribe>, Failure> {
    let clock = Clock::machine();
    match Journal::open(journal_options(config, &clock)?).await {
        Ok(journal) => Ok(Some(Scribe::new(journal, clock))),
        Err(JournalError::Locked { .. }) => Ok(None),
        Err(error) => Err(Failure::Usage(chain(&error))),
    }
}
