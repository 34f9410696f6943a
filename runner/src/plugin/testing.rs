//! Small genuine plugins for the tests of this room.

use ed25519_dalek::SigningKey;

use super::component::embed_manifest;
use super::dsse::{self, Envelope};
use super::statement::Statement;
use super::trust::{TrustPolicy, TrustedKey};

/// A component that imports some of our interfaces and exports one kind, doing nothing.
pub(crate) fn component(imports: &[&str], kind: &str) -> Vec<u8> {
    let imports: String =
        imports.iter().map(|name| format!("(import \"staunch:{name}/{name}@1.0.0\" (instance))\n")).collect();
    let text =
        format!("(component {imports} (instance $i) (export \"staunch:plugin/{kind}@1.0.0\" (instance $i)))");
    wat::parse_str(text).unwrap()
}

/// A manifest that asks for one function of each named capability.
pub(crate) fn manifest_text(name: &str, release: u64, requests: &[&str]) -> String {
    let requests: String = requests
        .iter()
        .map(|capability| {
            let function = match *capability {
                "http" => "send",
                "process" => "run",
                "service" => "restart",
                _ => "read",
            };
            format!("[capabilities.{capability}]\n{function} = [\"**\"]\n")
        })
        .collect();
    format!(
        "[plugin]\nname = \"{name}\"\nversion = \"1.{release}.0\"\nkind = \"remediation\"\ndescription = \"Does \
         nothing.\"\nlanguage = \"rust\"\nrelease = {release}\neffects = \"reversible\"\n{requests}"
    )
}

/// A whole plugin: component with its manifest inside.
pub(crate) fn plugin(name: &str, release: u64) -> Vec<u8> {
    embed_manifest(&component(&["http"], "remediation"), manifest_text(name, release, &["http"]).as_bytes())
        .unwrap()
}

/// A key from a seed.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The envelope of `bytes` signed by `keys`.
pub(crate) fn signed(bytes: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    let statement = Statement::for_component("plugin.wasm", bytes, now()).unwrap();
    let mut envelope = Envelope::of(&statement.to_bytes());
    for key in keys {
        envelope.sign(key);
    }
    dsse::to_bytes(&envelope)
}

/// A policy that trusts `keys` for every name.
pub(crate) fn policy(keys: &[&SigningKey], threshold: usize) -> TrustPolicy {
    let keys = keys.iter().map(|key| TrustedKey::new(key.verifying_key())).collect();
    TrustPolicy { keys, threshold }
}

/// The time of every test.
pub(crate) fn now() -> chrono::DateTime<chrono::Utc> {
    "2026-06-01T12:00:00Z".parse().unwrap()
}
