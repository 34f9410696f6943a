//! The vectors that transparency-dev publishes for RFC 6962 proofs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

/// `../shared/vectors/rfc6962` beside the workspace, unless `STAUNCH_SHARED` says where `shared` is.
#[expect(clippy::disallowed_methods, reason = "a test finds its vectors by the environment")]
fn folder(kind: &str) -> Option<PathBuf> {
    let shared = std::env::var("STAUNCH_SHARED")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let folder = shared.join("vectors/rfc6962").join(kind);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no vectors in {}", folder.display());
    None
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

/// `None` for what is no hash of 32 bytes: such a vector is refused before any proof is looked at.
fn hash(text: &str) -> Option<Hash> {
    Hash::from_slice(&from_base64(text).unwrap())
}

fn hashes(proof: Option<Vec<String>>) -> Option<Vec<Hash>> {
    proof.unwrap_or_default().iter().map(|text| hash(text)).collect()
}

#[test]
fn inclusion_vectors_are_judged_as_published() {
    let Some(folder) = folder("inclusion") else { return };
    let files = files(&folder);
    assert_eq!(files.len(), 98);
    for file in files {
        let case: Inclusion = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let judged = || {
            let (leaf, root) = (hash(&case.leaf_hash)?, hash(&case.root)?);
            verify_inclusion(case.leaf_idx, case.tree_size, &leaf, &hashes(case.proof)?, &root).ok()
        };
        assert_eq!(judged().is_none(), case.want_err, "{}", file.display());
    }
}

#[test]
fn consistency_vectors_are_judged_as_published() {
    let Some(folder) = folder("consistency") else { return };
    let files = files(&folder);
    assert_eq!(files.len(), 98);
    for file in files {
        let case: Consistency = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        // This one has the text "don't care" for two equal roots, which is no hash; here a root is 32 bytes.
        let no_hashes = file.ends_with("sizes-are-equal-one-and-proof-is-empty.json");
        let judged = || {
            let (old, new) = (hash(&case.root1)?, hash(&case.root2)?);
            verify_consistency(case.size1, case.size2, &old, &new, &hashes(case.proof)?).ok()
        };
        assert_eq!(judged().is_none(), case.want_err || no_hashes, "{}", file.display());
    }
}
