//! What plans under `observe` came to beside what people did: read from the runs, when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use staunch_core::policy::duration;
use staunch_core::run::Run;
use staunch_core::standing::{Observed, Settings, compare, is_observed};

use super::shared::folded;
use super::views::{self, PluginRecord};
use super::{Pipeline, ReadError};
use crate::journal::{Journal, ViewQuery};

/// How many of a plugin's latest runs are looked through for plans under `observe`.
const LATEST: u32 = 200;

/// How many of the latest runs at one target are looked through for what people did.
const LATEST_AT_TARGET: u32 = 100;

/// The latest runs with these keys, newest first; those that have ended, or all.
async fn runs(
    journal: &Journal,
    ended: bool,
    keys: [Option<String>; 3],
    limit: u32,
) -> Result<Vec<Run>, ReadError> {
    let state = ended.then(|| views::ENDED.to_owned());
    let query = ViewQuery { kind: views::RUN, state, keys, after: None, limit, newest_first: true };
    let mut runs = Vec::new();
    for id in journal.views(&query).await?.iter().filter_map(|row| row.id.parse().ok()) {
        runs.extend(folded(journal, &id).await?);
    }
    Ok(runs)
}

/// Compares the plans that this version of a plugin made under `observe`, as the first of their runbooks, with what
/// people did at the same targets.
///
/// # Errors
/// When the views cannot be read.
pub async fn observed(
    journal: &Journal,
    settings: &Settings,
    plugin: &PluginRecord,
    now: DateTime<Utc>,
) -> Result<Observed, ReadError> {
    let earliest = duration::before(now, settings.within);
    let of_version = |run: &Run| {
        is_observed(run)
            && run.created_at > earliest
            && run.steps.first().is_some_and(|step| step.plugin_digest == plugin.digest)
    };
    let keys = [None, Some(plugin.name.clone()), None];
    let plans = runs(journal, true, keys, LATEST).await?;
    let mut at_targets: BTreeMap<String, Arc<Vec<Run>>> = BTreeMap::new();
    let mut compared = Vec::new();
    for plan in plans.iter().filter(|run| of_version(run)).take(settings.runs as usize) {
        let target = plan.target.clone().unwrap_or_default();
        let others = match at_targets.get(&target) {
            Some(others) => Arc::clone(others),
            None => {
                let keys = [None, None, Some(target.clone())];
                let others = Arc::new(runs(journal, false, keys, LATEST_AT_TARGET).await?);
                at_targets.insert(target, Arc::clone(&others));
                others
            }
        };
        compared.push(compare(plan, others.iter(), settings.fires_again_within, now));
    }
    Ok(Observed::of(compared))
}

impl Pipeline {
    /// What the plans of a plugin under `observe` came to beside what people did; `None` where it is not installed.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn observed(&self, name: &str) -> Result<Option<Observed>, ReadError> {
        let settings = self.rules().config.standing;
        match self.plugins().record(name) {
            Some(record) => observed(self.journal(), &settings, &record, self.clock().now()).await.map(Some),
            None => Ok(None),
        }
    }
}
