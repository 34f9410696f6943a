//! Reading TOML strictly: every key is known, every problem has a place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::plugin::listed;

/// One thing wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// A file being read, and the problems found so far.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::new(Vec::new()) }
    }

    pub(super) fn problem(&self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
        });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

/// Something and where it stands.
pub(super) type Placed<T> = (Range<usize>, T);

/// A table of the file: `path` is its name in messages.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    pub(super) source: &'a Source<'a>,
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn root(source: &'a Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, path: String::new(), span: 0..0, entries: table.get_ref() }
    }

    /// Reports every key that is not one of `valid`.
    pub(super) fn only(&self, valid: &[&str]) {
        for key in self.entries.keys().filter(|key| !valid.contains(&key.get_ref().as_ref())) {
            let message = format!(
                "unknown key `{}`; valid here: {}",
                self.name(key.get_ref()),
                listed(valid.iter().copied())
            );
            self.source.problem(key.span(), message);
        }
    }

    /// Reports something about the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.source.problem(self.span.clone(), message);
    }

    /// Reports something about one of its values.
    pub(super) fn problem_at(&self, key: &str, message: impl Into<String>) {
        let span = self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.source.problem(span, message);
    }

    /// Its entries: key, the key's place, and the value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// `table.key`.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn table(&self, key: &str) -> Option<Self> {
        let value = self.entries.get(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => {
                Some(Self { source: self.source, path: self.name(key), span: value.span(), entries })
            }
            other => self.mismatch(key, value.span(), "a table", other),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.entries.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            other => self.mismatch(key, value.span(), "a string", other),
        }
    }

    pub(super) fn required_text(&self, key: &str) -> Option<&'a str> {
        if !self.has(key) {
            self.problem(format!("`{}` is missing", self.name(key)));
        }
        self.text(key)
    }

    pub(super) fn unsigned(&self, key: &str) -> Option<u64> {
        let value = self.entries.get(key)?;
        match value.get_ref() {
            DeValue::Integer(number) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
                if number.is_none() {
                    let message = format!("`{}` must be between 0 and {}", self.name(key), u64::MAX);
                    self.source.problem(value.span(), message);
                }
                number
            }
            other => self.mismatch(key, value.span(), "a whole number", other),
        }
    }

    /// A TOML date-time, or a string that holds one; the text as RFC 3339 writes it.
    pub(super) fn moment(&self, key: &str) -> Option<String> {
        match self.entries.get(key)?.get_ref() {
            DeValue::Datetime(moment) => Some(moment.to_string()),
            _ => self.text(key).map(str::to_owned),
        }
    }

    /// Each name and the strings of its array, each with its place.
    pub(super) fn string_lists(&self) -> BTreeMap<&'a str, Placed<Vec<Placed<&'a str>>>> {
        let mut lists = BTreeMap::new();
        for (key, place, value) in self.iter() {
            let DeValue::Array(items) = value.get_ref() else {
                self.mismatch::<()>(key, value.span(), "an array of strings", value.get_ref());
                continue;
            };
            let texts = items.iter().filter_map(|item| match item.get_ref() {
                DeValue::String(text) => Some((item.span(), text.as_ref())),
                other => self.mismatch(key, item.span(), "an array of strings", other),
            });
            lists.insert(key, (place, texts.collect()));
        }
        lists
    }

    fn mismatch<T>(&self, key: &str, span: Range<usize>, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        let message = format!("`{}` must be {wanted}, not {}", self.name(key), kind(found));
        self.source.problem(span, message);
        None
    }

    /// The table as JSON: what a JSON Schema in TOML means.
    pub(super) fn json(&self) -> Value {
        Value::Object(
            self.iter().map(|(key, _, value)| (key.to_owned(), self.json_value(key, value))).collect(),
        )
    }

    fn json_value(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => self.no_json(key, value, "an integer of more than 64 bits"),
            },
            DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
                Ok(number) if number.is_finite() => Value::from(number),
                _ => self.no_json(key, value, "a number that is not finite"),
            },
            DeValue::Boolean(flag) => Value::from(*flag),
            DeValue::Datetime(_) => self.no_json(key, value, "a date-time; write it as a string"),
            DeValue::Array(items) => items.iter().map(|item| self.json_value(key, item)).collect(),
            DeValue::Table(entries) => {
                let table = Self { source: self.source, path: self.name(key), span: value.span(), entries };
                table.json()
            }
        }
    }

    fn no_json(&self, key: &str, value: &Spanned<DeValue<'_>>, what: &str) -> Value {
        self.source.problem(value.span(), format!("`{}` cannot be {what}: JSON has none", self.name(key)));
        Value::Null
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date-time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
