//! Where a secret may stand: `header NAME @ https://HOST[:PORT]` or `body @ https://HOST[:PORT]`.

use std::fmt;

use url::Url;

const SCHEME: &str = "secret://";

/// A place in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Slot<'a> {
    /// The value of a header, by its lower-case name.
    Header(&'a str),
    /// The body.
    Body,
}

impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Body => f.write_str("body"),
        }
    }
}

/// A compiled binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretBinding {
    /// `None` is the body.
    header: Option<String>,
    origin: url::Origin,
}

impl SecretBinding {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((slot, place)) = text.split_once('@') else {
            return Err("it names no place after `@`".to_owned());
        };
        let words: Vec<&str> = slot.split_ascii_whitespace().collect();
        let header = match words.as_slice() {
            ["header", name] => Some(name.to_ascii_lowercase()),
            ["body"] => None,
            _ => return Err("a slot is `header NAME` or `body`".to_owned()),
        };
        let url = Url::parse(place.trim()).map_err(|error| format!("its place is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !matches!(url.path(), "" | "/") {
            return Err("its place is a scheme, a host and a port, nothing more".to_owned());
        }
        Ok(Self { header, origin: url.origin() })
    }

    pub(super) fn allows(&self, slot: &Slot<'_>, url: &Url) -> bool {
        let same_slot = match slot {
            Slot::Header(name) => self.header.as_deref() == Some(*name),
            Slot::Body => self.header.is_none(),
        };
        same_slot && self.origin == url.origin()
    }
}

/// The names of the secrets that a text refers to: `secret://NAME`.
pub(in crate::sandbox) fn secret_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(SCHEME).skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            .unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_slot_and_origin() {
        let binding = SecretBinding::parse("header Authorization @ https://api.example.com").unwrap();
        let check = |slot: Slot<'_>, url: &str, expected: bool| {
            assert_eq!(binding.allows(&slot, &Url::parse(url).unwrap()), expected, "{slot} {url}");
        };
        check(Slot::Header("authorization"), "https://api.example.com/x", true);
        check(Slot::Header("authorization"), "https://api.example.com:443/x", true);
        check(Slot::Header("authorization"), "http://api.example.com/x", false);
        check(Slot::Header("authorization"), "https://evil.example.com/x", false);
        check(Slot::Header("authorization"), "https://api.example.com:8443/x", false);
        check(Slot::Header("x-other"), "https://api.example.com/x", false);
        check(Slot::Body, "https://api.example.com/x", false);
    }

    #[test]
    fn finds_names_in_texts() {
        let names: Vec<&str> = secret_names("Bearer secret://a-b, secret://c\"").collect();
        assert_eq!(names, ["a-b", "c"]);
        assert_eq!(secret_names("nothing").count(), 0);
    }
}
