//! One transaction's worth of entries, as rows.

use std::collections::{BTreeSet, HashMap};

use sqlx::Arguments;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use staunch_core::tlog::{Frontier, Hash, Subtree, TILE_HEIGHT, leaf_hash};

use super::segment::{self, Segment};
use super::sql::{self, BatchTexts, MAX_ROWS, Shape, VIEW_COLUMNS};
use super::{Entry, JournalError, ViewRow};

/// The most leaves in one transaction, unless one call brings more.
pub(super) const MAX_LEAVES: usize = 256;
/// The most bytes in one transaction, unless one call brings more.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The rows of a batch and the tree as it will be with them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frontier: Frontier,
    segments: Vec<Segment>,
    views: Vec<ViewRow>,
    /// Where the row of a view is in `views`: the last one of a batch wins.
    places: HashMap<(&'static str, String), usize>,
    subtrees: Vec<(Subtree, Hash)>,
    removed: Vec<u64>,
}

impl Batch {
    pub(super) fn new(frontier: Frontier) -> Self {
        Self {
            frontier,
            segments: Vec::new(),
            views: Vec::new(),
            places: HashMap::new(),
            subtrees: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Appends entries and says at which index the first will be.
    pub(super) fn push(&mut self, entries: Vec<Entry>) -> u64 {
        let first = self.frontier.size();
        for mut entry in entries {
            segment::cut(&mut self.segments, self.frontier.size(), &mut entry);
            let subtrees = &mut self.subtrees;
            self.frontier.append(leaf_hash(&entry.leaf), |node, hash| {
                if node.level.is_multiple_of(TILE_HEIGHT) {
                    subtrees.push((node, hash));
                }
            });
            entry.views.into_iter().for_each(|row| self.push_view(row));
        }
        first
    }

    /// How many rows of views it writes.
    pub(super) fn views(&self) -> usize {
        self.views.len()
    }

    /// Marks payloads for removal.
    pub(super) fn remove(&mut self, indices: &[u64]) {
        self.removed.extend_from_slice(indices);
    }

    fn push_view(&mut self, row: ViewRow) {
        let place = *self.places.entry((row.kind, row.id.clone())).or_insert(self.views.len());
        match self.views.get_mut(place) {
            Some(earlier) => *earlier = row,
            None => self.views.push(row),
        }
    }

    /// Writes the batch as one transaction; after an error nothing of it is stored, or, when the commit
    /// itself failed, nobody knows until the next start.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        texts: &mut BatchTexts,
    ) -> Result<(), sqlx::Error> {
        let rows = self.rows();
        let calls = rows.calls();
        let alone = self.subtrees.is_empty() && self.removed.is_empty();
        for call in 0..calls {
            let (shape, arguments) = rows.call(call, calls, alone)?;
            sqlx::query_with(texts.get(shape), arguments).execute(&mut *connection).await?;
        }
        if alone {
            return Ok(());
        }
        for (node, hash) in &self.subtrees {
            let put = sqlx::query(sql::PUT_SUBTREE).bind(i64::from(node.level / TILE_HEIGHT));
            put.bind(signed(node.index)).bind(hash.0.to_vec()).execute(&mut *connection).await?;
        }
        self.shrink(connection).await?;
        for row in self.views.iter().filter(|_| !self.removed.is_empty()) {
            let [k1, k2, k3] = &row.keys;
            let keys = sqlx::query(sql::set_keys()).bind(row.kind).bind(&row.id).bind(k1).bind(k2).bind(k3);
            keys.execute(&mut *connection).await?;
        }
        sqlx::query(sql::COMMIT).execute(connection).await.map(drop)
    }

    /// Takes the removed payloads out of their segments, each of which is read and written once.
    async fn shrink(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut left: BTreeSet<u64> = self.removed.iter().copied().collect();
        while let Some(index) = left.pop_first() {
            let query = sqlx::query_as(sql::PAYLOADS_OF).bind(signed(index));
            let found: Option<(i64, Vec<u8>)> = query.fetch_optional(&mut *connection).await?;
            let Some((first, bytes)) = found else { continue };
            let held = segment::payloads(first.unsigned_abs(), &bytes).map_err(decode)?;
            left.retain(|index| !held.contains_key(index));
            let less = segment::without(first.unsigned_abs(), held, &self.removed).map_err(decode)?;
            if less.len() < bytes.len() {
                sqlx::query(sql::SHRINK_PAYLOADS).bind(less).bind(first).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    /// The rows of the segments: leaves; payloads where there are any; the runs that have entries in them.
    fn rows(&self) -> Rows<'_> {
        let segments = self.segments.iter();
        let payloads = segments.clone().filter(|segment| !segment.payloads.is_empty());
        let runs = segments.clone().flat_map(|segment| {
            segment.runs.iter().map(|(run, places)| (run.as_str(), signed(segment.first), places.as_slice()))
        });
        // Rows that fit on a page together stand on one: some of them change before long.
        let mut views: Vec<&ViewRow> = self.views.iter().collect();
        views.sort_by_key(|row| row.doc.len());
        Rows {
            segments: segments.map(|segment| (signed(segment.first), segment.leaves.as_slice())).collect(),
            payloads: payloads.map(|segment| (signed(segment.first), segment.payloads.as_slice())).collect(),
            runs: runs.collect(),
            views,
        }
    }
}

/// The rows of a batch.
struct Rows<'a> {
    segments: Vec<(i64, &'a [u8])>,
    payloads: Vec<(i64, &'a [u8])>,
    runs: Vec<(&'a str, i64, &'a [u8])>,
    views: Vec<&'a ViewRow>,
}

impl Rows<'_> {
    /// How many calls they take.
    fn calls(&self) -> usize {
        let most = [self.segments.len(), self.payloads.len(), self.runs.len(), self.views.len()];
        most.into_iter().max().unwrap_or(0).div_ceil(MAX_ROWS).max(1)
    }

    /// The text and the arguments of one of the calls; the first begins the transaction, the last commits
    /// it unless more statements follow.
    fn call(&self, call: usize, calls: usize, alone: bool) -> Result<(Shape, SqliteArguments), sqlx::Error> {
        let segments = part(&self.segments, call);
        let payloads = part(&self.payloads, call);
        let runs = part(&self.runs, call);
        let views = part(&self.views, call);
        let mut shape = Shape::holding(segments.len(), payloads.len(), runs.len(), views.len());
        shape.begin = call == 0;
        shape.commit = alone && call + 1 == calls;
        let mut arguments = SqliteArguments::default();
        let count = (shape.segments + shape.payloads) * 2 + shape.runs * 3 + shape.views * VIEW_COLUMNS;
        arguments.reserve(count, 0);
        let bound = || {
            for (rows, length) in [(segments, shape.segments), (payloads, shape.payloads)] {
                for (first, bytes) in rows {
                    arguments.add(first)?;
                    arguments.add(*bytes)?;
                }
                fill(&mut arguments, (length - rows.len()) * 2)?;
            }
            for (run, first, places) in runs {
                arguments.add(*run)?;
                arguments.add(first)?;
                arguments.add(*places)?;
            }
            fill(&mut arguments, (shape.runs - runs.len()) * 3)?;
            add_views(&mut arguments, views.iter().copied(), shape.views)
        };
        bound_or_encode(bound).map(|()| (shape, arguments))
    }
}

fn decode(error: JournalError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

type BoundError = sqlx::error::BoxDynError;

fn bound_or_encode(bound: impl FnOnce() -> Result<(), BoundError>) -> Result<(), sqlx::Error> {
    bound().map_err(sqlx::Error::Encode)
}

/// The arguments of up to [`MAX_ROWS`] views, as [`sql::rebuilt_views`] takes them.
pub(super) fn view_arguments(rows: &[ViewRow]) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    bound_or_encode(|| add_views(&mut arguments, rows.iter(), Shape::holding(0, 0, 0, rows.len()).views))?;
    Ok(arguments)
}

/// The rows, filled up to `length`.
fn add_views<'a>(
    arguments: &mut SqliteArguments,
    rows: impl ExactSizeIterator<Item = &'a ViewRow>,
    length: usize,
) -> Result<(), BoundError> {
    let missing = length - rows.len();
    rows.into_iter().try_for_each(|row| add_view(arguments, row))?;
    fill(arguments, missing * VIEW_COLUMNS)
}

fn add_view(arguments: &mut SqliteArguments, row: &ViewRow) -> Result<(), BoundError> {
    arguments.add(row.kind)?;
    arguments.add(row.id.as_str())?;
    arguments.add((!row.state.is_empty()).then_some(row.state.as_str()))?;
    row.keys.iter().try_for_each(|key| arguments.add(key.as_deref()))?;
    arguments.add(row.doc.as_slice())
}

fn fill(arguments: &mut SqliteArguments, nulls: usize) -> Result<(), BoundError> {
    (0..nulls).try_for_each(|_| arguments.add(None::<i64>))
}

fn part<T>(rows: &[T], call: usize) -> &[T] {
    rows.chunks(MAX_ROWS).nth(call).unwrap_or_default()
}

/// The database's integers are signed; a journal of 2^63 entries is out of reach.
pub(super) fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
