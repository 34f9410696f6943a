//! The kill switch in force: who throws it, who asks it, and what it holds.
//!
//! A halt takes hold in memory at once, before it is written down: from then on no effect gets an intent that it
//! covers. Effects hold a pass from that question until their intent is durable, and whoever halts waits for the
//! passes that were given before. So no intent that a halt covers stands behind it in the journal, and none comes
//! after its acknowledgement.
//!
//! The file `data/HALT` halts everything too, for when nothing else works. It is looked for with each intent and at
//! each gate, and from time to time, so that its removal is noticed as well.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Decision, Reason, Stage};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::halt::{self, Halt, Halts, Scope, Subject};
use staunch_core::id::{HaltId, RunId};
use staunch_core::run::{Run, State};
use tokio::sync::{Mutex, RwLock as AsyncRwLock, RwLockReadGuard as AsyncReadGuard, watch};
use tokio::time::MissedTickBehavior;

use super::glance::Glance;
use super::scribe::{Line, Scribe};
use super::shared::Shared;
use super::{Listed, Listing, Pipeline, ReadError, Refusal, list, views};
use crate::journal::Journal;

/// The id under which listings show the file.
pub const FILE_ID: &str = "file";

/// How often the file is looked for while nobody asks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How much of the file is read: its first line is the reason.
const MAX_FILE: u64 = 4096;

/// Most halts in force at once, except those of everything.
pub const MAX_IN_FORCE: usize = 1000;

/// The halt of everything that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHalt {
    /// Where it is.
    pub path: PathBuf,
    /// Its first line; none when it is empty or cannot be read.
    pub reason: Option<String>,
    /// When it was written last; none when that cannot be read.
    pub since: Option<DateTime<Utc>>,
}

impl FileHalt {
    fn sentence(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("it says nothing more");
        format!("the file {} halts all: {reason}", self.path.display())
    }
}

/// What stands in the way of a run, and since when.
#[derive(Debug)]
struct Obstacle {
    why: String,
    since: Option<DateTime<Utc>>,
}

/// A pass for one intent: while it lives, nobody's halt is acknowledged.
#[derive(Debug)]
pub(super) struct Pass<'a>(#[expect(dead_code, reason = "it is held")] AsyncReadGuard<'a, ()>);

/// The kill switch.
#[derive(Debug)]
pub(super) struct KillSwitch {
    in_force: RwLock<Halts>,
    /// How many halts there are, the file included: zero answers most questions without a lock.
    count: AtomicUsize,
    file: PathBuf,
    file_there: AtomicBool,
    glance: Glance,
    passes: AsyncRwLock<()>,
    /// One release at a time, so that each halt is released once.
    releasing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl KillSwitch {
    /// A switch that nobody has thrown, unless the file is there.
    pub(super) fn new(file: PathBuf) -> Self {
        let switch = Self {
            in_force: RwLock::default(),
            count: AtomicUsize::new(0),
            file,
            file_there: AtomicBool::new(false),
            glance: Glance::default(),
            passes: AsyncRwLock::default(),
            releasing: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        switch.look();
        switch
    }

    fn read(&self) -> RwLockReadGuard<'_, Halts> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the halts in force, and tells those who wait for that.
    fn change<T>(&self, change: impl FnOnce(&mut Halts) -> T) -> T {
        let mut halts = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut halts);
        self.count(&halts);
        drop(halts);
        self.tell();
        result
    }

    fn count(&self, halts: &Halts) {
        let file = usize::from(self.file_there.load(Ordering::Acquire));
        self.count.store(halts.len() + file, Ordering::Release);
    }

    fn tell(&self) {
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Tells of every halt and release from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many halts are in force, the file included.
    pub(super) fn in_force(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether nothing at all is halted.
    pub(super) fn is_clear(&self) -> bool {
        self.in_force() == 0
    }

    /// A halt that was in force when the daemon stopped.
    pub(super) fn restore(&self, halt: Halt) {
        self.change(|halts| halts.put(halt));
    }

    /// Looks whether the file is there, unless that was just done: nothing acts on it before an intent looks again.
    fn glance(&self) {
        if !self.glance.holds() {
            self.look();
        }
    }

    /// Looks whether the file is there. When that cannot be told, it is.
    pub(super) fn look(&self) {
        self.glance.looked(true);
        let there = self.file.try_exists().unwrap_or(true);
        if self.file_there.swap(there, Ordering::AcqRel) == there {
            return;
        }
        self.count(&self.in_force.write().unwrap_or_else(PoisonError::into_inner));
        self.tell();
        let file = self.file.display();
        if there {
            tracing::warn!(file = %file, "the file {file} halts all");
        } else {
            tracing::warn!(file = %file, "the file {file} is gone and halts no longer");
        }
    }

    /// The file, if it is there.
    pub(super) fn file(&self) -> Option<FileHalt> {
        self.look();
        if !self.file_there.load(Ordering::Acquire) {
            return None;
        }
        Some(describe(&self.file))
    }

    /// What halts a run, as far as memory knows: all halts, and the file when it was seen.
    pub(super) fn why(&self, subject: &Subject<'_>) -> Option<String> {
        self.obstacle(subject).map(|obstacle| obstacle.why)
    }

    fn obstacle(&self, subject: &Subject<'_>) -> Option<Obstacle> {
        if self.is_clear() {
            return None;
        }
        let (oldest, more) = {
            let halts = self.read();
            let mut covering = halts.all_of(subject);
            (covering.next().cloned(), covering.count())
        };
        let Some(oldest) = oldest else {
            let file = self.file_there.load(Ordering::Acquire).then(|| self.file()).flatten()?;
            return Some(Obstacle { why: file.sentence(), since: file.since });
        };
        let more = match more {
            0 => String::new(),
            more => format!("; and {more} more {}", if more == 1 { "halt" } else { "halts" }),
        };
        Some(Obstacle { why: oldest.sentence() + &more, since: Some(oldest.created_at) })
    }

    /// Takes a pass for one intent. The question whether it is halted is asked after this and before the intent.
    pub(super) async fn pass(&self) -> Pass<'_> {
        Pass(self.passes.read().await)
    }

    /// Waits until every intent that was let pass before is durable.
    async fn barrier(&self) {
        drop(self.passes.write().await);
    }

    /// Takes hold, is written down, and only then known to whoever asked.
    async fn halt(&self, scribe: &Scribe, line: Line, halt: &Halt) -> Result<(), Refusal> {
        self.change(|halts| {
            if halt.scope != Scope::All && halts.len() >= MAX_IN_FORCE {
                let message = format!("{MAX_IN_FORCE} halts are in force already; release some, or halt all");
                return Err(Refusal::Conflict(Reason::new(Code::Limit, message)));
            }
            halts.put(halt.clone());
            Ok(())
        })?;
        self.barrier().await;
        if let Err(error) = scribe.commit(vec![line]).await {
            self.change(|halts| halts.take(&halt.id));
            return Err(error.into());
        }
        Ok(())
    }
}

/// Looks for the file from time to time, until the daemon drains, and writes down when it comes and goes.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let row = shared.scribe.journal().view(views::HALT_FILE, FILE_ID).await;
    let mut noted = row.ok().flatten().is_some_and(|row| row.state == views::IN_FORCE);
    while !shared.workers.is_closed() {
        ticks.tick().await;
        shared.halts.look();
        let there = shared.halts.file_there.load(Ordering::Acquire);
        if there == noted {
            continue;
        }
        // Whatever was let pass before it was seen stands before this in the journal.
        shared.halts.barrier().await;
        match shared.scribe.commit(vec![file_line(&shared, there)]).await {
            Ok(()) => noted = there,
            // It halts all the same; the next look tries again.
            Err(error) => tracing::warn!(error = %error, "the halt by file is not in the journal"),
        }
    }
}

fn file_line(shared: &Shared, there: bool) -> Line {
    let fact = if there {
        let reason = describe(&shared.halts.file).reason;
        Fact::HaltFileSeen(event::HaltFileSeen {}, Outside::Kept(payload::HaltFileSeen { reason }))
    } else {
        Fact::HaltFileGone(event::HaltFileGone {}, Outside::Kept(payload::HaltFileGone {}))
    };
    let event = Arc::new(shared.scribe.event(None, None, fact));
    Line { views: views::halt_file(&event).into_iter().collect(), event }
}

/// The file, if it is there: for when no daemon can be asked.
#[must_use]
pub fn find_file(path: &Path) -> Option<FileHalt> {
    path.try_exists().unwrap_or(true).then(|| describe(path))
}

fn describe(path: &Path) -> FileHalt {
    let (reason, since) = read_file(path);
    FileHalt { path: path.to_owned(), reason, since }
}

/// The first line of the file, as a reason, and when it was written.
fn read_file(path: &Path) -> (Option<String>, Option<DateTime<Utc>>) {
    use std::io::Read as _;
    let Ok(file) = std::fs::File::open(path) else { return (None, None) };
    let since = file.metadata().and_then(|data| data.modified()).ok().map(DateTime::from);
    let mut bytes = Vec::new();
    if file.take(MAX_FILE).read_to_end(&mut bytes).is_err() {
        return (None, since);
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(halt::MAX_REASON / 4).collect();
    ((!line.is_empty()).then_some(line), since)
}

impl Shared {
    /// What halts a run, if anything does. Looks for the file.
    pub(super) fn halted(&self, runbook: &str, plugins: &[&str], target: Option<&str>) -> Option<String> {
        self.halts.glance();
        self.obstacle(runbook, plugins, target).map(|obstacle| obstacle.why)
    }

    /// As [`Shared::halted`], for a run that there is.
    pub(super) fn halted_run(&self, run: &Run) -> Option<String> {
        self.halts.glance();
        self.obstacle_of(run).map(|obstacle| obstacle.why)
    }

    fn obstacle_of(&self, run: &Run) -> Option<Obstacle> {
        let plugins: Vec<&str> = run.steps.iter().map(|step| step.plugin.as_str()).collect();
        self.obstacle(&run.runbook, &plugins, run.target.as_deref())
    }

    fn obstacle(&self, runbook: &str, plugins: &[&str], target: Option<&str>) -> Option<Obstacle> {
        if self.halts.is_clear() {
            return None;
        }
        let aliases = self.aliases(target);
        let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
        self.halts.obstacle(&Subject { runbook, plugins, target, aliases: &aliases })
    }

    /// The other names of a target that is a host.
    pub(super) fn aliases(&self, target: Option<&str>) -> Vec<String> {
        let rules = self.rules();
        let host = target.and_then(|target| rules.config.hosts.find(target));
        host.map(|host| host.names.iter().chain([&host.key]).cloned().collect()).unwrap_or_default()
    }
}

/// Which halts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those in force.
    InForce,
    /// Those that were released.
    Released,
    /// All.
    All,
}

impl Which {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 3] =
        [(views::IN_FORCE, Self::InForce), (views::RELEASED, Self::Released), ("all", Self::All)];

    /// The state of their rows; none when it does not matter.
    #[must_use]
    pub fn state(self) -> Option<String> {
        match self {
            Self::InForce => Some(views::IN_FORCE.to_owned()),
            Self::Released => Some(views::RELEASED.to_owned()),
            Self::All => None,
        }
    }
}

/// Halts, newest first. States are those of [`Which`]; keys are the scope's kind and name.
///
/// # Errors
/// When the views cannot be read.
pub async fn list_halts(journal: &Journal, listing: Listing) -> Result<Listed<Halt>, ReadError> {
    list(journal, views::HALT, listing).await
}

/// A halt that somebody asks for.
#[derive(Debug, Clone)]
pub struct HaltRequest {
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
}

/// The journal's line for a new halt, and the halt.
#[must_use]
pub fn halt_line(scribe: &Scribe, request: HaltRequest, by: &str) -> (Line, Halt) {
    let HaltRequest { scope, reason } = request;
    let id = HaltId::from_bits(scribe.clock().id_bits());
    let leaf = event::Halted { halt: id.clone(), scope: scope.kind() };
    let outside = payload::Halted { scope: scope.clone(), reason: reason.clone(), by: by.to_owned() };
    let event = scribe.event(None, None, Fact::Halted(leaf, Outside::Kept(outside)));
    let halt = Halt {
        id,
        scope,
        reason,
        by: by.to_owned(),
        created_at: event.at,
        released_at: None,
        released_by: None,
        release_reason: None,
    };
    let line = Line { event: Arc::new(event), views: vec![views::halt(&halt)] };
    (line, halt)
}

/// The journal's line for the release of a halt, and the halt as it is after it.
#[must_use]
pub fn release_line(scribe: &Scribe, mut halt: Halt, by: &str, reason: Option<String>) -> (Line, Halt) {
    let leaf = event::HaltReleased { halt: halt.id.clone() };
    let outside = payload::HaltReleased { by: by.to_owned(), reason };
    let event = scribe.event(None, None, Fact::HaltReleased(leaf, Outside::Kept(outside)));
    halt.apply(&event);
    let line = Line { event: Arc::new(event), views: vec![views::halt(&halt)] };
    (line, halt)
}

impl Pipeline {
    /// Halts: in force at once, durable when this returns. From then on nothing that it covers acts.
    ///
    /// # Errors
    /// When too many are in force, or the journal does not take it: then it is not in force.
    pub async fn halt(&self, request: HaltRequest, by: &str) -> Result<Halt, Refusal> {
        let (shared, by) = (Arc::clone(&self.0), by.to_owned());
        self.whole(async move {
            let (line, halt) = halt_line(&shared.scribe, request, &by);
            shared.halts.halt(&shared.scribe, line, &halt).await?;
            tracing::warn!(halt.id = %halt.id, "{}", halt.sentence());
            Ok(halt)
        })
        .await
    }

    /// Ends a halt: durable first, then in force. What it held is asked again from the pre-gate on.
    ///
    /// # Errors
    /// When no such halt is in force, or the journal does not take it: then it stays in force.
    pub async fn release(&self, id: &HaltId, by: &str, reason: Option<String>) -> Result<Halt, Refusal> {
        let (shared, id, by) = (Arc::clone(&self.0), id.clone(), by.to_owned());
        self.whole(async move {
            let _one_at_a_time = shared.halts.releasing.lock().await;
            let known = shared.halts.read().get(&id).cloned();
            let Some(halt) = known else {
                return Err(Refusal::NotFound { what: "halt in force", id: id.to_string() });
            };
            let (line, halt) = release_line(&shared.scribe, halt, &by, reason);
            shared.scribe.commit(vec![line]).await?;
            shared.halts.change(|halts| halts.take(&id));
            tracing::warn!(halt.id = %id, "{} is released by {by} ({id})", halt.scope);
            Ok(halt)
        })
        .await
    }

    /// A halt in force.
    #[must_use]
    pub fn halt_in_force(&self, id: &HaltId) -> Option<Halt> {
        self.0.halts.read().get(id).cloned()
    }

    /// As [`list_halts`].
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn halts(&self, listing: Listing) -> Result<Listed<Halt>, ReadError> {
        list_halts(self.journal(), listing).await
    }

    /// The file that halts everything, if it is there.
    #[must_use]
    pub fn halt_file(&self) -> Option<FileHalt> {
        self.0.halts.file()
    }

    /// How many halts are in force, the file included.
    #[must_use]
    pub fn halts_in_force(&self) -> usize {
        self.0.halts.in_force()
    }

    /// What a scope covers today, where that is nothing: a halt of a name that nobody knows stops nobody.
    #[must_use]
    pub fn covers_nothing_yet(&self, scope: &Scope) -> Option<String> {
        let known = match scope {
            Scope::Runbook(name) => self.0.runbook(name).is_some(),
            Scope::Plugin(name) => self.0.plugins.record(name).is_some(),
            Scope::All | Scope::Target(_) => true,
        };
        (!known).then(|| {
            let name = scope.name().unwrap_or_default();
            format!("there is no {} {name:?} now; the halt stands for when there is", scope.kind().as_str())
        })
    }

    /// What halts an unended run right now, as a decision of its trace.
    pub async fn halted_now(&self, run: &RunId) -> Option<Decision> {
        let live = self.0.runs.get(run)?;
        self.0.halts.look();
        live.look(|run| {
            let obstacle = self.0.obstacle_of(run).filter(|_| run.state != State::Ended)?;
            let since = obstacle.since.unwrap_or_else(|| self.0.now());
            Some(Decision::refuse(since, Stage::Halt, &run.runbook, Code::Halt, obstacle.why))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
