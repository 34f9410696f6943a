//! Reads `windows.yaml`, strictly.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use regex::Regex;

use super::{Cover, FILE, Globs, Kind, MOST_WINDOWS, Recurrence, Span, When, Window, Windows};
use crate::policy::facts::Autonomy;
use crate::policy::matcher;
use crate::policy::problem::Problem;
use crate::policy::reader::{Fields, Reader};
use crate::policy::yaml::{self, Node, Tree};
use crate::zone::{self, Written};

const KEYS: [&str; 16] = [
    "name",
    "description",
    "kind",
    "time_zone",
    "from",
    "until",
    "start",
    "duration",
    "recurrence",
    "match",
    "targets",
    "runbooks",
    "plugins",
    "inside",
    "outside",
    "except",
];

/// The longest that a recurring window may stay open.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);

/// The longest glob, in bytes.
const GLOB_LIMIT: usize = 512;

impl Windows {
    /// Reads the file: a list of windows, below the key `windows` or by itself.
    ///
    /// # Errors
    /// All problems of the file. Its warnings come with the windows.
    pub fn read(file: &str, text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let root = yaml::parse(file, text).map_err(|problem| vec![problem])?;
        let mut reader = Reader::new(file);
        let windows = windows(&mut reader, &root);
        if reader.failed() { Err(reader.finish()) } else { Ok((Self { windows }, reader.finish())) }
    }
}

fn windows(reader: &mut Reader<'_>, root: &Node) -> Vec<Window> {
    let list = match &root.tree {
        Tree::List(_) => Some(root),
        _ => reader.fields(root, FILE, &["windows"]).get("windows"),
    };
    let items = list.and_then(|node| reader.list(node, "windows")).unwrap_or_default();
    if items.len() > MOST_WINDOWS {
        reader.error(root.at, format!("there may be at most {MOST_WINDOWS} windows"));
        return Vec::new();
    }
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut windows = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let what = format!("windows[{index}]");
        let fields = reader.fields(node, &what, &KEYS);
        let Some(window) = window(reader, fields, &what) else { continue };
        if let Some(line) = taken.insert(window.name.clone(), node.at.line) {
            reader.error(node.at, format!("window {:?} stands in line {line} already", window.name));
        }
        windows.push(window);
    }
    windows
}

fn window(reader: &mut Reader<'_>, fields: Fields<'_>, what: &str) -> Option<Window> {
    let name = reader.required(fields, "name", what).and_then(|node| reader.name(node, "name"));
    let description = fields.get("description").and_then(|node| reader.text(node, "description"));
    let kind = reader.required(fields, "kind", what).and_then(|node| kind(reader, fields, node));
    let when = when(reader, fields, what);
    let cover = Cover {
        matchers: matchers(reader, fields),
        targets: globs(reader, fields, "targets"),
        runbooks: globs(reader, fields, "runbooks"),
        plugins: globs(reader, fields, "plugins"),
    };
    let except = globs(reader, fields, "except");
    if let (Some(entry), Some(kind)) = (fields.entry("except"), kind)
        && kind != Kind::Freeze
    {
        reader.error(
            entry.at,
            format!("\"except\" is for windows of kind freeze, and this is {}", kind.as_str()),
        );
    }
    Some(Window {
        name: name?.to_owned(),
        description: description.unwrap_or_default().to_owned(),
        kind: kind?,
        when: when?,
        cover,
        except,
    })
}

fn kind(reader: &mut Reader<'_>, fields: Fields<'_>, node: &Node) -> Option<Kind> {
    let hours = Kind::BusinessHours { inside: Autonomy::Automatic, outside: Autonomy::Approve };
    let words = [("maintenance", Kind::Maintenance), ("freeze", Kind::Freeze), ("business-hours", hours)];
    let kind = reader.word(node, "kind", &words)?;
    let mut side = |key: &str| {
        let entry = fields.entry(key)?;
        if kind != hours {
            let message =
                format!("{key:?} is for windows of kind business-hours, and this is {}", kind.as_str());
            reader.error(entry.at, message);
        }
        let words = [("automatic", Autonomy::Automatic), ("approve", Autonomy::Approve)];
        reader.word(&entry.node, key, &words)
    };
    let (inside, outside) = (side("inside"), side("outside"));
    if kind != hours {
        return Some(kind);
    }
    // One side that is said without the other leaves the other as it is by nature: the opposite.
    let opposite = |side: Autonomy| match side {
        Autonomy::Automatic => Autonomy::Approve,
        Autonomy::Approve | Autonomy::Observe => Autonomy::Automatic,
    };
    let (inside, outside) = match (inside, outside) {
        (None, None) => (Autonomy::Automatic, Autonomy::Approve),
        (Some(inside), None) => (inside, opposite(inside)),
        (None, Some(outside)) => (opposite(outside), outside),
        (Some(inside), Some(outside)) => (inside, outside),
    };
    if inside == Autonomy::Automatic && outside == Autonomy::Automatic {
        reader.warning(node.at, "automatic inside and outside: this window changes nothing");
    }
    Some(Kind::BusinessHours { inside, outside })
}

fn when(reader: &mut Reader<'_>, fields: Fields<'_>, what: &str) -> Option<When> {
    let has = |key: &str| fields.get(key).is_some();
    let absolute = has("from") || has("until");
    let recurring = has("start") || has("duration") || has("recurrence");
    if absolute == recurring {
        let message = format!(
            "{what} needs either \"from\" and \"until\", or \"start\" and \"duration\", with \"recurrence\" \
             where it comes again"
        );
        reader.error(fields.at(), message);
        return None;
    }
    let zone = match fields.get("time_zone") {
        Some(node) => {
            let name = reader.text(node, "time_zone")?;
            Some(zone::parse(name).map_err(|message| reader.error(node.at, message)).ok()?)
        }
        None => None,
    };
    if absolute { span(reader, fields, what, zone) } else { recurrence(reader, fields, what, zone) }
}

fn time(
    reader: &mut Reader<'_>,
    fields: Fields<'_>,
    key: &str,
    what: &str,
    zone: Option<Tz>,
) -> Option<Written> {
    let node = reader.required(fields, key, what)?;
    let text = reader.text(node, key)?;
    let Some(written) = zone::parse_time(text) else {
        let valid = "2026-12-24T22:00 (local) and 2026-12-24T22:00:00+01:00";
        reader.error(node.at, format!("{key} cannot be {text:?}; valid are times as {valid}"));
        return None;
    };
    if zone.is_none() && matches!(written, Written::Local(_)) {
        reader.error(node.at, format!("{key} is a local time, so {what} needs the key \"time_zone\""));
        return None;
    }
    Some(written)
}

fn span(reader: &mut Reader<'_>, fields: Fields<'_>, what: &str, zone: Option<Tz>) -> Option<When> {
    let from = time(reader, fields, "from", what, zone);
    let until = time(reader, fields, "until", what, zone);
    let zone = zone.unwrap_or(Tz::UTC);
    let span = Span { from: from?.instant(zone), until: until?.instant(zone) };
    if span.until <= span.from {
        reader.error(fields.at(), format!("\"until\" of {what} must be later than \"from\""));
    }
    Some(When::Absolute(span))
}

fn recurrence(reader: &mut Reader<'_>, fields: Fields<'_>, what: &str, zone: Option<Tz>) -> Option<When> {
    if zone.is_none() {
        reader.error(fields.at(), format!("{what} needs the key \"time_zone\""));
    }
    let start = time(reader, fields, "start", what, Some(zone.unwrap_or(Tz::UTC)));
    let node = reader.required(fields, "duration", what)?;
    let length = reader.duration(node, "duration");
    if length.is_some_and(|length| length.is_zero() || length > LONGEST) {
        reader.error(node.at, "duration must be longer than 0s and at most 366d");
    }
    let lines = match fields.get("recurrence") {
        Some(node) => lines(reader, node)?,
        None => Vec::new(),
    };
    let (zone, start, length) = (zone?, start?.local(zone?), length?);
    let texts: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
    let recurrence = Recurrence::read(zone, start, length, &texts);
    let recurrence = recurrence.map_err(|(index, message)| {
        let at = lines.get(index).map_or(fields.at(), |(node, _)| node.at);
        reader.error(at, format!("recurrence: {message}"));
    });
    recurrence.ok().map(When::Recurring)
}

/// One text, of one line or more, or a list of them.
fn lines<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Vec<(&'n Node, &'n str)>> {
    let items = match &node.tree {
        Tree::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut lines = Vec::new();
    for item in items {
        let text = reader.text(item, "recurrence")?;
        lines.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| (item, line)));
    }
    Some(lines)
}

fn matchers(reader: &mut Reader<'_>, fields: Fields<'_>) -> Vec<matcher::Matcher> {
    let Some(node) = fields.get("match") else { return Vec::new() };
    let mut matchers = Vec::new();
    for item in reader.list(node, "match").unwrap_or_default() {
        let Some(text) = reader.text(item, "each of match") else { continue };
        match matcher::parse(text) {
            Ok(parsed) => matchers.extend(parsed),
            Err(error) => reader.error(item.at, format!("matcher {text:?}: {error}")),
        }
    }
    matchers
}

fn globs(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str) -> Option<Globs> {
    let node = fields.get(key)?;
    let items = reader.list(node, key)?;
    if items.is_empty() {
        reader.error(node.at, format!("{key} must name at least one; leave it out where all are meant"));
    }
    let item = format!("each of {key}");
    let mut globs = Vec::new();
    for node in items {
        let Some(text) = reader.text(node, &item) else { continue };
        match glob(text) {
            Some(glob) => globs.push(glob),
            None => reader.error(node.at, format!("{item} may have at most {GLOB_LIMIT} bytes")),
        }
    }
    Some(Globs(globs))
}

fn glob(text: &str) -> Option<Regex> {
    if text.len() > GLOB_LIMIT {
        return None;
    }
    let escaped = regex::escape(text).replace(r"\*\*", ".*").replace(r"\*", "[^/]*");
    Regex::new(&format!("(?s)^{escaped}$")).ok()
}
