use proptest::prelude::*;

use super::*;

mod formats;
mod vectors;

/// All leaf hashes of a tree, and from them any subtree's root: the slow way, to compare with.
struct Tree(Vec<Hash>);

impl Tree {
    fn of(size: u64) -> Self {
        Self((0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect())
    }

    fn subtree(&self, node: Subtree) -> Result<Hash, String> {
        let leaf = |i: u64| self.0.get(usize::try_from(i).unwrap()).copied().ok_or(format!("no leaf {i}"));
        subtree_root(node, 0, &mut { leaf })
    }

    fn root(&self, size: u64) -> Hash {
        tree_root(size, |node| self.subtree(node)).unwrap()
    }
}

/// RFC 6962's own words: the root over a list of leaves.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

#[test]
fn the_frontier_has_the_root_of_the_definition_at_every_size() {
    let tree = Tree::of(300);
    let mut frontier = Frontier::default();
    for (size, leaf) in (0_u64..).zip(&tree.0) {
        assert_eq!(frontier.root(), root_by_definition(&tree.0[..usize::try_from(size).unwrap()]));
        assert_eq!(frontier.root(), tree.root(size));
        frontier.append(*leaf, |node, hash| assert_eq!(tree.subtree(node), Ok(hash)));
    }
}

#[test]
fn a_frontier_is_taken_up_from_its_complete_subtrees() {
    let tree = Tree::of(261);
    let mut grown = Frontier::default();
    tree.0.iter().for_each(|leaf| grown.append(*leaf, |_, _| ()));
    let roots = complete_subtrees(261).map(|node| tree.subtree(node).unwrap()).collect();
    assert_eq!(Frontier::new(261, roots), Some(grown));
    assert_eq!(Frontier::new(261, vec![]), None);
}

#[test]
fn every_inclusion_proof_of_small_trees_verifies() {
    let tree = Tree::of(70);
    for size in 1..=70 {
        let root = tree.root(size);
        for index in 0..size {
            let proof = inclusion(index, size, |node| tree.subtree(node)).unwrap();
            let leaf = &tree.0[usize::try_from(index).unwrap()];
            assert_eq!(verify_inclusion(index, size, leaf, &proof, &root), Ok(()));
        }
    }
}

#[test]
fn every_consistency_proof_of_small_trees_verifies() {
    let tree = Tree::of(70);
    for size in 1..=70 {
        for old in 1..=size {
            let proof = consistency(old, size, |node| tree.subtree(node)).unwrap();
            let (old_root, root) = (tree.root(old), tree.root(size));
            assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()));
        }
    }
}

proptest! {
    #[test]
    fn a_changed_byte_breaks_an_inclusion_proof(
        size in 2_u64..2000, index: u64, at: prop::sample::Index, bit in 0..8_u8,
    ) {
        let index = index % size;
        let tree = Tree::of(size);
        let root = tree.root(size);
        let leaf = tree.0[usize::try_from(index).unwrap()];
        let mut hashes = inclusion(index, size, |node| tree.subtree(node)).unwrap();
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &hashes, &root), Ok(()));
        prop_assert!(verify_inclusion(index ^ 1, size, &leaf, &hashes, &root).is_err());
        hashes.push(leaf);
        hashes.push(root);
        let at = at.index(hashes.len() * 32);
        hashes[at / 32].0[at % 32] ^= 1 << bit;
        let (root, leaf) = (hashes.pop().unwrap(), hashes.pop().unwrap());
        prop_assert!(verify_inclusion(index, size, &leaf, &hashes, &root).is_err());
    }

    #[test]
    fn a_changed_byte_breaks_a_consistency_proof(
        size in 2_u64..2000, old: u64, at: prop::sample::Index, bit in 0..8_u8,
    ) {
        let old = 1 + old % (size - 1);
        let tree = Tree::of(size);
        let mut hashes = consistency(old, size, |node| tree.subtree(node)).unwrap();
        hashes.push(tree.root(old));
        hashes.push(tree.root(size));
        let at = at.index(hashes.len() * 32);
        hashes[at / 32].0[at % 32] ^= 1 << bit;
        let (root, old_root) = (hashes.pop().unwrap(), hashes.pop().unwrap());
        prop_assert!(verify_consistency(old, size, &old_root, &root, &hashes).is_err());
    }
}
