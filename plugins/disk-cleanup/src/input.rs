//! The input, as `[input]` of `plugin.toml` describes it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use staunch_plugin::Error;

pub(crate) use crate::quantity::{Age, Bytes, Enough};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Any path on the file system whose space counts.
    pub(crate) path: String,
    pub(crate) enough_free: Enough,
    pub(crate) actions: Vec<Action>,
}

/// One thing to do, if space is still missing when its turn comes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Rotate(Rotate),
    Truncate(Truncate),
    Delete(Delete),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    pub(crate) path: String,
    /// How many rotated files stay.
    pub(crate) keep: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Truncate {
    pub(crate) path: String,
    /// What stays, from the start of the file.
    #[serde(default)]
    pub(crate) size: Bytes,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    pub(crate) directory: String,
    /// A glob over file names, with `*` and `?`.
    pub(crate) name: String,
    pub(crate) older_than: Age,
    /// The newest files of that name that stay in any case.
    #[serde(default)]
    pub(crate) keep: u32,
}

impl Rotate {
    /// The directory that holds the file.
    pub(crate) fn parent(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(parent, _)| parent)
    }
}

impl Delete {
    /// The moment before which a file must have been modified last.
    pub(crate) fn before(&self, began: Duration) -> Duration {
        Duration::from_secs(began.as_secs().saturating_sub(self.older_than.0))
    }
}

impl Input {
    /// What the schema can't say.
    pub(crate) fn check(&self) -> Result<(), Error> {
        absolute("path", &self.path)?;
        self.actions.iter().try_for_each(Action::check)
    }
}

impl Action {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Rotate(rotate) if rotate.keep == 0 => {
                Err(Error::invalid_input("rotate.keep must be at least 1; to empty a file, truncate it"))
            }
            Self::Rotate(rotate) => absolute("rotate.path", &rotate.path),
            Self::Truncate(truncate) => absolute("truncate.path", &truncate.path),
            Self::Delete(delete) => {
                absolute("delete.directory", &delete.directory)?;
                if delete.name.is_empty() || delete.name.contains(['/', '[', ']', '{', '}', '\\']) {
                    let message = format!("delete.name is a file name with * and ? only: {:?}", delete.name);
                    return Err(Error::invalid_input(message));
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rotate(a) => write!(f, "rotate {} (keep {})", a.path, a.keep),
            Self::Truncate(a) => write!(f, "truncate {} to {}", a.path, crate::human(a.size.0)),
            Self::Delete(a) => write!(
                f,
                "delete {}/{} older than {} (keep {})",
                a.directory.trim_end_matches('/'),
                a.name,
                a.older_than,
                a.keep
            ),
        }
    }
}

fn absolute(what: &str, path: &str) -> Result<(), Error> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} must be an absolute path: {path:?}")))
}
