//! Signing checkpoints and checking who signed them: the cryptography to `staunch_core::tlog`'s formats.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use staunch_core::tlog::{Checkpoint, NoteError, NoteSignature, SignedNote, VerifierKey};

/// A log's key under the log's name.
#[derive(Debug)]
pub(super) struct NoteSigner {
    key: SigningKey,
    public: VerifierKey,
}

impl NoteSigner {
    /// `None` when the origin cannot be the name of a key.
    pub(super) fn new(origin: &str, key: SigningKey) -> Option<Self> {
        let public = verifier_key(origin, &key.verifying_key())?;
        Some(Self { key, public })
    }

    pub(super) fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The checkpoint as a signed note.
    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<String, NoteError> {
        let text = checkpoint.to_string();
        let signature = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        let line = NoteSignature { name: self.public.name().to_owned(), id: self.public.id(), signature };
        Ok(SignedNote::new(text, vec![line])?.to_string())
    }
}

/// The content of `log.vkey`, without a newline: the key under which a log's checkpoints verify.
/// `None` when the origin cannot be the name of a key.
pub fn verifier_key(origin: &str, key: &VerifyingKey) -> Option<VerifierKey> {
    VerifierKey::ed25519(origin, key.to_bytes())
}

/// What a signed checkpoint states, if one of the keys signed it.
///
/// # Errors
/// [`NoteError`] when it is no checkpoint, a known key's signature is wrong or no known key signed, or
/// when the log that it names is not the one whose key signed.
pub fn open_checkpoint(note: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, NoteError> {
    let note = SignedNote::parse(note)?;
    let checkpoint = Checkpoint::parse(note.verify(keys, is_right)?)?;
    if keys.iter().any(|key| key.name() == checkpoint.origin) {
        Ok(checkpoint)
    } else {
        Err(NoteError::Checkpoint("it is of another log than its key"))
    }
}

/// Strict: refuses keys and signatures for which implementations disagree.
fn is_right(key: &VerifierKey, text: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(key.key()), Signature::from_slice(signature))
    else {
        return false;
    };
    key.verify_strict(text, &signature).is_ok()
}
