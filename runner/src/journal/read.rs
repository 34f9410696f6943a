//! Reading: entries, payloads, views, tiles and proofs, over a small pool of read-only connections.

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{Either, Executor as _, FromRow as _, QueryBuilder};
use staunch_core::tlog::{Hash, TILE_WIDTH, TilePath, consistency, inclusion, push_bundle_entry};

use super::batch::signed;
use super::error::JournalError;
use super::segment::{self, SegmentColumns};
use super::{Journal, Payload, SignedCheckpoint, ViewRow, sql, tree};

/// The most rows that one call returns.
pub const MAX_PAGE: u32 = 1000;

/// A leaf as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place in the log.
    pub index: u64,
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
    /// Only rows in this state; an empty one means those without.
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

/// Index of a segment's first entry, a run's places in it, leaves, payloads.
type RunColumns = (i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>);
type ViewColumns = (String, Option<String>, Option<String>, Option<String>, Option<String>, Vec<u8>);

fn view_row(kind: &'static str, (id, state, k1, k2, k3, doc): ViewColumns) -> ViewRow {
    ViewRow { kind, id, state: state.unwrap_or_default(), keys: [k1, k2, k3], doc }
}

/// Gives a connection back before anything else is done. Dropped, it would come back a moment later, and who asks next
/// would open another one.
pub(super) async fn give_back(mut reader: PoolConnection<Sqlite>) {
    reader.return_to_pool().await;
}

/// The rows of each of some listings that one query holds.
async fn answers(
    reader: &mut SqliteConnection,
    listings: Query<'_, Sqlite, SqliteArguments>,
    queries: &[ViewQuery],
) -> Result<Vec<Vec<ViewRow>>, sqlx::Error> {
    let mut all = vec![Vec::new(); queries.len()];
    let mut listing = queries.iter().zip(&mut all);
    let mut current = listing.next();
    let mut stream = reader.fetch_many(listings);
    while let Some(step) = stream.try_next().await? {
        match (step, &mut current) {
            (Either::Left(_end), _) => current = listing.next(),
            (Either::Right(row), Some((query, rows))) => {
                rows.push(view_row(query.kind, ViewColumns::from_row(&row)?))
            }
            (Either::Right(_), None) => {}
        }
    }
    drop(stream);
    Ok(all)
}

/// An entry with its payload; `None` where it has none.
pub type WithPayload = (StoredEntry, Option<StoredPayload>);

/// The entries of a segment, with their payloads.
pub(super) fn unpack((first, leaves, payloads): SegmentColumns) -> Result<Vec<WithPayload>, JournalError> {
    let first = first.unsigned_abs();
    let mut payloads = segment::payloads(first, payloads.as_deref().unwrap_or_default())?;
    let leaves = segment::leaves(first, &leaves)?;
    let entries = (first..)
        .zip(leaves)
        .map(|(index, leaf)| (StoredEntry { index, leaf: leaf.to_vec() }, payloads.remove(&index)));
    Ok(entries.collect())
}

impl Journal {
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, JournalError> {
        self.inner.pool.acquire().await.map_err(JournalError::database("open the journal for reading"))
    }

    /// One entry; `None` beyond the end.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn entry(&self, index: u64) -> Result<Option<StoredEntry>, JournalError> {
        Ok(self.entries(index, index.saturating_add(1), 1).await?.pop())
    }

    /// The entries `from .. to` in order, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn entries(&self, from: u64, to: u64, limit: u32) -> Result<Vec<StoredEntry>, JournalError> {
        let until = to.min(from.saturating_add(limit.min(MAX_PAGE).into()));
        let mut found = Vec::new();
        self.each_segment(sql::LEAVES, from, until, |segment| {
            let entries = unpack(segment)?.into_iter().map(|(entry, _)| entry);
            found.extend(entries.filter(|entry| (from..until).contains(&entry.index)));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Hands over the segments with entries of `from .. until`, in order.
    pub(super) async fn each_segment(
        &self,
        query: &'static str,
        from: u64,
        until: u64,
        mut take: impl FnMut(SegmentColumns) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut reader = self.reader().await?;
        let mut rows = sqlx::query_as(query).bind(signed(from)).bind(signed(until)).fetch(&mut *reader);
        while let Some(row) = rows.try_next().await.map_err(JournalError::database("read entries"))? {
            take(row)?;
        }
        Ok(())
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
    ) -> Result<Vec<WithPayload>, JournalError> {
        let limit = limit.min(MAX_PAGE) as usize;
        let mut found = Vec::new();
        let before = signed(from).saturating_sub(segment::MAX_LEAVES as i64);
        let mut reader = self.reader().await?;
        let mut rows =
            sqlx::query_as::<_, RunColumns>(sql::RUN_SEGMENTS).bind(run).bind(before).fetch(&mut *reader);
        while let Some((first, places, leaves, payloads)) =
            rows.try_next().await.map_err(JournalError::database("read a run's entries"))?
        {
            let places: Vec<u64> = segment::indices(first.unsigned_abs(), &places).collect();
            let of_run =
                |(entry, _): &WithPayload| entry.index >= from && places.binary_search(&entry.index).is_ok();
            found.extend(unpack((first, leaves, payloads))?.into_iter().filter(of_run));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    /// The payload of an entry; `None` when it has none.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`].
    pub async fn payload(&self, index: u64) -> Result<Option<StoredPayload>, JournalError> {
        let query = sqlx::query_as(sql::PAYLOADS_OF).bind(signed(index));
        let row: Option<(i64, Vec<u8>)> =
            query.fetch_optional(&self.inner.pool).await.map_err(JournalError::database("read a payload"))?;
        let Some((first, bytes)) = row else { return Ok(None) };
        Ok(segment::payloads(first.unsigned_abs(), &bytes)?.remove(&index))
    }

    /// One row of a view.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn view(&self, kind: &'static str, id: &str) -> Result<Option<ViewRow>, JournalError> {
        let query = sqlx::query_as(sql::view(kind)).bind(kind).bind(id);
        let mut reader = self.reader().await?;
        let row: Result<Option<ViewColumns>, _> = query.fetch_optional(&mut *reader).await;
        give_back(reader).await;
        let row = row.map_err(JournalError::database("read a view"))?;
        Ok(row.map(|row| view_row(kind, row)))
    }

    /// The rows of a view that fit a query, in order of their ids.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn views(&self, query: &ViewQuery) -> Result<Vec<ViewRow>, JournalError> {
        Ok(self.views_at_once(std::slice::from_ref(query)).await?.pop().unwrap_or_default())
    }

    /// The rows that fit each of some queries, in their order. Most of what a query costs is the way to the
    /// connection's thread and back, which they go together.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn views_at_once(&self, queries: &[ViewQuery]) -> Result<Vec<Vec<ViewRow>>, JournalError> {
        let mut text = QueryBuilder::default();
        for query in queries {
            sql::list(&mut text, query);
            text.push(";");
        }
        let mut reader = self.reader().await?;
        // Several are asked for together when the daemon starts, and not again.
        let read = answers(&mut reader, text.build().persistent(queries.len() == 1), queries).await;
        give_back(reader).await;
        read.map_err(JournalError::database("list a view"))
    }

    /// How many rows of a view are in a state.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn count_views(&self, kind: &'static str, state: &str) -> Result<u64, JournalError> {
        let query = sqlx::query_scalar(sql::view_count(kind)).bind(kind).bind(state);
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
