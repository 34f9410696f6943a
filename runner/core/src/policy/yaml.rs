//! YAML as a tree that knows where each part stands.
//!
//! Going through a tree instead of straight into structs lets a reader report all problems of a file at once,
//! each with its place. Aliases, nesting and size are bounded by the parser's own budget. Never here: what the
//! keys mean.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::problem::{Position, Problem};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub tree: Tree,
}

/// What a YAML value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. No key stands twice.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// Its value.
    pub node: Node,
}

impl Tree {
    /// The word for its kind, with article.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Parses one document.
///
/// # Errors
/// The first thing that is no YAML: syntax, a key that stands twice, a second document.
pub fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    // YAML 1.2: `n`, `yes` and `off` are texts, lest the country NO become a boolean.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
        let plain = error.without_snippet();
        let at = plain.location().map_or(Position::START, position);
        Problem::error(file, at, without_place(&plain.to_string()))
    })
}

/// The parser ends its messages with the place, which a [`Problem`] has already.
fn without_place(message: &str) -> String {
    let message = message.split_once('\n').map_or(message, |(first, _)| first);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "))
        .map_or(message, |(_, message)| message);
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}

fn position(location: Location) -> Position {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { at: position(spanned.referenced), tree: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        i64::try_from(value).map(Tree::Integer).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let node = entries.next_value()?;
            map.push(Entry { key: key.value, at: position(key.referenced), node });
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(node: &'a Node, key: &str) -> &'a Entry {
        let Tree::Map(entries) = &node.tree else { panic!("{node:?}") };
        entries.iter().find(|entry| entry.key == key).unwrap()
    }

    #[test]
    fn every_part_knows_its_place() {
        let root = parse("f", "a: 1\nb:\n  - x\n  - { c: true, d: '404', e: 404, f: ~ }\n").unwrap();
        assert_eq!(entry(&root, "b").at, Position { line: 2, column: 1 });
        let Tree::List(items) = &entry(&root, "b").node.tree else { panic!() };
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
        assert_eq!(entry(&items[1], "c").node.tree, Tree::Bool(true));
        assert_eq!(entry(&items[1], "d").node.tree, Tree::Text("404".into()));
        assert_eq!(entry(&items[1], "e").node.tree, Tree::Integer(404));
        assert_eq!(entry(&items[1], "f").node.tree, Tree::Null);
        assert_eq!(entry(&items[1], "d").at, Position { line: 4, column: 16 });
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        for word in ["n", "N", "y", "yes", "no", "NO", "on", "off", "Off"] {
            let root = parse("f", &format!("a: {word}\n{word}: b\nc: [{word}]\n")).unwrap();
            assert_eq!(entry(&root, "a").node.tree, Tree::Text(word.to_owned()));
            assert_eq!(entry(&root, word).node.tree, Tree::Text("b".to_owned()));
            let Tree::List(items) = &entry(&root, "c").node.tree else { panic!("{word}") };
            assert_eq!(items[0].tree, Tree::Text(word.to_owned()));
        }
        for (word, value) in [("true", true), ("True", true), ("FALSE", false)] {
            let root = parse("f", &format!("a: {word}\n")).unwrap();
            assert_eq!(entry(&root, "a").node.tree, Tree::Bool(value));
        }
    }

    #[test]
    fn refuses_what_is_no_yaml_at_its_place() {
        for (text, place, wanted) in [
            ("a: 1\na: 2\n", "f:2:1:", "a"),
            ("a: [1, 2\nb: 3\n", "f:2:", ""),
            ("a: 1\n---\nb: 2\n", "f:", "documents"),
            ("a: 1\nb: &x [*x]\n", "f:2:", ""),
        ] {
            let problem = parse("f", text).unwrap_err().to_string();
            assert!(problem.starts_with(place) && problem.contains(wanted), "{problem}");
            assert!(!problem.contains('\n') && !problem.contains(" at line "), "{problem}");
        }
    }
}
