use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::plugin::testing::key;

/// A file of the shared vectors, or none with a visible word.
fn vectors(name: &str) -> Option<Value> {
    let shared = option_env!("STAUNCH_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = shared.join("vectors").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIP: {}: {error}", path.display());
            None
        }
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn accepts(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = VerifyingKey::try_from(key) else { return false };
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

#[test]
fn encodes_before_signing_as_the_protocol_says() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}

#[test]
fn accepts_exactly_43_of_the_cctv_vectors() {
    let Some(vectors) = vectors("ed25519/cctv.json") else { return };
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 914);
    let accepted = vectors
        .iter()
        .filter(|v| accepts(&bytes(&v["key"]), v["msg"].as_str().unwrap().as_bytes(), &bytes(&v["sig"])));
    assert_eq!(accepted.count(), 43);
}

#[test]
fn agrees_with_all_151_wycheproof_vectors() {
    let Some(vectors) = vectors("wycheproof/ed25519_test.json") else { return };
    let mut seen = 0;
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"]["pk"]);
        for test in group["tests"].as_array().unwrap() {
            let valid = test["result"] == "valid";
            assert_eq!(accepts(&key, &bytes(&test["msg"]), &bytes(&test["sig"])), valid, "{test}");
            seen += 1;
        }
    }
    assert_eq!(seen, 151);
}

#[test]
fn key_ids_are_of_the_spki() {
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    let key = key(1).verifying_key();
    assert_eq!(key_id(&key), Digest::of(key.to_public_key_der().unwrap().as_bytes()).hex());
}

#[test]
fn counts_each_key_once_and_passes_over_strangers() {
    let (one, two, stranger) = (key(1), key(2), key(3));
    let (one_public, two_public) = (one.verifying_key(), two.verifying_key());
    let mut envelope = Envelope::of(b"payload");
    for key in [&one, &one, &stranger, &two] {
        envelope.sign(key);
    }
    assert_eq!(envelope.signatures.len(), 3);
    let copy = envelope.signatures[0].clone();
    envelope.signatures.push(copy);
    envelope.signatures[0].keyid.clear();
    let (read, payload) = Envelope::read(&to_bytes(&envelope)).unwrap();
    assert_eq!(payload, b"payload");
    assert_eq!(read.signers(&payload, &[&one_public, &two_public]).unwrap(), [0, 1]);
    assert_eq!(read.signers(&payload, &[&two_public]).unwrap(), [0]);
}

#[test]
fn a_signature_that_names_a_trusted_key_must_be_its_own() {
    let (one, two) = (key(1), key(2));
    let mut envelope = Envelope::of(b"payload");
    envelope.sign(&one);
    envelope.sign(&two);
    envelope.signatures[1].keyid = key_id(&one.verifying_key());
    let refused = envelope.signers(b"payload", &[&one.verifying_key(), &two.verifying_key()]);
    assert!(matches!(refused, Err(DsseError::Signature(_))));
}

#[test]
fn refuses_what_is_no_envelope() {
    let check = |text: &str, says: &str| {
        let error = Envelope::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    };
    let good = r#"{"payload":"eA==","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"","sig":""}]}"#;
    Envelope::read(good.as_bytes()).unwrap();
    check("", "not a DSSE envelope");
    check(&good.replace("\"sig\"", "\"sgi\""), "not a DSSE envelope");
    check(&good.replace("in-toto", "other"), "valid: application/vnd.in-toto+json");
    check(&good.replace("eA==", "eB=="), "payload is not canonical base64");
    check(&good.replace("eA==", "eA="), "payload is not canonical base64");
    check(&good.replace(r#"{"keyid":"","sig":""}"#, ""), "envelope has 0 signatures");
    check(&" ".repeat(MAX_BYTES + 1), "at most");
    let many = vec![r#"{"sig":""}"#; MAX_SIGNATURES + 1].join(",");
    check(&good.replace(r#"{"keyid":"","sig":""}"#, &many), "envelope has 65 signatures");
}
