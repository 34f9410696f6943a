//! Subtree roots from the database: the leaves give the lowest row of tiles, `subtrees` the rows above.
//!
//! Proofs ask for roots one by one and cannot wait, so each is computed twice: once to learn which tiles it
//! touches, then, with those read, for good.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnection;
use staunch_core::tlog::{
    Frontier, Hash, Subtree, TILE_HEIGHT, TILE_WIDTH, complete_subtrees, leaf_hash, subtree_root,
};

use super::batch::signed;
use super::error::JournalError;
use super::segment::{self, SegmentColumns};
use super::sql;

/// The hashes `from .. from + count` of a row of tiles.
pub(super) async fn row_hashes(
    connection: &mut SqliteConnection,
    row: u8,
    from: u64,
    count: u64,
) -> Result<Vec<Hash>, JournalError> {
    let until = from + count;
    let hashes = if row == 0 {
        leaves(connection, from, until).await?.iter().map(|leaf| leaf_hash(leaf)).collect()
    } else {
        let query =
            sqlx::query_scalar(sql::SUBTREES).bind(i64::from(row)).bind(signed(from)).bind(signed(until));
        let rows: Vec<Vec<u8>> =
            query.fetch_all(connection).await.map_err(JournalError::database("read the tree"))?;
        rows.iter().filter_map(|hash| Hash::from_slice(hash)).collect::<Vec<_>>()
    };
    if hashes.len() as u64 == count {
        Ok(hashes)
    } else {
        Err(JournalError::Damaged(format!("row {row} of the tree has gaps between {from} and {until}")))
    }
}

/// The leaves `from .. until`, as many of them as there are.
pub(super) async fn leaves(
    connection: &mut SqliteConnection,
    from: u64,
    until: u64,
) -> Result<Vec<Vec<u8>>, JournalError> {
    let query = sqlx::query_as(sql::LEAVES).bind(signed(from)).bind(signed(until));
    let rows: Vec<SegmentColumns> =
        query.fetch_all(connection).await.map_err(JournalError::database("read leaves"))?;
    let mut found = Vec::new();
    for (first, bundle, _) in rows {
        let first = first.unsigned_abs();
        let leaves = (first..).zip(segment::leaves(first, &bundle)?);
        found
            .extend(leaves.filter(|(index, _)| (from..until).contains(index)).map(|(_, leaf)| leaf.to_vec()));
    }
    Ok(found)
}

/// Computes something over subtree roots of the tree of `size` leaves. `compute` runs twice.
pub(super) async fn with_subtrees<T>(
    connection: &mut SqliteConnection,
    size: u64,
    mut compute: impl FnMut(&mut dyn FnMut(Subtree) -> Result<Hash, JournalError>) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let mut tiles: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
    compute(&mut |node| {
        tiles.insert(tile_of(node), Vec::new());
        Ok(Hash([0; 32]))
    })?;
    for ((row, tile), hashes) in &mut tiles {
        let from = tile * u64::from(TILE_WIDTH);
        let count = ((size >> (row * TILE_HEIGHT)) - from).min(TILE_WIDTH.into());
        *hashes = row_hashes(connection, *row, from, count).await?;
    }
    compute(&mut |node| {
        let (row, tile) = tile_of(node);
        let hashes = tiles.get(&(row, tile)).map_or(&[][..], Vec::as_slice);
        subtree_root(node, row * TILE_HEIGHT, &mut |index| {
            let place = usize::try_from(index - tile * u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            let gap = || JournalError::Damaged(format!("row {row} of the tree has no hash {index}"));
            hashes.get(place).copied().ok_or_else(gap)
        })
    })
}

/// The row and place of the tile from which a subtree's root follows.
fn tile_of(node: Subtree) -> (u8, u64) {
    let above = node.level % TILE_HEIGHT;
    (node.level / TILE_HEIGHT, (node.index << above) / u64::from(TILE_WIDTH))
}

/// The tree as it was with `size` leaves, ready to grow.
pub(super) async fn frontier(connection: &mut SqliteConnection, size: u64) -> Result<Frontier, JournalError> {
    let roots =
        with_subtrees(connection, size, |subtree| complete_subtrees(size).map(&mut *subtree).collect());
    let roots: Vec<Hash> = roots.await?;
    Frontier::new(size, roots).ok_or_else(|| JournalError::Damaged(format!("no tree of {size} leaves")))
}
