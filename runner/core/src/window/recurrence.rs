//! When a window opens: once, or again and again by an iCalendar recurrence.
//!
//! The rule runs over local times without a zone, and each time that it gives is put into the zone afterwards:
//! so gaps and folds mean one thing everywhere. A rule that began long ago is not walked through: it is moved
//! forward by whole periods to just before the time that is asked about.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, RRuleSet, Unvalidated};

use super::Span;
use crate::zone::{self, InGap};

/// The largest `COUNT` of a rule: all its occurrences are listed when it is read.
pub const MOST_COUNTED: u32 = 1_000;

/// The most occurrences that touch each other and are told as one span. Where there are more, the span ends
/// early and whoever asks again then gets the next one, without a break.
const MOST_JOINED: usize = 64;

/// How far an instant can be from the same local time in another part of the year.
const SLACK: TimeDelta = TimeDelta::hours(26);

/// A day, as calendars count.
const DAY_SECONDS: u64 = 86_400;

/// When a window opens, and for how long.
#[derive(Debug, Clone)]
pub struct Recurrence {
    zone: Tz,
    length: Length,
    starts: Starts,
    left_out: LeftOut,
}

/// How long it stays open.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// Whole days end at the same time of day, however long the days are.
    Days(u64),
    /// Anything else is time that passes.
    Exact(TimeDelta),
}

#[derive(Debug, Clone)]
enum Starts {
    /// All of them, in order.
    Listed(Vec<NaiveDateTime>),
    /// A rule without an end by number.
    Rule { rule: Box<RRule>, start: NaiveDateTime },
}

/// `EXDATE`: times, and days with all their times.
#[derive(Debug, Clone, Default)]
struct LeftOut {
    times: BTreeSet<NaiveDateTime>,
    days: BTreeSet<NaiveDate>,
}

impl LeftOut {
    fn holds(&self, time: NaiveDateTime) -> bool {
        self.times.contains(&time) || self.days.contains(&time.date())
    }
}

impl Recurrence {
    /// Opens at `start`, and again as `lines` say: at most one `RRULE`, and any number of `EXDATE`, each with its
    /// iCalendar name before a colon; `RRULE:` may be left out.
    ///
    /// # Errors
    /// What is wrong with which line, by its index.
    pub fn read(
        zone: Tz,
        start: NaiveDateTime,
        length: Duration,
        lines: &[&str],
    ) -> Result<Self, (usize, String)> {
        let mut left_out = LeftOut::default();
        let mut rule: Option<(usize, Starts)> = None;
        for (index, line) in lines.iter().enumerate() {
            let at = |message: String| (index, message);
            let (name, value) = line.split_once(':').unwrap_or(("RRULE", line));
            match name.split(';').next().unwrap_or(name).to_ascii_uppercase().as_str() {
                "RRULE" if rule.is_some() => return Err(at("there may be one RRULE".to_owned())),
                "RRULE" => rule = Some((index, read_rule(zone, start, value).map_err(at)?)),
                "EXDATE" => read_left_out(zone, value, &mut left_out).map_err(at)?,
                other => return Err(at(format!("{other:?} is not known; valid are RRULE and EXDATE"))),
            }
        }
        let (index, starts) = rule.unwrap_or_else(|| (0, Starts::Listed(vec![start])));
        let recurrence = Self { zone, length: Length::of(length), starts, left_out };
        if recurrence.starts_from(start).next().is_none() {
            return Err((index, "it never happens".to_owned()));
        }
        Ok(recurrence)
    }

    /// The span that is open at `now`, or else the next one; `None` when there is none any more.
    #[must_use]
    pub fn span(&self, now: DateTime<Utc>) -> Option<Span> {
        let earliest = zone::local(self.zone, now) - self.length.at_most() - SLACK;
        let mut found: Option<Span> = None;
        let mut joined = 0;
        for start in self.starts_from(earliest) {
            let from = zone::instant(self.zone, start, InGap::Shifted);
            let until = self.end(start, from);
            match &mut found {
                None if until <= now => {}
                None => found = Some(Span { from, until }),
                Some(span) if from <= span.until && joined < MOST_JOINED => {
                    span.until = span.until.max(until);
                    joined += 1;
                }
                Some(_) => break,
            }
        }
        found
    }

    fn end(&self, start: NaiveDateTime, from: DateTime<Utc>) -> DateTime<Utc> {
        match self.length {
            Length::Exact(length) => from + length,
            Length::Days(days) => start
                .checked_add_days(chrono::Days::new(days))
                .map_or(DateTime::<Utc>::MAX_UTC, |end| zone::instant(self.zone, end, InGap::Shifted)),
        }
    }

    /// The local times at which it opens, from one on, in order.
    fn starts_from(&self, earliest: NaiveDateTime) -> Box<dyn Iterator<Item = NaiveDateTime> + '_> {
        let kept = move |time: &NaiveDateTime| *time >= earliest && !self.left_out.holds(*time);
        match &self.starts {
            Starts::Listed(times) => {
                let first = times.partition_point(|time| *time < earliest);
                Box::new(times[first..].iter().copied().filter(kept))
            }
            Starts::Rule { rule, start } => {
                let moved = moved_forward(rule, *start, earliest);
                let begin = *start;
                Box::new(times(rule, moved).filter(move |time| *time >= begin).filter(kept))
            }
        }
    }
}

impl Length {
    fn of(length: Duration) -> Self {
        let seconds = length.as_secs();
        if length.subsec_nanos() == 0 && seconds > 0 && seconds.is_multiple_of(DAY_SECONDS) {
            Self::Days(seconds / DAY_SECONDS)
        } else {
            Self::Exact(TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX))
        }
    }

    fn at_most(self) -> TimeDelta {
        match self {
            Self::Days(days) => TimeDelta::days(i64::try_from(days).unwrap_or(i64::MAX / DAY_SECONDS as i64)),
            Self::Exact(length) => length,
        }
    }
}

/// The times that a rule gives, the local times being written as if they were UTC.
fn times(rule: &RRule, start: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + use<> {
    let set = RRuleSet::new(start.and_utc().with_timezone(&rrule::Tz::UTC)).rrule(rule.clone()).limit();
    set.into_iter().map(|time| time.naive_utc())
}

/// A start of the same rule, moved by whole periods so that it lies at least one before `earliest`.
///
/// A rule that was validated names every part that it took from its start, so the day may change with the move.
fn moved_forward(rule: &RRule, start: NaiveDateTime, earliest: NaiveDateTime) -> NaiveDateTime {
    let interval = i64::from(rule.get_interval().max(1));
    let passed = earliest - start;
    if passed <= TimeDelta::zero() {
        return start;
    }
    let months = i64::from(earliest.year() - start.year()) * 12 + i64::from(earliest.month())
        - i64::from(start.month());
    let (units, unit) = match rule.get_freq() {
        Frequency::Yearly => (months / 12, None),
        Frequency::Monthly => (months, None),
        Frequency::Weekly => (passed.num_weeks(), Some(TimeDelta::weeks(1))),
        Frequency::Daily => (passed.num_days(), Some(TimeDelta::days(1))),
        Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
            (passed.num_hours(), Some(TimeDelta::hours(1)))
        }
    };
    let periods = units / interval - 1;
    if periods <= 0 {
        return start;
    }
    let units = periods * interval;
    let moved = match (unit, rule.get_freq()) {
        (Some(unit), _) => i32::try_from(units).ok().and_then(|units| start.checked_add_signed(unit * units)),
        (None, Frequency::Yearly) => {
            months_later(start.with_day(1).and_then(|s| s.with_month(1)), units * 12)
        }
        (None, _) => months_later(start.with_day(1), units),
    };
    moved.unwrap_or(start)
}

fn months_later(start: Option<NaiveDateTime>, months: i64) -> Option<NaiveDateTime> {
    start?.checked_add_months(Months::new(u32::try_from(months).ok()?))
}

fn read_rule(zone: Tz, start: NaiveDateTime, value: &str) -> Result<Starts, String> {
    let mut parts = Vec::new();
    for part in value.trim().split(';').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((name, until)) if name.eq_ignore_ascii_case("UNTIL") => {
                let until = ical_time(zone, until).ok_or_else(|| not_a_time("UNTIL", until))?;
                // A day alone ends with the day.
                let last =
                    until.time().unwrap_or_else(|| until.day().and_time(chrono::NaiveTime::MIN) + WHOLE_DAY);
                parts.push(format!("UNTIL={}Z", last.format("%Y%m%dT%H%M%S")));
            }
            _ => parts.push(part.to_owned()),
        }
    }
    let rule: RRule<Unvalidated> = parts.join(";").parse().map_err(|error| format!("{error}"))?;
    if matches!(rule.get_freq(), Frequency::Minutely | Frequency::Secondly) {
        return Err(
            "FREQ may be YEARLY, MONTHLY, WEEKLY, DAILY or HOURLY: windows are not opened more often"
                .to_owned(),
        );
    }
    let count = rule.get_count();
    let rule =
        rule.validate(start.and_utc().with_timezone(&rrule::Tz::UTC)).map_err(|error| format!("{error}"))?;
    match count {
        Some(count) if count > MOST_COUNTED => {
            Err(format!("COUNT may be at most {MOST_COUNTED}; UNTIL has no bound"))
        }
        Some(_) => Ok(Starts::Listed(times(&rule, start).collect())),
        None => Ok(Starts::Rule { rule: Box::new(rule), start }),
    }
}

/// From midnight to the last second of a day.
const WHOLE_DAY: TimeDelta = TimeDelta::seconds(86_399);

fn read_left_out(zone: Tz, value: &str, left_out: &mut LeftOut) -> Result<(), String> {
    for text in value.split(',') {
        match ical_time(zone, text.trim()).ok_or_else(|| not_a_time("EXDATE", text))? {
            IcalTime::Day(day) => left_out.days.insert(day),
            IcalTime::Time(time) => left_out.times.insert(time),
        };
    }
    Ok(())
}

fn not_a_time(what: &str, text: &str) -> String {
    format!(
        "{what} cannot be {text:?}; valid are 20261224, 20261224T220000 (local) and 20261224T210000Z (UTC)"
    )
}

enum IcalTime {
    Day(NaiveDate),
    Time(NaiveDateTime),
}

impl IcalTime {
    fn day(&self) -> NaiveDate {
        match self {
            Self::Day(day) => *day,
            Self::Time(time) => time.date(),
        }
    }

    fn time(&self) -> Option<NaiveDateTime> {
        match self {
            Self::Day(_) => None,
            Self::Time(time) => Some(*time),
        }
    }
}

/// A date or time in iCalendar's form; one in UTC is turned into the local time of the zone.
fn ical_time(zone: Tz, text: &str) -> Option<IcalTime> {
    let parse = |text: &str| NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").ok();
    if let Some(utc) = text.strip_suffix('Z') {
        return parse(utc).map(|time| IcalTime::Time(zone::local(zone, time.and_utc())));
    }
    let day = || NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(IcalTime::Day);
    parse(text).map(IcalTime::Time).or_else(day)
}
