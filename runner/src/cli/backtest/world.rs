//! What decisions rest on beside policies: plugins as they are installed and stand, and groups.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::backtest::Plugin;
use staunch_core::decision::{Code, Reason};
use staunch_core::limit::{Members, Roll};
use staunch_core::policy::{PluginFacts, Standing};

use super::super::{Failure, check, local};
use super::past::Installed;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{Config, Grant, read_members};
use crate::plugin::{Registry, VerifiedPlugin};

/// Plugins by their names; why one cannot be used, where that is so.
pub(super) type Plugins = BTreeMap<String, Result<Plugin, Reason>>;

/// The installed plugins. Where the journal does not know any yet, those of the registry, as they would begin.
pub(super) fn plugins(config: &Config, known: Option<Vec<Installed>>) -> Result<Plugins, Failure> {
    let trust = check::trust(config).map_err(|problems| Failure::Usage(local::lines(&problems)))?;
    let registry = Registry::at(config.plugins.clone());
    let now = Clock::machine().now();
    let refused = |error: &dyn std::error::Error| Reason::new(Code::Signature, chain(error));
    let mut plugins = Plugins::new();
    match known {
        Some(known) => {
            for Installed { name, digest, standing } in known {
                let opened = registry.open_digest(&name, digest, &trust, now);
                let plugin = opened.map(|verified| plugin(config, verified, standing));
                plugins.insert(name, plugin.map_err(|error| refused(&error)));
            }
        }
        None => {
            let listed = registry.list().map_err(|error| Failure::Usage(chain(&error)))?;
            for entry in listed.into_iter().filter(|entry| entry.version.is_some()) {
                let opened = registry.open(&entry.name, &trust, now);
                let plugin = opened.map(|verified| plugin(config, verified, config.initial_standing));
                plugins.insert(entry.name, plugin.map_err(|error| refused(&error)));
            }
        }
    }
    Ok(plugins)
}

fn plugin(config: &Config, verified: VerifiedPlugin, standing: Standing) -> Plugin {
    let manifest = verified.manifest();
    let granted = config.grants.get(&manifest.name).map(Grant::as_map).unwrap_or_default();
    let facts = PluginFacts {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        kind: manifest.kind,
        effects: manifest.effects,
        standing,
        capabilities: manifest
            .capabilities
            .keys()
            .filter(|name| granted.contains_key(*name))
            .cloned()
            .collect(),
    };
    let check_input = move |input: &serde_json::Value| {
        let manifest = verified.manifest();
        let wrong = |error| Reason::new(Code::Input, format!("input of {}: {error}", manifest.name));
        manifest.input.check(input).map_err(wrong)
    };
    Plugin { facts, check_input: Box::new(check_input) }
}

/// The members of the configured groups as they are now; where their health is looked at, all count as healthy.
pub(super) fn groups(config: &Config) -> Result<BTreeMap<String, Roll>, Failure> {
    let mut rolls = BTreeMap::new();
    for (name, group) in &config.groups {
        let wrong = |why: String| Failure::Usage(format!("groups.{name}.members: {why}"));
        let members = match &group.members {
            Members::List(names) => names.clone(),
            Members::File(path) => {
                read_members(path.as_ref()).and_then(|text| Members::of_text(&text)).map_err(wrong)?
            }
            Members::Prometheus { .. } => {
                return Err(wrong("a query cannot be asked about the past".to_owned()));
            }
        };
        let healthy = group.healthy.is_some().then(|| members.clone());
        let (at, good_for) = (DateTime::<Utc>::UNIX_EPOCH, Duration::MAX);
        rolls.insert(name.clone(), Roll { group: name.clone(), members, healthy, at, good_for });
    }
    Ok(rolls)
}
