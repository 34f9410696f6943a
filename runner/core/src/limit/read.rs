//! Reads limits and groups from YAML: what runbooks and `staunch.yaml` have in common, and the latter's own keys.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::{GlobalLimits, LONGEST_WINDOW, MOST, Rate, RateError, Share, Storm};
use super::group::{Group, Members};
use super::query;
use crate::policy::duration;
use crate::policy::problem::Position;
use crate::policy::reader::{Fields, Reader, is_name, not_a_name};
use crate::policy::runbook::probe;
use crate::policy::template::Templates;
use crate::policy::yaml::{Node, Tree};

const GLOBAL_KEYS: [&str; 7] =
    ["actions", "per_target", "per_runbook", "per_plugin", "per_service", "concurrent", "storm"];
/// Keys that mean something in a runbook, and nothing over everything.
const OF_A_RUNBOOK: [&str; 3] = ["concurrent_targets", "at_least_healthy", "cooldown"];
const GROUP_KEYS: [&str; 4] = ["members", "healthy", "refresh", "fresh_for"];
const MEMBER_KEYS: [&str; 2] = ["file", "prometheus"];
const GROUP_PROBES: [&str; 2] = ["http", "tcp"];

/// The most groups.
const MOST_GROUPS: usize = 1_000;

/// The most members of one group.
pub(super) const MOST_MEMBERS: usize = 10_000;

/// How often a group is looked at, unless the file says otherwise.
const REFRESH: Duration = Duration::from_secs(15);

/// How long what was seen of a group is good for, unless the file says otherwise.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// Reads `limits:` of `staunch.yaml`. Problems are noted in the reader.
pub fn global(reader: &mut Reader<'_>, node: &Node) -> GlobalLimits {
    let fields = reader.entries(node, "limits");
    for entry in fields.entries().iter().filter(|entry| OF_A_RUNBOOK.contains(&entry.key.as_str())) {
        let message = format!("{:?} is a limit of a runbook; write it in the runbook's file", entry.key);
        reader.error(entry.at, message);
    }
    let known: Vec<&str> = GLOBAL_KEYS
        .into_iter()
        .chain(OF_A_RUNBOOK.into_iter().filter(|key| fields.get(key).is_some()))
        .collect();
    let fields = reader.fields(node, "limits", &known);
    GlobalLimits {
        actions: rate(reader, fields, "actions"),
        per_target: rate(reader, fields, "per_target"),
        per_runbook: rate(reader, fields, "per_runbook"),
        per_plugin: rate(reader, fields, "per_plugin"),
        per_service: rate(reader, fields, "per_service"),
        concurrent: count(reader, fields, "concurrent"),
        storm: storm(reader, fields),
    }
}

/// A rate, if the key is there.
pub(crate) fn rate(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str) -> Option<Rate> {
    let node = fields.get(key)?;
    let what = format!("limits.{key}");
    let text = reader.text(node, &what)?;
    let rate = text.parse::<Rate>().map_err(|error| {
        let cause = match error {
            RateError::Duration(cause) => cause.to_string(),
            error => error.to_string(),
        };
        reader.error(node.at, format!("{what}: {cause}"));
    });
    rate.ok()
}

/// A whole number of at least one, if the key is there.
pub(crate) fn count(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str) -> Option<u32> {
    let number = reader.integer(fields.get(key)?, &format!("limits.{key}"), 1, i64::from(MOST))?;
    u32::try_from(number).ok()
}

/// A number or a percentage, if the key is there.
pub(crate) fn share(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str) -> Option<Share> {
    let node = fields.get(key)?;
    if matches!(node.tree, Tree::Integer(_)) {
        return count(reader, fields, key).map(Share::Count);
    }
    reader.percent(node, &format!("limits.{key}, where it is not a number,")).map(Share::Percent)
}

/// The storm brake, if the key is there.
pub(crate) fn storm(reader: &mut Reader<'_>, fields: Fields<'_>) -> Option<Storm> {
    let node = fields.get("storm")?;
    let fields = reader.fields(node, "limits.storm", &["targets", "within"]);
    let targets = reader.required(fields, "targets", "limits.storm");
    let targets = targets.and_then(|node| reader.integer(node, "limits.storm.targets", 1, i64::from(MOST)));
    let within = reader.required(fields, "within", "limits.storm");
    let within = within.and_then(|node| span(reader, node, "limits.storm.within"));
    Some(Storm { targets: u32::try_from(targets?).ok()?, within: within? })
}

/// A duration that is longer than nothing and no longer than a window may be.
pub(crate) fn span(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Duration> {
    let span = reader.duration(node, what)?;
    if span.is_zero() || span > LONGEST_WINDOW {
        reader.error(node.at, format!("{what} must be longer than 0s and at most 31d"));
        return None;
    }
    Some(span)
}

/// Reads `groups:` of `staunch.yaml`. Problems are noted in the reader.
pub fn groups(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, Group> {
    let entries = reader.entries(node, "groups").entries();
    if entries.len() > MOST_GROUPS {
        reader.error(node.at, format!("groups must be at most {MOST_GROUPS}"));
    }
    let mut groups = BTreeMap::new();
    for entry in entries.iter().take(MOST_GROUPS) {
        if !is_name(&entry.key) {
            reader.error(entry.at, not_a_name("a group", &entry.key));
        } else if let Some(group) = group(reader, &entry.key, entry.at, &entry.node) {
            groups.insert(entry.key.clone(), group);
        }
    }
    groups
}

fn group(reader: &mut Reader<'_>, name: &str, at: Position, node: &Node) -> Option<Group> {
    let what = format!("groups.{name}");
    let fields = reader.fields(node, &what, &GROUP_KEYS);
    let found = reader.required(fields, "members", &what);
    let found = found.and_then(|node| members(reader, &format!("{what}.members"), node));
    let mut templates = Templates::new(reader.file());
    let healthy = fields.get("healthy").map(|node| {
        let key = format!("{what}.healthy");
        probe::read(reader, &mut templates, &key, node, &GROUP_PROBES)
    });
    let refresh = fields.get("refresh").map(|node| span(reader, node, &format!("{what}.refresh")));
    let fresh_for = fields.get("fresh_for").map(|node| span(reader, node, &format!("{what}.fresh_for")));
    let group = Group {
        name: name.to_owned(),
        members: found?,
        healthy: healthy.map_or(Some(None), |probe| probe.map(Some))?,
        refresh: refresh.map_or(Some(REFRESH), |span| span)?,
        fresh_for: fresh_for.map_or(Some(FRESH_FOR), |span| span)?,
        at,
        templates,
    };
    if group.fresh_for < group.refresh {
        let message = format!(
            "{what}.fresh_for is {}, shorter than the {} after which it is looked at again: it would always be old",
            duration::print(group.fresh_for),
            duration::print(group.refresh)
        );
        reader.error(at, message);
    }
    // A name that is not there is found now, and not when a target is in trouble.
    if let Err(error) = group.probe("member") {
        let place = fields.get("healthy").map_or(at, |node| node.at);
        reader.error(place, format!("template {:?}: {}; the only name is member", error.key, error.message));
    }
    Some(group)
}

fn members(reader: &mut Reader<'_>, what: &str, node: &Node) -> Option<Members> {
    if !matches!(node.tree, Tree::Map(_)) {
        let names = reader.texts(node, what)?;
        return match Members::list(names) {
            Ok(members) => Some(members),
            Err(why) => {
                reader.error(node.at, format!("{what} {why}"));
                None
            }
        };
    }
    let fields = reader.fields(node, what, &MEMBER_KEYS);
    let [entry] = fields.entries() else {
        let message = format!("{what} must be a list, or have exactly one key of {}", MEMBER_KEYS.join(", "));
        reader.error(node.at, message);
        return None;
    };
    let what = format!("{what}.{}", entry.key);
    if entry.key == "file" {
        return reader.text(&entry.node, &what).map(|path| Members::File(path.to_owned()));
    }
    query::read(reader, &what, &entry.node)
}
