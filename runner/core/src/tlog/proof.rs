//! Inclusion and consistency proofs: made from subtree roots, checked from nothing but hashes.
//!
//! Making a proof asks a closure for the roots of complete subtrees. A caller whose store cannot answer
//! at once runs it twice: first to learn which subtrees are wanted, then with the answers.

use super::tree::{Hash, Subtree, complete_subtrees, node_hash};

/// Why a proof was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index or sizes cannot be those of any proof.
    #[error("the proof's index and sizes contradict each other")]
    Range,
    /// Too few or too many hashes for this index and these sizes.
    #[error("the proof has {found} hashes instead of {expected}")]
    Length {
        /// Hashes that the proof must have.
        expected: usize,
        /// Hashes that it has.
        found: usize,
    },
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// The leaves of a tree whose number is not a power of two fall into a complete left subtree and a rest:
/// the largest power of two below `size`.
fn split(size: u64) -> u64 {
    debug_assert!(size > 1, "a tree of one leaf is not split");
    1 << (size - 1).ilog2()
}

/// The root of the leaves `from .. from + size`, where `from` is a multiple of the size rounded up to a
/// power of two.
fn range_root<E>(
    from: u64,
    size: u64,
    subtree: &mut impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut root = None;
    for part in complete_subtrees(size).rev() {
        let left = subtree(Subtree { level: part.level, index: part.index + (from >> part.level) })?;
        root = Some(root.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(root.unwrap_or_else(Hash::empty_root))
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// Those of `subtree`.
pub fn tree_root<E>(size: u64, mut subtree: impl FnMut(Subtree) -> Result<Hash, E>) -> Result<Hash, E> {
    range_root(0, size, &mut subtree)
}

/// The proof that leaf `index` is in the tree of `size` leaves: siblings from the leaf up.
/// Empty when there is no such leaf.
///
/// # Errors
/// Those of `subtree`.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    let (mut from, mut size) = (0, if index < size { size } else { 1 });
    while size > 1 {
        let left = split(size);
        if index - from < left {
            proof.push(range_root(from + left, size - left, &mut subtree)?);
            size = left;
        } else {
            proof.push(range_root(from, left, &mut subtree)?);
            from += left;
            size -= left;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `size` leaves begins with the tree of `old` leaves.
/// Empty when the sizes are equal, `old` is 0 or larger than `size`.
///
/// # Errors
/// Those of `subtree`.
pub fn consistency<E>(
    old: u64,
    size: u64,
    mut subtree: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= size {
        return Ok(proof);
    }
    let (mut from, mut size, mut old) = (0, size, old);
    while old != size {
        let left = split(size);
        if old <= left {
            proof.push(range_root(from + left, size - left, &mut subtree)?);
            size = left;
        } else {
            proof.push(range_root(from, left, &mut subtree)?);
            from += left;
            size -= left;
            old -= left;
        }
    }
    // The old tree as a whole is known to the verifier; a part of it is not.
    if from > 0 {
        proof.push(range_root(from, size, &mut subtree)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root of `node` from the hashes of one level below it: `hash(i)` is that of subtree `i` of level
/// `below`. Folds the few levels between two rows of tiles.
///
/// # Errors
/// Those of `hash`.
pub fn subtree_root<E>(
    node: Subtree,
    below: u8,
    hash: &mut impl FnMut(u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    if node.level <= below {
        return hash(node.index);
    }
    let level = node.level - 1;
    let left = subtree_root(Subtree { level, index: node.index << 1 }, below, hash)?;
    let right = subtree_root(Subtree { level, index: (node.index << 1) + 1 }, below, hash)?;
    Ok(node_hash(&left, &right))
}

/// Checks that `leaf` is the leaf `index` of the tree with `size` leaves and this root.
///
/// # Errors
/// [`ProofError`] when it does not follow from the proof.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    // Up to `inner` levels the path has siblings on both sides, above it only on the left.
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    expect_length(proof, inner + border)?;
    let mut hash = *leaf;
    for (level, sibling) in (0..).zip(proof) {
        let on_the_left = level >= inner || index >> level & 1 == 1;
        hash = if on_the_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree with `size` leaves and `root` begins with the tree of `old` leaves and `old_root`.
///
/// An old size of 0 is refused: everything begins with nothing, so such a proof says nothing.
///
/// # Errors
/// [`ProofError`] when it does not follow from the proof.
pub fn verify_consistency(
    old: u64,
    size: u64,
    old_root: &Hash,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old == 0 || old > size {
        return Err(ProofError::Range);
    }
    if old == size {
        expect_length(proof, 0)?;
        return if old_root == root { Ok(()) } else { Err(ProofError::Root) };
    }
    let shift = old.trailing_zeros();
    let index = (old - 1) >> shift;
    let inner = (u64::BITS - ((old - 1) ^ (size - 1)).leading_zeros()).saturating_sub(shift);
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    // An old tree that is one complete subtree is its own start.
    let (start, rest) = if old.is_power_of_two() {
        expect_length(proof, inner + border)?;
        (old_root, proof)
    } else {
        expect_length(proof, inner + border + 1)?;
        proof.split_first().ok_or(ProofError::Range)?
    };
    let (mut old_hash, mut hash) = (*start, *start);
    for (level, sibling) in (0..).zip(rest) {
        if level >= inner || index >> level & 1 == 1 {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
        } else {
            hash = node_hash(&hash, sibling);
        }
    }
    if old_hash == *old_root && hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

fn expect_length(proof: &[Hash], expected: u32) -> Result<(), ProofError> {
    let (expected, found) = (expected as usize, proof.len());
    if found == expected { Ok(()) } else { Err(ProofError::Length { expected, found }) }
}
