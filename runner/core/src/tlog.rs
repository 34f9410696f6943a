//! The journal's Merkle tree and its outside forms, as pure functions.
//!
//! For: whoever appends to, serves, exports or verifies the journal. Trees and proofs are RFC 6962's;
//! tiles, checkpoints, signed notes and proof files are those of C2SP (`c2sp.org/tlog-tiles`,
//! `tlog-checkpoint`, `signed-note`, `tlog-proof`), so that programs which this project did not write
//! can check every one of them.
//!
//! Never: reads a file or a database, signs, or knows what a leaf says. Hashes of complete subtrees come
//! in through a closure, signatures are made and checked by the caller.
//!
//! ```text
//!   leaf bytes --leaf_hash--> Frontier --root--> checkpoint text --(caller signs)--> signed note
//!                                |
//!                                +--> roots of complete subtrees --> inclusion, consistency, tiles
//! ```

mod base64;
mod note;
mod proof;
mod proof_file;
mod tile;
mod tree;

pub use base64::{from_base64, to_base64};
pub use note::{
    Checkpoint, ED25519, KeyId, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, SignedNote,
    VerifierKey, is_key_name,
};
pub use proof::{
    ProofError, consistency, inclusion, subtree_root, tree_root, verify_consistency, verify_inclusion,
};
pub use proof_file::{ProofFile, ProofFileError};
pub use tile::{
    BundleError, TILE_HEIGHT, TILE_WIDTH, TilePath, entries_of_bundle, parse_index, push_bundle_entry,
    render_index, tile_paths,
};
pub use tree::{Frontier, Hash, Subtree, complete_subtrees, leaf_hash, node_hash};

/// The longest leaf, in bytes: entry bundles prefix each with its length in 16 bits.
pub const MAX_LEAF_BYTES: usize = u16::MAX as usize;

#[cfg(test)]
mod tests;
