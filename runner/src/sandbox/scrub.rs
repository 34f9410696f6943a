//! Takes secrets out of answers before guest, journal or log see them: raw, in base64 at any offset, in
//! hexadecimal, URL-encoded and JSON-escaped.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};
use staunch_core::effect::CallError;

const REPLACEMENT: &str = "[secret]";
const MAX_PROGRAM_BYTES: usize = 64 << 20;

/// Finds all live secrets in one pass.
#[derive(Debug, Default)]
pub(super) struct Scrubber(Option<Regex>);

/// What can be scrubbed.
pub(super) trait Scrub {
    /// Takes secrets out.
    fn scrub(&mut self, scrubber: &Scrubber);
}

impl Scrubber {
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Result<Self, regex::Error> {
        let mut needles: Vec<String> = secrets.flat_map(spellings).collect();
        if needles.is_empty() {
            return Ok(Self(None));
        }
        // Longest first: a secret may be the beginning of another.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        let pattern: Vec<String> = needles.iter().map(|needle| regex::escape(needle)).collect();
        RegexBuilder::new(&pattern.join("|")).size_limit(MAX_PROGRAM_BYTES).build().map(Some).map(Self)
    }

    pub(super) fn bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(regex) = &self.0
            && regex.is_match(bytes)
        {
            *bytes = regex.replace_all(bytes, REPLACEMENT.as_bytes()).into_owned();
        }
    }

    pub(super) fn text(&self, text: &mut String) {
        if let Some(regex) = &self.0
            && regex.is_match(text.as_bytes())
        {
            let clean = regex.replace_all(text.as_bytes(), REPLACEMENT.as_bytes());
            *text = String::from_utf8_lossy(&clean).into_owned();
        }
    }
}

fn spellings(secret: &str) -> Vec<String> {
    let mut hex = String::new();
    let mut percent = String::new();
    let mut percent_all = String::new();
    for byte in secret.bytes() {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        write!(percent_all, "%{byte:02X}").expect("writing to a string cannot fail");
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            percent.push(char::from(byte));
        } else {
            write!(percent, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let lower = percent_lower(&percent);
    let mut spellings = vec![
        secret.to_owned(),
        hex.to_ascii_uppercase(),
        hex,
        percent.replace("%20", "+"),
        lower,
        percent,
        percent_all.to_ascii_lowercase(),
        percent_all,
        json.replace('/', "\\/"),
        json,
    ];
    for offset in 0..3 {
        spellings.extend(in_base64(secret, offset));
    }
    spellings.retain(|spelling| !spelling.is_empty());
    spellings
}

fn percent_lower(text: &str) -> String {
    let mut lower = String::with_capacity(text.len());
    let mut escaped = 0;
    for c in text.chars() {
        lower.push(if escaped > 0 { c.to_ascii_lowercase() } else { c });
        escaped = if c == '%' { 2 } else { u32::saturating_sub(escaped, 1) };
    }
    lower
}

/// The characters of a base64 text that only the secret decides, when it begins `offset` bytes after a border.
fn in_base64(secret: &str, offset: usize) -> [String; 2] {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let first = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .map(|text| text.get(first..end).unwrap_or_default().to_owned())
}

impl Scrub for CallError {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.text(&mut self.message);
    }
}

impl Scrub for () {
    fn scrub(&mut self, _scrubber: &Scrubber) {}
}

impl Scrub for u64 {
    fn scrub(&mut self, _scrubber: &Scrubber) {}
}

impl<T: Scrub> Scrub for Vec<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|item| item.scrub(scrubber));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn finds_a_secret_in_every_spelling() {
        let secret = "pässword \"1\"/x+y=?&%";
        let scrubber = Scrubber::new([secret, "other-secret"].into_iter()).unwrap();
        let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut texts =
            vec![secret.to_owned(), url, hex.to_uppercase(), hex, serde_json::to_string(secret).unwrap()];
        for before in ["", "u", "us", "user:"] {
            for after in ["", "x", "yz", "tail"] {
                texts.push(STANDARD.encode(format!("{before}{secret}{after}")));
            }
        }
        for text in texts {
            let mut bytes = format!("<{text}>").into_bytes();
            scrubber.bytes(&mut bytes);
            let clean = String::from_utf8(bytes).unwrap();
            assert!(clean.contains(REPLACEMENT), "{text}: {clean}");
        }
        let mut text = "nothing here".to_owned();
        scrubber.text(&mut text);
        assert_eq!(text, "nothing here");
    }
}
