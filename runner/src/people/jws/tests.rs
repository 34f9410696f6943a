//! Wycheproof's sets of JSON Web Signatures, and what this reader adds to them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::jwks::KeySet;
use super::*;

/// A file of published vectors; `None`, with a visible skip, where they are not there.
fn vectors(name: &str) -> Option<Value> {
    let root = std::env::var_os("STAUNCH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join("vectors/wycheproof").join(name);
    if !path.exists() {
        println!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// The public part of a group's key or key set, as a set.
fn keys(group: &Value) -> KeySet {
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    let set = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
    KeySet::read(set.to_string().as_bytes()).unwrap()
}

fn accepts(keys: &KeySet, token: &str) -> bool {
    let Ok(signed) = Signed::read(token) else { return false };
    let Ok(key) = keys.find(signed.key_id.as_deref(), signed.algorithm) else { return false };
    signed.verified_by(key).is_some()
}

/// Not looked for: a key whose maker chose its primes badly. Keys are the pinned issuer's own, and its to replace.
const WEAK_PRIMES: &str = "jws_rsa_roca_key";

/// Runs a set: nothing invalid is accepted, and nothing valid is refused that is signed as accepted here.
fn check(file: &str) -> (usize, usize) {
    let Some(set) = vectors(file) else { return (0, 0) };
    let (mut accepted, mut refused) = (0, 0);
    for group in set["testGroups"].as_array().unwrap() {
        if group["comment"] == WEAK_PRIMES {
            continue;
        }
        let keys = keys(group);
        for test in group["tests"].as_array().unwrap() {
            // One vector is in the JSON serialization, which is no token.
            let Some(token) = test["jws"].as_str() else { continue };
            let got = accepts(&keys, token);
            let shown = format!("{file} {} {}: {}", test["tcId"], group["comment"], test["comment"]);
            if got {
                assert_eq!(test["result"], "valid", "{shown}");
                accepted += 1;
            } else {
                let ours = Signed::read(token)
                    .is_ok_and(|signed| keys.find(signed.key_id.as_deref(), signed.algorithm).is_ok());
                assert!(test["result"] == "invalid" || !ours, "{shown}");
                refused += 1;
            }
        }
    }
    (accepted, refused)
}

#[test]
fn accepts_no_signature_that_wycheproof_calls_invalid() {
    for file in ["json_web_signature_test.json", "json_web_crypto_test.json", "json_web_key_test.json"] {
        let (accepted, refused) = check(file);
        println!("{file}: {accepted} accepted, {refused} refused");
    }
}

#[test]
fn accepts_the_good_ones_of_every_kind_that_it_knows() {
    let Some(set) = vectors("json_web_signature_test.json") else { return };
    for kind in ["rs256", "ps256", "es256", "es384"] {
        let groups = set["testGroups"].as_array().unwrap().iter();
        let of_kind: Vec<&Value> = groups
            .filter(|group| group["comment"].as_str().is_some_and(|said| said.to_lowercase().contains(kind)))
            .collect();
        let good = of_kind.iter().any(|group| {
            let keys = keys(group);
            group["tests"].as_array().unwrap().iter().any(|test| {
                test["result"] == "valid" && test["jws"].as_str().is_some_and(|token| accepts(&keys, token))
            })
        });
        assert!(good || of_kind.is_empty(), "no {kind} is accepted");
    }
}

#[test]
fn neither_none_nor_a_secret_can_be_meant() {
    let token = |header: &Value| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(&header.to_string()), part("{}"), part("s"))
    };
    for alg in ["none", "None", "HS256", "HS384", "HS512", "ES256K", "RSA1_5", "rs256", ""] {
        let error = Signed::read(&token(&json!({ "alg": alg }))).unwrap_err();
        assert_eq!(error, JwsError::Algorithm(alg.to_owned()));
    }
    for more in [json!({ "alg": "RS256", "crit": ["exp"] }), json!({ "alg": "RS256", "b64": false })] {
        assert_eq!(Signed::read(&token(&more)).unwrap_err(), JwsError::Critical);
    }
    for text in ["", "a.b", "a.b.c.d", "..", "e30.e30.", "e30=.e30.e30", "*.*.*"] {
        assert_eq!(Signed::read(text).unwrap_err(), JwsError::Form, "{text}");
    }
    assert_eq!(Signed::read(&"a".repeat(MAX_TOKEN + 1)).unwrap_err(), JwsError::TooLong);
    let twice = format!("{}.e30.e30", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","alg":"EdDSA"}"#));
    assert_eq!(Signed::read(&twice).unwrap_err(), JwsError::Form, "a member twice");
}
