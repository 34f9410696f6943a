//! Where a log says that it is the next epoch of another one, and whether the entries bear that out.

use serde::Deserialize;
use staunch_core::event::LOG_BEGUN;
use staunch_core::tlog::{
    Frontier, Hash, TILE_HEIGHT, TILE_WIDTH, TilePath, complete_subtrees, subtree_root,
};

use super::super::epoch::base_origin;
use super::files::Export;
use super::tiles::{Tree, read_tile};
use super::{EpochSeen, Report, VerifyError};

/// As much of a leaf as is looked at.
#[derive(Deserialize)]
struct Leaf {
    kind: String,
    fact: serde_json::Value,
}

/// What the first entry of an epoch says.
#[derive(Deserialize)]
struct Begun {
    epoch: u32,
    before: Option<Before>,
    continues: bool,
}

#[derive(Deserialize)]
struct Before {
    origin: String,
    size: u64,
    root: String,
}

/// Checks what the leaves of a bundle say about epochs.
pub(super) fn check(
    export: &Export,
    tree: &Tree,
    bundle: u64,
    leaves: &[&[u8]],
    report: &mut Report,
) -> Result<(), VerifyError> {
    let first = bundle * u64::from(TILE_WIDTH);
    for (index, leaf) in (first..).zip(leaves) {
        let Some(begun) = begun(leaf) else { continue };
        let width = u16::try_from(leaves.len()).unwrap_or(TILE_WIDTH);
        let file = TilePath::Entries { index: bundle, width }.to_string();
        let place = format!("entry {index}");
        let Some(before) = &begun.before else {
            report.epochs.push(EpochSeen { index, number: begun.epoch, before: None, continues: false });
            continue;
        };
        if base_origin(&before.origin) != base_origin(&report.origin) {
            let message = format!("the epoch follows the log {}, which is another one", before.origin);
            report.problem(&*file, &*place, message);
        }
        if begun.continues {
            let root = if before.size > index { None } else { root_at(export, tree, before.size, report)? };
            if root.is_none_or(|root| root.to_string() != before.root) {
                let message = format!(
                    "the epoch says that it continues {} entries of {} with the root {}, and it does not",
                    before.size, before.origin, before.root
                );
                report.problem(&*file, &*place, message);
            }
        }
        let origin = Some((before.origin.clone(), before.size));
        let seen = EpochSeen { index, number: begun.epoch, before: origin, continues: begun.continues };
        report.epochs.push(seen);
    }
    Ok(())
}

/// Most leaves are told apart without being read as JSON.
fn begun(leaf: &[u8]) -> Option<Begun> {
    let word = LOG_BEGUN.as_bytes();
    if !leaf.windows(word.len()).any(|window| window == word) {
        return None;
    }
    let leaf: Leaf = serde_json::from_slice(leaf).ok().filter(|leaf: &Leaf| leaf.kind == LOG_BEGUN)?;
    serde_json::from_value(leaf.fact).ok()
}

/// The root of the first `size` leaves, by the tiles.
fn root_at(
    export: &Export,
    tree: &Tree,
    size: u64,
    report: &mut Report,
) -> Result<Option<Hash>, VerifyError> {
    let width = u64::from(TILE_WIDTH);
    let edge = size / width;
    let lowest =
        if size.is_multiple_of(width) { None } else { read_tile(export, 0, edge, tree.size, report)? };
    let hash = |row: u8, index: u64| match row {
        0 if index / width == edge => {
            let place = usize::try_from(index % width).ok()?;
            lowest.as_ref()?.hashes.get(place).copied()
        }
        _ => tree.hash(row, index),
    };
    let roots = complete_subtrees(size).map(|node| {
        let row = node.level / TILE_HEIGHT;
        subtree_root(node, row * TILE_HEIGHT, &mut |index| hash(row, index).ok_or(()))
    });
    let Ok(roots) = roots.collect::<Result<Vec<_>, ()>>() else { return Ok(None) };
    Ok(Frontier::new(size, roots).map(|frontier| frontier.root()))
}
