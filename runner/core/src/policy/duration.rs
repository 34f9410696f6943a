//! Durations as operators write them: `0s`, `500ms`, `30m`, `1h30m`, `7d`.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The longest duration that a file may name: ten years.
pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not have the form.
    #[error(
        "{0:?} is not a duration; valid are whole numbers with units d, h, m, s, ms, as in 0s, 30m or 1h30m"
    )]
    Form(String),
    /// It is longer than [`LONGEST`].
    #[error("{0:?} is too long a duration; the longest is 3650d")]
    TooLong(String),
}

/// Parses a duration. Units stand in falling order, each at most once.
///
/// # Errors
/// When the text has another form or names more than ten years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let shown = || text.chars().take(80).collect::<String>();
    let form = || DurationError::Form(shown());
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
        let (number, tail) = rest.split_at(digits);
        let length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(form)?;
        if number.is_empty() {
            return Err(form());
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*millis));
        total =
            part.and_then(|part| total.checked_add(part)).ok_or_else(|| DurationError::TooLong(shown()))?;
        rest = tail;
    }
    let duration = Duration::from_millis(total);
    if text.is_empty() {
        Err(form())
    } else if duration > LONGEST {
        Err(DurationError::TooLong(shown()))
    } else {
        Ok(duration)
    }
}

/// Prints a duration so that [`parse`] reads it back, to the millisecond.
#[must_use]
pub fn print(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let number = rest / u128::from(millis);
        rest %= u128::from(millis);
        if number > 0 {
            // Writing into a `String` cannot fail.
            write!(text, "{number}{unit}").unwrap_or_default();
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The moment that lies `span` before `at`; the earliest there is where time does not reach that far.
#[must_use]
pub fn before(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    at.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// The moment that lies `span` after `at`; the latest there is where time does not reach that far.
#[must_use]
pub fn after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    at.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Says a moment to people, with how far it is away: `2026-01-02T03:04:05Z, in 4m10s`.
#[must_use]
pub fn say(moment: DateTime<Utc>, now: DateTime<Utc>) -> String {
    // Rounded up, so that nobody who waits as long as it says comes too early.
    let millis = (moment - now).num_milliseconds().max(0).cast_unsigned();
    let span = Duration::from_secs(millis.div_ceil(1000));
    format!("{}, in {}", moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), print(span))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_stand_alone_and_together() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("30m", 1_800_000), ("1h30m", 5_400_000), ("2d1s", 172_801_000)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in
            ["", "5", "s", "1.5h", "-1s", "1m1h", "1s1s", "1 h", "1w", "3651d", "99999999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_span_leaves_the_calendar() {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        assert_eq!(before(now, Duration::MAX), DateTime::<Utc>::MIN_UTC);
        assert_eq!(after(now, Duration::MAX), DateTime::<Utc>::MAX_UTC);
        assert_eq!(after(before(now, Duration::from_secs(9)), Duration::from_secs(9)), now);
        assert_eq!(
            say(after(now, Duration::from_millis(60_001)), now),
            "1970-01-01T00:17:40Z, in 1m1s",
            "never too early"
        );
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(millis in 0..LONGEST.as_millis()) {
            let duration = Duration::from_millis(u64::try_from(millis).unwrap());
            prop_assert_eq!(parse(&print(duration)).unwrap(), duration);
        }
    }
}
