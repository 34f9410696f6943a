//! Reading members of the tree, so that every refusal names its place.
//!
//! The way to a value is kept as a chain of steps on the stack and becomes text only when something
//! is refused: a good body pays nothing for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};

use super::error::IntakeError;
use super::json::{Node, Object};
use super::limits::Limits;

/// Characters of a name or a value from outside that a message may repeat.
const SHOWN_CHARS: usize = 64;
/// Bytes of a rendered place: the rest of a longer one is left out.
const PLACE_BYTES: usize = 512;
/// What stands for the body itself in a message.
const BODY: &str = "body";

/// The way from the body to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    Body,
    Name(&'p Self, &'p str),
    Index(&'p Self, usize),
    /// A JSON pointer, as an operator's mapping wrote it.
    Pointer(&'p Self, &'p str),
}

/// One owned step of a way, for places that outlive the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

impl Path<'_> {
    fn steps(&self, steps: &mut Vec<Step>) {
        match self {
            Path::Body => {}
            Path::Name(parent, name) => {
                parent.steps(steps);
                steps.push(Step::Name((*name).to_owned()));
            }
            Path::Index(parent, index) => {
                parent.steps(steps);
                steps.push(Step::Index(*index));
            }
            Path::Pointer(parent, pointer) => {
                parent.steps(steps);
                steps.extend(pointer_tokens(pointer).map(|token| match token.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => Step::Name(token.into_owned()),
                }));
            }
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        self.steps(&mut steps);
        f.write_str(&render_steps(&steps))
    }
}

/// The place as text: `alerts[3].labels.x`; names that could be misread stand quoted.
pub(super) fn render_steps(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        if text.len() > PLACE_BYTES {
            text.push('…');
            break;
        }
        match step {
            Step::Index(index) => {
                if text.is_empty() {
                    text.push_str(BODY);
                }
                text.push_str(&format!("[{index}]"));
            }
            Step::Name(name) if is_plain(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Name(name) => {
                if text.is_empty() {
                    text.push_str(BODY);
                }
                text.push_str(&format!("[{}]", quoted(name)));
            }
        }
    }
    if text.is_empty() { BODY.to_owned() } else { text }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SHOWN_CHARS
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Text from outside for a message: quoted, escaped and short.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

/// The tokens of a JSON pointer (RFC 6901), unescaped.
pub(super) fn pointer_tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(|token| {
        if token.contains('~') {
            Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(token)
        }
    })
}

/// The value that a JSON pointer leads to; `null` and nothing are the same.
pub(super) fn follow<'n, 'a>(node: &'n Node<'a>, pointer: &str) -> Option<&'n Node<'a>> {
    let mut at = node;
    for token in pointer_tokens(pointer) {
        at = match at {
            Node::Object(object) => object.get(&token)?,
            Node::List(items) => items.get(token.parse::<usize>().ok()?)?,
            Node::Null
            | Node::Bool(_)
            | Node::Unsigned(_)
            | Node::Negative(_)
            | Node::Float(_)
            | Node::Text(_) => return None,
        };
    }
    (!matches!(at, Node::Null)).then_some(at)
}

/// The refusal of a value that is not what belongs there.
pub(super) fn wrong(path: &Path<'_>, problem: impl Into<String>) -> IntakeError {
    IntakeError::WrongShape { location: path.to_string(), problem: problem.into() }
}

/// The refusal of a value over a bound.
pub(super) fn over(path: &Path<'_>, problem: impl Into<String>) -> IntakeError {
    IntakeError::OverLimit { location: path.to_string(), problem: problem.into() }
}

fn unexpected(path: &Path<'_>, expected: &str, node: &Node<'_>) -> IntakeError {
    wrong(path, format!("expected {expected}, found {}", node.kind()))
}

/// The value as an object.
pub(super) fn object<'n, 'a>(node: &'n Node<'a>, path: &Path<'_>) -> Result<&'n Object<'a>, IntakeError> {
    match node {
        Node::Object(object) => Ok(object),
        other => Err(unexpected(path, "an object", other)),
    }
}

/// The value as an array of at most `limits.alerts` entries.
pub(super) fn entries<'n, 'a>(
    node: &'n Node<'a>,
    path: &Path<'_>,
    limits: &Limits,
) -> Result<&'n [Node<'a>], IntakeError> {
    let Node::List(items) = node else {
        return Err(unexpected(path, "an array", node));
    };
    if items.len() > limits.alerts {
        return Err(over(path, format!("{} alerts in one message; at most {}", items.len(), limits.alerts)));
    }
    Ok(items)
}

/// A string member; `None` when it is absent, null or empty.
pub(super) fn text_member<'n>(
    object: &'n Object<'_>,
    parent: &Path<'_>,
    name: &str,
    limit: usize,
) -> Result<Option<&'n str>, IntakeError> {
    let Some(node) = object.get(name) else { return Ok(None) };
    let path = Path::Name(parent, name);
    let text = string(node, &path)?;
    check_text(text, &path, limit)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The value as a string.
pub(super) fn string<'n>(node: &'n Node<'_>, path: &Path<'_>) -> Result<&'n str, IntakeError> {
    match node {
        Node::Text(text) => Ok(text),
        other => Err(unexpected(path, "a string", other)),
    }
}

/// Refuses a text that is too long or holds a NUL, which databases and C programs cut at.
pub(super) fn check_text(text: &str, path: &Path<'_>, limit: usize) -> Result<(), IntakeError> {
    if text.len() > limit {
        return Err(over(path, format!("{} bytes; at most {limit}", text.len())));
    }
    if text.as_bytes().contains(&0) {
        return Err(wrong(path, "holds a NUL character"));
    }
    Ok(())
}

/// The value as text: a string as it is, a number or boolean as it is written; `None` for null.
///
/// A number that a double cannot hold exactly is refused, since it may be an id.
pub(super) fn scalar<'n>(node: &'n Node<'_>, path: &Path<'_>) -> Result<Option<Cow<'n, str>>, IntakeError> {
    /// 2^53: from here on, doubles skip whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Ok(Some(match node {
        Node::Null => return Ok(None),
        Node::Text(text) => Cow::Borrowed(text),
        Node::Bool(value) => Cow::Owned(value.to_string()),
        Node::Unsigned(value) => Cow::Owned(value.to_string()),
        Node::Negative(value) => Cow::Owned(value.to_string()),
        Node::Float(value) if value.abs() < EXACT => Cow::Owned(value.to_string()),
        Node::Float(_) => {
            return Err(wrong(path, "the number is too large to be held exactly: send it as a string"));
        }
        Node::List(_) | Node::Object(_) => {
            return Err(unexpected(path, "a string, a number or a boolean", node));
        }
    }))
}

/// What the pairs of an object are, which decides their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairs {
    Labels,
    Annotations,
}

impl Pairs {
    fn bounds(self, limits: &Limits) -> (usize, usize, &'static str) {
        match self {
            Self::Labels => (limits.labels, limits.label_value, "labels"),
            Self::Annotations => (limits.annotations, limits.text, "annotations"),
        }
    }

    /// Refuses a count of pairs over the bound.
    pub(super) fn check_count(
        self,
        count: usize,
        path: &Path<'_>,
        limits: &Limits,
    ) -> Result<(), IntakeError> {
        let (limit, _, word) = self.bounds(limits);
        if count > limit {
            return Err(over(path, format!("{count} {word}; at most {limit}")));
        }
        Ok(())
    }

    /// Refuses a pair that may not be: the name holds anything but NUL, and something.
    pub(super) fn check_pair(
        self,
        name: &str,
        value: &str,
        path: &Path<'_>,
        limits: &Limits,
    ) -> Result<(), IntakeError> {
        if name.is_empty() {
            return Err(wrong(path, "the name is empty"));
        }
        if name.len() > limits.name {
            return Err(over(path, format!("a name of {} bytes; at most {}", name.len(), limits.name)));
        }
        if name.as_bytes().contains(&0) {
            return Err(wrong(path, "the name holds a NUL character"));
        }
        check_text(value, path, self.bounds(limits).1)
    }
}

/// How the values of pairs may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Strings alone: the format says so.
    Strings,
    /// Numbers and booleans are taken as they are written; null pairs are left out.
    Scalars,
}

/// The pairs of an object of strings.
pub(super) fn pairs(
    node: &Node<'_>,
    path: &Path<'_>,
    kind: Pairs,
    values: Values,
    limits: &Limits,
) -> Result<BTreeMap<String, String>, IntakeError> {
    let object = object(node, path)?;
    kind.check_count(object.len(), path, limits)?;
    let mut pairs = BTreeMap::new();
    for (name, node) in object.iter() {
        let path = Path::Name(path, name);
        let value = match values {
            Values::Strings => Cow::Borrowed(string(node, &path)?),
            Values::Scalars => match scalar(node, &path)? {
                Some(value) => value,
                None => continue,
            },
        };
        kind.check_pair(name, &value, &path, limits)?;
        pairs.insert(name.to_owned(), value.into_owned());
    }
    Ok(pairs)
}

/// A time in RFC 3339; `None` for Go's zero time, which stands for "not known".
pub(super) fn rfc3339(text: &str, path: &Path<'_>) -> Result<Option<DateTime<Utc>>, IntakeError> {
    /// Seconds of 0001-01-01T00:00:00Z.
    const GO_ZERO: i64 = -62_135_596_800;
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| {
            wrong(path, format!("expected a time such as 2026-01-31T09:30:00Z, found {}", quoted(text)))
        })?
        .with_timezone(&Utc);
    Ok((time.timestamp() != GO_ZERO).then_some(time))
}

/// A time in RFC 3339, or as seconds or milliseconds since 1970.
pub(super) fn time(text: &str, path: &Path<'_>) -> Result<Option<DateTime<Utc>>, IntakeError> {
    match unix_time(text) {
        Some(time) => Ok(Some(time)),
        None => rfc3339(text, path),
    }
}

/// Whole numbers from 10^11 on are milliseconds: as seconds they would lie after the year 5000.
fn unix_time(text: &str) -> Option<DateTime<Utc>> {
    const FIRST_MILLIS: i64 = 100_000_000_000;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    if whole >= FIRST_MILLIS {
        return DateTime::from_timestamp_millis(whole);
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    DateTime::from_timestamp(whole, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_readable_and_cannot_be_forged() {
        let alerts = Path::Name(&Path::Body, "alerts");
        let third = Path::Index(&alerts, 3);
        let labels = Path::Name(&third, "labels");
        let check = |path: Path<'_>, expected: &str| assert_eq!(path.to_string(), expected);
        check(Path::Body, "body");
        check(Path::Index(&Path::Body, 0), "body[0]");
        check(Path::Name(&labels, "x"), "alerts[3].labels.x");
        check(Path::Name(&labels, "a b\n"), r#"alerts[3].labels["a b\n"]"#);
        check(Path::Pointer(&third, "/a~1b/0/c"), r#"alerts[3]["a/b"][0].c"#);
    }

    #[test]
    fn reads_times_in_every_accepted_form() {
        let check = |text: &str, expected: Option<&str>| {
            let found = time(text, &Path::Body).unwrap().map(|time| time.to_rfc3339());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("0001-01-01T00:00:00Z", None);
        check("2017-08-03T15:17:37.804-04:00", Some("2017-08-03T19:17:37.804+00:00"));
        check("1614265330", Some("2021-02-25T15:02:10+00:00"));
        check("1614265330123", Some("2021-02-25T15:02:10.123+00:00"));
        check("1614265330.5", Some("2021-02-25T15:02:10.500+00:00"));
        for text in ["", "now", "-1", "99999999999999999999", "2026-13-01T00:00:00Z", "1.2.3", "."] {
            assert!(time(text, &Path::Body).is_err(), "{text}");
        }
    }
}
