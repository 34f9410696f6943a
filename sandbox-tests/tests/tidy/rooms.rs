//! Which room may use which, and what belongs to one room alone.

use super::tree::{File, Tree};

/// Every room of `runner/src` and the rooms that it may use, in the order in which an alert meets them. A room
/// that may use all of them is a front door.
const ROOMS: &[(&str, Uses)] = &[
    ("clock", Uses::Only(&[])),
    ("causes", Uses::Only(&[])),
    ("memory", Uses::Only(&[])),
    ("config", Uses::Only(&["causes", "clock", "intake"])),
    ("keys", Uses::Only(&["clock", "plugin"])),
    ("people", Uses::Only(&["causes", "clock"])),
    ("intake", Uses::Only(&["clock"])),
    ("sandbox", Uses::Only(&["causes", "clock"])),
    ("plugin", Uses::Only(&["clock", "sandbox"])),
    ("scenario", Uses::Only(&["clock", "plugin", "sandbox"])),
    ("journal", Uses::Only(&["clock"])),
    (
        "pipeline",
        Uses::Only(&["causes", "clock", "config", "people", "intake", "plugin", "sandbox", "journal"]),
    ),
    ("install", Uses::Only(&["causes", "clock", "plugin", "pipeline"])),
    ("http", Uses::Only(&["causes", "people", "intake", "plugin", "journal", "pipeline", "install"])),
    ("cli", Uses::All),
    ("lib", Uses::All),
    ("main", Uses::All),
];

enum Uses {
    Only(&'static [&'static str]),
    All,
}

/// Crates with an owner: where their names may stand. Paths from `runner/`.
const OWNED: &[(&str, &[&str])] = &[
    ("sqlx", &["src/journal/"]),
    ("wasmtime", &["src/sandbox/", "src/plugin/compile"]),
    ("zbus", &["src/sandbox/cap/"]),
    ("axum", &["src/http/", "src/cli/"]),
    ("utoipa", &["src/http/", "src/pipeline/receive.rs", "src/pipeline/requests.rs"]),
    ("aws_lc_rs", &["src/people/"]),
    ("libmimalloc_sys", &["src/memory.rs"]),
    ("cedar_policy", &["core/src/policy/"]),
    ("rrule", &["core/src/window/"]),
    ("minijinja", &["core/src/policy/", "src/intake/mapping", "src/intake/error.rs"]),
    ("clap", &["src/cli", "src/main.rs"]),
];

/// What core must not have in its manifest.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "sqlx",
    "wasmtime",
    "axum",
    "reqwest",
    "hyper",
    "http",
    "rustls",
    "zbus",
    "libc",
    "rustix",
    "cap-std",
    "getrandom",
    "rand",
    "rand_chacha",
    "tempfile",
    "tracing",
    "futures-util",
    "uuid",
];

/// What core must not have in its code.
const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "std::os",
    "std::io::",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "async fn",
    ".await",
    "println!",
    "eprintln!",
];

const ATTICS: &[&str] = &["utils", "util", "common", "helpers", "misc", "types"];

pub(crate) fn impure_core(tree: &Tree) -> Vec<String> {
    let manifest = tree.text("runner/core/Cargo.toml");
    let mut findings: Vec<String> = dependencies(manifest)
        .filter(|name| IMPURE_CRATES.contains(name))
        .map(|name| format!("runner/core/Cargo.toml depends on {name}"))
        .collect();
    for file in tree.below("runner/core/src/", ".rs").filter(|file| !file.is_test()) {
        for (number, line) in file.production() {
            for path in IMPURE_PATHS.iter().filter(|path| line.contains(**path)) {
                findings.push(format!("{}:{number}: {path}", file.path));
            }
        }
    }
    findings
}

/// The names below `[dependencies]`.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let own = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    own.take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
}

/// The room that a file of `runner/src` is in.
fn room(file: &File) -> Option<&str> {
    let rest = file.path.strip_prefix("runner/src/")?;
    Some(rest.split_once('/').map_or_else(|| rest.trim_end_matches(".rs"), |(room, _)| room))
}

pub(crate) fn wrong_uses(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.below("runner/src/", ".rs").filter(|file| !file.is_test()) {
        let Some(own) = room(file) else { continue };
        let Some((_, uses)) = ROOMS.iter().find(|(name, _)| *name == own) else {
            findings.push(format!(
                "{}: {own} is no room; ARCHITECTURE.md and this test name them all",
                file.path
            ));
            continue;
        };
        let Uses::Only(allowed) = uses else { continue };
        for (number, line) in file.production() {
            for used in used_rooms(line).filter(|used| *used != own && !allowed.contains(used)) {
                findings.push(format!("{}:{number}: {own} uses {used}", file.path));
            }
        }
    }
    findings
}

/// The rooms after `crate::` in a line, also in a group at the top.
fn used_rooms(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split("crate::").skip(1).flat_map(|rest| {
        let group = rest.strip_prefix('{').map(|inner| inner.split(','));
        group.into_iter().flatten().chain(rest.strip_prefix('{').is_none().then_some(rest))
    });
    words
        .map(|word| word.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .filter(|word| ROOMS.iter().any(|(name, _)| name == word))
}

pub(crate) fn wrong_crates(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.below("runner/", ".rs").filter(|file| !file.is_test()) {
        let path = file.path.trim_start_matches("runner/");
        if !path.starts_with("src/") && !path.starts_with("core/") {
            continue;
        }
        for (number, line) in file.production() {
            for (name, owners) in OWNED {
                let owned = owners.iter().any(|owner| path.starts_with(owner));
                if !owned && names_crate(line, name) {
                    findings.push(format!("{}:{number}: {name} belongs to {}", file.path, owners.join(", ")));
                }
            }
        }
    }
    findings
}

/// Whether a path in the line begins with the crate.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '"' | '-' | '`' | '/');
        !before.ends_with(inside) && rest.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"))
    })
}

pub(crate) fn stray_sql(tree: &Tree) -> Vec<String> {
    const WORDS: [&str; 7] = [
        "\"SELECT ",
        "INSERT INTO ",
        "\"UPDATE ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "BEGIN IMMEDIATE",
        "PRAGMA ",
    ];
    let mut findings = Vec::new();
    let sources = tree.below("runner/", ".rs").filter(|file| !file.is_test());
    for file in sources.filter(|file| file.path != "runner/src/journal/sql.rs") {
        for (number, line) in file.production() {
            for word in WORDS.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{}:{number}: {}", file.path, word.trim_matches(['"', ' '])));
            }
        }
    }
    findings
}

pub(crate) fn attics(tree: &Tree) -> Vec<String> {
    let in_house =
        |file: &&File| ["runner/", "plugins/", "plugin-sdk/"].iter().any(|at| file.path.starts_with(at));
    tree.all()
        .filter(in_house)
        .filter(|file| file.path.ends_with(".rs"))
        // The WIT package `types` has its bindings in a file of its name.
        .filter(|file| file.path != "runner/src/sandbox/cap/types.rs")
        .filter(|file| file.path.trim_end_matches(".rs").split('/').any(|part| ATTICS.contains(&part)))
        .map(|file| file.path.clone())
        .collect()
}
