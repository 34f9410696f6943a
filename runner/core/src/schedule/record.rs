//! What is known of a runbook's schedule: folded from the journal, so that a restart neither repeats an occurrence
//! nor loses one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Missed, Occurrence, Schedule};
use crate::decision::Reason;
use crate::event::{Event, Fact};
use crate::id::RunId;
use crate::run::REMOVED;

/// How many of the last missed occurrences are kept in the record; the journal has all.
pub const MOST_MISSED: usize = 100;

/// An occurrence with its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// Which.
    pub occurrence: Occurrence,
    /// The run that was made for it.
    pub run: RunId,
}

/// Where a runbook's schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRecord {
    /// The runbook.
    pub runbook: String,
    /// The expression and its zone; none when the runbook has no schedule any more.
    pub calendar: Option<String>,
    /// The last occurrence that was dealt with, or when the schedule came into force.
    pub last: DateTime<Utc>,
    /// The last one that ran.
    pub ran: Option<Ran>,
    /// The last ones that did not run, oldest first.
    pub missed: Vec<Missed>,
}

impl Schedule {
    /// The expression with its zone: what makes a schedule another one.
    #[must_use]
    pub fn named(&self) -> String {
        format!("{} {}", self.calendar.source(), self.calendar.zone())
    }
}

impl ScheduleRecord {
    /// What an event makes of the record of its runbook, or of none yet; `None` for events that are not about
    /// schedules.
    #[must_use]
    pub fn fold(before: Option<Self>, event: &Event) -> Option<Self> {
        let (runbook, begins) = match &event.fact {
            Fact::ScheduleSet(leaf, _) => (&leaf.runbook, leaf.from),
            Fact::OccurrenceDue(leaf, _) => (&leaf.runbook, leaf.occurrence.at),
            Fact::OccurrenceMissed(leaf, _) => (&leaf.runbook, leaf.occurrence.at),
            _ => return None,
        };
        let begun =
            || Self { runbook: runbook.clone(), calendar: None, last: begins, ran: None, missed: Vec::new() };
        let mut record = before.unwrap_or_else(begun);
        match &event.fact {
            Fact::ScheduleSet(leaf, _) => {
                record.calendar.clone_from(&leaf.calendar);
                record.last = leaf.from;
            }
            Fact::OccurrenceDue(leaf, _) => {
                record.last = record.last.max(leaf.occurrence.at);
                record.ran = Some(Ran { occurrence: leaf.occurrence, run: leaf.made.clone() });
            }
            Fact::OccurrenceMissed(leaf, outside) => {
                record.last = record.last.max(leaf.occurrence.at);
                let message = outside.get().map_or(REMOVED, |outside| outside.message.as_str());
                record
                    .missed
                    .push(Missed { occurrence: leaf.occurrence, reason: Reason::new(leaf.code, message) });
                let excess = record.missed.len().saturating_sub(MOST_MISSED);
                record.missed.drain(..excess);
            }
            _ => {}
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Code;
    use crate::event::{self, Outside, payload};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn event(fact: Fact) -> Event {
        Event { at: at(0), run: None, alert: None, fact }
    }

    fn missed(second: i64) -> Event {
        let occurrence = Occurrence { at: at(second), starts: at(second) };
        let leaf = event::OccurrenceMissed { runbook: "r".to_owned(), occurrence, code: Code::Missed };
        let outside = payload::OccurrenceMissed { message: "late".to_owned() };
        event(Fact::OccurrenceMissed(leaf, Outside::Kept(outside)))
    }

    #[test]
    fn the_last_occurrence_never_goes_back_but_for_another_schedule() {
        let set = |second, calendar: Option<&str>| {
            let leaf = event::ScheduleSet {
                runbook: "r".to_owned(),
                calendar: calendar.map(str::to_owned),
                from: at(second),
            };
            event(Fact::ScheduleSet(leaf, Outside::Kept(payload::ScheduleSet {})))
        };
        let record = ScheduleRecord::fold(None, &set(100, Some("0 3 * * * UTC"))).unwrap();
        assert_eq!((record.last, record.calendar.as_deref()), (at(100), Some("0 3 * * * UTC")));
        let record = ScheduleRecord::fold(Some(record), &missed(200)).unwrap();
        let record = ScheduleRecord::fold(Some(record), &missed(150)).unwrap();
        assert_eq!((record.last, record.missed.len()), (at(200), 2));
        let record = ScheduleRecord::fold(Some(record), &set(50, None)).unwrap();
        assert_eq!((record.last, record.calendar, record.missed.len()), (at(50), None, 2));
    }

    #[test]
    fn only_the_last_missed_ones_are_kept() {
        let mut record = None;
        for second in 0..150 {
            record = ScheduleRecord::fold(record, &missed(second));
        }
        let record = record.unwrap();
        assert_eq!((record.missed.len(), record.missed[0].occurrence.at), (MOST_MISSED, at(50)));
    }
}
