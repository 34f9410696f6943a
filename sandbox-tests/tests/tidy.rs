//! What must hold of the tree itself: rooms, dependencies, documents, contracts.
//!
//! Each test names the places that break its rule and says what the rule is for. When a rule is in the way of
//! something good, change it here and in `ARCHITECTURE.md` with the same commit.

#[path = "tidy/contracts.rs"]
mod contracts;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;

use tree::Tree;

/// Fails with all findings at once, so that one round mends them.
#[track_caller]
fn hold(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}

#[test]
fn core_cannot_wait_or_touch_the_world() {
    let tree = Tree::read();
    hold(
        "staunch-core decides and does nothing else: no I/O, no async, no clock.",
        &rooms::impure_core(&tree),
    );
}

#[test]
fn rooms_depend_in_one_direction() {
    let tree = Tree::read();
    hold("A room uses only the rooms that ARCHITECTURE.md lets it use.", &rooms::wrong_uses(&tree));
}

#[test]
fn crates_stay_in_the_rooms_that_own_them() {
    let tree = Tree::read();
    hold("Some crates are the business of one room.", &rooms::wrong_crates(&tree));
}

#[test]
fn sql_stands_in_one_file() {
    let tree = Tree::read();
    hold(
        "All SQL is in runner/src/journal/sql.rs, where another database would be added.",
        &rooms::stray_sql(&tree),
    );
}

#[test]
fn no_attic_crates_or_modules() {
    let tree = Tree::read();
    hold("A file is named after what it is for.", &rooms::attics(&tree));
}

#[test]
fn top_level_holds_only_what_was_agreed() {
    let tree = Tree::read();
    hold("The top level is a table of contents.", &text::strangers_at_the_top(&tree));
}

#[test]
fn files_are_short() {
    let tree = Tree::read();
    hold("No source file has more than 800 lines.", &text::long_files(&tree));
}

#[test]
fn lifted_lints_give_their_reason() {
    let tree = Tree::read();
    hold("`#[expect(..., reason = \"...\")]`; never a bare allow.", &text::bare_allows(&tree));
}

#[test]
fn nothing_is_left_for_later_or_bound_to_a_machine() {
    let tree = Tree::read();
    hold("No leftovers and no paths of one machine.", &text::leftovers(&tree));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let tree = Tree::read();
    hold("A relative link names a file of this tree.", &text::dead_links(&tree));
}

#[test]
fn every_code_and_stage_is_documented() {
    let tree = Tree::read();
    hold("docs/codes.md is the closed list that programs rely on.", &contracts::undocumented_words(&tree));
}

#[test]
fn every_kind_of_entry_is_documented() {
    let tree = Tree::read();
    hold("docs/journal.md names every kind of entry.", &contracts::undocumented_kinds(&tree));
}

#[test]
fn wit_changes_only_with_its_version() {
    let tree = Tree::read();
    hold(
        "A published WIT package never changes; a new one has a new version. Comments are free.\n\
         When a package is new, add its line to sandbox-tests/tests/tidy/wit.golden.",
        &contracts::changed_wit(&tree),
    );
}

#[test]
fn every_capability_has_a_test_that_tries_to_escape() {
    let tree = Tree::read();
    hold(
        "Every wall has a test that climbs it: a guest of sandbox-tests/tests/walls that imports the capability, or \
         runner/src/sandbox/cap/CAPABILITY/tests.rs.",
        &contracts::unproved_capabilities(&tree),
    );
}

#[test]
fn first_party_plugins_are_complete() {
    let tree = Tree::read();
    hold(
        "A plugin has a manifest, source, unit tests, scenarios and a README.",
        &contracts::incomplete_plugins(&tree),
    );
}

#[test]
fn every_dependency_has_its_reason() {
    let tree = Tree::read();
    hold(
        "CONTRIBUTING.md says of each crate why it was chosen.",
        &contracts::unexplained_dependencies(&tree),
    );
}
