//! The input, as `[input]` of `plugin.toml` describes it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use crate::keep::Keep;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) headers: Headers,
    #[serde(default)]
    pub(crate) body: Option<Body>,
    #[serde(default)]
    pub(crate) expect_status: Expected,
    #[serde(default)]
    pub(crate) timeout: Option<Seconds>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) keep: Keep,
    #[serde(default)]
    pub(crate) undo: Option<Undo>,
}

/// What takes the request back.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Undo {
    /// Another request.
    Request(Box<UndoRequest>),
    /// There is nothing to take back.
    Nothing(Nothing),
}

/// The request that takes another one back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) headers: Headers,
    #[serde(default)]
    pub(crate) body: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) expect_status: Expected,
}

/// The one word.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nothing {
    Nothing,
}

/// JSON that is handed on as it came, neither parsed nor written anew.
#[derive(Debug, Deserialize)]
pub(crate) struct Body(pub(crate) Box<RawValue>);

/// Headers in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;

        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    headers.push(header);
                }
                Ok(Headers(headers))
            }
        }

        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// The statuses that count as success; an empty list stands for 200 to 299.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected(Vec<u16>);

impl Expected {
    pub(crate) fn accepts(&self, status: u16) -> bool {
        if self.0.is_empty() { (200..300).contains(&status) } else { self.0.contains(&status) }
    }

    /// What a plan is to assume, where it is not the host's own assumption, 200.
    pub(crate) fn assumed(&self) -> Option<u16> {
        if self.accepts(200) { None } else { self.0.first().copied() }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("2xx");
        };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|status| write!(f, " or {status}"))
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExpectedVisitor;

        impl<'de> Visitor<'de> for ExpectedVisitor {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status code from 100 to 599, or a list of them")
            }

            fn visit_u64<E: Error>(self, status: u64) -> Result<Expected, E> {
                code(status).map(|status| Expected(vec![status]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Expected, A::Error> {
                let mut statuses = Vec::new();
                while let Some(status) = list.next_element()? {
                    statuses.push(code(status)?);
                }
                Ok(Expected(statuses))
            }

            fn visit_unit<E: Error>(self) -> Result<Expected, E> {
                Ok(Expected::default())
            }
        }

        deserializer.deserialize_any(ExpectedVisitor)
    }
}

fn code<E: Error>(status: u64) -> Result<u16, E> {
    let code = u16::try_from(status).ok().filter(|code| (100..600).contains(code));
    code.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(status), &"a status code from 100 to 599"))
}

/// A time in whole seconds.
#[derive(Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|seconds| Self(Duration::from_secs(seconds.into())))
    }
}
