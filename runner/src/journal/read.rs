//! Reading: entries, payloads, views, tiles and proofs, over a small pool of read-only connections.

use sqlx::pool::PoolConnection;
use sqlx::sqlite::Sqlite;
use staunch_core::tlog::{Hash, TILE_WIDTH, TilePath, consistency, inclusion, push_bundle_entry};

use super::batch::signed;
use super::error::JournalError;
use super::{Journal, Payload, SignedCheckpoint, ViewRow, sql, tree};

/// The most rows that one call returns.
pub const MAX_PAGE: u32 = 1000;

/// A leaf as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place in the log.
    pub index: u64,
    /// The run that it names.
    pub run: Option<String>,
    /// Its exact bytes.
    pub leaf: Vec<u8>,
}

/// A payload as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPayload {
    /// As it was written.
    Kept(Payload),
    /// Gone; the leaf and its proofs stay.
    Removed,
}

impl StoredPayload {
    pub(super) fn from_row(salt: Option<Vec<u8>>, bytes: Option<Vec<u8>>) -> Result<Self, JournalError> {
        let (Some(salt), Some(bytes)) = (salt, bytes) else { return Ok(Self::Removed) };
        let salt = salt.try_into();
        let salt =
            salt.map_err(|_| JournalError::Damaged("a payload's salt does not have 16 bytes".to_owned()))?;
        Ok(Self::Kept(Payload { salt, bytes }))
    }
}

/// Where a listing goes on: after the row with this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewCursor {
    /// The last row's id.
    pub id: String,
}

/// Which rows of a view to list.
#[derive(Clone, Debug, Default)]
pub struct ViewQuery {
    /// Which view.
    pub kind: &'static str,
    /// Only rows in this state.
    pub state: Option<String>,
    /// Only rows with these values.
    pub keys: [Option<String>; 3],
    /// Only rows behind this one.
    pub after: Option<ViewCursor>,
    /// At most this many, up to [`MAX_PAGE`].
    pub limit: u32,
    /// From the newest on instead of from the oldest.
    pub newest_first: bool,
}

type ViewColumns = (String, String, Option<String>, Option<String>, Option<String>, Vec<u8>);
pub(super) type PayloadColumns = (i64, Option<Vec<u8>>, Option<Vec<u8>>);
pub(super) type JoinedColumns = (i64, Vec<u8>, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);
type EntryColumns = (i64, Option<String>, Vec<u8>);

fn view_row(kind: &'static str, (id, state, k1, k2, k3, doc): ViewColumns) -> ViewRow {
    ViewRow { kind, id, state, keys: [k1, k2, k3], doc }
}

fn entry((index, run, leaf): EntryColumns) -> StoredEntry {
    StoredEntry { index: index.unsigned_abs(), run, leaf }
}

impl Journal {
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, JournalError> {
        self.inner.pool.acquire().await.map_err(JournalError::database("open the journal for reading"))
    }

    /// One entry; `None` beyond the end.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn entry(&self, index: u64) -> Result<Option<StoredEntry>, JournalError> {
        let query = sqlx::query_as(sql::ENTRY).bind(signed(index));
        let row: Option<EntryColumns> =
            query.fetch_optional(&self.inner.pool).await.map_err(JournalError::database("read an entry"))?;
        Ok(row.map(entry))
    }

    /// The entries `from .. to` in order, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn entries(&self, from: u64, to: u64, limit: u32) -> Result<Vec<StoredEntry>, JournalError> {
        let query =
            sqlx::query_as(sql::ENTRIES).bind(signed(from)).bind(signed(to)).bind(limit.min(MAX_PAGE));
        let rows: Vec<EntryColumns> =
            query.fetch_all(&self.inner.pool).await.map_err(JournalError::database("read entries"))?;
        Ok(rows.into_iter().map(entry).collect())
    }

    /// The entries of one run from `from` on, in order, each with its payload; `None` where it has none.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn run_entries(
        &self,
        run: &str,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(StoredEntry, Option<StoredPayload>)>, JournalError> {
        let query = sqlx::query_as(sql::RUN_ENTRIES).bind(run).bind(signed(from)).bind(limit.min(MAX_PAGE));
        let rows: Vec<JoinedColumns> = query
            .fetch_all(&self.inner.pool)
            .await
            .map_err(JournalError::database("read a run's entries"))?;
        let joined = rows.into_iter().map(|(index, leaf, has_payload, salt, bytes)| {
            let payload = has_payload.map(|_| StoredPayload::from_row(salt, bytes)).transpose()?;
            Ok((StoredEntry { index: index.unsigned_abs(), run: Some(run.to_owned()), leaf }, payload))
        });
        joined.collect()
    }

    /// The payload of an entry; `None` when it has none.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn payload(&self, index: u64) -> Result<Option<StoredPayload>, JournalError> {
        let query = sqlx::query_as(sql::PAYLOAD).bind(signed(index));
        let row: Option<PayloadColumns> =
            query.fetch_optional(&self.inner.pool).await.map_err(JournalError::database("read a payload"))?;
        row.map(|(_, salt, bytes)| StoredPayload::from_row(salt, bytes)).transpose()
    }

    /// One row of a view.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn view(&self, kind: &'static str, id: &str) -> Result<Option<ViewRow>, JournalError> {
        let query = sqlx::query_as(sql::VIEW).bind(kind).bind(id);
        let row: Option<ViewColumns> =
            query.fetch_optional(&self.inner.pool).await.map_err(JournalError::database("read a view"))?;
        Ok(row.map(|row| view_row(kind, row)))
    }

    /// The rows of a view that fit a query, in order of their ids.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn views(&self, query: &ViewQuery) -> Result<Vec<ViewRow>, JournalError> {
        let [k1, k2, k3] = &query.keys;
        let wanted = [("state", &query.state), ("k1", k1), ("k2", k2), ("k3", k3)];
        let wanted = wanted.into_iter().filter_map(|(column, value)| Some((column, value.as_deref()?)));
        let (columns, values): (Vec<_>, Vec<_>) = wanted.unzip();
        let text = sql::list_views(&columns, query.newest_first, query.after.is_some());
        let mut listing = sqlx::query_as(text).bind(query.kind);
        for value in values {
            listing = listing.bind(value);
        }
        if let Some(after) = &query.after {
            listing = listing.bind(after.id.as_str());
        }
        let listing = listing.bind(query.limit.min(MAX_PAGE));
        let rows: Vec<ViewColumns> =
            listing.fetch_all(&self.inner.pool).await.map_err(JournalError::database("list a view"))?;
        Ok(rows.into_iter().map(|row| view_row(query.kind, row)).collect())
    }

    /// How many rows of a view are in a state.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn count_views(&self, kind: &'static str, state: &str) -> Result<u64, JournalError> {
        let query = sqlx::query_scalar(sql::VIEW_COUNT).bind(kind).bind(state);
        let count: i64 =
            query.fetch_one(&self.inner.pool).await.map_err(JournalError::database("count a view"))?;
        Ok(count.unsigned_abs())
    }

    /// The newest checkpoint, as signed. Its size may lie a second behind [`Journal::size`].
    pub fn checkpoint(&self) -> SignedCheckpoint {
        self.inner.shared.checkpoint()
    }

    /// The proof that entry `index` is among the first `size`, siblings from the leaf up.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`], [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, JournalError> {
        self.within("size", size, self.size() + 1)?;
        self.within("index", index, size)?;
        let mut reader = self.reader().await?;
        tree::with_subtrees(&mut reader, size, |subtree| inclusion(index, size, subtree)).await
    }

    /// The proof that the first `to` entries begin with the first `from`.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`], also for `from` 0, of which nothing can be proved;
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, JournalError> {
        self.within("size", to, self.size() + 1)?;
        self.within("size", from.checked_sub(1).unwrap_or(u64::MAX), to)?;
        let mut reader = self.reader().await?;
        tree::with_subtrees(&mut reader, to, |subtree| consistency(from, to, subtree)).await
    }

    /// The root over the first `size` entries.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`], [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn root(&self, size: u64) -> Result<Hash, JournalError> {
        self.within("size", size, self.size() + 1)?;
        Ok(tree::frontier(&mut *self.reader().await?, size).await?.root())
    }

    /// The bytes of what `/log/<path>` serves under `tile/`; `None` when there is no such tile (yet).
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, JournalError> {
        let (index, width, available) = match path {
            TilePath::Hashes { row, index, width } => {
                (index, width, self.size().checked_shr(u32::from(row) * 8).unwrap_or(0))
            }
            TilePath::Entries { index, width } => (index, width, self.size()),
        };
        let from = index.checked_mul(TILE_WIDTH.into());
        let Some(from) = from.filter(|from| from.saturating_add(width.into()) <= available) else {
            return Ok(None);
        };
        let mut reader = self.reader().await?;
        match path {
            TilePath::Hashes { row, .. } => {
                let hashes = tree::row_hashes(&mut reader, row, from, width.into()).await?;
                Ok(Some(hashes.iter().flat_map(|hash| hash.0).collect()))
            }
            TilePath::Entries { .. } => {
                let leaves = tree::leaves(&mut reader, from, from + u64::from(width)).await?;
                let mut bundle = Vec::new();
                let pushed = leaves.iter().try_for_each(|leaf| push_bundle_entry(&mut bundle, leaf));
                pushed.map_err(|error| JournalError::Damaged(error.to_string()))?;
                Ok(Some(bundle))
            }
        }
    }
}
