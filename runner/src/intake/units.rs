//! Periods and sizes as operators write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A text that is no period or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct UnitError {
    text: String,
    wanted: &'static str,
}

impl UnitError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), wanted }
    }
}

/// A length of time such as `90s`, `12h` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error =
            || UnitError::new(text, "a period: numbers with ms, s, m, h, d or w, such as 12h or 1h30m");
        let mut rest = text;
        let mut millis: u64 = 0;
        while !rest.is_empty() {
            let (number, after) = leading_number(rest).ok_or_else(error)?;
            let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let factor = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return Err(error()),
            };
            let part = number.checked_mul(factor).ok_or_else(error)?;
            millis = millis.checked_add(part).ok_or_else(error)?;
            rest = after;
        }
        if text.is_empty() { Err(error()) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

/// A number of bytes such as `4MiB`, `512KiB` or `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, "a size: bytes, or a number with KiB or MiB");
        let (number, unit) = leading_number(text).ok_or_else(error)?;
        let factor = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1024,
            "MiB" => 1024 * 1024,
            _ => return Err(error()),
        };
        let bytes = number.checked_mul(factor).ok_or_else(error)?;
        usize::try_from(bytes).map(Self).map_err(|_| error())
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, or a text such as 4MiB")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                usize::try_from(bytes).map(ByteSize).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                usize::try_from(bytes).map(ByteSize).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_periods_and_sizes() {
        for (text, seconds) in [("0s", 0), ("12h", 43_200), ("1h30m", 5_400), ("2d", 172_800)] {
            assert_eq!(text.parse(), Ok(Period(Duration::from_secs(seconds))), "{text}");
        }
        for (text, bytes) in [("1000", 1_000), ("4MiB", 4_194_304), ("1 KiB", 1_024)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_neither() {
        for text in ["", "h", "12", "12 h", "-1s", "1y", "99999999999999999999s", "18446744073709551615w"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["", "MiB", "-1", "1GB", "18446744073709551615MiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
