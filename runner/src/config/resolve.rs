//! Fills in `${env:NAME}` and `${file:PATH}`, which stand for secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use staunch_core::policy::reader::Reader;
use staunch_core::policy::yaml::{Node, Tree};

use super::files;

/// The largest secret, in bytes.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Where `${env:NAME}` looks.
#[derive(Clone)]
pub struct Environment(Source);

#[derive(Clone)]
enum Source {
    Process,
    Given(BTreeMap<String, String>),
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// An environment of the caller's.
    #[must_use]
    pub fn given(variables: BTreeMap<String, String>) -> Self {
        Self(Source::Given(variables))
    }

    #[expect(clippy::disallowed_methods, reason = "configuration is what may read the environment")]
    fn get(&self, name: &str) -> Option<String> {
        match &self.0 {
            Source::Process => std::env::var(name).ok(),
            Source::Given(variables) => variables.get(name).cloned(),
        }
    }
}

/// Fills in texts, relative to the folder of the configuration.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) folder: PathBuf,
    pub(super) environment: &'a Environment,
}

impl Resolver<'_> {
    /// A path, resolved against the folder of the configuration.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        // Without `./`, so that messages name files as people do.
        let path: PathBuf = self.folder.join(text).components().collect();
        path.strip_prefix(".")
            .ok()
            .filter(|rest| !rest.as_os_str().is_empty())
            .map_or(path.clone(), Into::into)
    }

    /// A text with all its places filled in; `None` after a problem was noted.
    pub(super) fn text(&self, reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
        let text = reader.text(node, what)?;
        self.fill(text).map_err(|message| reader.error(node.at, format!("{what}: {message}"))).ok()
    }

    /// A text that was read before, with all its places filled in.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (place, tail) = after.split_once('}').ok_or("the closing brace of ${...} is missing")?;
            filled.push_str(before);
            filled.push_str(&self.look_up(place)?);
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn look_up(&self, place: &str) -> Result<String, String> {
        match place.split_once(':') {
            Some(("env", name)) => self
                .environment
                .get(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("the environment variable {name:?} is not set")),
            Some(("file", path)) => {
                let path = self.path(path);
                files::check_private(&path)?;
                let text = files::read_text(&path, SECRET_LIMIT)
                    .map_err(|message| format!("{} {message}", path.display()))?;
                Ok(text
                    .strip_suffix('\n')
                    .map_or(text.as_str(), |text| text.trim_end_matches('\r'))
                    .to_owned())
            }
            _ => Err(format!("${{{place}}} is unknown; valid are ${{env:NAME}} and ${{file:PATH}}")),
        }
    }

    /// A tree as JSON, all texts filled in; `None` after problems were noted.
    pub(super) fn json(&self, reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Value> {
        Some(match &node.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Integer(number) => Value::from(*number),
            Tree::Float(number) => Value::from(*number),
            Tree::Text(text) => {
                let filled = self.fill(text);
                Value::String(filled.map_err(|error| reader.error(node.at, format!("{what}: {error}"))).ok()?)
            }
            Tree::List(items) => {
                let values: Vec<_> = items.iter().map(|item| self.json(reader, item, what)).collect();
                Value::Array(values.into_iter().collect::<Option<_>>()?)
            }
            Tree::Map(entries) => {
                let values: Vec<_> = entries
                    .iter()
                    .map(|entry| {
                        let what = format!("{what}.{}", entry.key);
                        Some((entry.key.clone(), self.json(reader, &entry.node, &what)?))
                    })
                    .collect();
                Value::Object(values.into_iter().collect::<Option<_>>()?)
            }
        })
    }
}
