//! What others rely on is written down, versioned and tested.

use std::collections::{BTreeMap, BTreeSet};

use staunch_core::decision::{Code, Stage};
use staunch_core::event::Fact;
use staunch_core::id::Digest;

use super::tree::Tree;

const CODES: &str = "docs/codes.md";
const JOURNAL: &str = "docs/journal.md";
const GOLDEN: &str = "sandbox-tests/tests/tidy/wit.golden";

/// The rows that the page must have: `| word | meaning |`.
pub(crate) fn undocumented_words(tree: &Tree) -> Vec<String> {
    let page = tree.text(CODES);
    let codes = Code::ALL.iter().map(|code| (code.as_str(), code.means()));
    let stages = Stage::ALL.iter().map(|stage| (stage.as_str(), stage.means()));
    let rows: BTreeSet<String> =
        codes.chain(stages).map(|(word, means)| format!("| `{word}` | {means} |")).collect();
    let missing = rows.iter().filter(|row| !page.lines().any(|line| line == row.as_str()));
    let mut findings: Vec<String> = missing.map(|row| format!("{CODES} lacks: {row}")).collect();
    let written = section(page, "## Codes").chain(section(page, "## Stages"));
    let rest = written.filter(|line| line.starts_with("| `") && !rows.contains(*line));
    findings.extend(rest.map(|line| format!("{CODES} has what is no longer so: {line}")));
    findings
}

/// The lines below a heading.
fn section<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let below = page.lines().skip_while(move |line| *line != heading).skip(1).collect::<Vec<_>>();
    below.into_iter().take_while(|line| !line.starts_with("## "))
}

pub(crate) fn undocumented_kinds(tree: &Tree) -> Vec<String> {
    let page = tree.text(JOURNAL);
    let missing = Fact::KINDS.iter().filter(|kind| !page.contains(&format!("`{kind}`")));
    missing.map(|kind| format!("{JOURNAL} lacks `{kind}`")).collect()
}

/// Package with version and the digest of its text, comments and layout left out.
fn packages(tree: &Tree) -> BTreeMap<String, Digest> {
    tree.below("wit/", ".wit")
        .filter_map(|file| {
            let code: Vec<&str> = file.code().flat_map(|(_, line)| line.split_whitespace()).collect();
            let name = file.text.lines().find_map(|line| line.strip_prefix("package "))?;
            Some((name.trim_end_matches(';').trim().to_owned(), Digest::of(code.join(" ").as_bytes())))
        })
        .collect()
}

pub(crate) fn changed_wit(tree: &Tree) -> Vec<String> {
    let golden: BTreeMap<&str, &str> =
        tree.text(GOLDEN).lines().filter_map(|line| line.split_once(' ')).collect();
    let mut findings = Vec::new();
    for (package, digest) in packages(tree) {
        match golden.get(package.as_str()) {
            Some(known) if *known == digest.to_string() => {}
            Some(_) => {
                findings.push(format!("{package} has another text than it was published with: {digest}"))
            }
            None => findings.push(format!("{package} is not in the list: {package} {digest}")),
        }
    }
    findings
}

pub(crate) fn unproved_capabilities(tree: &Tree) -> Vec<String> {
    let capabilities = tree.below("wit/deps/", ".wit").filter_map(|file| file.path.split('/').nth(2));
    let walls: Vec<_> = tree.below("sandbox-tests/tests/walls", "").collect();
    let climbed = |name: &str| {
        let import = format!("staunch:{name}/");
        let own = format!("runner/src/sandbox/cap/{name}/tests");
        tree.below(&own, ".rs").next().is_some() || walls.iter().any(|file| file.text.contains(&import))
    };
    capabilities.filter(|name| *name != "types" && !climbed(name)).map(str::to_owned).collect()
}

pub(crate) fn incomplete_plugins(tree: &Tree) -> Vec<String> {
    let plugins: BTreeSet<&str> = tree
        .below("plugins/", "")
        .filter_map(|file| file.path.split('/').nth(1))
        .filter(|name| !name.contains('.'))
        .collect();
    let mut findings = Vec::new();
    for plugin in plugins {
        let folder = format!("plugins/{plugin}");
        for part in ["Cargo.toml", "plugin.toml", "README.md", "src/lib.rs", "src/tests.rs"] {
            if !tree.has(&format!("{folder}/{part}")) {
                findings.push(format!("{folder} has no {part}"));
            }
        }
        let scenarios = format!("{folder}/scenarios/");
        let all: Vec<_> = tree.below(&scenarios, ".yaml").collect();
        let fails =
            all.iter().filter(|file| file.text.lines().any(|line| line.trim_start().starts_with("error:")));
        if all.len() < 2 || fails.count() == 0 {
            findings.push(format!(
                "{folder} has {} scenarios; it needs one that works and one that fails",
                all.len()
            ));
        }
    }
    findings
}

pub(crate) fn unexplained_dependencies(tree: &Tree) -> Vec<String> {
    let manifest = tree.text("Cargo.toml");
    let page = tree.text("CONTRIBUTING.md");
    let own = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    own.take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .filter(|(_, value)| !value.contains("path ="))
        .filter(|(name, _)| !page.contains(&format!("`{name}`")))
        .map(|(name, _)| name.to_owned())
        .collect()
}
