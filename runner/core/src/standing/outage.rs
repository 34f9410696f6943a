//! The outage guard: while most plugins fail it is the world that fails, and nobody is demoted.

use chrono::{DateTime, Utc};

use super::record::Record;
use super::settings::Settings;
use crate::policy::duration;

/// Whether so many plugins fail that it is the world that fails. `records`: those of all plugins that are in
/// service. One plugin alone is never an outage: then its own failures could not be told from the world's.
#[must_use]
pub fn outage<'a>(
    settings: &Settings,
    now: DateTime<Utc>,
    records: impl IntoIterator<Item = &'a Record>,
) -> bool {
    let in_service = records.into_iter().filter(|record| record.standing.autonomy().is_some());
    let (failing, all) = in_service.fold((0_usize, 0_usize), |(failing, all), record| {
        (failing + usize::from(record.fails(settings, now)), all + 1)
    });
    failing > 1 && failing.saturating_mul(100) > all.saturating_mul(usize::from(settings.outage))
}

impl Record {
    /// Whether, by its last runs, it fails now.
    fn fails(&self, settings: &Settings, now: DateTime<Utc>) -> bool {
        let start = duration::before(now, settings.outage_within);
        let recent = || self.runs.iter().filter(|run| run.at > start);
        let (bad, good) = (recent().filter(|run| run.is_bad()), recent().filter(|run| run.is_good()));
        bad.count() > good.count()
    }
}
