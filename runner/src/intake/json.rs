//! JSON into a bounded tree that borrows from the body.
//!
//! `serde_json` reads the text; what is added here are the bounds that it does not have: depth,
//! number of values, and no name twice in one object (two readers of such a body could see two
//! different alerts). The bounds hold while the tree grows, not after.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::error::IntakeError;
use super::limits::Limits;
use super::read::{Step, render_steps};

/// A JSON value whose texts borrow from the body where they hold no escapes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Object<'a>),
}

/// The members of an object, sorted by name, each name once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

impl<'a> Object<'a> {
    /// The member of this name; `null` counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        let index = self.0.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        self.0.get(index).map(|(_, node)| node).filter(|node| !matches!(node, Node::Null))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The members, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.0.iter().map(|(key, node)| (key.as_ref(), node))
    }
}

impl Node<'_> {
    /// What the value is, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Negative(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// For templates of the generic mapping.
impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Negative(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.len()))?;
                for (name, node) in object.iter() {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
        }
    }
}

/// Reads a whole body.
///
/// # Errors
/// Too large, not UTF-8, not JSON, or over a bound.
pub(super) fn parse<'a>(body: &'a [u8], limits: &Limits) -> Result<Node<'a>, IntakeError> {
    if body.len() > limits.body {
        return Err(IntakeError::TooLarge { size: body.len(), limit: limits.body });
    }
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    let growth = Growth { limits, values: Cell::new(0), refusal: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Seed { growth: &growth, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|tree| deserializer.end().map(|()| tree));
    tree.map_err(|error| match growth.refusal.into_inner() {
        Some(refusal) => refusal.into_error(),
        None => not_json(&error),
    })
}

fn not_utf8(body: &[u8], valid: usize) -> IntakeError {
    let before = body.get(..valid).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    IntakeError::NotJson {
        message: "a byte that is not UTF-8".to_owned(),
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: valid - line_start + 1,
    }
}

fn not_json(error: &serde_json::Error) -> IntakeError {
    let (line, column) = (error.line(), error.column());
    let mut message = error.to_string();
    // The place has members of its own.
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    IntakeError::NotJson { message, line, column }
}

/// What is kept while the tree grows.
struct Growth<'l> {
    limits: &'l Limits,
    values: Cell<usize>,
    refusal: RefCell<Option<Refusal>>,
}

/// A bound that was met, and the way to it, innermost step first.
struct Refusal {
    steps: Vec<Step>,
    over_limit: bool,
    problem: String,
}

impl Refusal {
    fn into_error(mut self) -> IntakeError {
        self.steps.reverse();
        let location = render_steps(&self.steps);
        if self.over_limit {
            IntakeError::OverLimit { location, problem: self.problem }
        } else {
            IntakeError::WrongShape { location, problem: self.problem }
        }
    }
}

impl Growth<'_> {
    fn refuse<E: serde::de::Error>(&self, steps: Vec<Step>, over_limit: bool, problem: String) -> E {
        *self.refusal.borrow_mut() = Some(Refusal { steps, over_limit, problem });
        E::custom("refused")
    }

    /// Adds the step to a refusal that is on its way out.
    fn passing(&self, step: impl FnOnce() -> Step) {
        if let Some(refusal) = self.refusal.borrow_mut().as_mut() {
            refusal.steps.push(step());
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'g> {
    growth: &'g Growth<'g>,
    /// Arrays and objects around this value.
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let limit = self.growth.limits.depth;
        if self.depth >= limit {
            return Err(self.growth.refuse(Vec::new(), true, format!("nested deeper than {limit} levels")));
        }
        Ok(Self { growth: self.growth, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let values = self.growth.values.get() + 1;
        self.growth.values.set(values);
        let limit = self.growth.limits.values;
        if values > limit {
            return Err(self.growth.refuse(
                Vec::new(),
                true,
                format!("the body holds more than {limit} values"),
            ));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        loop {
            match entries.next_element_seed(inner) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Node::List(items)),
                Err(error) => {
                    self.growth.passing(|| Step::Index(items.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            match entries.next_value_seed(inner) {
                Ok(node) => members.push((name, node)),
                Err(error) => {
                    self.growth.passing(|| Step::Name(name.into_owned()));
                    return Err(error);
                }
            }
        }
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        let twice = members.array_windows().find(|[left, right]| left.0 == right.0);
        if let Some([(name, _), _]) = twice {
            let step = Step::Name(name.clone().into_owned());
            return Err(self.growth.refuse(
                vec![step],
                false,
                "the name stands twice in one object".to_owned(),
            ));
        }
        Ok(Node::Object(Object(members)))
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
