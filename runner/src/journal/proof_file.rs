//! Proof files: that one entry is in the log, for whoever holds the public key and nothing else.

use staunch_core::tlog::{
    NoteError, ProofError, ProofFile, ProofFileError, VerifierKey, leaf_hash, verify_inclusion,
};

use super::error::JournalError;
use super::note::open_checkpoint;
use super::read::MAX_PAGE;
use super::{Journal, segment, sql};

/// What names of proof files end with.
pub const PROOF_EXTENSION: &str = "tlog-proof";
/// The most proofs that one call makes.
pub const MAX_PROOFS: u32 = MAX_PAGE;

/// What a proof file proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The entry's place in the log.
    pub index: u64,
    /// The entries that the checkpoint covers.
    pub size: u64,
    /// The leaf, as the file brings it.
    pub leaf: Vec<u8>,
}

/// Why a proof file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The file's form.
    #[error("the proof file is not of its form")]
    Form(#[from] ProofFileError),
    /// The checkpoint or its signature.
    #[error("the proof's checkpoint is not acceptable")]
    Checkpoint(#[from] NoteError),
    /// The file brings no leaf, and none was given.
    #[error("the proof file holds no leaf in `extra`")]
    NoLeaf,
    /// The hashes.
    #[error("the leaf is not in the log of the checkpoint")]
    Proof(#[from] ProofError),
}

impl Journal {
    /// Proof files for entries, under a checkpoint that covers all that is on the disk now. Each carries its
    /// leaf in `extra`.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`], [`JournalError::TooMany`] above [`MAX_PROOFS`],
    /// [`JournalError::Unavailable`] when no checkpoint can be signed, what the database reports.
    pub async fn prove(&self, indices: &[u64]) -> Result<Vec<ProofFile>, JournalError> {
        if indices.len() > MAX_PROOFS as usize {
            return Err(JournalError::TooMany { count: indices.len(), max: MAX_PROOFS as usize });
        }
        for index in indices {
            self.within("index", *index, self.size())?;
        }
        let checkpoint = self.checkpoint_covering_all().await?;
        let note = String::from_utf8_lossy(&checkpoint.note);
        let mut files = Vec::with_capacity(indices.len());
        for index in indices.iter().copied() {
            let lost = || JournalError::Damaged(format!("entry {index} cannot be read"));
            let leaf = self.entry(index).await?.ok_or_else(lost)?.leaf;
            let hashes = self.inclusion(index, checkpoint.size).await?;
            files.push(ProofFile { extra: Some(leaf), index, hashes, checkpoint: note.clone().into_owned() });
        }
        Ok(files)
    }

    /// The indices of a run's entries, the first [`MAX_PROOFS`] of them.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn run_indices(&self, run: &str) -> Result<Vec<u64>, JournalError> {
        let rows = sqlx::query_as::<_, (i64, Vec<u8>)>(sql::RUN_PLACES).bind(run);
        let rows = rows.fetch_all(&self.inner.pool).await;
        let rows = rows.map_err(JournalError::database("read a run's entries"))?;
        let indices = rows.iter().flat_map(|(first, places)| segment::indices(first.unsigned_abs(), places));
        Ok(indices.take(MAX_PROOFS as usize).collect())
    }
}

/// Checks a proof file with nothing but public keys.
///
/// # Errors
/// [`ProofFault`] when it does not prove that its leaf is in a log of one of the keys.
pub fn check_proof(bytes: &[u8], keys: &[VerifierKey]) -> Result<Proved, ProofFault> {
    let file = ProofFile::parse(bytes)?;
    let checkpoint = open_checkpoint(file.checkpoint.as_bytes(), keys)?;
    let leaf = file.extra.ok_or(ProofFault::NoLeaf)?;
    verify_inclusion(file.index, checkpoint.size, &leaf_hash(&leaf), &file.hashes, &checkpoint.root)?;
    Ok(Proved { index: file.index, size: checkpoint.size, leaf })
}
