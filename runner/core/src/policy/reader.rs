//! Reads a YAML tree strictly, collecting every problem instead of stopping at the first.

use std::time::Duration;

use super::duration;
use super::problem::{Gravity, Position, Problem};
use super::yaml::{Entry, Node, Tree};

/// Collects the problems of one file while its tree is read.
///
/// Each method takes a node and what it is called in messages; it answers `None` after it noted a problem.
#[derive(Debug)]
pub struct Reader<'f> {
    file: &'f str,
    problems: Vec<Problem>,
}

/// The entries of a mapping whose keys were checked.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'n> {
    at: Position,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The key itself and its value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// All entries, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// Where the mapping begins.
    #[must_use]
    pub fn at(&self) -> Position {
        self.at
    }
}

impl<'f> Reader<'f> {
    /// A reader for a file of this name.
    #[must_use]
    pub fn new(file: &'f str) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> &'f str {
        self.file
    }

    /// Notes an error.
    pub fn error(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::error(self.file, at, message));
    }

    /// Notes a warning.
    pub fn warning(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::warning(self.file, at, message));
    }

    /// Notes a problem found elsewhere.
    pub fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether an error was noted.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.problems.iter().any(|problem| problem.gravity == Gravity::Error)
    }

    /// All that was noted.
    #[must_use]
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }

    fn unfit<T>(&mut self, node: &Node, what: &str, wanted: &str) -> Option<T> {
        self.error(node.at, format!("{what} must be {wanted}, but is {}", node.tree.kind()));
        None
    }

    /// A mapping with these keys alone. Nothing at all counts as an empty mapping.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, valid: &[&str]) -> Fields<'n> {
        self.fields_of_version(node, what, valid, &[])
    }

    /// As [`Reader::fields`], and refuses keys of a later version by saying so, so that they are never silently
    /// without effect.
    pub fn fields_of_version<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        valid: &[&str],
        later: &[&str],
    ) -> Fields<'n> {
        let fields = self.entries(node, what);
        for entry in fields.entries {
            let key = entry.key.as_str();
            if later.contains(&key) {
                self.error(entry.at, format!("{key:?} in {what} is not available in this version"));
            } else if !valid.contains(&key) {
                self.unknown_key(entry, what, valid);
            }
        }
        fields
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, valid: &[&str]) {
        let near = nearest(&entry.key, valid);
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"));
        let valid = if valid.is_empty() { "it has none".to_owned() } else { valid.join(", ") };
        self.error(entry.at, format!("unknown key {:?} in {what}{hint}; valid keys: {valid}", entry.key));
    }

    /// A mapping whose keys are the operator's own names.
    pub fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Fields<'n> {
        let entries = match &node.tree {
            Tree::Map(entries) => entries.as_slice(),
            Tree::Null => &[],
            Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) | Tree::List(_) => {
                self.unfit::<()>(node, what, "a mapping");
                &[]
            }
        };
        Fields { at: node.at, entries }
    }

    /// The value of a key that must be there.
    pub fn required<'n>(&mut self, fields: Fields<'n>, key: &str, what: &str) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.error(fields.at, format!("{what} needs the key {key:?}"));
        }
        node
    }

    /// Text that is not empty.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.tree {
            Tree::Text(text) if text.is_empty() => {
                self.error(node.at, format!("{what} must not be empty"));
                None
            }
            Tree::Text(text) => Some(text),
            Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::List(_) | Tree::Map(_) => {
                self.unfit(node, what, "text (quote it)")
            }
        }
    }

    /// A name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 128 bytes.
    pub fn name<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = self.text(node, what)?;
        if is_name(text) {
            return Some(text);
        }
        self.error(node.at, not_a_name(what, text));
        None
    }

    /// A whole number between two bounds, both included.
    pub fn integer(&mut self, node: &Node, what: &str, least: i64, most: i64) -> Option<i64> {
        match node.tree {
            Tree::Integer(number) if (least..=most).contains(&number) => Some(number),
            Tree::Integer(number) => {
                self.error(node.at, format!("{what} must be from {least} to {most}, but is {number}"));
                None
            }
            _ => self.unfit(node, what, &format!("a whole number from {least} to {most}")),
        }
    }

    /// A percentage from 1% to 100%.
    pub fn percent(&mut self, node: &Node, what: &str) -> Option<u8> {
        let percent = match &node.tree {
            Tree::Text(text) => text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok()),
            Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::List(_) | Tree::Map(_) => {
                None
            }
        };
        let percent = percent.filter(|percent| (1..=100).contains(percent));
        if percent.is_none() {
            self.error(node.at, format!("{what} must be a percentage from 1% to 100%"));
        }
        percent
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.tree {
            Tree::Bool(value) => Some(value),
            _ => self.unfit(node, what, "true or false"),
        }
    }

    /// A list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.tree {
            Tree::List(items) => Some(items),
            _ => self.unfit(node, what, "a list"),
        }
    }

    /// A list of texts, none of them empty.
    pub fn texts(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        let items = self.list(node, what)?;
        let item = format!("each of {what}");
        let texts: Vec<String> =
            items.iter().filter_map(|node| self.text(node, &item)).map(str::to_owned).collect();
        (texts.len() == items.len()).then_some(texts)
    }

    /// A duration as in [`duration`].
    pub fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = self.text(node, what)?;
        duration::parse(text).map_err(|error| self.error(node.at, format!("{what}: {error}"))).ok()
    }

    /// One word of a closed list.
    pub fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let valid: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(node.at, format!("{what} cannot be {text:?}; valid are {}", valid.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// Whether a text can name a runbook, plugin, source, host or role.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 128 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
}

/// The message about a text that cannot name anything.
#[must_use]
pub fn not_a_name(what: &str, text: &str) -> String {
    format!(
        "{what} cannot be {text:?}: a name is made of ASCII letters, digits, '-', '_' and '.', \
         begins with a letter or digit, and has at most 128"
    )
}

/// The valid word that was probably meant: at most two letters changed, added or left out.
fn nearest<'w>(word: &str, valid: &[&'w str]) -> Option<&'w str> {
    valid
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::yaml;

    #[test]
    fn unknown_keys_name_the_valid_ones_and_the_likely_one() {
        let root = yaml::parse("f.yaml", "stable_four: 1\nwithin: 2\nquite_else: 3\n").unwrap();
        let mut reader = Reader::new("f.yaml");
        reader.fields(&root, "verify", &["within", "stable_for"]);
        let problems: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "f.yaml:1:1: unknown key \"stable_four\" in verify (did you mean \"stable_for\"?); \
                 valid keys: within, stable_for",
                "f.yaml:3:1: unknown key \"quite_else\" in verify; valid keys: within, stable_for",
            ]
        );
    }

    #[test]
    fn names_are_plain() {
        for name in ["a", "web-7", "0.b_c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a b", "a/b", "\u{e4}", &"a".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
