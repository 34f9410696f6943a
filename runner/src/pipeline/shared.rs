//! What all runs share: the journal, the sandbox, the rules, and what is open.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use serde::de::DeserializeOwned;
use staunch_core::alert::Alert;
use staunch_core::decision::Decision;
use staunch_core::event::Event;
use staunch_core::gate::{self, PreGateFacts};
use staunch_core::id::{AlertId, Digest, RunId};
use staunch_core::permit::{Permit, PlanPermit};
use staunch_core::policy::{Policies, Runbook, Standing as Trust};
use staunch_core::record::{AlertRecord, Known, Standing};
use staunch_core::run::{Ask, Mode, Run};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::books::Books;
use super::drive::Start;
use super::halts::KillSwitch;
use super::index::{Alerts, Runs};
use super::live::LiveRun;
use super::plugins::Plugins;
use super::reading::{Reading, oldest};
use super::schedules::Clockwork;
use super::scribe::{Scribe, ScribeError};
use super::silences::Book;
use super::storms;
use super::turns::{Place, Turns};
use super::windows::Outlooks;
use super::{Listed, Listing, ReadError, RunEntry, drive, views};
use crate::config::Config;
use crate::journal::{Beginning, Journal, JournalError, MAX_PAGE, ViewQuery};
use crate::people::Tokens;
use crate::sandbox::{Job, ProbeGrants, Report, Sandbox};

/// What operators decided, as it was loaded last.
#[derive(Debug)]
pub struct Rules {
    /// The configuration.
    pub config: Config,
    /// The policies.
    pub policies: Arc<Policies>,
    /// The public keys with which people sign their approvals, by name.
    pub people_keys: BTreeMap<String, Vec<VerifyingKey>>,
    /// What probes may read.
    pub probes: ProbeGrants,
    /// After how long an alert of a source is stale, by the source's name.
    pub stale_after: BTreeMap<String, Duration>,
    /// Digest of the configuration file.
    pub config_digest: Digest,
    /// Digest over all policy files.
    pub policies_digest: Digest,
}

/// How many firings of one alert are looked through for the one that a late repeat is about.
const EARLIER_FIRINGS: u32 = 8;

/// How many times as many runs may wait for people as may be under way.
const MOST_WAITING: usize = 10;

/// A run that waits for people.
#[derive(Debug)]
pub(super) struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refused deliveries that are written down in one second.
const REFUSALS_A_SECOND: u32 = 20;

/// Lets through so many a second; what is more is only counted by the metrics.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<(i64, u32)>);

impl Throttle {
    pub(super) fn admit(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != now.timestamp() {
            *state = (now.timestamp(), 0);
        }
        state.1 += 1;
        state.1 <= REFUSALS_A_SECOND
    }
}

/// What all runs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) scribe: Scribe,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) tokens: Tokens,
    pub(super) alerts: Alerts,
    pub(super) runs: Runs,
    pub(super) books: Arc<Books>,
    pub(super) turns: Turns,
    pub(super) tracker: TaskTracker,
    pub(super) halts: Arc<KillSwitch>,
    pub(super) windows: Outlooks,
    pub(super) silences: Book,
    pub(super) clockwork: Clockwork,
    pub(super) rules: RwLock<Arc<Rules>>,
    pub(super) workers: Semaphore,
    pub(super) refusals: Throttle,
    /// When this daemon began.
    pub(super) began: DateTime<Utc>,
    pub(super) waiting: Arc<AtomicUsize>,
    /// Runbooks that stand for one plugin each, by their names; bounded by the plugins that are there.
    pub(super) one_step: Mutex<HashMap<String, Arc<Runbook>>>,
    /// Held while a justification is reviewed: of a run that has ended there is no other lock.
    pub(super) reviews: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.scribe.clock().now()
    }

    /// A runbook of the policies, or the one-step runbook of a run that was started from the shell.
    pub(super) fn runbook(&self, name: &str) -> Option<Arc<Runbook>> {
        let of_policies = self.rules().policies.runbook(name).cloned();
        of_policies
            .or_else(|| self.one_step.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    /// Digest of what a run of the runbook is judged by: the policies about it, and the configuration, whose hosts,
    /// grants and probes have a say too.
    pub(super) fn policy_digest(&self, runbook: &Runbook) -> Digest {
        let rules = self.rules();
        let policies = rules.policies.policy_digest(&runbook.name).unwrap_or(runbook.digest);
        Digest::of_parts(&[policies.as_bytes(), rules.config_digest.as_bytes()])
    }

    /// Whether a run was planned under other rules than those in force.
    pub(super) fn rules_changed(&self, run: &Run) -> bool {
        self.runbook(&run.runbook).is_none_or(|runbook| self.policy_digest(&runbook) != run.policy)
    }

    /// Executes a job when a worker is free: the one call of the sandbox.
    pub(super) async fn execute(&self, permit: Permit, job: Job) -> Report {
        // Closed when the daemon drains: then nothing new begins, and the next start takes the run up again.
        let Ok(_worker) = self.workers.acquire().await else { return std::future::pending().await };
        self.sandbox.execute(permit, job).await
    }

    /// How many executions are under way.
    pub(super) fn acting(&self) -> usize {
        self.rules().config.workers.saturating_sub(self.workers.available_permits())
    }

    /// The people who signed a run's plugins, as far as the configuration says whose the keys are.
    pub(super) fn signers_of(&self, run: &Run) -> Vec<String> {
        let plugins =
            run.steps.iter().filter_map(|step| self.plugins.exactly(&step.plugin, step.plugin_digest).ok());
        let holders = plugins.flat_map(|plugin| self.plugins.holders(plugin.signers()));
        holders.filter_map(|signer| signer.person).collect()
    }

    /// A run in memory whose beginning is in the journal.
    pub(super) fn live(&self, run: Run, about: Option<Arc<Alert>>) -> Arc<LiveRun> {
        LiveRun::new(run, about, self.scribe.clone(), Arc::clone(&self.books), None)
    }

    /// A run in memory whose beginning is on its way to the disk: nothing of it is written if that is not.
    pub(super) fn live_after(
        &self,
        run: Run,
        about: Option<Arc<Alert>>,
        beginning: Beginning,
    ) -> Arc<LiveRun> {
        LiveRun::new(run, about, self.scribe.clone(), Arc::clone(&self.books), Some(beginning))
    }

    /// Begins to drive a run.
    pub(super) fn launch(self: &Arc<Self>, live: Arc<LiveRun>, start: Start) {
        self.runs.add(Arc::clone(&live));
        self.tracker.spawn(drive::drive(Arc::clone(self), live, start));
    }

    /// Forgets a run that has ended.
    pub(super) async fn forget(&self, live: &LiveRun) {
        let (runbook, target) = live.look(|run| (run.runbook.clone(), run.target.clone())).await;
        self.runs.release(&runbook, target.as_deref().unwrap_or_default(), live.id());
        self.runs.remove(live.id());
    }

    /// The place of a run in the queue at its target.
    pub(super) fn ask_turn(&self, run: &Run) -> Place {
        let parallel = self.runbook(&run.runbook).is_some_and(|runbook| runbook.parallel);
        self.turns.ask(if parallel { None } else { run.target.as_deref() })
    }

    /// Whether the alert that a run answers is over.
    pub(super) async fn alert_is_over(&self, live: &LiveRun) -> bool {
        let Some(id) = live.alert() else { return false };
        matches!(self.alert(id).await, Ok(Some(record)) if record.status == Standing::Resolved)
    }

    /// The latest firing of the same alert among those that memory does not hold any more. Only a firing that began
    /// before this daemon did can be among them.
    pub(super) async fn known_before(&self, source: &str, alert: &Alert) -> Result<Option<Known>, ReadError> {
        if self.alerts.is_complete() || alert.starts_at.is_none_or(|start| start >= self.began) {
            return Ok(None);
        }
        let query = ViewQuery {
            kind: views::ALERT,
            state: None,
            keys: [Some(source.to_owned()), Some(alert.fingerprint.clone()), None],
            after: None,
            limit: EARLIER_FIRINGS,
            newest_first: true,
        };
        let rows = self.scribe.journal().views(&query).await?;
        let mut latest = None;
        for row in &rows {
            let record: AlertRecord = views::read(&row.doc).map_err(ReadError::Row)?;
            let known = Known::from(&record);
            if known.starts_at == alert.starts_at {
                return Ok(Some(known));
            }
            latest = latest.or(Some(known));
        }
        Ok(latest)
    }

    /// Counts a run as waiting for people while the value lives: those do not fill the queue.
    pub(super) fn waits(&self) -> Waits {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(Arc::clone(&self.waiting))
    }

    /// Whether another run may begin. Runs that wait for people have a bound of their own.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.rules().config.queue;
        let waiting = self.waiting.load(Ordering::Relaxed);
        self.runs.len().saturating_sub(waiting) < queue && waiting < queue.saturating_mul(MOST_WAITING)
    }

    /// Asks the pre-gate once more, when a run's turn comes late.
    pub(super) async fn pre_gate_again(&self, live: &LiveRun) -> Result<PlanPermit, Vec<Decision>> {
        let run = live.snapshot().await;
        // What is taken back is taken back also when the alert is over, and it counts for no limit.
        let undoes = run.undoes();
        let over = !undoes && self.alert_is_over(live).await;
        let plugins = run.steps.iter().map(|step| step.plugin.as_str());
        let out = self.plugins.out_of_service(plugins, &self.rules().config.replacements);
        // A plugin that was deprecated because it does not help is still the one that can take back what it did.
        let out: Vec<(&str, &str)> = out
            .iter()
            .map(|(name, word)| (name.as_str(), word.as_str()))
            .filter(|(_, word)| !undoes || !word.starts_with(Trust::Deprecated.as_str()))
            .collect();
        let halted = self.halted_run(&run);
        let windows = self.windows_over_run(&run);
        let limit = if undoes { None } else { storms::but_for_room(&run, self.limit_of(&run)) };
        let breaker = if undoes { None } else { self.breaker_of(&run) };
        let facts = PreGateFacts {
            target: run.target.as_deref(),
            unended: None,
            out_of_service: &out,
            alert_over: over,
            halted: halted.as_deref(),
            windows: &windows.decisions,
            breaker: breaker.as_deref(),
            limit: limit.as_ref(),
        };
        gate::pre_gate(self.now(), &run.id, &run.runbook, &facts).map(|(permit, _)| permit)
    }

    /// The open breaker that a run would have to pass.
    fn breaker_of(&self, run: &Run) -> Option<String> {
        let plugins = run.steps.iter().map(|step| step.plugin.as_str());
        let target = run.target.as_deref();
        let asks = run.mode == Mode::Act || run.drill.is_some();
        asks.then(|| self.books.breakers.ask(self.now(), &run.id, plugins, target)).flatten()
    }

    /// The question that the runbook's gate puts to people.
    pub(super) fn question_for(&self, run: &Run) -> Ask {
        let gate = self.runbook(&run.runbook).map(|runbook| runbook.gate.clone()).unwrap_or_default();
        Ask::new(&gate, self.now())
    }

    /// Tells in the log that a run waits for people.
    #[expect(clippy::unused_self, reason = "connectors will be told from here")]
    pub(super) fn announce_waiting(&self, live: &LiveRun) {
        tracing::info!(run.id = %live.id(), "run {} waits for people", live.id());
    }

    /// Hands over each document of a view, oldest first.
    pub(super) async fn each_row<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        state: Option<&str>,
        take: impl FnMut(T) + Send,
    ) -> Result<(), ReadError> {
        Reading::default().each(oldest(kind, state), take).read(self.scribe.journal()).await
    }

    /// The record of an alert.
    pub(super) async fn alert(&self, id: &AlertId) -> Result<Option<AlertRecord>, ReadError> {
        let row = self.scribe.journal().view(views::ALERT, id.as_str()).await?;
        row.map(|row| views::read(&row.doc)).transpose().map_err(ReadError::Row)
    }

    /// A run as it is now: what has not ended is in memory.
    pub(super) async fn run(&self, id: &RunId) -> Result<Option<Run>, ReadError> {
        if let Some(live) = self.runs.get(id) {
            return Ok(Some(Run::clone(&*live.snapshot().await)));
        }
        folded(self.scribe.journal(), id).await
    }

    /// Runs that have not ended, newest first.
    pub(super) async fn open_runs(&self, listing: &Listing) -> Listed<Run> {
        let mut items = Vec::new();
        for live in self.runs.all() {
            if listing.after.as_ref().is_some_and(|after| live.id().as_str() >= after.id()) {
                continue;
            }
            items.extend(live.look(|run| listing.holds(run).then(|| run.clone())).await);
        }
        items.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        Listed::page(items, listing.limit, |run| run.id.as_str())
    }

    /// All events of a run, in order.
    pub(super) async fn events_of(&self, run: &RunId) -> Result<Vec<Event>, ScribeError> {
        let entries = entries_of(self.scribe.journal(), run).await?;
        let events = entries.iter().map(|entry| Event::decode(&entry.leaf, entry.bytes()));
        Ok(events.collect::<Result<_, _>>()?)
    }
}

/// A run as its entries tell it; `None` where it has none.
pub(super) async fn folded(journal: &Journal, id: &RunId) -> Result<Option<Run>, ReadError> {
    let mut run: Option<Run> = None;
    for entry in entries_of(journal, id).await? {
        let event = Event::decode(&entry.leaf, entry.bytes()).map_err(ReadError::Event)?;
        match &mut run {
            None => run = Run::begin(&event),
            Some(run) => run.apply(&event).map_err(ReadError::Transition)?,
        }
    }
    Ok(run)
}

/// The entries of a run with their payloads, in order.
pub(super) async fn entries_of(journal: &Journal, run: &RunId) -> Result<Vec<RunEntry>, JournalError> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let page = journal.run_entries(run.as_str(), from, MAX_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        from = last.index + 1;
        all.extend(page.into_iter().map(|(entry, payload)| RunEntry {
            index: entry.index,
            leaf: entry.leaf,
            payload,
        }));
    }
}
