//! Alerts that lead nowhere, from the views.

use chrono::TimeDelta;
use staunch_core::decision::Reason;
use staunch_core::record::{AlertRecord, Standing, unanswered};

use super::{Cursor, Listed, Listing, Pipeline, ReadError, list, views};
use crate::journal::MAX_PAGE;

/// How many alerts one page looks through at the most: where few are unanswered, it may be short and say that there
/// is more.
const MOST_LOOKED_AT: usize = 5_000;

/// How many of an alert's last runs are looked at.
const LAST_RUNS: usize = 16;

impl Pipeline {
    /// Alerts that fire and lead nowhere, newest first, each with the reason. Keys are as in [`Pipeline::alerts`].
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn unanswered(
        &self,
        listing: Listing,
        patience: TimeDelta,
    ) -> Result<Listed<(AlertRecord, Reason)>, ReadError> {
        let Listing { keys, mut after, limit, .. } = listing;
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let state = Some(Standing::Firing.as_str().to_owned());
            let page = Listing { state, keys: keys.clone(), after: after.take(), limit: MAX_PAGE };
            let Listed { items: records, next }: Listed<AlertRecord> =
                list(self.journal(), views::ALERT, page).await?;
            for record in records {
                looked_at += 1;
                let place = Cursor::behind(record.id.as_str());
                if let Some(reason) = self.why_unanswered(&record, patience).await? {
                    items.push((record, reason));
                }
                if items.len() >= limit as usize || looked_at >= MOST_LOOKED_AT {
                    return Ok(Listed { items, next: Some(place) });
                }
            }
            if next.is_none() {
                return Ok(Listed { items, next });
            }
            after = next;
        }
    }

    async fn why_unanswered(
        &self,
        record: &AlertRecord,
        patience: TimeDelta,
    ) -> Result<Option<Reason>, ReadError> {
        let mut runs = Vec::new();
        for id in record.runs.iter().rev().take(LAST_RUNS) {
            runs.extend(self.run(id).await?);
        }
        Ok(unanswered(record, &runs, self.0.now(), patience))
    }
}
