//! Local times in IANA time zones, and what the two awkward hours of a year mean.
//!
//! A local time that the clocks skip (a gap) and one that they show twice (a fold) are both resolved to exactly
//! one instant. Zone data is part of the program: an upgrade of the program is an upgrade of the data.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// What a local time inside a gap means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InGap {
    /// It is moved forward by the length of the gap, as iCalendar wants it: 02:30 becomes 03:30.
    Shifted,
    /// It is the first instant after the gap: 02:30 becomes 03:00.
    After,
}

/// Zones are at most this far from UTC, either way.
const FARTHEST: TimeDelta = TimeDelta::hours(16);

/// A time as operators write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// What a clock on the wall shows, in a zone that stands elsewhere.
    Local(NaiveDateTime),
    /// With an offset or `Z`: one instant.
    Fixed(DateTime<Utc>),
}

impl Written {
    /// The instant, a local time being one of `zone`.
    #[must_use]
    pub fn instant(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Local(local) => instant(zone, local, InGap::Shifted),
            Self::Fixed(instant) => instant,
        }
    }

    /// What a clock in `zone` shows.
    #[must_use]
    pub fn local(self, zone: Tz) -> NaiveDateTime {
        match self {
            Self::Local(local) => local,
            Self::Fixed(instant) => local(zone, instant),
        }
    }
}

/// Parses a time: RFC 3339 with an offset, or a local date, with or without a time of day.
#[must_use]
pub fn parse_time(text: &str) -> Option<Written> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(Written::Fixed(instant.to_utc()));
    }
    let text = text.replacen(' ', "T", 1);
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok());
    let date = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    time.or_else(date).map(Written::Local)
}

/// Parses the name of a zone.
///
/// # Errors
/// A sentence that says what a valid one looks like.
pub fn parse(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        format!("{name:?} is no IANA time zone; valid are names as Europe/Berlin, America/New_York or UTC")
    })
}

/// What a clock in the zone shows at an instant.
#[must_use]
pub fn local(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

/// The instant at which a clock in the zone shows a local time: the first of two, and in a gap as `in_gap` says.
#[must_use]
pub fn instant(zone: Tz, local: NaiveDateTime, in_gap: InGap) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => instant.to_utc(),
        LocalResult::Ambiguous(first, second) => first.min(second).to_utc(),
        LocalResult::None => across_gap(zone, local, in_gap),
    }
}

/// All instants at which a clock in the zone shows a local time: none, one or two, in order.
#[must_use]
pub fn instants(zone: Tz, local: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => [Some(instant.to_utc()), None],
        LocalResult::Ambiguous(a, b) => [Some(a.min(b).to_utc()), Some(a.max(b).to_utc())],
        LocalResult::None => [None, None],
    }
}

fn offset(zone: Tz, utc: NaiveDateTime) -> TimeDelta {
    TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

/// The change of clocks that skipped `local` lies within [`FARTHEST`] of it, read as UTC: halving finds it.
fn across_gap(zone: Tz, local: NaiveDateTime, in_gap: InGap) -> DateTime<Utc> {
    let (Some(mut before), Some(mut after)) =
        (local.checked_sub_signed(FARTHEST), local.checked_add_signed(FARTHEST))
    else {
        return local.and_utc();
    };
    let old = offset(zone, before);
    if in_gap == InGap::Shifted {
        return (local - old).and_utc();
    }
    while after - before > TimeDelta::seconds(1) {
        let middle = before + (after - before) / 2;
        if offset(zone, middle) == old { before = middle } else { after = middle }
    }
    // Clocks change on whole seconds; halving may have left a fraction.
    let whole = after.and_utc().timestamp();
    DateTime::from_timestamp(whole, 0).unwrap_or_else(|| after.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zone: &str, local: &str, in_gap: InGap, wanted: &str) {
        let Some(Written::Local(time)) = parse_time(local) else { panic!("{local}") };
        let got = instant(parse(zone).unwrap(), time, in_gap);
        assert_eq!(got.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), wanted, "{zone} {local}");
    }

    #[test]
    fn a_gap_is_crossed_and_a_fold_is_taken_once() {
        use InGap::{After, Shifted};
        check("Europe/Berlin", "2026-03-29T01:59", Shifted, "2026-03-29T00:59:00Z");
        check("Europe/Berlin", "2026-03-29T02:30", Shifted, "2026-03-29T01:30:00Z");
        check("Europe/Berlin", "2026-03-29T02:30", After, "2026-03-29T01:00:00Z");
        check("Europe/Berlin", "2026-03-29T02:00", After, "2026-03-29T01:00:00Z");
        check("Europe/Berlin", "2026-10-25T02:30", After, "2026-10-25T00:30:00Z");
        check("America/New_York", "2026-03-08T02:30", Shifted, "2026-03-08T07:30:00Z");
        check("America/New_York", "2026-03-08T02:30", After, "2026-03-08T07:00:00Z");
        check("America/New_York", "2026-11-01T01:30", Shifted, "2026-11-01T05:30:00Z");
        check("Australia/Lord_Howe", "2026-10-04T02:10", Shifted, "2026-10-03T15:40:00Z");
        check("Australia/Lord_Howe", "2026-10-04T02:10", After, "2026-10-03T15:30:00Z");
        check("Australia/Lord_Howe", "2026-04-05T01:45", Shifted, "2026-04-04T14:45:00Z");
        check("Pacific/Apia", "2011-12-30T12:00", After, "2011-12-30T10:00:00Z");
    }

    #[test]
    fn times_are_read_with_and_without_offset() {
        for (text, wanted) in [
            ("2026-01-05T22:00", "2026-01-05T22:00:00"),
            ("2026-01-05 22:00:01", "2026-01-05T22:00:01"),
            ("2026-01-05", "2026-01-05T00:00:00"),
        ] {
            let Some(Written::Local(time)) = parse_time(text) else { panic!("{text}") };
            assert_eq!(time.format("%Y-%m-%dT%H:%M:%S").to_string(), wanted);
        }
        let instant = DateTime::from_timestamp(1_767_646_800, 0).unwrap();
        assert_eq!(parse_time("2026-01-05T22:00:00+01:00"), Some(Written::Fixed(instant)));
        for text in ["", "soon", "2026-13-01", "2026-01-05T25:00", "22:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert!(parse("Mars/Olympus").unwrap_err().contains("Europe/Berlin"));
    }
}
