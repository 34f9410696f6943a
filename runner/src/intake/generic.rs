//! Any sender that can write our own shape: the generic format without a mapping.
//!
//! The body is one alert or an array of them, each an object of the normalised alert's members.
//! Only something to tell it by is needed: a fingerprint, labels or a title. `status` is `firing`
//! unless `ends_at` has passed, `severity` one of the common words. The members `id`, `source` and
//! `raw_digest` may stand there and are not read, so that what `alerts parse` prints can be sent.

use chrono::{DateTime, Utc};
use staunch_core::alert::{Alert, Status};

use super::Context;
use super::error::IntakeError;
use super::json::{Node, Object};
use super::normal::{Draft, severity_word, status_by_end};
use super::read::{
    Pairs, Path, Values, check_text, entries, object, pairs, quoted, scalar, string, text_member, time, wrong,
};

const MEMBERS: [&str; 12] = [
    "title",
    "status",
    "severity",
    "description",
    "service",
    "target",
    "labels",
    "annotations",
    "starts_at",
    "ends_at",
    "links",
    "fingerprint",
];
const NOT_READ: [&str; 3] = ["id", "source", "raw_digest"];

pub(super) fn read(tree: &Node<'_>, context: &Context<'_>) -> Result<Vec<Alert>, IntakeError> {
    match tree {
        Node::List(_) => entries(tree, &Path::Body, context.limits())?
            .iter()
            .enumerate()
            .map(|(index, entry)| alert(entry, &Path::Index(&Path::Body, index), context))
            .collect(),
        one => Ok(vec![alert(one, &Path::Body, context)?]),
    }
}

fn alert(entry: &Node<'_>, path: &Path<'_>, context: &Context<'_>) -> Result<Alert, IntakeError> {
    let object = object(entry, path)?;
    check_members(object, path)?;
    let limits = context.limits();
    let starts_at = time_member(object, path, "starts_at")?;
    let ends_at = time_member(object, path, "ends_at")?;
    let mut draft = Draft::new(status_by_end(ends_at, context.now));
    if let Some(word) = text_member(object, path, "status", limits.name)? {
        draft.status = status(word, &Path::Name(path, "status"))?;
    }
    let severity = text_member(object, path, "severity", limits.name)?;
    draft.severity = severity.map(|word| severity_word(word).unwrap_or_default());
    draft.fingerprint = fingerprint(object, path, limits.label_value)?;
    for (member, name, limit) in [
        (&mut draft.title, "title", limits.text),
        (&mut draft.description, "description", limits.text),
        (&mut draft.service, "service", limits.label_value),
        (&mut draft.target, "target", limits.label_value),
    ] {
        *member = text_member(object, path, name, limit)?.map(str::to_owned);
    }
    for (member, name, kind) in [
        (&mut draft.labels, "labels", Pairs::Labels),
        (&mut draft.annotations, "annotations", Pairs::Annotations),
    ] {
        if let Some(node) = object.get(name) {
            *member = pairs(node, &Path::Name(path, name), kind, Values::Scalars, limits)?;
        }
    }
    draft.links = links(object, path)?;
    draft.starts_at = starts_at;
    draft.ends_at = ends_at;
    draft.finish(context, path)
}

/// Refuses unknown members: a misspelt one would be an alert that says less than its sender meant.
fn check_members(object: &Object<'_>, path: &Path<'_>) -> Result<(), IntakeError> {
    match object.iter().find(|(name, _)| !MEMBERS.contains(name) && !NOT_READ.contains(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let valid = MEMBERS.join(", ");
            Err(wrong(&Path::Name(path, name), format!("is no member of an alert; valid: {valid}")))
        }
    }
}

/// A time, as text or as a number; `None` when it is absent, null or empty.
fn time_member(
    object: &Object<'_>,
    parent: &Path<'_>,
    name: &str,
) -> Result<Option<DateTime<Utc>>, IntakeError> {
    let path = Path::Name(parent, name);
    match object.get(name).map(|node| scalar(node, &path)).transpose()?.flatten() {
        Some(text) if !text.is_empty() => time(&text, &path),
        Some(_) | None => Ok(None),
    }
}

fn status(word: &str, path: &Path<'_>) -> Result<Status, IntakeError> {
    if word.eq_ignore_ascii_case("firing") {
        Ok(Status::Firing)
    } else if word.eq_ignore_ascii_case("resolved") {
        Ok(Status::Resolved)
    } else {
        Err(wrong(path, format!("expected \"firing\" or \"resolved\", found {}", quoted(word))))
    }
}

/// A fingerprint, which may be a number: many senders count their alerts.
fn fingerprint(object: &Object<'_>, parent: &Path<'_>, limit: usize) -> Result<Option<String>, IntakeError> {
    let path = Path::Name(parent, "fingerprint");
    let Some(text) = object.get("fingerprint").map(|node| scalar(node, &path)).transpose()?.flatten() else {
        return Ok(None);
    };
    check_text(&text, &path, limit)?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

fn links(object: &Object<'_>, parent: &Path<'_>) -> Result<Vec<String>, IntakeError> {
    let path = Path::Name(parent, "links");
    match object.get("links") {
        None => Ok(Vec::new()),
        Some(Node::List(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| string(item, &Path::Index(&path, index)).map(str::to_owned))
            .collect(),
        Some(other) => Err(wrong(&path, format!("expected an array of strings, found {}", other.kind()))),
    }
}
