//! Sizes, shares and ages as people write them: `2GiB`, `20%`, `7d`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const AGES: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];

/// A size, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bytes(pub(crate) u64);

/// An age, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) u64);

/// How much is to be free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enough {
    /// Of the whole file system.
    Percent(u64),
    Bytes(u64),
}

impl Enough {
    pub(crate) fn bytes(self, total: u64) -> u64 {
        match self {
            // Divided first: a file system's size times a hundred may not fit.
            Self::Percent(percent) => total / 100 * percent,
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|p| (1..=99).contains(p)).map(Self::Percent),
            None => quantity(text, &SIZES).filter(|bytes| *bytes > 0).map(Self::Bytes),
        }
    }
}

/// A whole number and a unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)))?;
    let number = number.trim_end();
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// `1.2 GiB`.
pub(crate) fn human(bytes: u64) -> String {
    let Some((unit, size)) = SIZES[..4].iter().rev().find(|(_, size)| bytes >= *size) else {
        return format!("{bytes} B");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(*size);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent} %"),
            Self::Bytes(bytes) => f.write_str(&human(*bytes)),
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, size): &&(&str, u64)| self.0 >= *size && self.0.is_multiple_of(*size);
        let (unit, size) = AGES[..4].iter().rev().find(fits).unwrap_or(&AGES[0]);
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl Serialize for Age {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes text that `parse` understands, or a whole number.
struct TextOrNumber<T> {
    expecting: &'static str,
    parse: fn(&str) -> Option<T>,
    number: Option<fn(u64) -> T>,
}

impl<T> Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        match self.number {
            Some(make) => Ok(make(number)),
            None => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| quantity(text, &SIZES).map(Self);
        let expecting = "a size such as 512KiB, 100MB or 2GiB, or a number of bytes";
        deserializer.deserialize_any(TextOrNumber { expecting, parse, number: Some(Self) })
    }
}

impl<'de> Deserialize<'de> for Enough {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "a share from 1% to 99%, or a size such as 2GiB";
        deserializer.deserialize_any(TextOrNumber { expecting, parse: Self::parse, number: None })
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| quantity(text, &AGES).map(Self);
        let expecting = "an age such as 30m, 12h or 7d";
        deserializer.deserialize_any(TextOrNumber { expecting, parse, number: None })
    }
}

#[cfg(test)]
mod tests {
    use super::{AGES, Age, Enough, SIZES, human, quantity};

    #[test]
    fn reads_sizes_and_ages() {
        let cases =
            [("0B", Some(0)), ("2 GiB", Some(2 << 30)), ("3kB", Some(3_000)), ("20", None), ("-1B", None)];
        for (text, bytes) in cases {
            assert_eq!(quantity(text, &SIZES), bytes, "{text}");
        }
        assert_eq!(quantity("99999999999TiB", &SIZES), None);
        assert_eq!(quantity("B", &SIZES), None);
        assert_eq!(quantity("7d", &AGES), Some(604_800));
        assert_eq!(quantity("1.5h", &AGES), None);
    }

    #[test]
    fn enough_is_a_share_or_a_size() {
        let cases = [
            ("20%", Some(Enough::Percent(20))),
            ("1GiB", Some(Enough::Bytes(1 << 30))),
            ("0%", None),
            ("100%", None),
            ("0B", None),
            ("", None),
        ];
        for (text, enough) in cases {
            assert_eq!(Enough::parse(text), enough, "{text}");
        }
        assert_eq!(Enough::Percent(20).bytes(u64::MAX), u64::MAX / 100 * 20);
    }

    #[test]
    fn sizes_and_ages_are_shown_for_people() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_288_490_189, "1.2 GiB"),
            (5 << 40, "5.0 TiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(human(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (90, "90s"), (120, "2m"), (604_800, "7d")] {
            assert_eq!(Age(seconds).to_string(), text);
        }
    }
}
