//! Runbooks whose plugin is out of service: they would be refused, so somebody should know before an alert comes.

use std::collections::BTreeMap;

use staunch_core::policy::{Policies, Problem, Standing};

use super::views::{self, PluginRecord};
use super::{Pipeline, ReadError};
use crate::journal::{Journal, ViewQuery};

/// How many installed plugins are read at once; more are not warned of.
const MOST: u32 = 1_000;

/// Where the installed plugins stand, as the journal has it.
///
/// # Errors
/// When the views cannot be read.
pub async fn installed_standings(journal: &Journal) -> Result<BTreeMap<String, Standing>, ReadError> {
    let keys = [None, None, None];
    let query =
        ViewQuery { kind: views::PLUGIN, state: None, keys, after: None, limit: MOST, newest_first: false };
    let rows = journal.views(&query).await?;
    let records = rows.iter().map(|row| views::read::<PluginRecord>(&row.doc).map_err(ReadError::Row));
    records.map(|record| record.map(|record| (record.name.clone(), record.standing))).collect()
}

/// A warning for each step whose plugin is deprecated or revoked, with what replaces it: what the operators say, else
/// the plugin itself.
pub fn out_of_service(
    policies: &Policies,
    standings: &BTreeMap<String, Standing>,
    replacements: &BTreeMap<String, String>,
    said: impl Fn(&str) -> Option<String>,
) -> Vec<Problem> {
    let steps = policies.routing().runbooks().iter().flat_map(|runbook| {
        runbook.steps.iter().map(move |step| (&runbook.file, step.at, step.plugin.as_str()))
    });
    let warnings = steps.filter_map(|(file, at, plugin)| {
        let standing = standings.get(plugin).filter(|standing| standing.autonomy().is_none())?;
        let successor = replacements.get(plugin).cloned().or_else(|| said(plugin));
        let advice = match successor {
            Some(successor) => format!("{successor} replaces it"),
            None => format!("`staunch plugin standing {plugin}` tells why"),
        };
        let message = format!("plugin {plugin} is {} and does not run: {advice}", standing.as_str());
        Some(Problem::warning(file, at, message))
    });
    warnings.collect()
}

impl Pipeline {
    /// The runbooks whose plugin is out of service.
    #[must_use]
    pub fn out_of_service(&self) -> Vec<Problem> {
        let rules = self.rules();
        let records = self.plugins().records();
        let standings = records.iter().map(|record| (record.name.clone(), record.standing)).collect();
        let said = |name: &str| self.plugins().current(name).ok()?.verified().manifest().replaced_by.clone();
        out_of_service(&rules.policies, &standings, &rules.config.replacements, said)
    }
}
