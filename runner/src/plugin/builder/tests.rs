use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::plugin::testing::manifest_text;

/// A directory with shell scripts for tools.
struct Tools(tempfile::TempDir);

impl Tools {
    fn new(tools: &[(&str, &str)]) -> Self {
        let tools_directory = tempfile::tempdir().unwrap();
        for (name, script) in tools {
            let path = tools_directory.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(tools_directory)
    }

    fn environment(&self) -> Environment {
        Environment { path: self.0.path().into(), rustup_home: None, target_dir: None }
    }
}

fn rustc(sysroot: &Path) -> String {
    let sysroot = sysroot.display();
    format!("case $1 in --version) echo rustc 9.9.9;; *) echo {sysroot};; esac")
}

fn project(manifest: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("plugin.toml"), manifest).unwrap();
    fs::write(directory.path().join("Cargo.toml"), "[package]\n").unwrap();
    directory
}

fn try_build(project: &tempfile::TempDir, tools: &Tools) -> (Result<Built, BuildError>, Vec<String>) {
    let mut lines = Vec::new();
    let result = build(project.path(), &tools.environment(), &mut |line| lines.push(line.to_owned()));
    (result, lines)
}

fn sysroot_with_target() -> tempfile::TempDir {
    let sysroot = tempfile::tempdir().unwrap();
    fs::create_dir_all(sysroot.path().join("lib/rustlib/wasm32-unknown-unknown/lib")).unwrap();
    sysroot
}

#[test]
fn takes_the_toolchain_that_has_the_target() {
    let sysroot = sysroot_with_target();
    let tools = Tools::new(&[("rustc", &rustc(sysroot.path())), ("cargo", "")]);
    let found = Toolchain::find(Path::new("/"), &tools.environment()).unwrap();
    assert_eq!(found.to_string(), "rustc 9.9.9 for wasm32-unknown-unknown");
    assert!(!found.build_std && found.cargo == tools.0.path().join("cargo"));
}

#[test]
fn refuses_languages_without_a_tool_and_broken_manifests() {
    let tools = Tools::new(&[]);
    let zig = project(&manifest_text("p", 1, &[]).replace("\"rust\"", "\"zig\""));
    let error = try_build(&zig, &tools).0.unwrap_err().to_string();
    assert!(error.contains("builds rust so far, not zig"), "{error}");
    let broken = project("[plugin]\n");
    let error = try_build(&broken, &tools).0.unwrap_err().to_string();
    assert!(error.contains("plugin.toml:1:1: `plugin.name` is missing"), "{error}");
    let nothing = tempfile::tempdir().unwrap();
    let error = try_build(&nothing, &tools).0.unwrap_err().to_string();
    assert!(error.contains("plugin.toml"), "{error}");
}

#[test]
fn hands_on_what_cargo_says_and_how_it_failed() {
    let sysroot = sysroot_with_target();
    let tools = Tools::new(&[
        ("rustc", &rustc(sysroot.path())),
        ("cargo", "echo Compiling p >&2; echo error: no such thing >&2; exit 101"),
    ]);
    let (result, lines) = try_build(&project(&manifest_text("p", 1, &[])), &tools);
    assert_eq!(&lines[1..], ["Compiling p", "error: no such thing"]);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("101") && error.contains("no such thing"), "{error}");
}

#[test]
fn says_what_is_missing_in_what_was_built() {
    let sysroot = sysroot_with_target();
    let silent = Tools::new(&[("rustc", &rustc(sysroot.path())), ("cargo", "exit 0")]);
    let error = try_build(&project(&manifest_text("p", 1, &[])), &silent).0.unwrap_err().to_string();
    assert!(error.contains("cdylib"), "{error}");
    let manifest = Manifest::parse("m", manifest_text("p", 1, &[]).as_bytes()).unwrap();
    let module = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
    assert!(assemble(&module, &manifest, b"").is_err());
    let error = assemble(b"not wasm", &manifest, b"").unwrap_err().to_string();
    assert!(error.contains("is no plugin"), "{error}");
}
