//! Schedules: when a runbook runs by the clock, and what becomes of the times that passed without a run.
//!
//! Pure: the shell keeps one instant per runbook, the last occurrence that was dealt with, and asks what is due.
//! Every occurrence is either run or listed as missed with its reason; none is dropped in silence.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::decision::{Code, Reason};
use crate::id::Digest;

mod calendar;
mod record;

pub use calendar::Calendar;
pub use record::{MOST_MISSED, Ran, ScheduleRecord};

/// How late an occurrence may start and still count as on time: what a busy host needs.
pub const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// The most occurrences that one answer lists; older ones are told as one.
pub const MOST_LISTED: usize = 1_000;

/// The most occurrences that are caught up, unless the runbook says so.
pub const CATCH_UP: u32 = 24;

/// The most occurrences of one runbook that wait for their turn.
pub const MOST_QUEUED: u32 = 24;

/// When a runbook runs by the clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The times.
    pub calendar: Calendar,
    /// Each occurrence starts up to so much later: by its name and time, the same on every node.
    pub jitter: Duration,
    /// What becomes of occurrences that passed while nothing ran.
    pub catch_up: CatchUp,
    /// What becomes of an occurrence whose predecessor has not ended.
    pub overlap: Overlap,
    /// Windows during which it does not run.
    pub blackout: Vec<String>,
}

/// What becomes of occurrences that passed while nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// They are missed.
    None,
    /// The last of them runs.
    Last,
    /// They run, the newest ones up to a number.
    All {
        /// How many at most.
        most: u32,
    },
}

/// What becomes of an occurrence whose predecessor has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is missed.
    Skip,
    /// It waits for its turn.
    Queue,
}

/// One time of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occurrence {
    /// The time that the schedule names: what identifies it.
    pub at: DateTime<Utc>,
    /// When it starts: that time and its jitter.
    pub starts: DateTime<Utc>,
}

/// What the world says, at the time of the question.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The runbook's name.
    pub runbook: &'a str,
    /// How many of its scheduled runs have not ended.
    pub unended: u32,
    /// The name of a blackout window that is open at an instant: [`crate::window::Windows::open_at`].
    pub blackout: &'a dyn Fn(DateTime<Utc>) -> Option<String>,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("runbook", &self.runbook)
            .field("unended", &self.unended)
            .finish_non_exhaustive()
    }
}

/// An occurrence without a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missed {
    /// Which.
    pub occurrence: Occurrence,
    /// Why: `missed`, `window`, `busy` or `queue-full`.
    pub reason: Reason,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// These run, in this order.
    pub run: Vec<Occurrence>,
    /// These do not, oldest first.
    pub missed: Vec<Missed>,
    /// There were more, before this one: too many to list.
    pub unlisted_before: Option<DateTime<Utc>>,
    /// The last occurrence that was dealt with: where the next question begins.
    pub last: DateTime<Utc>,
    /// When to ask again. `None`: the schedule has no more times.
    pub next: Option<DateTime<Utc>>,
}

impl Schedule {
    /// The occurrence at a time that the calendar names.
    #[must_use]
    pub fn occurrence(&self, runbook: &str, at: DateTime<Utc>) -> Occurrence {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let parts = [runbook.as_bytes(), &[0], &at.timestamp().to_be_bytes()];
        let digest = Digest::of_parts(&parts);
        let drawn = digest.as_bytes().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let delay = TimeDelta::milliseconds(i64::try_from(drawn % most).unwrap_or(0));
        Occurrence { at, starts: at + delay }
    }

    /// What is due now. `last` is what the last answer said, or, at first, when the schedule came into force.
    ///
    /// Clocks may jump: what lies before `last` never comes again, and a jump ahead is time that passed.
    #[must_use]
    pub fn due(&self, last: DateTime<Utc>, now: DateTime<Utc>, facts: &Facts<'_>) -> Due {
        let (times, unlisted) = self.calendar.between(last, now, MOST_LISTED);
        let occurrences = times.into_iter().map(|at| self.occurrence(facts.runbook, at));
        // One that still waits for its jitter holds back the later ones, so that the order stays.
        let due: Vec<Occurrence> = occurrences.take_while(|occurrence| occurrence.starts <= now).collect();
        let mut answer = Due {
            run: Vec::new(),
            missed: Vec::new(),
            unlisted_before: due.first().filter(|_| unlisted).map(|first| first.at),
            last: due.last().map_or(last, |newest| newest.at),
            next: None,
        };
        let first_caught_up = due.len().saturating_sub(self.caught_up());
        for (index, occurrence) in due.iter().enumerate() {
            let late = now - occurrence.starts > ON_TIME;
            let missed = if late && index < first_caught_up {
                Some(self.too_late(now, occurrence))
            } else {
                self.held_up(now, occurrence, answer.run.len(), facts)
            };
            match missed {
                Some(reason) => answer.missed.push(Missed { occurrence: *occurrence, reason }),
                None => answer.run.push(*occurrence),
            }
        }
        answer.next = self.next(facts.runbook, answer.last, now);
        answer
    }

    fn next(&self, runbook: &str, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = self.calendar.next(last)?;
        // After a jump of the clock to the past, nothing is due before what was dealt with.
        Some(self.occurrence(runbook, at).starts.max(now))
    }

    /// How many of the newest occurrences run although they are late.
    fn caught_up(&self) -> usize {
        match self.catch_up {
            CatchUp::None => 0,
            CatchUp::Last => 1,
            CatchUp::All { most } => most as usize,
        }
    }

    fn too_late(&self, now: DateTime<Utc>, occurrence: &Occurrence) -> Reason {
        let late = Duration::from_secs((now - occurrence.starts).num_seconds().unsigned_abs());
        let late = crate::policy::duration::print(late);
        let rule = match self.catch_up {
            CatchUp::None => "nothing is caught up".to_owned(),
            CatchUp::Last => "only the last one is caught up".to_owned(),
            CatchUp::All { most } => format!("only the last {most} are caught up"),
        };
        Reason::new(Code::Missed, format!("it was noticed {late} too late, and {rule}"))
    }

    fn held_up(
        &self,
        now: DateTime<Utc>,
        occurrence: &Occurrence,
        begun: usize,
        facts: &Facts<'_>,
    ) -> Option<Reason> {
        // What is caught up runs now, so the window must be closed now, too.
        if let Some(window) = (facts.blackout)(occurrence.starts).or_else(|| (facts.blackout)(now)) {
            return Some(Reason::new(Code::Window, format!("the blackout window {window} is open")));
        }
        let open = facts.unended.saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
        match self.overlap {
            Overlap::Skip if open > 0 => {
                Some(Reason::new(Code::Busy, "the run of an earlier occurrence has not ended"))
            }
            Overlap::Queue if open > MOST_QUEUED => {
                let message = format!("{MOST_QUEUED} earlier occurrences wait already");
                Some(Reason::new(Code::QueueFull, message))
            }
            Overlap::Skip | Overlap::Queue => None,
        }
    }
}

#[cfg(test)]
mod tests;
