//! What operators write under `breaker:` of `staunch.yaml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::duration;
use crate::policy::reader::{Fields, Reader};
use crate::policy::yaml::Node;

const KEYS: [&str; 7] =
    ["failures", "sample", "failure_rate", "window", "cooldown", "longest_cooldown", "successes"];

/// The most failures, runs or successes that a file may name: more than a breaker remembers would never be met.
const MOST: i64 = super::MOST_RESULTS as i64;

/// The longest window or cooldown that a file may name.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many runs within the window must have failed.
    pub failures: u32,
    /// How many runs within the window there must have been.
    pub sample: u32,
    /// How many of a hundred runs within the window must have failed.
    pub failure_rate: u8,
    /// How far back runs count.
    pub window: Duration,
    /// How long it stays open the first time.
    pub cooldown: Duration,
    /// How long it stays open at most: every failed trial doubles the time.
    pub longest_cooldown: Duration,
    /// How many good trials in a row close it.
    pub successes: u32,
}

impl Settings {
    /// How long it stays open when it opens for the so-manieth time, counted from 1, since it was closed.
    #[must_use]
    pub fn cooldown_after(&self, opened: u32) -> Duration {
        let doubled =
            2_u32.checked_pow(opened.saturating_sub(1)).and_then(|times| self.cooldown.checked_mul(times));
        doubled.unwrap_or(Duration::MAX).min(self.longest_cooldown.max(self.cooldown))
    }
}

/// The settings of both kinds of breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerSettings {
    /// Of the one of a plugin and a target: it opens by a number of failures.
    pub target: Settings,
    /// Of the one of a plugin: it opens when a large part of many runs failed.
    pub plugin: Settings,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        let target = Settings {
            failures: 3,
            sample: 1,
            failure_rate: 1,
            window: Duration::from_secs(30 * 60),
            cooldown: Duration::from_secs(15 * 60),
            longest_cooldown: Duration::from_secs(4 * 3_600),
            successes: 2,
        };
        Self { target, plugin: Settings { failures: 5, sample: 10, failure_rate: 50, ..target } }
    }
}

/// Reads `breaker:` of `staunch.yaml`. The keys are those of the breaker of plugin and target; below `plugin:`
/// stand those of the plugin's own, which takes windows, cooldowns and successes from the former.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> BreakerSettings {
    let default = BreakerSettings::default();
    let keys: Vec<&str> = KEYS.into_iter().chain(["plugin"]).collect();
    let fields = reader.fields(node, "breaker", &keys);
    let target = settings(reader, fields, "breaker", default.target);
    let inherited = Settings {
        failures: default.plugin.failures,
        sample: default.plugin.sample,
        failure_rate: default.plugin.failure_rate,
        ..target
    };
    let plugin = fields.get("plugin").map_or(inherited, |node| {
        let fields = reader.fields(node, "breaker.plugin", &KEYS);
        settings(reader, fields, "breaker.plugin", inherited)
    });
    BreakerSettings { target, plugin }
}

fn settings(reader: &mut Reader<'_>, fields: Fields<'_>, what: &str, default: Settings) -> Settings {
    let mut number = |key: &str, default: u32| {
        let node = fields.get(key)?;
        let number = reader.integer(node, &format!("{what}.{key}"), 1, MOST)?;
        Some(u32::try_from(number).unwrap_or(default))
    };
    let failures = number("failures", default.failures);
    let sample = number("sample", default.sample);
    let successes = number("successes", default.successes);
    let failure_rate =
        fields.get("failure_rate").and_then(|node| reader.percent(node, &format!("{what}.failure_rate")));
    let mut span = |key: &str| {
        let node = fields.get(key)?;
        let span = reader.duration(node, &format!("{what}.{key}"))?;
        if span.is_zero() || span > LONGEST {
            reader.error(node.at, format!("{what}.{key} must be longer than 0s and at most 31d"));
        }
        Some(span)
    };
    let (window, cooldown, longest) = (span("window"), span("cooldown"), span("longest_cooldown"));
    let cooldown = cooldown.unwrap_or(default.cooldown);
    if let (Some(longest), Some(entry)) = (longest, fields.entry("longest_cooldown"))
        && longest < cooldown
    {
        let message =
            format!("{what}.longest_cooldown must be at least the cooldown, {}", duration::print(cooldown));
        reader.error(entry.node.at, message);
    }
    Settings {
        failures: failures.unwrap_or(default.failures),
        sample: sample.unwrap_or(default.sample),
        failure_rate: failure_rate.unwrap_or(default.failure_rate),
        window: window.unwrap_or(default.window),
        cooldown,
        longest_cooldown: longest.unwrap_or(default.longest_cooldown.max(cooldown)),
        successes: successes.unwrap_or(default.successes),
    }
}
