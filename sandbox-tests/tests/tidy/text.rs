//! Rules about files as text.

use super::tree::Tree;

const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "docs",
    "plugin-sdk",
    "plugins",
    "policies",
    "runner",
    "rustfmt.toml",
    "sandbox-tests",
    "wit",
];

const MOST_LINES: usize = 800;

/// Split, so that this file does not break its own rule.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "bash"),
    concat!("/tmp/", "wt/"),
    concat!("/ro", "ot/."),
    concat!("/ho", "me/"),
];

pub(crate) fn strangers_at_the_top(tree: &Tree) -> Vec<String> {
    let mut names: Vec<&str> = tree.all().filter_map(|file| file.path.split('/').next()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| !TOP.contains(name)).map(str::to_owned).collect()
}

pub(crate) fn long_files(tree: &Tree) -> Vec<String> {
    let sources = tree.all().filter(|file| file.path.ends_with(".rs"));
    sources
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect()
}

pub(crate) fn bare_allows(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.all().filter(|file| file.path.ends_with(".rs")) {
        for opening in ["#[allow(", "#![allow("] {
            for (at, _) in file.text.match_indices(opening) {
                let (before, rest) = file.text.split_at(at);
                let begins = before.rsplit('\n').next().is_none_or(|indent| indent.trim().is_empty());
                let attribute = rest.split(")]").next().unwrap_or_default();
                if begins && !attribute.contains("reason") {
                    findings.push(format!("{}:{}", file.path, before.matches('\n').count() + 1));
                }
            }
        }
    }
    findings
}

pub(crate) fn leftovers(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.all().filter(|file| file.path != "LICENSE") {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in LEFTOVERS.iter().filter(|word| stands_in(line, word)) {
                findings.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    findings
}

/// Whether the word stands in the line, not as the end of another one.
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '}');
        !line.split_at(at).0.ends_with(inside)
    })
}

pub(crate) fn dead_links(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.all().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(&file.text) {
            let there = if folder.is_empty() { target.to_owned() } else { format!("{folder}/{target}") };
            if !tree.has(&there) {
                findings.push(format!("{}: {target}", file.path));
            }
        }
    }
    findings
}

/// The relative targets of a page's links, without their places.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| {
            !target.contains("://") && !target.starts_with('#') && !target.contains(char::is_whitespace)
        })
        .filter_map(|target| target.split('#').next())
}
