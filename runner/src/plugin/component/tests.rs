use super::*;
use crate::plugin::testing::{component, manifest_text};

#[test]
fn embeds_replaces_and_reads_back_the_manifest() {
    let bare = component(&["http"], "remediation");
    assert!(matches!(Component::read(&bare), Err(ComponentError::NoManifest)));
    let first = embed_manifest(&bare, b"one").unwrap();
    let second = embed_manifest(&first, b"two").unwrap();
    assert_eq!(Component::read(&first).unwrap().manifest, b"one");
    assert_eq!(Component::read(&second).unwrap().manifest, b"two");
    assert_eq!(second, embed_manifest(&bare, b"two").unwrap());
}

#[test]
fn refuses_two_manifests() {
    let once = embed_manifest(&component(&[], "check"), b"x").unwrap();
    let section = &once[component(&[], "check").len()..];
    let twice = [&once[..], section].concat();
    assert!(matches!(Component::read(&twice), Err(ComponentError::SeveralManifests)));
}

#[test]
fn lists_imports_and_exports_without_compiling() {
    let bytes = component(&["http", "log"], "remediation");
    let top = TopLevel::read(&bytes).unwrap();
    assert_eq!(top.interface.capabilities().unwrap().into_iter().collect::<Vec<_>>(), ["http"]);
    assert_eq!(top.interface.roles(), ["remediation"]);
    assert!(top.interface.imports.contains("staunch:log/log@1.0.0"));
}

#[test]
fn imports_must_equal_requests() {
    let check = |imports: &[&str], requests: &[&str], kind: &str| {
        let bytes = component(imports, kind);
        let manifest = Manifest::parse("m", manifest_text("p", 1, requests).as_bytes()).unwrap();
        TopLevel::read(&bytes).unwrap().interface.check_against(&manifest).map_err(|error| error.to_string())
    };
    assert_eq!(check(&["http"], &["http"], "remediation"), Ok(()));
    assert_eq!(check(&["http", "log", "clock", "random"], &["http"], "remediation"), Ok(()));
    let unasked = check(&["http", "file"], &["http"], "remediation").unwrap_err();
    assert!(unasked.contains("imports file but plugin.toml does not ask"), "{unasked}");
    let unused = check(&[], &["http"], "remediation").unwrap_err();
    assert!(unused.contains("asks for http but the component does not import"), "{unused}");
    let kind = check(&["http"], &["http"], "check").unwrap_err();
    assert!(kind.contains("a remediation exports"), "{kind}");
}

#[test]
fn refuses_imports_that_no_host_answers() {
    for (import, says) in [
        ("staunch:kernel/kernel@1.0.0", "valid: staunch:http/http@1.0.0, "),
        ("staunch:http/other@1.0.0", "no such interface"),
        ("staunch:http/http@2.0.0", "up to version 1.0.0"),
        ("staunch:http/http@1.1.0", "up to version 1.0.0"),
        ("evil:http/http@1.0.0", "no such interface"),
    ] {
        let text = format!("(component (import \"{import}\" (instance)))");
        let bytes = wat::parse_str(text).unwrap();
        let error = TopLevel::read(&bytes).unwrap().interface.capabilities().unwrap_err().to_string();
        assert!(error.contains(says), "{import}: {error}");
    }
    let function = wat::parse_str("(component (import \"f\" (func)))").unwrap();
    assert!(matches!(TopLevel::read(&function), Err(ComponentError::Interface(_))));
}

#[test]
fn wasi_is_listed_and_allowed() {
    let bytes = wat::parse_str("(component (import \"wasi:cli/environment@0.2.3\" (instance)))").unwrap();
    let interface = TopLevel::read(&bytes).unwrap().interface;
    assert!(interface.capabilities().unwrap().is_empty());
    assert_eq!(interface.wasi().collect::<Vec<_>>(), ["wasi:cli/environment@0.2.3"]);
}

#[test]
fn refuses_what_is_no_component() {
    let module = wat::parse_str("(module)").unwrap();
    assert!(matches!(Component::read(&module), Err(ComponentError::NotAComponent("a core module"))));
    assert!(matches!(Component::read(b""), Err(ComponentError::NotAComponent(_))));
    assert!(matches!(Component::read(b"#!/bin/sh"), Err(ComponentError::NotAComponent(_))));
    assert!(matches!(Component::read(&vec![0; MAX_BYTES + 1]), Err(ComponentError::TooLarge(_))));
    let whole = embed_manifest(&component(&["http"], "check"), b"m").unwrap();
    for length in 0..whole.len() {
        assert!(Component::read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn never_panics_on_changed_bytes() {
    let whole = embed_manifest(&component(&["http"], "check"), b"m").unwrap();
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            drop(Component::read(&bytes));
        }
    }
}
