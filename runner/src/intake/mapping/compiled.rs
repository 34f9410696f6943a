//! The mapping made ready, and a body read by it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use minijinja::value::{Serde, Value, merge_maps};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context, escape_formatter};
use staunch_core::alert::{Alert, Severity, Status};

use super::config::{Expression, LabelsMapping, MappingConfig, SeverityMapping, StatusMapping};
use crate::intake::Context;
use crate::intake::error::{IntakeError, SourceError};
use crate::intake::json::Node;
use crate::intake::limits::Limits;
use crate::intake::normal::{Draft, severity_word, status_by_end};
use crate::intake::read::{
    Pairs, Path, Values, check_text, entries, follow, over, pairs, quoted, scalar, time, wrong,
};

/// Instructions of the template engine that one value may cost.
const FUEL: u64 = 50_000;
/// Characters of the template engine's own words that a message repeats.
const ENGINE_WORDS: usize = 200;

/// A mapping whose templates are compiled.
#[derive(Debug)]
pub(in crate::intake) struct Mapping {
    config: MappingConfig,
    /// The templates, each under its own text.
    environment: Environment<'static>,
    /// Whether any value needs what templates see.
    templated: bool,
}

impl Mapping {
    /// Checks the mapping and compiles its templates.
    pub(in crate::intake) fn compile(
        name: &str,
        config: &MappingConfig,
        limits: &Limits,
    ) -> Result<Self, SourceError> {
        let refuse = |member: &'static str, problem: String| SourceError::Member {
            source_name: name.to_owned(),
            member,
            problem,
        };
        if matches!(&config.alerts, Some(Expression::Template(_) | Expression::Constant(_))) {
            return Err(refuse("mapping.alerts", "expected a JSON pointer, such as /items".to_owned()));
        }
        if config.links.len() > limits.links {
            return Err(refuse("mapping.links", format!("at most {} links", limits.links)));
        }
        for (member, mapping, limit) in [
            ("mapping.labels", &config.labels, limits.labels),
            ("mapping.annotations", &config.annotations, limits.annotations),
        ] {
            let Some(LabelsMapping::Each(each)) = mapping else { continue };
            if each.len() > limit || each.keys().any(|name| name.is_empty() || name.len() > limits.name) {
                let problem = format!("at most {limit} of them, names from 1 to {} bytes", limits.name);
                return Err(refuse(member, problem));
            }
        }
        let mut environment = environment();
        let mut templated = false;
        for (member, expression) in expressions(config) {
            if let Expression::Template(text) = expression {
                templated = true;
                add_template(&mut environment, text).map_err(|cause| SourceError::Template {
                    source_name: name.to_owned(),
                    member: member.into_owned(),
                    cause,
                })?;
            }
        }
        Ok(Self { config: config.clone(), environment, templated })
    }

    /// The alerts of a body.
    pub(in crate::intake) fn read(
        &self,
        tree: &Node<'_>,
        context: &Context<'_>,
    ) -> Result<Vec<Alert>, IntakeError> {
        let body = Path::Body;
        let (found, path) = match &self.config.alerts {
            Some(Expression::Pointer(pointer)) => {
                let path = Path::Pointer(&body, pointer);
                (
                    follow(tree, pointer)
                        .ok_or_else(|| wrong(&path, "is missing: the alerts should be there"))?,
                    path,
                )
            }
            Some(Expression::Template(_) | Expression::Constant(_)) | None => (tree, body),
        };
        let globals = if self.templated { Some(globals(tree, context)) } else { None };
        let one = |entry: &Node<'_>, path: &Path<'_>| {
            let scope = globals.as_ref().map(|globals| scope(entry, globals));
            Item { mapping: self, node: entry, path, scope, context }.alert()
        };
        match found {
            Node::List(_) => entries(found, &path, context.limits())?
                .iter()
                .enumerate()
                .map(|(index, entry)| one(entry, &Path::Index(&path, index)))
                .collect(),
            Node::Object(_) => Ok(vec![one(found, &path)?]),
            other => Err(wrong(&path, format!("expected an object or an array, found {}", other.kind()))),
        }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    // Null is "not known", as it is for pointers, not the word `none`.
    environment.set_formatter(
        |output, state, value| {
            if value.is_none() { Ok(()) } else { escape_formatter(output, state, value) }
        },
    );
    environment
}

/// Compiles a template under its own text.
///
/// The engine looks filters up only when it renders, so the template is tried on nothing: a misspelt
/// filter is the operator's error at start, not a refusal of every alert.
fn add_template(environment: &mut Environment<'static>, text: &str) -> Result<(), minijinja::Error> {
    environment.add_template_owned(text.to_owned(), text.to_owned())?;
    let mut trial = environment.clone();
    trial.set_undefined_behavior(UndefinedBehavior::Chainable);
    match trial.get_template(text)?.render(context! {}) {
        Err(error) if is_unknown_word(error.kind()) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_unknown_word(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction)
}

/// Every value of the mapping with its member's path.
fn expressions(config: &MappingConfig) -> impl Iterator<Item = (Cow<'static, str>, &Expression)> {
    let named = [
        ("fingerprint", config.fingerprint.as_ref()),
        ("title", config.title.as_ref()),
        ("description", config.description.as_ref()),
        ("service", config.service.as_ref()),
        ("target", config.target.as_ref()),
        ("starts_at", config.starts_at.as_ref()),
        ("ends_at", config.ends_at.as_ref()),
        ("status", config.status.as_ref().map(|status| &status.from)),
        ("severity", config.severity.as_ref().map(|severity| &severity.from)),
    ];
    let each = [("labels", &config.labels), ("annotations", &config.annotations)].into_iter().flat_map(
        |(member, mapping)| match mapping {
            Some(LabelsMapping::Each(each)) => {
                each.iter().map(|(name, value)| (format!("{member}.{name}").into(), value)).collect()
            }
            Some(LabelsMapping::All(_)) | None => Vec::new(),
        },
    );
    named
        .into_iter()
        .filter_map(|(member, value)| Some((Cow::Borrowed(member), value?)))
        .chain(each)
        .chain(config.links.iter().map(|value| (Cow::Borrowed("links"), value)))
}

/// What templates of every entry see: the body and the headers, without credentials.
fn globals(tree: &Node<'_>, context: &Context<'_>) -> Value {
    let signature = context.source.authenticator().signature.as_ref();
    let secret = |name: &http::HeaderName| {
        [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name)
            || signature.is_some_and(|signature| signature.header() == name)
    };
    let headers: BTreeMap<&str, Cow<'_, str>> = header_names(context.headers)
        .filter(|(name, _)| !secret(name))
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value)))
        .collect();
    context! { root => Serde(tree), headers => Serde(headers) }
}

fn header_names(headers: &HeaderMap) -> impl Iterator<Item = (&http::HeaderName, &[u8])> {
    headers.iter().map(|(name, value)| (name, value.as_bytes()))
}

/// What templates of this entry see; the three names of our own win over the entry's members.
fn scope(entry: &Node<'_>, globals: &Value) -> Value {
    let item = Value::from(Serde(entry));
    let named = context! { item => &item };
    match entry {
        Node::Object(_) => merge_maps([item, named, globals.clone()]),
        _ => merge_maps([named, globals.clone()]),
    }
}

/// One entry of the body on its way to an alert.
struct Item<'i, 'a> {
    mapping: &'i Mapping,
    node: &'i Node<'a>,
    path: &'i Path<'i>,
    scope: Option<Value>,
    context: &'i Context<'i>,
}

impl<'i> Item<'i, '_> {
    fn alert(&self) -> Result<Alert, IntakeError> {
        let config = &self.mapping.config;
        let limits = self.context.limits();
        let starts_at = self.when("starts_at", config.starts_at.as_ref())?;
        let ends_at = self.when("ends_at", config.ends_at.as_ref())?;
        let status = match &config.status {
            Some(mapping) => self.status(mapping)?,
            None => status_by_end(ends_at, self.context.now),
        };
        let mut draft = Draft::new(status);
        draft.fingerprint = self.owned("fingerprint", config.fingerprint.as_ref(), limits.label_value)?;
        draft.severity = config.severity.as_ref().map(|mapping| self.severity(mapping)).transpose()?;
        draft.title = self.owned("title", config.title.as_ref(), limits.text)?;
        draft.description = self.owned("description", config.description.as_ref(), limits.text)?;
        draft.service = self.owned("service", config.service.as_ref(), limits.label_value)?;
        draft.target = self.owned("target", config.target.as_ref(), limits.label_value)?;
        draft.labels = self.pairs(Pairs::Labels, "labels", config.labels.as_ref())?;
        draft.annotations = self.pairs(Pairs::Annotations, "annotations", config.annotations.as_ref())?;
        for link in &config.links {
            draft.links.extend(self.owned("links", Some(link), limits.body)?);
        }
        draft.starts_at = starts_at;
        draft.ends_at = ends_at;
        if config.fingerprint.is_some() && draft.fingerprint.is_none() {
            return Err(self.refuse("fingerprint", config.fingerprint.as_ref(), "is missing"));
        }
        draft.finish(self.context, self.path)
    }

    /// The value's text; `None` when there is nothing, null or empty text.
    fn value(
        &self,
        member: &str,
        expression: &'i Expression,
        limit: usize,
    ) -> Result<Option<Cow<'i, str>>, IntakeError> {
        let text = match expression {
            Expression::Constant(text) => Some(Cow::Borrowed(text.as_str())),
            Expression::Template(text) => Some(Cow::Owned(self.render(member, text)?)),
            Expression::Pointer(pointer) => {
                let path = Path::Pointer(self.path, pointer);
                follow(self.node, pointer).map(|node| scalar(node, &path)).transpose()?.flatten()
            }
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        match expression {
            Expression::Pointer(pointer) => check_text(&text, &Path::Pointer(self.path, pointer), limit)?,
            Expression::Template(_) | Expression::Constant(_) => {
                check_text(&text, self.path, limit).map_err(|error| about(member, error))?;
            }
        }
        Ok(Some(text))
    }

    fn owned(
        &self,
        member: &str,
        expression: Option<&'i Expression>,
        limit: usize,
    ) -> Result<Option<String>, IntakeError> {
        let Some(expression) = expression else { return Ok(None) };
        Ok(self.value(member, expression, limit)?.map(Cow::into_owned))
    }

    fn render(&self, member: &str, text: &str) -> Result<String, IntakeError> {
        let limit = self.context.limits().text;
        let mut output = Bounded { bytes: Vec::new(), limit, overflown: false };
        let scope = self.scope.clone().unwrap_or_default();
        let rendered = self
            .mapping
            .environment
            .get_template(text)
            .and_then(|template| template.render_captured_to(scope, &mut output).map(|_| ()));
        if output.overflown {
            return Err(over(self.path, format!("mapping.{member}: more than {limit} bytes of text")));
        }
        rendered.map_err(|error| {
            let words = format!(
                "{}{}",
                error.kind(),
                error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default()
            );
            let words: String = words.chars().take(ENGINE_WORDS).collect();
            wrong(self.path, format!("mapping.{member}: {}", words.escape_debug()))
        })?;
        String::from_utf8(output.bytes)
            .map_err(|_| wrong(self.path, format!("mapping.{member}: the text is not UTF-8")))
    }

    fn when(
        &self,
        member: &str,
        expression: Option<&'i Expression>,
    ) -> Result<Option<DateTime<Utc>>, IntakeError> {
        let Some(expression) = expression else { return Ok(None) };
        let Some(text) = self.value(member, expression, self.context.limits().name)? else { return Ok(None) };
        match expression {
            Expression::Pointer(pointer) => time(&text, &Path::Pointer(self.path, pointer)),
            Expression::Template(_) | Expression::Constant(_) => {
                time(&text, self.path).map_err(|error| about(member, error))
            }
        }
    }

    fn status(&self, mapping: &'i StatusMapping) -> Result<Status, IntakeError> {
        let word = self.value("status", &mapping.from, self.context.limits().name)?;
        let Some(word) = word else {
            return Err(self.refuse("status", Some(&mapping.from), "is missing"));
        };
        let named = |words: &[String], own: &str| {
            if mapping.firing.is_empty() && mapping.resolved.is_empty() {
                word.eq_ignore_ascii_case(own)
            } else {
                words.iter().any(|known| known.eq_ignore_ascii_case(&word))
            }
        };
        match (named(&mapping.firing, "firing"), named(&mapping.resolved, "resolved")) {
            (true, _) => Ok(Status::Firing),
            (false, true) => Ok(Status::Resolved),
            (false, false) if mapping.firing.is_empty() && !mapping.resolved.is_empty() => Ok(Status::Firing),
            (false, false) if mapping.resolved.is_empty() && !mapping.firing.is_empty() => {
                Ok(Status::Resolved)
            }
            (false, false) => {
                let problem = format!("{} is in neither list of mapping.status", quoted(&word));
                Err(self.refuse("status", Some(&mapping.from), &problem))
            }
        }
    }

    fn severity(&self, mapping: &'i SeverityMapping) -> Result<Severity, IntakeError> {
        let Some(word) = self.value("severity", &mapping.from, self.context.limits().name)? else {
            return Ok(Severity::default());
        };
        let own = mapping.map.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word));
        Ok(own.map(|(_, severity)| *severity).or_else(|| severity_word(&word)).unwrap_or_default())
    }

    fn pairs(
        &self,
        kind: Pairs,
        member: &str,
        mapping: Option<&'i LabelsMapping>,
    ) -> Result<BTreeMap<String, String>, IntakeError> {
        let limits = self.context.limits();
        match mapping {
            None => Ok(BTreeMap::new()),
            Some(LabelsMapping::All(pointer)) => match follow(self.node, pointer) {
                Some(node) => pairs(node, &Path::Pointer(self.path, pointer), kind, Values::Scalars, limits),
                None => Ok(BTreeMap::new()),
            },
            Some(LabelsMapping::Each(each)) => {
                let mut found = BTreeMap::new();
                for (name, expression) in each {
                    let member = format!("{member}.{name}");
                    if let Some(value) = self.value(&member, expression, limits.text)? {
                        kind.check_pair(name, &value, self.path, limits)
                            .map_err(|error| about(&member, error))?;
                        found.insert(name.clone(), value.into_owned());
                    }
                }
                Ok(found)
            }
        }
    }

    fn refuse(&self, member: &str, expression: Option<&Expression>, problem: &str) -> IntakeError {
        match expression {
            Some(Expression::Pointer(pointer)) => wrong(&Path::Pointer(self.path, pointer), problem),
            Some(Expression::Template(_) | Expression::Constant(_)) | None => {
                about(member, wrong(self.path, problem))
            }
        }
    }
}

/// Puts the mapping's member before the problem, for values that stand nowhere in the body.
fn about(member: &str, error: IntakeError) -> IntakeError {
    match error {
        IntakeError::WrongShape { location, problem } => {
            IntakeError::WrongShape { location, problem: format!("mapping.{member}: {problem}") }
        }
        IntakeError::OverLimit { location, problem } => {
            IntakeError::OverLimit { location, problem: format!("mapping.{member}: {problem}") }
        }
        other => other,
    }
}

/// A writer that stops a template that writes too much.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    overflown: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > self.limit {
            self.overflown = true;
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
