//! Tiles and entries: each against the hash above it, down from the checkpoint.

use staunch_core::tlog::{
    Checkpoint, Frontier, Hash, MAX_LEAF_BYTES, TILE_HEIGHT, TILE_WIDTH, TilePath, complete_subtrees,
    entries_of_bundle, leaf_hash, node_hash, subtree_root,
};

use super::super::CHECKPOINT_FILE;
use super::files::Export;
use super::{Report, VerifyError, epochs, payloads};

const FULL: u64 = TILE_WIDTH as u64;
const HASH_BYTES: usize = 32;
/// 256 leaves of the greatest length, each with its two bytes of length.
const MAX_BUNDLE_BYTES: u64 = FULL * (MAX_LEAF_BYTES as u64 + 2);

/// One row of tiles, as the files have it. A tile that is missing or has the wrong length is `None`.
type Row = Vec<Option<Tile>>;

#[derive(Debug)]
pub(super) struct Tile {
    /// All hashes of the tile, except in the lowest row, where only the last tile keeps them.
    pub(super) hashes: Vec<Hash>,
    /// What the row above says of a full tile.
    root: Option<Hash>,
}

/// Whether a tile leads to the hash above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It does; what disagrees below is wrong.
    Sound,
    /// It does not.
    Suspect,
    /// Nothing above it can be read.
    Unknown,
}

/// The trust in a tile and in the tile above it; above a tile that is not full stands the checkpoint, but
/// together with the other rows' last tiles, so that none of them is to blame alone.
#[derive(Clone, Copy, Debug)]
struct Judged {
    own: Trust,
    above: Trust,
}

/// Checks all tiles, entry bundles and payload files.
pub(super) fn check(
    export: &Export,
    checkpoint: &Checkpoint,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let size = checkpoint.size;
    let mut rows = Vec::new();
    for row in (0..8_u8).take_while(|row| size >> (TILE_HEIGHT * row) > 0) {
        rows.push(read_row(export, row, size, report)?);
    }
    let tree = Tree { size, root: checkpoint.root, rows };
    let edge = tree.edge();
    let mut judged = Vec::new();
    for row in (0..8_u8).rev().filter(|row| usize::from(*row) < tree.rows.len()) {
        judged = tree.judge_row(row, edge, &judged);
        if row > 0 {
            tree.check_row(row, &judged, report);
        }
    }
    check_bundles(export, &tree, &judged, report)?;
    if edge == Trust::Suspect && report.problems.is_empty() {
        let message = format!("the tiles lead to another root than {}", checkpoint.root);
        report.problem(CHECKPOINT_FILE, "line 3", message);
    }
    Ok(())
}

fn read_row(export: &Export, row: u8, size: u64, report: &mut Report) -> Result<Row, VerifyError> {
    let hashes = size >> (TILE_HEIGHT * row);
    let mut tiles = Row::new();
    for index in 0..hashes.div_ceil(FULL) {
        let mut tile = read_tile(export, row, index, hashes, report)?;
        if row == 0
            && index + 1 < hashes.div_ceil(FULL)
            && let Some(tile) = &mut tile
        {
            tile.hashes = Vec::new();
        }
        tiles.push(tile);
        if report.more_problems {
            break;
        }
    }
    Ok(tiles)
}

fn tile_path(row: u8, index: u64, hashes: u64) -> TilePath {
    TilePath::Hashes { row, index, width: width(index, hashes) }
}

/// How many of a row's hashes are in its tile `index`.
fn width(index: u64, hashes: u64) -> u16 {
    u16::try_from(hashes.saturating_sub(index * FULL).min(FULL)).unwrap_or(TILE_WIDTH)
}

pub(super) fn read_tile(
    export: &Export,
    row: u8,
    index: u64,
    hashes: u64,
    report: &mut Report,
) -> Result<Option<Tile>, VerifyError> {
    let name = tile_path(row, index, hashes).to_string();
    let expected = usize::from(width(index, hashes)) * HASH_BYTES;
    let Some(bytes) = export.read(&name, FULL * HASH_BYTES as u64, report)? else { return Ok(None) };
    if bytes.len() != expected {
        let message = format!("the tile has {} bytes instead of {expected}", bytes.len());
        report.problem(name, "", message);
        return Ok(None);
    }
    let hashes: Vec<_> = bytes.chunks_exact(HASH_BYTES).filter_map(Hash::from_slice).collect();
    let root = (hashes.len() as u64 == FULL).then(|| fold(&hashes));
    Ok(Some(Tile { hashes, root }))
}

/// The root over the hashes of a full tile.
fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) size: u64,
    root: Hash,
    rows: Vec<Row>,
}

impl Tree {
    /// Whether the last tiles of all rows lead to the signed root.
    fn edge(&self) -> Trust {
        let roots = complete_subtrees(self.size).map(|node| {
            let row = node.level / TILE_HEIGHT;
            subtree_root(node, row * TILE_HEIGHT, &mut |index| self.hash(row, index).ok_or(()))
        });
        let Ok(roots) = roots.collect::<Result<Vec<_>, ()>>() else { return Trust::Unknown };
        match Frontier::new(self.size, roots).map(|frontier| frontier.root()) {
            Some(root) if root == self.root => Trust::Sound,
            Some(_) => Trust::Suspect,
            None => Trust::Unknown,
        }
    }

    fn tile(&self, row: usize, index: u64) -> Option<&Tile> {
        self.rows.get(row)?.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// A hash as the files have it.
    pub(super) fn hash(&self, row: u8, index: u64) -> Option<Hash> {
        let place = usize::try_from(index % FULL).ok()?;
        self.tile(row.into(), index / FULL)?.hashes.get(place).copied()
    }

    /// Judges the tiles of a row by those above.
    fn judge_row(&self, row: u8, edge: Trust, above: &[Judged]) -> Vec<Judged> {
        let tiles = (0_u64..).zip(&self.rows[usize::from(row)]);
        let judged = tiles.map(|(index, tile)| {
            let Some(root) = tile.as_ref().and_then(|tile| tile.root) else {
                let own = if tile.is_some() { edge } else { Trust::Unknown };
                return Judged { own, above: Trust::Unknown };
            };
            let parent = usize::try_from(index / FULL).ok().and_then(|parent| above.get(parent));
            let own = match self.hash(row + 1, index) {
                Some(expected) if expected == root => Trust::Sound,
                Some(_) => Trust::Suspect,
                None => Trust::Unknown,
            };
            Judged { own, above: parent.map_or(Trust::Unknown, |parent| parent.own) }
        });
        judged.collect()
    }

    /// Names the tiles of a row, not the lowest, that are wrong.
    fn check_row(&self, row: u8, judged: &[Judged], report: &mut Report) {
        let hashes = self.size >> (TILE_HEIGHT * row);
        let below = usize::from(row) - 1;
        for (index, (tile, judged)) in (0_u64..).zip(self.rows[usize::from(row)].iter().zip(judged)) {
            let Some(tile) = tile else { continue };
            let disagreement = (index * FULL..).zip(&tile.hashes).position(|(child, hash)| {
                self.tile(below, child).and_then(|tile| tile.root).is_some_and(|root| root != *hash)
            });
            blame_tile(&tile_path(row, index, hashes), *judged, disagreement, report);
        }
    }
}

/// Names a tile that does not lead to what is above it: at the first hash that what lies below contradicts,
/// or, where both agree, as a whole. A sound tile is right, whatever lies below.
fn blame_tile(path: &TilePath, judged: Judged, disagreement: Option<usize>, report: &mut Report) {
    match (judged.own, disagreement) {
        (Trust::Sound, _) => {}
        (Trust::Suspect | Trust::Unknown, Some(hash)) => {
            let message = "the hash is not that of what lies below it";
            report.problem(path.to_string(), format!("hash {hash}"), message);
        }
        (Trust::Suspect, None) if judged.above == Trust::Sound => {
            report.problem(path.to_string(), "", "the tile does not lead to the hash above it");
        }
        (Trust::Suspect | Trust::Unknown, None) => {}
    }
}

fn check_bundles(
    export: &Export,
    tree: &Tree,
    judged: &[Judged],
    report: &mut Report,
) -> Result<(), VerifyError> {
    for (index, judged) in (0_u64..).zip(judged) {
        if report.more_problems {
            break;
        }
        let path = TilePath::Entries { index, width: width(index, tree.size) };
        let Some(bundle) = export.read(&path.to_string(), MAX_BUNDLE_BYTES, report)? else { continue };
        let Some(leaves) = split_bundle(&path, &bundle, width(index, tree.size), report) else { continue };
        check_leaves(export, tree, index, &leaves, *judged, report)?;
        epochs::check(export, tree, index, &leaves, report)?;
        payloads::check(export, index, &leaves, report)?;
    }
    Ok(())
}

fn split_bundle<'a>(
    path: &TilePath,
    bundle: &'a [u8],
    width: u16,
    report: &mut Report,
) -> Option<Vec<&'a [u8]>> {
    match entries_of_bundle(bundle) {
        Ok(leaves) if leaves.len() == usize::from(width) => Some(leaves),
        Ok(leaves) => {
            let message = format!("the bundle has {} entries instead of {width}", leaves.len());
            report.problem(path.to_string(), "", message);
            None
        }
        Err(error) => {
            report.problem(path.to_string(), "", error.to_string());
            None
        }
    }
}

/// Checks the leaves of a bundle against their tile; the tile was only read in part before.
fn check_leaves(
    export: &Export,
    tree: &Tree,
    index: u64,
    leaves: &[&[u8]],
    judged: Judged,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let bundle = TilePath::Entries { index, width: width(index, tree.size) };
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    // A tile that cannot be read was named when the rows were read.
    let tile = match tree.tile(0, index) {
        Some(_) => read_tile(export, 0, index, tree.size, report)?,
        None => None,
    };
    let Some(tile) = tile else {
        let above = tree.hash(1, index).filter(|_| hashes.len() as u64 == FULL);
        if above.is_some_and(|above| above != fold(&hashes)) {
            report.problem(bundle.to_string(), "", "the entries do not lead to the hash above them");
        }
        return Ok(());
    };
    let mut differing = (0..).zip(tile.hashes.iter().zip(&hashes)).filter(|(_, (tile, leaf))| tile != leaf);
    if judged.own == Trust::Sound {
        for (entry, _) in differing {
            let place = format!("entry {}", index * FULL + entry);
            report.problem(bundle.to_string(), place, "the entry is not the one that was logged");
        }
    } else {
        let disagreement = differing.next().and_then(|(hash, _)| usize::try_from(hash).ok());
        blame_tile(&tile_path(0, index, tree.size), judged, disagreement, report);
    }
    Ok(())
}
