//! Hashes, complete subtrees and the frontier of a growing RFC 6962 tree.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 hash of a leaf or node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the tree without leaves: the hash of nothing.
    pub fn empty_root() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Reads exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The hash of a leaf: SHA-256 over `00` and its bytes.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node: SHA-256 over `01` and its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// A subtree whose leaves all exist: the leaves from `index << level` on, `1 << level` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// Height above the leaves; a leaf is a subtree of level 0.
    pub level: u8,
    /// Its place among the subtrees of its level, from the left, from 0.
    pub index: u64,
}

/// The largest complete subtrees that make up a tree of `size` leaves, left to right.
pub fn complete_subtrees(size: u64) -> impl DoubleEndedIterator<Item = Subtree> {
    (0..64_u8)
        .rev()
        .filter(move |level| size >> level & 1 == 1)
        .map(move |level| Subtree { level, index: (size >> level) - 1 })
}

/// What appending needs to know of a tree: its size and the roots of its complete subtrees.
///
/// At most 64 hashes, so a clone is cheap; a batch works on a clone that is kept once it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// In the order of [`complete_subtrees`].
    roots: Vec<Hash>,
}

impl Frontier {
    /// Takes up a tree again; `None` unless there is one root for each of [`complete_subtrees`].
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and tells `completed` each subtree, above the leaf, that is complete with it.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(Subtree, Hash)) {
        let mut node = Subtree { level: 0, index: self.size };
        let mut hash = leaf;
        while node.index & 1 == 1
            && let Some(left) = self.roots.pop()
        {
            node = Subtree { level: node.level + 1, index: node.index >> 1 };
            hash = node_hash(&left, &hash);
            completed(node, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it is now.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return Hash::empty_root() };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}
