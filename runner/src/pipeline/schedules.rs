//! Runs by the clock: asks each schedule what is due, and makes the runs, through the same pre-gate as any other.
//!
//! Where a schedule stands is a record folded from the journal. An occurrence and its run are written down in one
//! transaction, so that after a crash there are both or neither.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Decision, Reason};
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::policy::Runbook;
use staunch_core::run::Mode;
use staunch_core::schedule::{Due, Facts, Missed, Occurrence, Schedule, ScheduleRecord};
use tokio::sync::Notify;

use super::drive::Start;
use super::receive::{Request, new_run};
use super::scribe::{Line, ScribeError};
use super::shared::{Rules, Shared};
use super::{Pipeline, views};

/// How long the task sleeps at the most: a clock that jumps is noticed so soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// How soon what could not be written down, or had no room, is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How many of its next times a schedule shows.
const SHOWN: usize = 5;

/// Where all schedules stand.
#[derive(Debug, Default)]
pub(super) struct Clockwork {
    records: RwLock<BTreeMap<String, ScheduleRecord>>,
    changed: Notify,
}

impl Clockwork {
    /// A record as it was when the daemon stopped.
    pub(super) fn restore(&self, record: ScheduleRecord) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.insert(record.runbook.clone(), record);
    }

    fn get(&self, runbook: &str) -> Option<ScheduleRecord> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(runbook).cloned()
    }

    fn all(&self) -> Vec<ScheduleRecord> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Says that the runbooks may have other schedules now.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }
}

/// A schedule as it is shown.
#[derive(Debug)]
pub struct Shown {
    /// The runbook with its schedule.
    pub runbook: Arc<Runbook>,
    /// Its next times.
    pub next: Vec<Occurrence>,
    /// Where it stands; none before the daemon has looked at it.
    pub record: Option<ScheduleRecord>,
}

/// Why an occurrence is not dealt with yet.
#[derive(Debug, thiserror::Error)]
enum Later {
    #[error("too many runs wait already")]
    NoRoom,
    #[error(transparent)]
    Scribe(#[from] ScribeError),
}

/// Runs what is due, until the daemon drains.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut nexts: HashMap<String, (String, Option<DateTime<Utc>>)> = HashMap::new();
    while !shared.workers.is_closed() {
        let rest = match look(&shared, &mut nexts).await {
            Ok(next) => {
                let rest = next.map(|next| (next - shared.now()).to_std().unwrap_or_default());
                // A moment more, so that the instant itself has passed.
                rest.map_or(LONGEST_SLEEP, |rest| rest + Duration::from_millis(1)).min(LONGEST_SLEEP)
            }
            Err(error) => {
                tracing::warn!(error = %error, "a schedule is not dealt with yet");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = shared.clockwork.changed.notified() => nexts.clear(),
        }
    }
}

/// Deals with all that is due; when something is due next. `nexts` holds when each schedule is to be asked again.
async fn look(
    shared: &Arc<Shared>,
    nexts: &mut HashMap<String, (String, Option<DateTime<Utc>>)>,
) -> Result<Option<DateTime<Utc>>, Later> {
    let rules = shared.rules();
    retire(shared, &rules).await?;
    let mut soonest = None;
    for runbook in rules.policies.routing().runbooks() {
        let Some(schedule) = &runbook.schedule else { continue };
        let named = schedule.named();
        let known = nexts.get(&runbook.name).filter(|(other, _)| *other == named).map(|(_, next)| *next);
        let next = match known {
            Some(next) if next.is_none_or(|next| next > shared.now()) => next,
            _ => {
                let next = deal(shared, &rules, runbook, schedule, &named).await?;
                nexts.insert(runbook.name.clone(), (named, next));
                next
            }
        };
        soonest = soonest.into_iter().chain(next).min();
    }
    Ok(soonest)
}

/// Writes down which runbooks have no schedule any more: should they get one again, nothing is missed meanwhile.
async fn retire(shared: &Shared, rules: &Rules) -> Result<(), ScribeError> {
    for record in shared.clockwork.all() {
        let runbook = rules.policies.runbook(&record.runbook);
        if record.calendar.is_some() && runbook.is_none_or(|runbook| runbook.schedule.is_none()) {
            set(shared, &record.runbook, None).await?;
        }
    }
    Ok(())
}

/// Writes down that a schedule is in force from now on, or no longer.
async fn set(shared: &Shared, runbook: &str, calendar: Option<String>) -> Result<(), ScribeError> {
    let leaf = event::ScheduleSet { runbook: runbook.to_owned(), calendar, from: shared.now() };
    write(shared, runbook, Fact::ScheduleSet(leaf, Outside::Kept(payload::ScheduleSet {})), None).await
}

/// Writes down something about a schedule, with the beginning of its run where it has one.
async fn write(shared: &Shared, runbook: &str, fact: Fact, run: Option<Line>) -> Result<(), ScribeError> {
    let event: Event = shared.scribe.event(None, None, fact);
    let record = ScheduleRecord::fold(shared.clockwork.get(runbook), &event);
    let views = record.iter().map(views::schedule).collect();
    let lines = std::iter::once(Line { event: Arc::new(event), views }).chain(run).collect();
    shared.scribe.commit(lines).await?;
    if let Some(record) = record {
        shared.clockwork.restore(record);
    }
    Ok(())
}

/// Deals with what is due of one schedule; when to ask it again.
async fn deal(
    shared: &Arc<Shared>,
    rules: &Rules,
    runbook: &Arc<Runbook>,
    schedule: &Schedule,
    named: &str,
) -> Result<Option<DateTime<Utc>>, Later> {
    let known = shared.clockwork.get(&runbook.name);
    let last = match known.filter(|record| record.calendar.as_deref() == Some(named)) {
        Some(record) => record.last,
        None => {
            set(shared, &runbook.name, Some(named.to_owned())).await?;
            shared.now()
        }
    };
    let due = due(shared, rules, runbook, schedule, last).await;
    let mut note = due.unlisted_before.map(|before| format!("; more before {before} are not listed"));
    let missed = due.missed.into_iter().map(|Missed { occurrence, reason }| (occurrence, Some(reason)));
    let mut all: Vec<_> = missed.chain(due.run.into_iter().map(|occurrence| (occurrence, None))).collect();
    // In their order: what is written down last says how far all of them were dealt with.
    all.sort_by_key(|(occurrence, _)| occurrence.at);
    for (occurrence, missed) in all {
        match missed {
            Some(reason) => {
                let note = note.take().unwrap_or_default();
                miss(shared, runbook, occurrence, Reason::new(reason.code, reason.message + &note)).await?;
            }
            None => run(shared, rules, runbook, schedule, occurrence).await?,
        }
    }
    Ok(due.next)
}

async fn due(
    shared: &Shared,
    rules: &Rules,
    runbook: &Runbook,
    schedule: &Schedule,
    last: DateTime<Utc>,
) -> Due {
    let mut unended = 0;
    for live in shared.runs.all() {
        let of_schedule = |run: &staunch_core::run::Run| {
            run.runbook == runbook.name && run.alert.is_none() && run.by.is_none()
        };
        unended += u32::from(live.look(of_schedule).await);
    }
    let blackout = |at: DateTime<Utc>| {
        rules.policies.windows().open_at(&schedule.blackout, at).map(|window| window.name.clone())
    };
    schedule.due(last, shared.now(), &Facts { runbook: &runbook.name, unended, blackout: &blackout })
}

async fn miss(
    shared: &Shared,
    runbook: &Runbook,
    occurrence: Occurrence,
    reason: Reason,
) -> Result<(), ScribeError> {
    tracing::warn!(runbook = %runbook.name, "{} did not run at {}: {reason}", runbook.name, occurrence.at);
    let leaf = event::OccurrenceMissed { runbook: runbook.name.clone(), occurrence, code: reason.code };
    let outside = payload::OccurrenceMissed { message: reason.message };
    write(shared, &runbook.name, Fact::OccurrenceMissed(leaf, Outside::Kept(outside)), None).await
}

/// Makes the run of an occurrence, or writes down why there is none.
async fn run(
    shared: &Arc<Shared>,
    rules: &Rules,
    runbook: &Arc<Runbook>,
    schedule: &Schedule,
    occurrence: Occurrence,
) -> Result<(), Later> {
    if !shared.has_room() {
        return Err(Later::NoRoom);
    }
    let labels = BTreeMap::new();
    let request = Request {
        alert: None,
        labels: &labels,
        target: None,
        input: None,
        by: None,
        comment: None,
        mode: Mode::Act,
        exact: None,
        queues: schedule.overlap == staunch_core::schedule::Overlap::Queue,
        drill: None,
        glass: None,
    };
    let (line, new) = match new_run(shared, rules, runbook, &request) {
        Ok(made) => made,
        Err(refusals) => {
            let refused = || Reason::new(Code::Internal, "refused");
            let reason = refusals.first().map_or_else(refused, Decision::reason);
            return Ok(miss(shared, runbook, occurrence, reason).await?);
        }
    };
    let leaf = event::OccurrenceDue { runbook: runbook.name.clone(), occurrence, made: new.run.id.clone() };
    let fact = Fact::OccurrenceDue(leaf, Outside::Kept(payload::OccurrenceDue {}));
    if let Err(error) = write(shared, &runbook.name, fact, Some(line)).await {
        let target = new.run.target.as_deref().unwrap_or_default();
        shared.runs.release(&runbook.name, target, &new.run.id);
        return Err(error.into());
    }
    let live = shared.live(new.run, None);
    shared.launch(live, Start::Fresh(new.permit, new.place));
    Ok(())
}

impl Pipeline {
    /// The schedules in force, by the names of their runbooks.
    #[must_use]
    pub fn schedules(&self) -> Vec<Shown> {
        let rules = self.rules();
        let now = self.0.now();
        let scheduled =
            rules.policies.routing().runbooks().iter().filter(|runbook| runbook.schedule.is_some());
        let mut shown: Vec<Shown> = scheduled
            .map(|runbook| {
                let times = runbook.schedule.iter().flat_map(|schedule| {
                    let next = |at: &DateTime<Utc>| schedule.calendar.next(*at);
                    let times = std::iter::successors(schedule.calendar.next(now), next).take(SHOWN);
                    times.map(|at| schedule.occurrence(&runbook.name, at)).collect::<Vec<_>>()
                });
                Shown {
                    runbook: Arc::clone(runbook),
                    next: times.collect(),
                    record: self.0.clockwork.get(&runbook.name),
                }
            })
            .collect();
        shown.sort_unstable_by(|a, b| a.runbook.name.cmp(&b.runbook.name));
        shown
    }
}
