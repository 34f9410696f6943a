//! What operators write under `standing:` of `staunch.yaml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::facts::{Autonomy, Standing};
use crate::policy::reader::{Fields, Reader};
use crate::policy::yaml::Node;

const KEYS: [&str; 12] = [
    "initial",
    "runs",
    "within",
    "sample",
    "demote_below",
    "deprecate_below",
    "demotions",
    "demotions_within",
    "fires_again_within",
    "canary",
    "outage",
    "outage_within",
];

/// The most runs that are counted of one plugin.
pub(super) const MOST_RUNS: u32 = 1_000;

/// The longest time that counts: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// How standing is counted and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where a new plugin starts.
    pub initial: Standing,
    /// How many of the last runs count.
    pub runs: u32,
    /// How long ago a run may be that counts.
    pub within: Duration,
    /// From how many counted runs on something is concluded.
    pub sample: u32,
    /// In percent: when the success rate is, with 95 % confidence, below it, the plugin goes down a step.
    pub demote_below: u8,
    /// In percent: when it is below this, the plugin is deprecated.
    pub deprecate_below: u8,
    /// The so-manieth demotion deprecates,
    pub demotions: u32,
    /// if all of them were within this time.
    pub demotions_within: Duration,
    /// An intervention within this time after a run turns its `fixed` into `not-fixed`.
    pub fires_again_within: Duration,
    /// How many runs after a reinstatement to `automatic` need approval still.
    pub canary: u32,
    /// In percent: while more than this part of all plugins fails, nobody is demoted.
    pub outage: u8,
    /// How long ago a run may be that says whether its plugin fails now.
    pub outage_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: Standing::Approve,
            runs: 50,
            within: Duration::from_secs(30 * DAY),
            sample: 10,
            demote_below: 80,
            deprecate_below: 50,
            demotions: 3,
            demotions_within: Duration::from_secs(90 * DAY),
            fires_again_within: Duration::from_secs(HOUR),
            canary: 3,
            outage: 50,
            outage_within: Duration::from_secs(HOUR),
        }
    }
}

/// Reads `standing:` of `staunch.yaml`. Problems are noted in the reader.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> Settings {
    let default = Settings::default();
    let fields = reader.fields(node, "standing", &KEYS);
    let initial =
        fields.get("initial").and_then(|node| reader.word(node, "standing.initial", &Autonomy::WORDS));
    let settings = Settings {
        initial: initial.map_or(default.initial, Standing::from),
        runs: number(reader, fields, "runs", 1, default.runs),
        within: span(reader, fields, "within", default.within),
        sample: number(reader, fields, "sample", 1, default.sample),
        demote_below: percent(reader, fields, "demote_below", default.demote_below),
        deprecate_below: percent(reader, fields, "deprecate_below", default.deprecate_below),
        demotions: number(reader, fields, "demotions", 1, default.demotions),
        demotions_within: span(reader, fields, "demotions_within", default.demotions_within),
        fires_again_within: span(reader, fields, "fires_again_within", default.fires_again_within),
        canary: number(reader, fields, "canary", 0, default.canary),
        outage: percent(reader, fields, "outage", default.outage),
        outage_within: span(reader, fields, "outage_within", default.outage_within),
    };
    consistent(reader, fields, &settings);
    settings
}

fn consistent(reader: &mut Reader<'_>, fields: Fields<'_>, settings: &Settings) {
    let Settings { runs, sample, demote_below, deprecate_below, .. } = *settings;
    let place = |key: &str| fields.get(key).map_or(fields.at(), |node| node.at);
    if sample > runs {
        let message = format!(
            "standing.sample is {sample}, more than the {runs} runs that count: it would never be met"
        );
        reader.error(place("sample"), message);
    }
    if deprecate_below > demote_below {
        let message =
            format!("standing.deprecate_below is {deprecate_below}%, above demote_below, {demote_below}%");
        reader.error(place("deprecate_below"), message);
    }
}

fn number(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str, least: i64, default: u32) -> u32 {
    let number = fields
        .get(key)
        .and_then(|node| reader.integer(node, &format!("standing.{key}"), least, i64::from(MOST_RUNS)));
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
}

fn percent(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str, default: u8) -> u8 {
    fields.get(key).and_then(|node| reader.percent(node, &format!("standing.{key}"))).unwrap_or(default)
}

fn span(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str, default: Duration) -> Duration {
    let Some(node) = fields.get(key) else { return default };
    let Some(span) = reader.duration(node, &format!("standing.{key}")) else { return default };
    if span.is_zero() || span > LONGEST {
        reader.error(node.at, format!("standing.{key} must be longer than 0s and at most 366d"));
    }
    span
}
