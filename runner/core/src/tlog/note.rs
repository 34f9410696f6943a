//! Signed notes, verifier keys and checkpoints (`c2sp.org/signed-note`, `c2sp.org/tlog-checkpoint`).
//!
//! Only the formats: whether a signature is right is asked of the caller, who holds the cryptography.

use sha2::{Digest, Sha256};

use super::base64::{from_base64, to_base64};
use super::tile::parse_decimal;
use super::tree::Hash;

/// The signature type byte of Ed25519 over the note's text.
pub const ED25519: u8 = 0x01;
/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// The most signature lines that are read; C2SP asks for 16 or more.
pub const MAX_SIGNATURES: usize = 100;

/// The four bytes that hint at the key of a signature.
pub type KeyId = [u8; 4];

/// Why a note, key or checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the form of a signed note.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// Not of the form `<name>+<hash>+<key>`.
    #[error("not a verifier key: {0}")]
    Key(&'static str),
    /// Not of the form of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A signature by a known key is wrong.
    #[error("the signature of `{0}` is wrong")]
    Signature(String),
    /// None of the signatures is by a known key.
    #[error("no signature by a known key; the note is signed by {0}")]
    Unknown(String),
}

/// Whether a key may have this name: not empty, neither white space nor `+` in it.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// A public key with its name, as `log.vkey` holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    key: [u8; 32],
}

impl VerifierKey {
    /// An Ed25519 key under a name; `None` unless [`is_key_name`].
    pub fn ed25519(name: &str, key: [u8; 32]) -> Option<Self> {
        is_key_name(name).then(|| Self { name: name.to_owned(), id: key_id(name, &key), key })
    }

    /// Reads `<name>+<hash in hex>+<base64 of type and key>`.
    ///
    /// # Errors
    /// [`NoteError::Key`] for anything but the one way to write an Ed25519 key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::Key("it has no `+`"))?;
        let (_, key) = rest.split_once('+').ok_or(NoteError::Key("it has only one `+`"))?;
        let bytes = from_base64(key).ok_or(NoteError::Key("the key is not base64"))?;
        let Some((&ED25519, key)) = bytes.split_first() else {
            return Err(NoteError::Key("the key's type is not Ed25519 (01)"));
        };
        let key = key.try_into().map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?;
        let parsed = Self::ed25519(name, key).ok_or(NoteError::Key("the name is not one of a key"))?;
        // Covers the hash, its spelling and that of the key.
        if parsed.to_string() == text { Ok(parsed) } else { Err(NoteError::Key("the hash is wrong")) }
    }

    /// The key's name; of a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hint that stands before the key's signatures.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The Ed25519 public key.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut typed = [ED25519; 33];
        typed[1..].copy_from_slice(&self.key);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id), to_base64(&typed))
    }
}

fn key_id(name: &str, key: &[u8; 32]) -> KeyId {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name as the line gives it.
    pub name: String,
    /// The key's hint.
    pub id: KeyId,
    /// The signature's bytes, without the hint.
    pub signature: Vec<u8>,
}

/// A text with signatures under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Puts signatures under a text.
    ///
    /// # Errors
    /// [`NoteError::Form`] when the text does not end with a newline or holds control characters, or a
    /// signature's name is not one.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let note = Self { text, signatures };
        if Self::parse(note.to_string().as_bytes())? == note {
            Ok(note)
        } else {
            Err(NoteError::Form("the text reads as signatures"))
        }
    }

    /// Reads a signed note; whose signatures they are is not looked at yet.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Form("it is too long"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Form("it is not UTF-8"))?;
        if note.contains(|c: char| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Form("it holds a control character"));
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form("it has no empty line"))?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form("it does not end with a newline"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Form("it has too many signatures"));
        }
        let signatures = lines.split('\n').map(parse_signature).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// What is signed: the text with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, those of unknown keys too.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The text, if a known key signed it. `is_right(key, text, signature)` checks one signature.
    ///
    /// Signatures by unknown keys are passed over: witnesses and future keys add theirs.
    ///
    /// # Errors
    /// [`NoteError::Signature`] when any signature by a known key is wrong, [`NoteError::Unknown`] when no
    /// known key signed.
    pub fn verify(
        &self,
        known: &[VerifierKey],
        is_right: impl Fn(&VerifierKey, &[u8], &[u8]) -> bool,
    ) -> Result<&str, NoteError> {
        let mut found = false;
        for line in &self.signatures {
            for key in known.iter().filter(|key| key.id == line.id && key.name == line.name) {
                if !is_right(key, self.text.as_bytes(), &line.signature) {
                    return Err(NoteError::Signature(line.name.clone()));
                }
                found = true;
            }
        }
        if found {
            return Ok(&self.text);
        }
        let names: Vec<_> = self.signatures.iter().map(|line| format!("`{}`", line.name)).collect();
        Err(NoteError::Unknown(names.join(", ")))
    }
}

impl std::fmt::Display for SignedNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let mut bytes = line.id.to_vec();
            bytes.extend_from_slice(&line.signature);
            writeln!(f, "\u{2014} {} {}", line.name, to_base64(&bytes))?;
        }
        Ok(())
    }
}

fn parse_signature(line: &str) -> Result<NoteSignature, NoteError> {
    let form = NoteError::Form("a signature line is not `\u{2014} <name> <base64>`");
    let rest = line.strip_prefix("\u{2014} ").ok_or_else(|| form.clone())?;
    let (name, signature) = rest.split_once(' ').ok_or_else(|| form.clone())?;
    let bytes = from_base64(signature).ok_or_else(|| form.clone())?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(|| form.clone())?;
    if !is_key_name(name) || signature.is_empty() {
        return Err(form);
    }
    Ok(NoteSignature { name: name.to_owned(), id: *id, signature: signature.to_vec() })
}

/// What a checkpoint states: this log has this many leaves under this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, the same for its life.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a checkpoint's text: three lines and no more. C2SP allows further lines but advises against
    /// them, and this log writes none, so one is a change.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let fail = |what| Err(NoteError::Checkpoint(what));
        let lines: Vec<_> = text.split('\n').collect();
        let [origin, size, root, ""] = lines[..] else { return fail("it does not have three lines") };
        if !is_key_name(origin) {
            return fail("the first line is no origin");
        }
        let Some(size) = parse_decimal(size) else { return fail("the second line is no size") };
        let root = from_base64(root).and_then(|bytes| Hash::from_slice(&bytes));
        let Some(root) = root else { return fail("the third line is no root hash") };
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

impl std::fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, to_base64(&self.root.0))
    }
}
