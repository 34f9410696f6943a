//! The public keys of an OpenID provider, as its JWK set has them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::jws::{Algorithm, Material};

/// The most keys of one set.
const MOST_KEYS: usize = 100;

/// The keys of a provider that can verify something here.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<String>,
    material: Material,
}

/// Why no key of a set is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None has the id: the provider may have changed its keys.
    Unknown,
    /// Several could be meant, or the one with the id is for something else.
    Unfit,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that cannot verify a signature here (symmetric ones, for encryption, of other kinds) are
    /// passed over, as RFC 7517 wants it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text).map_err(|error| format!("not a JWK set: {error}"))?;
        if set.keys.len() > MOST_KEYS {
            return Err(format!("more than {MOST_KEYS} keys"));
        }
        Ok(Self(set.keys.into_iter().filter_map(Key::read).collect()))
    }

    /// The key of this id; without an id, the only one that fits the algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Material, NoKey> {
        let named: Vec<&Key> = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).collect();
        if named.is_empty() {
            return Err(NoKey::Unknown);
        }
        // Two keys of one id: which of them is meant cannot be told, and guessing is how such sets are abused.
        if id.is_some() && named.len() > 1 {
            return Err(NoKey::Unfit);
        }
        let fits = |key: &&&Key| {
            key.material.fits(algorithm)
                && key.algorithm.as_deref().is_none_or(|word| word == algorithm.as_str())
        };
        match named.iter().filter(fits).collect::<Vec<_>>().as_slice() {
            [only] => Ok(&only.material),
            _ => Err(NoKey::Unfit),
        }
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if jwk.key_ops.as_ref().is_some_and(|ops| ops.iter().all(|op| op != "verify")) {
            return None;
        }
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { modulus: number(&jwk.n?)?, exponent: number(&jwk.e?)? },
            ("EC", Some("P-256")) => Material::P256(point(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&jwk.x?, &jwk.y?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(sized(&jwk.x?, 32)?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, material })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A big-endian number; leading zeros are no part of it.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = decode(text)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

fn sized(text: &str, length: usize) -> Option<Vec<u8>> {
    decode(text).filter(|bytes| bytes.len() == length)
}

fn point(x: &str, y: &str, length: usize) -> Option<Vec<u8>> {
    Some([vec![4], sized(x, length)?, sized(y, length)?].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(keys: &Value) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn ed(id: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode([7; 32]) })
    }

    #[test]
    fn a_key_is_found_by_its_id_and_only_for_what_it_is() {
        let keys = set(&json!([ed("a"), ed("b")]));
        assert!(keys.find(Some("a"), Algorithm::EdDsa).is_ok());
        assert_eq!(keys.find(Some("a"), Algorithm::Rs256).unwrap_err(), NoKey::Unfit);
        assert_eq!(keys.find(Some("c"), Algorithm::EdDsa).unwrap_err(), NoKey::Unknown);
        assert_eq!(keys.find(None, Algorithm::EdDsa).unwrap_err(), NoKey::Unfit, "either could be meant");
        assert!(set(&json!([ed("a")])).find(None, Algorithm::EdDsa).is_ok());
        let twice = set(&json!([ed("a"), ed("a")]));
        assert_eq!(twice.find(Some("a"), Algorithm::EdDsa).unwrap_err(), NoKey::Unfit);
        let mut other = ed("a");
        other["alg"] = json!("RS256");
        assert_eq!(set(&json!([other])).find(Some("a"), Algorithm::EdDsa).unwrap_err(), NoKey::Unfit);
    }

    #[test]
    fn keys_for_other_purposes_and_of_other_kinds_are_passed_over() {
        let with = |member: &str, value: Value| {
            let mut key = ed("a");
            key[member] = value;
            key
        };
        for key in [
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("crv", json!("Ed448")),
            with("kty", json!("oct")),
            with("x", json!("AAAA")),
            with("x", json!("****")),
            json!({ "kty": "RSA", "kid": "a", "n": "AA", "e": "AQAB" }),
            json!("nonsense"),
        ] {
            assert_eq!(
                set(&json!([key])).find(Some("a"), Algorithm::EdDsa).unwrap_err(),
                NoKey::Unknown,
                "{key}"
            );
        }
        for text in ["", "[]", "{}", r#"{"keys":7}"#] {
            assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
