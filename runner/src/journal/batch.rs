//! One transaction's worth of entries, as rows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sqlx::Arguments;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use staunch_core::tlog::{Frontier, Hash, Subtree, TILE_HEIGHT, leaf_hash};

use super::segment::{self, Segment};
use super::sql::{self, BatchTexts, MAX_ROWS, Shape, TABLE_COUNT, VIEW_COLUMNS};
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
    /// By kind and id: the last row of a batch wins.
    views: BTreeMap<(&'static str, String), ViewRow>,
    subtrees: Vec<(Subtree, Hash)>,
    removed: Vec<u64>,
    /// What is to be executed, once it is made; a second try does the same again.
    calls: Vec<(Shape, SqliteArguments)>,
}

impl Batch {
    pub(super) fn new(frontier: Frontier) -> Self {
        Self {
            frontier,
            segments: Vec::new(),
            views: BTreeMap::new(),
            subtrees: Vec::new(),
            removed: Vec::new(),
            calls: Vec::new(),
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
            for mut row in entry.views {
                let id = std::mem::take(&mut row.id);
                self.views.insert((row.kind, id), row);
            }
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

    /// Writes the batch as one transaction; after an error nothing of it is stored, or, when the commit
    /// itself failed, nobody knows until the next start.
    pub(super) async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        texts: &mut BatchTexts,
    ) -> Result<(), sqlx::Error> {
        let alone = self.subtrees.is_empty() && self.removed.is_empty();
        if self.calls.is_empty() {
            self.calls = self.rows().calls(alone)?;
        }
        for (shape, arguments) in &self.calls {
            // The copy shares the values.
            sqlx::query_with(texts.get(*shape), arguments.clone()).execute(&mut *connection).await?;
        }
        if alone {
            return Ok(());
        }
        for (node, hash) in &self.subtrees {
            let put = sqlx::query(sql::PUT_SUBTREE).bind(i64::from(node.level / TILE_HEIGHT));
            put.bind(signed(node.index)).bind(hash.0.to_vec()).execute(&mut *connection).await?;
        }
        self.shrink(connection).await?;
        for ((kind, id), row) in self.views.iter().filter(|_| !self.removed.is_empty()) {
            let [k1, k2, k3] = &row.keys;
            let keys = sqlx::query(sql::set_keys(kind)).bind(*kind).bind(id).bind(k1).bind(k2).bind(k3);
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

    /// Its rows, which it has no longer, but for those of the views when it removes something.
    fn rows(&mut self) -> Rows {
        let mut rows = Rows::default();
        for Segment { first, leaves, payloads, runs, .. } in std::mem::take(&mut self.segments) {
            let first = signed(first);
            rows.segments.push_back((first, leaves, payloads));
            rows.runs.extend(runs.into_iter().map(|(run, places)| (run, first, places)));
        }
        let views =
            if self.removed.is_empty() { std::mem::take(&mut self.views) } else { self.views.clone() };
        for ((kind, id), row) in views {
            let table = rows.views.get_mut(sql::place_of(kind)).expect("every kind has a table");
            table.push_back(ViewRow { id, ..row });
        }
        rows
    }
}

/// The rows of a batch that are not yet in a call.
#[derive(Default)]
struct Rows {
    /// Index of the first entry, leaves, payloads.
    segments: VecDeque<(i64, Vec<u8>, Vec<u8>)>,
    /// Run, index of the segment's first entry, the run's places in it.
    runs: VecDeque<(String, i64, Vec<u8>)>,
    /// By the place of their table.
    views: [VecDeque<ViewRow>; TABLE_COUNT],
}

impl Rows {
    /// The calls: the first begins the transaction, the last commits it if it is `alone`.
    fn calls(mut self, alone: bool) -> Result<Vec<(Shape, SqliteArguments)>, sqlx::Error> {
        let most = self.views.iter().map(VecDeque::len).max().unwrap_or(0);
        let most = most.max(self.segments.len()).max(self.runs.len());
        let count = most.div_ceil(MAX_ROWS).max(1);
        let calls = (0..count).map(|call| {
            let (mut shape, arguments) = self.call().map_err(sqlx::Error::Encode)?;
            shape.begin = call == 0;
            shape.commit = alone && call + 1 == count;
            Ok((shape, arguments))
        });
        calls.collect()
    }

    /// The next call.
    fn call(&mut self) -> Result<(Shape, SqliteArguments), BoundError> {
        let segments = part(&mut self.segments);
        let runs = part(&mut self.runs);
        let views = self.views.each_mut().map(part);
        let view_rows = views.each_ref().map(ExactSizeIterator::len);
        let shape = Shape::holding(segments.len(), runs.len(), view_rows);
        let mut arguments = SqliteArguments::default();
        let views_count = shape.views.iter().sum::<usize>() * VIEW_COLUMNS;
        arguments.reserve((shape.segments + shape.runs) * 3 + views_count, 0);
        let missing = shape.segments - segments.len();
        for (first, leaves, payloads) in segments {
            arguments.add(first)?;
            arguments.add(leaves)?;
            arguments.add((!payloads.is_empty()).then_some(payloads))?;
        }
        fill(&mut arguments, missing * 3)?;
        let missing = shape.runs - runs.len();
        for (run, first, places) in runs {
            arguments.add(run)?;
            arguments.add(first)?;
            arguments.add(places)?;
        }
        fill(&mut arguments, missing * 3)?;
        for (rows, length) in views.into_iter().zip(shape.views) {
            add_views(&mut arguments, rows, length)?;
        }
        Ok((shape, arguments))
    }
}

fn decode(error: JournalError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

type BoundError = sqlx::error::BoxDynError;

/// The arguments of up to [`MAX_ROWS`] views, as [`sql::rebuilt_views`] takes them.
pub(super) fn view_arguments(rows: Vec<ViewRow>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    let length = sql::round(rows.len());
    add_views(&mut arguments, rows.into_iter(), length).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// The rows, filled up to `length`.
fn add_views(
    arguments: &mut SqliteArguments,
    rows: impl ExactSizeIterator<Item = ViewRow>,
    length: usize,
) -> Result<(), BoundError> {
    let missing = length - rows.len();
    for ViewRow { kind, id, state, keys, doc } in rows {
        arguments.add(kind)?;
        arguments.add(id)?;
        arguments.add((!state.is_empty()).then_some(state))?;
        keys.into_iter().try_for_each(|key| arguments.add(key))?;
        arguments.add(doc)?;
    }
    fill(arguments, missing * VIEW_COLUMNS)
}

fn fill(arguments: &mut SqliteArguments, nulls: usize) -> Result<(), BoundError> {
    (0..nulls).try_for_each(|_| arguments.add(None::<i64>))
}

/// The rows that the next call takes.
fn part<T>(rows: &mut VecDeque<T>) -> impl ExactSizeIterator<Item = T> {
    let count = rows.len().min(MAX_ROWS);
    rows.drain(..count)
}

/// The database's integers are signed; a journal of 2^63 entries is out of reach.
pub(super) fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
