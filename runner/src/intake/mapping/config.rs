//! The mapping as the operator wrote it.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use staunch_core::alert::Severity;

/// How one source's bodies become alerts. Members left out are taken from labels and annotations
/// as for Alertmanager's alerts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// Pointer to the alerts in the body.
    pub alerts: Option<Expression>,
    /// Whether the alert fires.
    pub status: Option<StatusMapping>,
    /// The sender's own name for the alert, the same while it fires and when it is over.
    pub fingerprint: Option<Expression>,
    /// How bad it is.
    pub severity: Option<SeverityMapping>,
    /// One line for people.
    pub title: Option<Expression>,
    /// More lines for people.
    pub description: Option<Expression>,
    /// The service that it is about.
    pub service: Option<Expression>,
    /// The host, instance or resource that it is about.
    pub target: Option<Expression>,
    /// The labels that identify and route it.
    pub labels: Option<LabelsMapping>,
    /// Texts beside the labels.
    pub annotations: Option<LabelsMapping>,
    /// Start of this firing.
    pub starts_at: Option<Expression>,
    /// End of this firing.
    pub ends_at: Option<Expression>,
    /// Addresses of pages about it.
    #[serde(default)]
    pub links: Vec<Expression>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A JSON pointer into the alert's entry.
    Pointer(String),
    /// A minijinja template.
    Template(String),
    /// The text itself.
    Constant(String),
}

impl Expression {
    /// Reads what stands in the configuration.
    ///
    /// # Errors
    /// When the text begins like a pointer and is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_template = text.contains("{{") || text.contains("{%");
        if !text.starts_with('/') {
            let text = text.to_owned();
            return Ok(if is_template { Self::Template(text) } else { Self::Constant(text) });
        }
        if is_template {
            return Err(format!(
                "{text:?} is neither a JSON pointer nor a template: write '{{{{ \"/\" }}}}' for a leading slash"
            ));
        }
        let mut tildes = text.split('~').skip(1);
        if !tildes.all(|after| after.starts_with(['0', '1'])) {
            return Err(format!("{text:?} is no JSON pointer: a ~ is written ~0, a / in a name ~1"));
        }
        Ok(Self::Pointer(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Where the status comes from and what its words mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusMapping {
    /// Where the word comes from.
    pub from: Expression,
    /// Words that mean firing.
    pub firing: Vec<String>,
    /// Words that mean resolved.
    pub resolved: Vec<String>,
}

/// Where the severity comes from and what its words mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeverityMapping {
    /// Where the word comes from.
    pub from: Expression,
    /// The sender's words; others are read as the common ones.
    pub map: BTreeMap<String, Severity>,
}

/// Labels or annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelsMapping {
    /// All members of the object at this pointer.
    All(String),
    /// Each by name.
    Each(BTreeMap<String, Expression>),
}

impl<'de> Deserialize<'de> for StatusMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrMembers(PhantomData))
    }
}

impl<'de> Deserialize<'de> for SeverityMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrMembers(PhantomData))
    }
}

impl<'de> Deserialize<'de> for LabelsMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrMembers(PhantomData))
    }
}

/// Something that may be written as one value or as an object with members.
trait Written: Sized {
    /// The object's members.
    type Members: DeserializeOwned;

    fn of_text(expression: Expression) -> Result<Self, String>;

    fn of_members(members: Self::Members) -> Self;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusMembers {
    from: Expression,
    #[serde(default)]
    firing: Vec<String>,
    #[serde(default)]
    resolved: Vec<String>,
}

impl Written for StatusMapping {
    type Members = StatusMembers;

    fn of_text(from: Expression) -> Result<Self, String> {
        Ok(Self { from, firing: Vec::new(), resolved: Vec::new() })
    }

    fn of_members(members: StatusMembers) -> Self {
        Self { from: members.from, firing: members.firing, resolved: members.resolved }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityMembers {
    from: Expression,
    #[serde(default)]
    map: BTreeMap<String, Severity>,
}

impl Written for SeverityMapping {
    type Members = SeverityMembers;

    fn of_text(from: Expression) -> Result<Self, String> {
        Ok(Self { from, map: BTreeMap::new() })
    }

    fn of_members(members: SeverityMembers) -> Self {
        Self { from: members.from, map: members.map }
    }
}

impl Written for LabelsMapping {
    type Members = BTreeMap<String, Expression>;

    fn of_text(expression: Expression) -> Result<Self, String> {
        match expression {
            Expression::Pointer(pointer) => Ok(Self::All(pointer)),
            Expression::Template(text) | Expression::Constant(text) => {
                Err(format!("{text:?}: expected a JSON pointer to an object, or names with their values"))
            }
        }
    }

    fn of_members(members: BTreeMap<String, Expression>) -> Self {
        Self::Each(members)
    }
}

struct TextOrMembers<T>(PhantomData<T>);

impl<'de, T: Written> Visitor<'de> for TextOrMembers<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON pointer, a template, a constant or an object with members")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Expression::parse(text).and_then(T::of_text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::Members::deserialize(MapAccessDeserializer::new(members)).map(T::of_members)
    }
}
