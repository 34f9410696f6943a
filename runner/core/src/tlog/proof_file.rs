//! Proof files (`c2sp.org/tlog-proof@v1`): one leaf's inclusion, checkable offline.

use super::base64::{from_base64, to_base64};
use super::note::MAX_NOTE_BYTES;
use super::tile::parse_decimal;
use super::tree::Hash;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof file was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// The file is not of the format's form; the text says where.
    #[error("not a {HEADER} file: {0}")]
    Form(&'static str),
}

/// The contents of a `.tlog-proof` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Data that travels with the proof and that nothing authenticates; here, the leaf itself, which the
    /// proof then does.
    pub extra: Option<Vec<u8>>,
    /// The leaf's place in the log.
    pub index: u64,
    /// Siblings from the leaf up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint that the hashes lead to, as signed.
    pub checkpoint: String,
}

impl ProofFile {
    /// Reads a proof file.
    ///
    /// # Errors
    /// [`ProofFileError::Form`] for anything that [`std::fmt::Display`] would not have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let fail = ProofFileError::Form;
        if bytes.len() > 2 * MAX_NOTE_BYTES {
            return Err(fail("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| fail("it is not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(fail("it has no empty line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(fail("the first line is another"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.and_then(|line| line.strip_prefix("extra ")).map(from_base64);
        let extra = match extra {
            Some(None) => return Err(fail("`extra` is not base64")),
            Some(Some(bytes)) => Some(bytes),
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or(fail("it has no index"))?;
        let hash = |line| from_base64(line).and_then(|bytes| Hash::from_slice(&bytes));
        let hashes: Option<Vec<_>> = lines.map(hash).collect();
        let hashes = hashes.ok_or(fail("a line is not the base64 of a hash"))?;
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

impl std::fmt::Display for ProofFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", to_base64(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
