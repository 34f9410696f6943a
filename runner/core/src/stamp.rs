//! Points in time as text: RFC 3339 in UTC, with as many digits of a second as it takes (none, 3, 6 or 9).
//!
//! It is what chrono writes for a `DateTime<Utc>`, without its formatting machinery: a run writes some forty of them.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::{Serialize as _, Serializer};

/// The longest text that is written here: `2026-11-29T10:03:02.005254123Z`.
const LONGEST: usize = 30;

/// Serializes a point in time; for `#[serde(serialize_with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = [0; LONGEST];
    match write(at, &mut text).and_then(|length| std::str::from_utf8(&text[..length]).ok()) {
        Some(text) => serializer.serialize_str(text),
        None => at.serialize(serializer),
    }
}

/// Writes the text and says how long it is; `None` outside of the years that have four digits, and in a leap second.
fn write(at: &DateTime<Utc>, text: &mut [u8; LONGEST]) -> Option<usize> {
    let (date, time) = (at.date_naive(), at.time());
    let year = u32::try_from(date.year()).ok().filter(|year| *year < 10_000)?;
    let nanos = Some(time.nanosecond()).filter(|nanos| *nanos < 1_000_000_000)?;
    text[..20].copy_from_slice(b"0000-00-00T00:00:00Z");
    let parts = [
        (0, 4, year),
        (5, 2, date.month()),
        (8, 2, date.day()),
        (11, 2, time.hour()),
        (14, 2, time.minute()),
        (17, 2, time.second()),
    ];
    for (place, digits, value) in parts {
        number(&mut text[place..place + digits], value);
    }
    let (digits, fraction) = match nanos {
        0 => return Some(20),
        nanos if nanos.is_multiple_of(1_000_000) => (3, nanos / 1_000_000),
        nanos if nanos.is_multiple_of(1_000) => (6, nanos / 1_000),
        nanos => (9, nanos),
    };
    text[19] = b'.';
    number(&mut text[20..20 + digits], fraction);
    text[20 + digits] = b'Z';
    Some(21 + digits)
}

/// Writes a number with leading zeros.
fn number(text: &mut [u8], mut value: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(at: DateTime<Utc>) -> (String, String) {
        let mut own = Vec::new();
        serialize(&at, &mut serde_json::Serializer::new(&mut own)).unwrap();
        (String::from_utf8(own).unwrap(), serde_json::to_string(&at).unwrap())
    }

    #[test]
    fn a_second_has_as_many_digits_as_it_takes() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-29T10:03:02.005Z",
            "2026-11-29T10:03:02.005254Z",
            "2026-11-29T10:03:02.000000001Z",
            "2016-12-31T23:59:60.5Z",
            "-0044-03-15T12:00:00Z",
            "+12026-01-01T00:00:00Z",
        ] {
            let (own, theirs) = both(text.parse().unwrap());
            assert_eq!(own, theirs, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_text_that_chrono_writes(
            seconds in -62_135_596_800_i64..253_402_300_800, nanos in 0..1_000_000_000_u32, cut in 0..4_u32,
        ) {
            let unit = 1000_u32.pow(cut.min(3));
            let at = DateTime::from_timestamp(seconds, nanos / unit * unit).unwrap();
            let (own, theirs) = both(at);
            prop_assert_eq!(own, theirs);
        }
    }
}
