//! Reads `group:` and `limits:` of a runbook.

use crate::limit::read::{count, rate, share, span, storm};
use crate::limit::{Cooldown, Limits, Share};
use crate::policy::problem::Position;
use crate::policy::reader::{Fields, Reader};

const KEYS: [&str; 9] = [
    "per_target",
    "per_runbook",
    "per_plugin",
    "per_service",
    "concurrent",
    "concurrent_targets",
    "at_least_healthy",
    "cooldown",
    "storm",
];

/// The group, and where the file names it.
pub(super) fn group(reader: &mut Reader<'_>, root: Fields<'_>) -> Option<(String, Position)> {
    let node = root.get("group")?;
    reader.name(node, "group").map(|name| (name.to_owned(), node.at))
}

/// The limits; none where the file has none.
pub(super) fn read(reader: &mut Reader<'_>, root: Fields<'_>) -> Limits {
    let Some(node) = root.get("limits") else { return Limits::default() };
    let fields = reader.fields(node, "limits", &KEYS);
    let limits = Limits {
        per_target: rate(reader, fields, "per_target"),
        per_runbook: rate(reader, fields, "per_runbook"),
        per_plugin: rate(reader, fields, "per_plugin"),
        per_service: rate(reader, fields, "per_service"),
        concurrent: count(reader, fields, "concurrent"),
        concurrent_targets: share(reader, fields, "concurrent_targets"),
        at_least_healthy: count(reader, fields, "at_least_healthy"),
        cooldown: cooldown(reader, fields),
        storm: storm(reader, fields),
    };
    if root.get("group").is_none() {
        needs_group(reader, fields, limits.concurrent_targets);
    }
    limits
}

/// A percentage is one of something, and so is what must stay healthy.
fn needs_group(reader: &mut Reader<'_>, fields: Fields<'_>, share: Option<Share>) {
    let percent = matches!(share, Some(Share::Percent(_)));
    for (key, needed) in [("concurrent_targets", percent), ("at_least_healthy", true)] {
        if let Some(entry) = fields.entry(key).filter(|_| needed) {
            let what = if percent && key == "concurrent_targets" { "a percentage in " } else { "" };
            let message =
                format!("{what}limits.{key} needs the key \"group\" in the runbook: it counts its members");
            reader.error(entry.at, message);
        }
    }
}

fn cooldown(reader: &mut Reader<'_>, fields: Fields<'_>) -> Cooldown {
    let Some(node) = fields.get("cooldown") else { return Cooldown::default() };
    let fields = reader.fields(node, "limits.cooldown", &["after_success", "after_failure"]);
    let mut read =
        |key: &str| fields.get(key).and_then(|node| span(reader, node, &format!("limits.cooldown.{key}")));
    Cooldown { after_success: read("after_success"), after_failure: read("after_failure") }
}
