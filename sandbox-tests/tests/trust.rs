//! Trust in plugins, end to end: a guest built from this tree, signed, tampered with, installed, and checked
//! by a program that we did not write.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what it skipped, starts Python, and breaks where it stands"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use staunch::plugin::builder::{BuildError, Environment, build};
use staunch::plugin::component::{MANIFEST_SECTION, embed_manifest};
use staunch::plugin::dsse::{Envelope, key_id};
use staunch::plugin::manifest::Language;
use staunch::plugin::scaffold;
use staunch::plugin::statement::Statement;
use staunch::plugin::trust::{Candidate, verify};
use staunch::plugin::{Installation, Registry, TrustPolicy, TrustedKey, sign};
use staunch_core::policy::PluginKind;

const MANIFEST: &str = r#"[plugin]
name = "web-fix"
version = "1.0.0"
kind = "remediation"
description = "Does nothing."
language = "rust"
release = 1
effects = "reversible"
[capabilities.http]
send = ["POST https://**"]
"#;

fn now() -> DateTime<Utc> {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn policy(keys: &[&SigningKey], threshold: usize) -> TrustPolicy {
    TrustPolicy { keys: keys.iter().map(|key| TrustedKey::new(key.verifying_key())).collect(), threshold }
}

/// Where tests may build: beside everything else that is built, so that it is built once.
fn target() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(workspace), PathBuf::from)
}

/// A component without code, with its manifest.
fn component() -> Vec<u8> {
    let text = r#"(component
        (import "staunch:http/http@1.0.0" (instance))
        (instance $i)
        (export "staunch:plugin/remediation@1.0.0" (instance $i)))"#;
    embed_manifest(&wat::parse_str(text).unwrap(), MANIFEST.as_bytes()).unwrap()
}

fn is_trusted(component: &[u8], envelope: &[u8], policy: &TrustPolicy) -> bool {
    let component = Bytes::copy_from_slice(component);
    verify(&Candidate { file: "p.wasm", component: &component, envelope }, policy, None, now()).is_ok()
}

/// The bytes with one of them changed.
fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 0x04;
    changed
}

/// Five places spread over a range.
fn places(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    (0..5).map(move |step| range.start + step * (range.len() - 1) / 4)
}

#[test]
fn twenty_changed_bytes_give_twenty_refusals() {
    let (key, bytes) = (key(1), component());
    let policy = policy(&[&key], 1);
    let envelope = sign("p.wasm", &bytes, None, &key, now()).unwrap();
    assert!(is_trusted(&bytes, &envelope, &policy));
    let manifest = bytes.len() - MANIFEST.len();
    let name = bytes.windows(MANIFEST_SECTION.len()).position(|window| window == MANIFEST_SECTION.as_bytes());
    let mut refused = 0;
    for at in places(0..name.unwrap()) {
        refused += usize::from(!is_trusted(&changed(&bytes, at), &envelope, &policy));
    }
    for at in places(manifest..bytes.len()) {
        refused += usize::from(!is_trusted(&changed(&bytes, at), &envelope, &policy));
    }
    for at in places(0..envelope.len()) {
        refused += usize::from(!is_trusted(&bytes, &changed(&envelope, at), &policy));
    }
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::at(directory.path());
    let shared = Bytes::from(bytes);
    let what =
        Installation { file: "p.wasm", component: &shared, envelope: &envelope, allow_downgrade: None };
    let (plugin, _) = registry.install(&what, &policy, now()).unwrap();
    let files = registry.files("web-fix", plugin.digest()).unwrap();
    let copies = files.into_iter().chain([directory.path().join("index.json")]);
    for (file, count) in copies.zip([2, 2, 1]) {
        let good = std::fs::read(&file).unwrap();
        for at in places(0..good.len()).skip(1).take(count) {
            std::fs::write(&file, changed(&good, at)).unwrap();
            refused += usize::from(registry.open("web-fix", &policy, now()).is_err());
        }
        std::fs::write(&file, good).unwrap();
        registry.open("web-fix", &policy, now()).unwrap();
    }
    assert_eq!(refused, 20);
}

/// Builds a scaffold in the shared guest folder; none, with a visible word, where no toolchain can.
fn built(parent: &Path, kind: PluginKind) -> Option<PathBuf> {
    let name = format!("scaffold-{}", kind.as_str());
    let created = scaffold::create(parent, &name, Language::Rust, kind).unwrap();
    let environment =
        Environment { target_dir: Some(target().join("guests")), ..Environment::of_this_process() };
    match build(&created.directory, &environment, &mut |line| eprintln!("{line}")) {
        Ok(built) => Some(built.file),
        Err(BuildError::Toolchain(reason)) => {
            eprintln!("SKIP: {reason}");
            None
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)),
    }
}

#[test]
fn every_scaffold_builds_and_is_trusted_once_signed() {
    let directory = tempfile::tempdir().unwrap();
    let policy = policy(&[&key(1)], 1);
    for (word, kind) in PluginKind::WORDS {
        let Some(file) = built(directory.path(), kind) else { return };
        let bytes = std::fs::read(&file).unwrap();
        let envelope = sign("p.wasm", &bytes, None, &key(1), now()).unwrap();
        assert!(is_trusted(&bytes, &envelope, &policy), "{word}");
        assert!(bytes.len() < 256 << 10, "{word} has {} bytes", bytes.len());
        let report = staunch::plugin::inspect("p.wasm", &bytes, Some(&envelope)).unwrap();
        assert_eq!((report.problem, report.wasi, report.imports), (None, vec![], vec!["http".to_owned()]));
        assert_eq!(report.exports, [word]);
    }
}

/// A Python with securesystemslib, in a virtual environment of our own; none, with a visible word, where it
/// cannot be had.
fn python() -> Option<PathBuf> {
    let environment = target().join("tmp/securesystemslib");
    let python = environment.join("bin/python");
    let works = |program: &Path, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let ready = || works(&python, &["-c", "import securesystemslib, cryptography"]);
    let path = environment.to_str()?;
    let install = ["-m", "pip", "install", "--quiet", "securesystemslib[crypto]==1.6.0"];
    if ready() || (works(Path::new("python3"), &["-m", "venv", path]) && works(&python, &install) && ready())
    {
        return Some(python);
    }
    eprintln!("SKIP: securesystemslib cannot be installed here (python3 -m venv, pip)");
    None
}

fn securesystemslib(python: &Path, arguments: &[&str]) -> std::process::Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trust/securesystemslib_check.py");
    Command::new(python).arg(script).args(arguments).output().unwrap()
}

#[test]
fn securesystemslib_and_we_agree_about_envelopes() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let keys = [key(1), key(2)];
    for (index, key) in keys.iter().enumerate() {
        let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        std::fs::write(path(&format!("{index}.pub")), pem).unwrap();
    }
    let bytes = component();
    let first = sign("p.wasm", &bytes, None, &keys[0], now()).unwrap();
    let envelope = sign("p.wasm", &bytes, Some(&first), &keys[1], now()).unwrap();
    let verified = |envelope: &[u8], threshold: &str| {
        std::fs::write(path("envelope"), envelope).unwrap();
        securesystemslib(&python, &["verify", &path("envelope"), threshold, &path("0.pub"), &path("1.pub")])
    };
    let said = verified(&envelope, "2");
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(
        text.starts_with("https://in-toto.io/Statement/v1 https://staunch.dev/plugin-release/v1 "),
        "{text}"
    );
    assert!(keys.iter().all(|key| text.contains(&key_id(&key.verifying_key()))), "{text}");
    assert!(!verified(&first, "2").status.success());

    // And the other way: what it signs, we verify.
    let statement = Statement::for_component("p.wasm", &bytes, now()).unwrap();
    std::fs::write(path("payload"), statement.to_bytes()).unwrap();
    let made = securesystemslib(&python, &["sign", &path("payload"), &"01".repeat(32), &"02".repeat(32)]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(Envelope::read(&made.stdout).unwrap().1, statement.to_bytes());
    assert!(is_trusted(&bytes, &made.stdout, &policy(&[&keys[0], &keys[1]], 2)));
    assert!(!is_trusted(&bytes, &made.stdout, &policy(&[&keys[0], &key(3)], 2)));
}
