//! Alertmanager's webhook, version 4, and version 3 where it differs only in `groupKey`.
//!
//! Source: prometheus/alertmanager `notify/webhook/webhook.go` and `template/template.go`. One
//! message holds one group with alerts in mixed states, so the group's own status decides nothing
//! while an alert tells its own. Compatible senders leave out `status`, `fingerprint` or `endsAt`.

use chrono::{DateTime, Utc};
use staunch_core::alert::{Alert, Status};

use super::Context;
use super::error::IntakeError;
use super::json::{Node, Object};
use super::normal::{Draft, status_by_end};
use super::read::{Pairs, Path, Values, entries, object, pairs, quoted, rfc3339, text_member, wrong};

/// Bytes of a status, a version or a time: the words are far shorter.
const WORD_BYTES: usize = 256;

pub(super) fn read(tree: &Node<'_>, context: &Context<'_>) -> Result<Vec<Alert>, IntakeError> {
    let message = object(tree, &Path::Body)?;
    check_version(message)?;
    let group_status = status(message, &Path::Body)?;
    let path = Path::Name(&Path::Body, "alerts");
    let list =
        message.get("alerts").ok_or_else(|| wrong(&path, "is missing: expected an array of alerts"))?;
    note_truncated(message, context)?;
    entries(list, &path, context.limits())?
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let path = Path::Index(&path, index);
            alert(entry, &path, group_status, context)
        })
        .collect()
}

/// Refuses versions whose alerts could mean something else.
fn check_version(message: &Object<'_>) -> Result<(), IntakeError> {
    match text_member(message, &Path::Body, "version", WORD_BYTES)? {
        None | Some("4" | "3") => Ok(()),
        Some(other) => {
            let path = Path::Name(&Path::Body, "version");
            Err(wrong(&path, format!("expected \"4\" (or \"3\"), found {}", quoted(other))))
        }
    }
}

/// Alertmanager's `max_alerts` cuts alerts off; a resolved one among them may never be told again.
fn note_truncated(message: &Object<'_>, context: &Context<'_>) -> Result<(), IntakeError> {
    match message.get("truncatedAlerts") {
        None | Some(Node::Unsigned(0)) => Ok(()),
        Some(Node::Unsigned(count)) => {
            tracing::warn!(
                source.name = context.source.name(),
                alerts.truncated = count,
                "the sender left alerts out of its message: raise max_alerts in its webhook configuration"
            );
            Ok(())
        }
        Some(other) => {
            let path = Path::Name(&Path::Body, "truncatedAlerts");
            Err(wrong(&path, format!("expected a whole number, found {}", other.kind())))
        }
    }
}

fn alert(
    entry: &Node<'_>,
    path: &Path<'_>,
    group_status: Option<Status>,
    context: &Context<'_>,
) -> Result<Alert, IntakeError> {
    let object = object(entry, path)?;
    let limits = context.limits();
    let starts_at = time_member(object, path, "startsAt")?;
    let ends_at = time_member(object, path, "endsAt")?;
    let status = status(object, path)?.unwrap_or_else(|| match ends_at {
        None => group_status.unwrap_or(Status::Firing),
        Some(_) => status_by_end(ends_at, context.now),
    });
    let mut draft = Draft::new(status);
    let labels = Path::Name(path, "labels");
    let node =
        object.get("labels").ok_or_else(|| wrong(&labels, "is missing: expected an object of strings"))?;
    draft.labels = pairs(node, &labels, Pairs::Labels, Values::Strings, limits)?;
    if draft.labels.is_empty() {
        return Err(wrong(&labels, "is empty: expected at least one label"));
    }
    if let Some(node) = object.get("annotations") {
        let path = Path::Name(path, "annotations");
        draft.annotations = pairs(node, &path, Pairs::Annotations, Values::Strings, limits)?;
    }
    draft.fingerprint = text_member(object, path, "fingerprint", limits.name)?.map(str::to_owned);
    draft.links = generator_link(object, path, limits.body)?;
    draft.starts_at = starts_at;
    draft.ends_at = ends_at;
    draft.finish(context, path)
}

/// The `generatorURL`; whether it is an address is decided with the other links.
pub(super) fn generator_link(
    object: &Object<'_>,
    path: &Path<'_>,
    limit: usize,
) -> Result<Vec<String>, IntakeError> {
    let link = text_member(object, path, "generatorURL", limit)?;
    Ok(link.map(str::to_owned).into_iter().collect())
}

/// A member that holds a time; Go's zero time counts as absent.
pub(super) fn time_member(
    object: &Object<'_>,
    parent: &Path<'_>,
    name: &str,
) -> Result<Option<DateTime<Utc>>, IntakeError> {
    match text_member(object, parent, name, WORD_BYTES)? {
        Some(text) => rfc3339(text, &Path::Name(parent, name)),
        None => Ok(None),
    }
}

fn status(object: &Object<'_>, parent: &Path<'_>) -> Result<Option<Status>, IntakeError> {
    match text_member(object, parent, "status", WORD_BYTES)? {
        None => Ok(None),
        Some("firing") => Ok(Some(Status::Firing)),
        Some("resolved") => Ok(Some(Status::Resolved)),
        Some(other) => {
            let path = Path::Name(parent, "status");
            Err(wrong(&path, format!("expected \"firing\" or \"resolved\", found {}", quoted(other))))
        }
    }
}
