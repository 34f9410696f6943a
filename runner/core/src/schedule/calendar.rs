//! The times that a cron expression names, in a time zone.
//!
//! Five fields, as crontab has them: minute, hour, day of month, month, day of week (0 and 7 are Sunday; where
//! neither day begins with `*`, one of the two is enough), and the words `@hourly` to `@yearly`.
//!
//! The expression runs over local times without a zone. An expression that names hours runs once a local time:
//! a time in a gap at the first instant after the gap, a time in a fold at its first. One whose hour is `*` or
//! `*/n` runs by time that passes: nothing in a gap, and both times in a fold.

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use crate::zone::{self, InGap};

/// How far two local times can be out of order as instants: more than any change of clocks.
const DISORDER: TimeDelta = TimeDelta::hours(3);

/// The longest expression, in bytes.
const TEXT_LIMIT: usize = 256;

/// The days of a week as the crate names them, Sunday first.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Short words for expressions.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    source: String,
    zone: Tz,
    /// One, or two of which either is enough: by day of month and by day of week.
    either: Vec<Schedule>,
    every_hour: bool,
}

impl Calendar {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence; also that it names no time at all.
    pub fn read(text: &str, zone: Tz) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("an expression has at most {TEXT_LIMIT} bytes"));
        }
        let text = text.trim();
        let word =
            WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning);
        if text.starts_with('@') && word.is_none() {
            let valid = WORDS.map(|(word, _)| word).join(", ");
            return Err(format!("{text:?} is not known; valid are {valid} and five fields"));
        }
        let fields: Vec<&str> = word.unwrap_or(text).split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "{text:?} has {} fields; valid are five: minute, hour, day of month, month, day of week",
                fields.len()
            ));
        };
        for field in &fields {
            plain(field)?;
        }
        let weekdays = weekdays(weekday)?;
        let schedule = |day: &str, weekdays: &str| {
            let expression = format!("0 {minute} {hour} {day} {month} {weekdays}");
            Schedule::from_str(&expression).map_err(|error| describe(&error.to_string()))
        };
        let either = if day.starts_with('*') || weekday.starts_with('*') {
            vec![schedule(day, &weekdays)?]
        } else {
            vec![schedule(day, "*")?, schedule("*", &weekdays)?]
        };
        let every_hour = hour == "*" || hour.starts_with("*/");
        let calendar = Self { source: text.to_owned(), zone, either, every_hour };
        if calendar.locals(NaiveDateTime::default()).next().is_none() {
            return Err(format!("{text:?} names no time at all"));
        }
        Ok(calendar)
    }

    /// The expression, as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The shortest time between two of its times, as far as its first 500 tell.
    #[must_use]
    pub fn shortest_gap(&self) -> Option<Duration> {
        let times: Vec<NaiveDateTime> = self.locals(NaiveDateTime::default()).take(500).collect();
        times.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok()).min()
    }

    /// Its first time after an instant.
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let begin = zone::local(self.zone, after).checked_sub_signed(DISORDER)?;
        let mut best: Option<DateTime<Utc>> = None;
        let mut horizon = None;
        for time in self.locals(begin) {
            if horizon.is_some_and(|horizon| time > horizon) {
                break;
            }
            for instant in self.instants(time).filter(|instant| *instant > after) {
                horizon = horizon.or_else(|| time.checked_add_signed(DISORDER));
                best = Some(best.map_or(instant, |best| best.min(instant)));
            }
        }
        best
    }

    /// Its times after one instant and up to another, that one included, in order: the newest `most`. And whether
    /// there were more.
    #[must_use]
    pub fn between(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        most: usize,
    ) -> (Vec<DateTime<Utc>>, bool) {
        if until <= after {
            return (Vec::new(), false);
        }
        let local = |at, slack: TimeDelta| zone::local(self.zone, at).checked_add_signed(slack);
        let (Some(begin), Some(end)) = (local(after, -DISORDER), local(until, DISORDER)) else {
            return (Vec::new(), false);
        };
        let mut found = BTreeSet::new();
        let mut floor = begin;
        for time in self.locals_back(end) {
            if time < floor {
                break;
            }
            found.extend(self.instants(time).filter(|instant| after < *instant && *instant <= until));
            if found.len() > most && floor == begin {
                // Enough; a little further lies what comes out of order.
                floor = time.checked_sub_signed(DISORDER).unwrap_or(begin).max(begin);
            }
        }
        let more = found.len().saturating_sub(most);
        (found.into_iter().skip(more).collect(), more > 0)
    }

    fn instants(&self, local: NaiveDateTime) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        let instants = if self.every_hour {
            zone::instants(self.zone, local)
        } else {
            [Some(zone::instant(self.zone, local, InGap::After)), None]
        };
        instants.into_iter().flatten()
    }

    /// The local times after one, in order, written as if they were UTC.
    fn locals(&self, after: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
        let each =
            |schedule: &'_ Schedule| schedule.after_owned(after.and_utc()).map(|time| time.naive_utc());
        merged(self.either.iter().map(each).collect(), |a, b| a < b)
    }

    /// The local times before one, the latest first.
    fn locals_back(&self, before: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
        let each = |schedule: &'_ Schedule| {
            schedule.after_owned(before.and_utc()).rev().map(|time| time.naive_utc())
        };
        merged(self.either.iter().map(each).collect(), |a, b| a > b)
    }
}

/// The items of one or two iterators in the order of `first`, each once.
fn merged<I: Iterator<Item = NaiveDateTime>>(
    iterators: Vec<I>,
    first: impl Fn(&NaiveDateTime, &NaiveDateTime) -> bool,
) -> impl Iterator<Item = NaiveDateTime> {
    let mut iterators: Vec<_> = iterators.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let heads = iterators.iter_mut().filter_map(|iterator| iterator.peek().copied());
        let next = heads.reduce(|a, b| if first(&b, &a) { b } else { a })?;
        for iterator in &mut iterators {
            iterator.next_if_eq(&next);
        }
        Some(next)
    })
}

/// Other programs give other signs a meaning here, and would mean something else.
fn plain(field: &str) -> Result<(), String> {
    let strange = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '*' | ',' | '-' | '/');
    match field.chars().find(strange) {
        None => Ok(()),
        Some(sign) => Err(format!("{sign:?} in {field:?} is not known; valid signs are * , - /")),
    }
}

/// The crate's messages come with a drawing below the first line.
fn describe(message: &str) -> String {
    message.lines().next().unwrap_or("it is no cron expression").to_owned()
}

/// The days of a week by name: the crate counts them from 1, crontab from 0.
fn weekdays(field: &str) -> Result<String, String> {
    let mut days = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| (1..=7).contains(step))),
            None => (part, Some(1)),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (Some(0), Some(6)),
            Some((from, to)) => (weekday(from), weekday(to).map(|day| if day == 0 { 7 } else { day })),
            None if part.contains('/') => (None, None),
            None => (weekday(range), weekday(range)),
        };
        let (Some(from), Some(to), Some(step)) = (from, to, step) else {
            let valid = "0 to 7, SUN to SAT, ranges as 1-5 and steps as */2";
            return Err(format!("{part:?} is no day of the week; valid are {valid}"));
        };
        if from > to {
            return Err(format!("{part:?} is a range that runs backwards"));
        }
        days.extend((from..=to).step_by(step).map(|day| day % 7));
    }
    if days.len() == DAYS.len() {
        return Ok("*".to_owned());
    }
    Ok(days.into_iter().map(|day| DAYS[day]).collect::<Vec<_>>().join(","))
}

fn weekday(text: &str) -> Option<usize> {
    let number = text.parse::<usize>().ok().filter(|day| *day <= 7);
    number.or_else(|| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text)))
}

#[cfg(test)]
mod tests;
