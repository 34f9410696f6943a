//! DSSE v1 envelopes with Ed25519 signatures (secure-systems-lab/dsse, protocol.md and envelope.md).
//!
//! An envelope says who signed which bytes. It says nothing about what they mean: that is `statement`, and
//! whether the signers suffice is `trust`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use staunch_core::id::Digest;

/// A larger envelope is refused unread.
pub const MAX_BYTES: usize = 1 << 20;

/// The one payload type that is accepted.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const MAX_SIGNATURES: usize = 64;

/// What stands before the 32 bytes of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Signed bytes and their signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    /// A hint, not authenticated: which key to try. Empty: try all.
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Bytes that are no envelope, or one with a signature that does not verify.
#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    /// Too many bytes.
    #[error("envelope has {0} bytes; at most {MAX_BYTES} are accepted")]
    TooLarge(usize),
    /// Not the JSON of an envelope.
    #[error("not a DSSE envelope")]
    Json(#[from] serde_json::Error),
    /// Some other kind of payload.
    #[error("payload type is {0:?}; valid: {PAYLOAD_TYPE}")]
    PayloadType(String),
    /// Not base64.
    #[error("{0} is not canonical base64")]
    Base64(&'static str),
    /// None, or too many.
    #[error("envelope has {0} signatures; 1 to {MAX_SIGNATURES} are accepted")]
    Count(usize),
    /// A key that is trusted did not make the signature that names it.
    #[error("signature that names key {0} was not made by it over these bytes")]
    Signature(String),
}

/// The id of a key: hexadecimal SHA-256 of its `SubjectPublicKeyInfo` in DER.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    Digest::of_parts(&[SPKI_PREFIX.as_slice(), key.as_bytes()]).hex()
}

/// The pre-authentication encoding: what is signed.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// An envelope of `payload` that nobody has signed yet.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: Vec::new(),
        }
    }

    /// Reads an envelope and its payload. Nothing is verified yet.
    ///
    /// # Errors
    /// [`DsseError`], never `Signature`.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<u8>), DsseError> {
        if bytes.len() > MAX_BYTES {
            return Err(DsseError::TooLarge(bytes.len()));
        }
        let envelope: Self = serde_json::from_slice(bytes)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(DsseError::PayloadType(envelope.payload_type));
        }
        if !(1..=MAX_SIGNATURES).contains(&envelope.signatures.len()) {
            return Err(DsseError::Count(envelope.signatures.len()));
        }
        let payload = decode(&envelope.payload).ok_or(DsseError::Base64("payload"))?;
        Ok((envelope, payload))
    }

    /// Adds the signature of `key`, in place of an earlier one of the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let payload = decode(&self.payload).unwrap_or_default();
        let signature = key.sign(&pae(&self.payload_type, &payload));
        let keyid = key_id(&key.verifying_key());
        self.signatures.retain(|known| known.keyid != keyid);
        self.signatures.push(EnvelopeSignature { keyid, sig: STANDARD.encode(signature.to_bytes()) });
    }

    /// The keys among `trusted` that signed `payload`, each once, as indices in their order.
    ///
    /// Signatures of strangers are passed over; one that names a trusted key and is not its own is an error.
    ///
    /// # Errors
    /// `Base64` and `Signature`.
    pub fn signers(&self, payload: &[u8], trusted: &[&VerifyingKey]) -> Result<Vec<usize>, DsseError> {
        let message = pae(&self.payload_type, payload);
        let ids: Vec<String> = trusted.iter().map(|key| key_id(key)).collect();
        let mut signers = Vec::new();
        for signature in &self.signatures {
            let bytes = decode(&signature.sig).ok_or(DsseError::Base64("signature"))?;
            let Ok(parsed) = Signature::from_slice(&bytes) else {
                return Err(DsseError::Base64("signature of 64 bytes"));
            };
            let made_by = |index: usize| trusted[index].verify_strict(&message, &parsed).is_ok();
            if signature.keyid.is_empty() {
                signers.extend((0..trusted.len()).filter(|index| made_by(*index)));
            } else if let Some(index) = ids.iter().position(|id| *id == signature.keyid) {
                if !made_by(index) {
                    return Err(DsseError::Signature(signature.keyid.clone()));
                }
                signers.push(index);
            }
        }
        signers.sort_unstable();
        signers.dedup();
        Ok(signers)
    }

    /// The key ids that its signatures name, verified or not: for people.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.keyid.as_str())
    }
}

/// The envelope as a file: compact, without a final newline, so that no byte of it is without meaning.
///
/// # Panics
/// Never: an envelope is strings alone.
#[must_use]
pub fn to_bytes(envelope: &Envelope) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("strings always serialise")
}

/// DSSE allows both alphabets; a text in both at once is neither.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests;
