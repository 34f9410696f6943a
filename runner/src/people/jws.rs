//! JSON Web Signatures in their compact form, as an OpenID provider makes them: read strictly, verified by keys of
//! fixed kinds.
//!
//! Only asymmetric algorithms of a closed list exist here, so that neither `none` nor a secret made of a public key
//! can ever be meant. Never here: what the claims mean, and where keys come from.

use aws_lc_rs::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The longest token, in bytes.
pub(super) const MAX_TOKEN: usize = 16 << 10;

/// The longest key id that is looked for, in bytes.
const MAX_KEY_ID: usize = 256;

/// The algorithms that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, algorithm)| *algorithm)
    }

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| *name)
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

/// What a public key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
    /// An uncompressed point of P-384.
    P384(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

impl Material {
    /// Whether signatures by the algorithm can be verified with it.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let by = |kind: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(kind, key).verify(message, signature).is_ok()
        };
        match (self, algorithm, algorithm.rsa()) {
            (Self::Rsa { modulus, exponent }, _, Some(parameters)) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            (Self::P256(point), Algorithm::Es256, _) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Self::P384(point), Algorithm::Es384, _) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Self::Ed25519(key), Algorithm::EdDsa, _) => by(&signature::ED25519, key),
            (Self::Rsa { .. } | Self::P256(_) | Self::P384(_) | Self::Ed25519(_), _, _) => false,
        }
    }
}

/// What of a header has a say. Members that nobody must understand are passed over.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
    b64: Option<serde_json::Value>,
}

/// A signed token, not verified yet.
#[derive(Debug)]
pub(super) struct Signed<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    message: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a text is no token that could be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwsError {
    /// It does not have the form.
    #[error("it is not a JWT in compact form")]
    Form,
    /// It is too long.
    #[error("it is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It is signed otherwise than accepted.
    #[error(
        "the algorithm {0:?} is not accepted; accepted are RS, PS and ES with 256 or 384, RS512, PS512 and EdDSA"
    )]
    Algorithm(String),
    /// It demands something that nobody here understands.
    #[error("it demands an extension that is not understood")]
    Critical,
}

impl<'t> Signed<'t> {
    /// Reads a token.
    pub(super) fn read(token: &'t str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN {
            return Err(JwsError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Form)?;
        let (header, payload) = message.split_once('.').ok_or(JwsError::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Form);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Form)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(JwsError::Critical);
        }
        let unknown = || JwsError::Algorithm(header.alg.chars().take(20).collect());
        let algorithm = Algorithm::parse(&header.alg).ok_or_else(unknown)?;
        let key_id = header.kid.filter(|id| id.len() <= MAX_KEY_ID);
        Ok(Self { algorithm, key_id, message, payload, signature })
    }

    /// The payload, if the key made the signature.
    pub(super) fn verified_by(&self, key: &Material) -> Option<&[u8]> {
        let good = key.verifies(self.algorithm, self.message.as_bytes(), &self.signature);
        good.then_some(self.payload.as_slice())
    }
}

#[cfg(test)]
mod tests;
