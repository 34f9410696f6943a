//! The conductor: the order of the steps on the road of an alert.
//!
//! ```text
//! receive ──> new run ──> drive: turn ─> planning ─> rule ─> (requests: approve) ─> act ─> verification ─> end
//!    │            │                         │                                        │
//!    └── index: what is open    shared: what all runs share          ledger: what the broker writes down
//!                 └────────────────── scribe: events into the journal ───────────────┘
//! ```
//!
//! Never here: conditions (they are in `staunch-core`), SQL, wasmtime's types. Everything that happens to a run
//! is recorded through its [`live::LiveRun`], so that what is in memory equals the fold of the journal.

mod act;
mod asked;
mod books;
pub mod breakers;
mod by_hand;
mod doubt;
mod drills;
mod drive;
mod escalation;
mod glance;
mod groups;
pub mod halts;
mod history;
mod hold;
mod index;
pub mod interventions;
mod job;
mod ladder;
mod ledger;
mod limits;
pub mod live;
#[cfg(test)]
mod models;
pub mod observed;
mod planning;
pub mod plugins;
mod quorum;
mod reading;
mod receive;
mod recover;
mod requests;
mod resolved;
pub mod retired;
mod retry;
mod rule;
pub mod schedules;
pub mod scribe;
mod shared;
mod signed;
pub mod silences;
mod stale;
pub mod standings;
pub mod storms;
mod take_up;
mod tokens;
pub mod turns;
mod unanswered;
mod undo;
mod verification;
pub mod views;
mod windows;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde::de::DeserializeOwned;
use staunch_core::alert::Alert;
use staunch_core::decision::Reason;
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::id::{AlertId, RunId};
use staunch_core::policy::Person;
use staunch_core::record::AlertRecord;
use staunch_core::run::{IllegalTransition, Run, State};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::journal::{Journal, JournalError, StoredPayload, ViewCursor, ViewQuery, ViewRow};
use crate::people::Tokens;
use crate::plugin::VerifiedPlugin;
use crate::sandbox::Sandbox;
use live::{LiveRun, RecordError};
use plugins::{PluginSet, Plugins};
use scribe::{Line, Scribe, ScribeError};
use shared::Shared;

pub use by_hand::{Broken, JustificationQuery};
pub use quorum::impossible_gates;
pub use receive::Accepted;
pub use requests::{PluginRunRequest, SettleRequest, Settlement, StartRequest, Yes};
pub use shared::Rules;
pub use signed::sign_approval;
pub use tokens::{list_tokens, revocation, token_line};

/// Why something that was asked for is not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// The id that was given.
        id: String,
    },
    /// A part of the request is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// The part.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The person may not.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(Reason),
    /// The plan is no longer the one that was shown.
    #[error("the plan is no longer the one that was shown")]
    PlanChanged {
        /// The run, with the plan as it is now.
        run: Box<Run>,
        /// What differs, where that is known.
        changes: Vec<String>,
    },
    /// Too much waits already.
    #[error("the queue is full")]
    QueueFull,
    /// The journal takes nothing.
    #[error("the journal cannot be written")]
    JournalUnavailable,
    /// The journal did not take it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<ScribeError> for Refusal {
    fn from(error: ScribeError) -> Self {
        Self::Record(RecordError::Scribe(error))
    }
}

/// Why something cannot be read from the views.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A row was written by another version.
    #[error("a row of the views cannot be read")]
    Row(#[source] serde_json::Error),
    /// An event was written by another version.
    #[error("an event cannot be read")]
    Event(#[source] event::EventError),
    /// The entries of a run do not follow from each other.
    #[error("the entries of a run cannot be folded")]
    Transition(#[source] IllegalTransition),
}

/// Why the pipeline cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A row was written by another version.
    #[error("a row of the views cannot be read")]
    Row(#[source] serde_json::Error),
    /// The views cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The journal did not take an event.
    #[error(transparent)]
    Scribe(#[from] ScribeError),
}

/// A listing to be read: newest first.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those with these keys; see [`views`] for what they are.
    pub keys: [Option<String>; 3],
    /// Behind this place.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// A place in a listing: where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(ViewCursor);

impl Listing {
    /// Whether a run is one of those that are asked for.
    fn holds(&self, run: &Run) -> bool {
        let keys = [
            Some(run.runbook.as_str()),
            run.steps.first().map(|step| step.plugin.as_str()),
            run.target.as_deref(),
        ];
        let state = self.state.as_deref().is_none_or(|state| state == run.state.as_str());
        state && self.keys.iter().zip(keys).all(|(wanted, key)| wanted.is_none() || wanted.as_deref() == key)
    }
}

impl Cursor {
    /// The place that a text names in a listing of things with such ids; `None` where it is no such id.
    #[must_use]
    pub fn among<I: std::str::FromStr>(text: &str) -> Option<Self> {
        text.parse::<I>().ok().map(|_| Self::behind(text))
    }

    /// The place behind an item.
    fn behind(id: &str) -> Self {
        Self(ViewCursor { id: id.to_owned() })
    }

    /// The id of the last item of the page before.
    fn id(&self) -> &str {
        &self.0.id
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.id)
    }
}

/// The cursor behind a full page's last row; a page that is not full is the last one.
fn next_page(rows: &[ViewRow], limit: u32) -> Option<ViewCursor> {
    let last = rows.last().filter(|_| rows.len() >= limit as usize)?;
    Some(ViewCursor { id: last.id.clone() })
}

/// The rows of a page of a view, newest first, and where the next page begins.
async fn list_rows(
    journal: &Journal,
    kind: &'static str,
    listing: Listing,
) -> Result<(Vec<ViewRow>, Option<Cursor>), ReadError> {
    let Listing { state, keys, after, limit } = listing;
    let after = after.map(|Cursor(cursor)| cursor);
    let query = ViewQuery { kind, state, keys, after, limit, newest_first: true };
    let rows = journal.views(&query).await?;
    let next = next_page(&rows, limit).map(Cursor);
    Ok((rows, next))
}

/// A page of a view, newest first.
async fn list<T: DeserializeOwned>(
    journal: &Journal,
    kind: &'static str,
    listing: Listing,
) -> Result<Listed<T>, ReadError> {
    let (rows, next) = list_rows(journal, kind, listing).await?;
    let items = rows.iter().map(|row| views::read(&row.doc)).collect::<Result<_, _>>();
    Ok(Listed { items: items.map_err(ReadError::Row)?, next })
}

/// What a listing gave.
#[derive(Debug)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

impl<T> Listed<T> {
    /// The first page of items that are in order already, by their ids.
    fn page(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> &str) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(|last| Cursor::behind(id(last)));
        Self { items, next }
    }
}

/// An entry of a run, with its payload where it has one that was not removed.
#[derive(Debug)]
pub struct RunEntry {
    /// Its place in the journal.
    pub index: u64,
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The payload; `None` where it has none.
    pub payload: Option<StoredPayload>,
}

impl RunEntry {
    /// The payload's bytes, if they are there.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.payload {
            Some(StoredPayload::Kept(payload)) => Some(&payload.bytes),
            Some(StoredPayload::Removed) | None => None,
        }
    }
}

/// The pipeline: cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipeline(Arc<Shared>);

impl Pipeline {
    /// Opens the pipeline over a journal, and takes up what was open. `halt_file` halts all while it exists.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn open(
        journal: Journal,
        clock: Clock,
        sandbox: Arc<Sandbox>,
        set: PluginSet,
        rules: Rules,
        halt_file: PathBuf,
    ) -> Result<Self, OpenError> {
        let pipeline = Self::assemble(journal, clock, sandbox, set, rules, halt_file);
        let rules = pipeline.rules();
        let started = Fact::DaemonStarted(
            event::DaemonStarted {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                config: rules.config_digest,
                policies: rules.policies_digest,
            },
            Outside::Kept(payload::DaemonStarted {}),
        );
        // What recovery writes comes behind it; what it reads need not wait for the disk.
        let (noted, open) = tokio::join!(pipeline.note(started), recover::recover(&pipeline.0));
        noted?;
        let open = open?;
        if open > 0 {
            tracing::info!(runs.open = open, "took up {open} open runs");
        }
        pipeline.0.tracker.spawn(stale::watch(Arc::clone(&pipeline.0)));
        pipeline.0.tracker.spawn(halts::watch(Arc::clone(&pipeline.0)));
        pipeline.0.tracker.spawn(take_up::watch(Arc::clone(&pipeline.0)));
        pipeline.0.tracker.spawn(schedules::watch(Arc::clone(&pipeline.0)));
        pipeline.0.tracker.spawn(limits::watch(Arc::clone(&pipeline.0)));
        pipeline.0.tracker.spawn(tokens::watch(Arc::clone(&pipeline.0)));
        Ok(pipeline)
    }

    /// A pipeline that knows nothing of what is in the journal, and of which nothing runs yet.
    fn assemble(
        journal: Journal,
        clock: Clock,
        sandbox: Arc<Sandbox>,
        set: PluginSet,
        rules: Rules,
        halt_file: PathBuf,
    ) -> Self {
        let began = clock.now();
        let plugins = Arc::new(Plugins::new(set));
        let books = Arc::new(books::Books::new(Arc::clone(&plugins)));
        let shared = Arc::new(Shared {
            began,
            scribe: Scribe::new(journal, clock),
            sandbox,
            plugins,
            tokens: Tokens::default(),
            alerts: index::Alerts::default(),
            books,
            runs: index::Runs::default(),
            turns: turns::Turns::default(),
            tracker: TaskTracker::new(),
            halts: Arc::new(halts::KillSwitch::new(halt_file)),
            windows: windows::Outlooks::default(),
            silences: silences::Book::default(),
            clockwork: schedules::Clockwork::default(),
            workers: Semaphore::new(rules.config.workers),
            rules: RwLock::new(Arc::new(rules)),
            one_step: std::sync::Mutex::default(),
            reviews: tokio::sync::Mutex::default(),
            refusals: shared::Throttle::default(),
            waiting: Arc::default(),
        });
        Self(shared)
    }

    async fn note(&self, fact: Fact) -> Result<(), ScribeError> {
        let event = Arc::new(self.0.scribe.event(None, None, fact));
        self.0.scribe.commit(vec![Line { event, views: Vec::new() }]).await
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.0.rules()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.0.scribe.journal()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.0.scribe.clock()
    }

    /// The installed plugins.
    #[must_use]
    pub fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// The access tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// How many runs have not ended.
    #[must_use]
    pub fn open_runs(&self) -> usize {
        self.0.runs.len()
    }

    /// Puts new rules in force; runs that wait are judged by them from now on.
    ///
    /// # Errors
    /// When that cannot be written down, or what was done before cannot be read; the old rules stay in force then.
    pub async fn reload(&self, rules: Rules) -> Result<(), Refusal> {
        let leaf =
            event::ConfigurationLoaded { config: rules.config_digest, policies: rules.policies_digest };
        self.note(Fact::ConfigurationLoaded(leaf, Outside::Kept(payload::ConfigurationLoaded {}))).await?;
        let mut open = Vec::new();
        for live in self.0.runs.all() {
            open.push(live.snapshot().await);
        }
        // Before the rules are in force: what they limit is counted when they are.
        self.0.count_for(&rules, &open).await?;
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.0.windows.changed();
        self.0.clockwork.changed();
        Ok(())
    }

    /// Decides again about the runs that wait: to be called when new rules, grants and secrets are all in force.
    pub fn decide_again(&self) {
        self.0.tracker.spawn(requests::decide_again(Arc::clone(&self.0)));
    }

    /// Runs something to its end even when the caller goes away: what is half written down must be finished.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        match self.0.tracker.spawn(work).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(error = %error, "a request broke");
                let message = "the request broke; the log tells more";
                Err(Refusal::Conflict(Reason::new(staunch_core::decision::Code::Internal, message)))
            }
        }
    }

    /// Takes in the alerts of one body. Durable when it returns.
    ///
    /// # Errors
    /// When the queue is full or the journal cannot be written: nothing of it was taken in then.
    pub async fn receive(
        &self,
        source: &str,
        body: bytes::Bytes,
        alerts: Vec<Alert>,
    ) -> Result<Vec<Accepted>, Refusal> {
        let (shared, source) = (Arc::clone(&self.0), source.to_owned());
        self.whole(async move { receive::receive(&shared, &source, &body, alerts).await }).await
    }

    /// Writes down that a delivery was refused: at most a few a second, so that a stranger cannot fill the journal.
    pub async fn delivery_refused(&self, source: Option<&str>, code: &str, message: &str) {
        if !self.0.refusals.admit(self.clock().now()) {
            return;
        }
        let leaf = event::DeliveryRefused { source: source.map(str::to_owned), code: code.to_owned() };
        let outside = payload::DeliveryRefused { message: message.to_owned() };
        let fact = Fact::DeliveryRefused(leaf, Outside::Kept(outside));
        let event = Arc::new(self.0.scribe.event(None, None, fact));
        let line = Line { event, views: Vec::new() };
        if let Err(error) = self.0.scribe.submit(vec![line]).await {
            tracing::warn!(error = %error, "a refused delivery is not in the journal");
        }
    }

    /// Starts a runbook by hand.
    ///
    /// # Errors
    /// When there is no such runbook, or the pre-gate refuses.
    pub async fn start(&self, person: Person, request: StartRequest) -> Result<Run, Refusal> {
        let shared = Arc::clone(&self.0);
        self.whole(async move { requests::start(&shared, &person, request).await }).await
    }

    /// Runs one plugin once, from a file whose signature satisfied the trust policy, through every gate.
    ///
    /// # Errors
    /// When the plugin cannot be used, or the pre-gate refuses.
    pub async fn run_plugin(
        &self,
        person: Person,
        verified: VerifiedPlugin,
        request: PluginRunRequest,
    ) -> Result<Run, Refusal> {
        let shared = Arc::clone(&self.0);
        self.whole(async move { requests::run_plugin(&shared, &person, verified, &request).await }).await
    }

    /// Approves the plan that was shown.
    ///
    /// # Errors
    /// When the run does not wait, the person does not count, or the plan is no longer the shown one.
    pub async fn approve(&self, id: &RunId, person: Person, yes: Yes) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { requests::approve(&shared, &live, &person, yes).await }).await
    }

    /// Says no to a waiting or parked run.
    ///
    /// # Errors
    /// When the run waits for nobody.
    pub async fn reject(&self, id: &RunId, person: Person, comment: Option<String>) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { requests::reject(&shared, &live, &person, comment).await }).await
    }

    /// Ends a run that is no longer wanted.
    ///
    /// # Errors
    /// When the run has ended.
    pub async fn cancel(&self, id: &RunId, person: Person, comment: Option<String>) -> Result<Run, Refusal> {
        let live = self.live(id).await?;
        self.whole(async move { requests::cancel(&live, &person, comment).await }).await
    }

    /// Says what became of an effect in doubt.
    ///
    /// # Errors
    /// When nothing of the run is in doubt.
    pub async fn settle(&self, id: &RunId, person: Person, request: SettleRequest) -> Result<Run, Refusal> {
        let (shared, live) = (Arc::clone(&self.0), self.live(id).await?);
        self.whole(async move { requests::settle(&shared, &live, &person, request).await }).await
    }

    /// The unended run, or why there is none.
    async fn live(&self, id: &RunId) -> Result<Arc<LiveRun>, Refusal> {
        if let Some(live) = self.0.runs.get(id) {
            return Ok(live);
        }
        match self.run(id).await? {
            Some(run) => Err(requests::asks_nobody(&run)),
            None => Err(Refusal::NotFound { what: "run", id: id.to_string() }),
        }
    }

    /// A run, ended or not.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>, ReadError> {
        self.0.run(id).await
    }

    /// An alert.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn alert(&self, id: &AlertId) -> Result<Option<AlertRecord>, ReadError> {
        self.0.alert(id).await
    }

    /// Runs, newest first. Keys are runbook, plugin, target.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn runs(&self, listing: Listing) -> Result<Listed<Run>, ReadError> {
        let open = listing.state.as_deref().is_some_and(|state| state != State::Ended.as_str());
        if open { Ok(self.0.open_runs(&listing).await) } else { self.all_runs(listing).await }
    }

    /// The runs of a listing, as they are now.
    async fn all_runs(&self, listing: Listing) -> Result<Listed<Run>, ReadError> {
        let state = listing.state.map(|_| views::ENDED.to_owned());
        let (rows, next) = list_rows(self.journal(), views::RUN, Listing { state, ..listing }).await?;
        let mut items = Vec::with_capacity(rows.len());
        for id in rows.iter().filter_map(|row| row.id.parse().ok()) {
            items.extend(self.0.run(&id).await?);
        }
        Ok(Listed { items, next })
    }

    /// Alerts, newest first. Keys are source, fingerprint, alert name.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn alerts(&self, listing: Listing) -> Result<Listed<AlertRecord>, ReadError> {
        self.list(views::ALERT, listing).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        listing: Listing,
    ) -> Result<Listed<T>, ReadError> {
        list(self.journal(), kind, listing).await
    }

    /// Other secrets, in force for the next call.
    ///
    /// # Errors
    /// When one is too short; the old ones stay then.
    pub fn replace_secrets(
        &self,
        secrets: std::collections::BTreeMap<String, secrecy::SecretString>,
    ) -> Result<(), crate::sandbox::SecretError> {
        self.0.sandbox.replace_secrets(secrets)
    }

    /// Other authorities that https targets may be vouched for by, beside the system's.
    pub fn replace_roots(&self, roots: Vec<crate::sandbox::Root>) {
        self.0.sandbox.replace_roots(roots);
    }

    /// The entries of a run with their payloads, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn entries_of(&self, run: &RunId) -> Result<Vec<RunEntry>, JournalError> {
        shared::entries_of(self.journal(), run).await
    }

    /// All events of a run, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn events_of(&self, run: &RunId) -> Result<Vec<Event>, ScribeError> {
        self.0.events_of(run).await
    }

    /// Writes down that a plugin was installed, and lets it run.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub async fn plugin_installed(&self, line: Line, record: views::PluginRecord) -> Result<(), Refusal> {
        self.0.scribe.commit(vec![line]).await?;
        self.0.plugins.installed(record);
        Ok(())
    }

    /// The scribe, for what is written down beside runs.
    #[must_use]
    pub fn scribe(&self) -> &Scribe {
        &self.0.scribe
    }

    /// Lets no run begin another step, waits for those that act, and writes down that the daemon stops.
    pub async fn drain(&self, within: std::time::Duration) {
        self.0.workers.close();
        let tracker = &self.0.tracker;
        tracker.close();
        let patience = std::time::Duration::from_millis(50);
        let deadline = tokio::time::Instant::now() + within;
        while self.0.acting() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(patience).await;
        }
        tokens::keep_uses(&self.0).await;
        let fact = Fact::DaemonStopped(event::DaemonStopped {}, Outside::Kept(payload::DaemonStopped {}));
        if let Err(error) = self.note(fact).await {
            tracing::warn!(error = %error, "the end of the daemon is not in the journal");
        }
    }
}
