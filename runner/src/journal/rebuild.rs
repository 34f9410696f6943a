//! Rebuilding the views: they are a fold over the journal and nothing else, so they can be made again.

use super::error::JournalError;
use super::read::{StoredPayload, unpack};
use super::writer::Command;
use super::{Journal, ViewRow, sql};

/// Entries that one read transaction covers.
const PAGE: u64 = 4096;
/// The most differences that are named.
const MAX_DIFFERENCES: i64 = 100;

/// Why a fold refused an entry.
pub type FoldError = Box<dyn std::error::Error + Send + Sync>;

/// What came of rebuilding the views.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Entries read.
    pub entries: u64,
    /// Kind and id of rows that differed from the views as they were, at most a hundred.
    pub differences: Vec<(String, String)>,
}

impl Journal {
    /// Hands every entry, in order, to `fold`, and compares the rows that it returns (the last one of an id
    /// wins) with the views; with `replace`, puts them in their place. Nothing else may append meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Fold`] when the fold refuses an entry, [`JournalError::Unavailable`] when the journal
    /// grew meanwhile, and what the database reports.
    pub async fn rebuild_views(
        &self,
        mut fold: impl FnMut(u64, &[u8], Option<&StoredPayload>) -> Result<Vec<ViewRow>, FoldError>,
        replace: bool,
    ) -> Result<Rebuilt, JournalError> {
        let size = self.commit(Vec::new()).await?;
        self.ask(|reply| Command::ClearRebuilt { reply }).await?;
        let mut rows: Vec<ViewRow> = Vec::new();
        let mut from = 0;
        while from < size {
            let until = (from + PAGE).min(size);
            let mut page = Vec::new();
            self.each_segment(sql::SEGMENTS, from, until, |segment| {
                page.extend(unpack(segment)?);
                Ok(())
            })
            .await?;
            for (entry, payload) in page.into_iter().filter(|(entry, _)| (from..until).contains(&entry.index))
            {
                let index = entry.index;
                let folded = fold(index, &entry.leaf, payload.as_ref());
                rows.extend(folded.map_err(|source| JournalError::Fold { index, source })?);
                while rows.len() >= sql::MAX_ROWS {
                    self.add_rebuilt(rows.drain(..sql::MAX_ROWS).collect()).await?;
                }
            }
            from = until;
        }
        self.add_rebuilt(rows).await?;
        let differences = sqlx::query_as(sql::DIFFERENCES).bind(MAX_DIFFERENCES);
        let differences = differences.fetch_all(&self.inner.pool).await;
        let differences = differences.map_err(JournalError::database("compare the views"))?;
        if replace {
            self.ask(|reply| Command::SwapRebuilt { size, reply }).await?;
        } else {
            self.ask(|reply| Command::ClearRebuilt { reply }).await?;
        }
        Ok(Rebuilt { entries: size, differences })
    }

    /// Only the last row of an id goes in: one statement must not touch a row twice.
    async fn add_rebuilt(&self, rows: Vec<ViewRow>) -> Result<(), JournalError> {
        let mut last = std::collections::BTreeMap::new();
        for row in rows {
            last.insert((row.kind, row.id.clone()), row);
        }
        if last.is_empty() {
            return Ok(());
        }
        let rows = last.into_values().collect();
        self.ask(|reply| Command::AddRebuilt { rows, reply }).await
    }
}
