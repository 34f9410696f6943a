//! A new plugin's project: `plugin new`. It builds, tests and runs as it is.
//!
//! No package registry has the SDK, so this program carries its sources and the contract, and puts them into
//! the project's `sdk/`: a machine needs nothing of ours but this program.

mod sdk;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use staunch_core::policy::PluginKind;

use super::listed;
use super::manifest::{Language, is_name};

/// What the templates say where the plugin's name belongs.
const NAME: &str = "PLUGIN_NAME";

/// Names that no Rust crate can have.
const KEYWORDS: &[&str] = &[
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// A template: its path in the project, and its text.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($folder:literal: $($path:literal = $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("scaffold/", $folder, "/", $file)))),*]
    };
}

const PROJECT: &[Template] = templates! { "project":
    "Cargo.toml" = "Cargo.toml.txt",
    ".gitignore" = "gitignore.txt",
    "README.md" = "README.md",
};

const REMEDIATION: &[Template] = templates! { "remediation":
    "plugin.toml" = "plugin.toml",
    "src/lib.rs" = "lib.rs.txt",
    "scenarios/restarts.yaml" = "restarts.yaml",
    "scenarios/healthy.yaml" = "healthy.yaml",
    "scenarios/refuses.yaml" = "refuses.yaml",
};

const CONNECTOR: &[Template] = templates! { "connector":
    "plugin.toml" = "plugin.toml",
    "src/lib.rs" = "lib.rs.txt",
    "scenarios/delivers.yaml" = "delivers.yaml",
    "scenarios/busy.yaml" = "busy.yaml",
};

const CHECK: &[Template] = templates! { "check":
    "plugin.toml" = "plugin.toml",
    "src/lib.rs" = "lib.rs.txt",
    "scenarios/satisfied.yaml" = "satisfied.yaml",
    "scenarios/not-satisfied.yaml" = "not-satisfied.yaml",
};

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The project.
    pub directory: PathBuf,
    /// The author's files in it, without the SDK's.
    pub files: Vec<PathBuf>,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// No plugin can have that name.
    #[error("{0:?} is no plugin name: `[a-z][a-z0-9-]{{0,62}}`, and no word of the language")]
    Name(String),
    /// The language has no template.
    #[error("there is no template for {0}; available: {available}", available = listed(AVAILABLE.iter().map(|language| language.as_str())))]
    Language(&'static str),
    /// There is something already.
    #[error("{0} exists already")]
    Exists(String),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// The languages that have templates.
pub const AVAILABLE: &[Language] = &[Language::Rust];

/// Makes the project `parent/name`.
///
/// # Errors
/// [`ScaffoldError`]. Nothing that exists is touched.
pub fn create(
    parent: &Path,
    name: &str,
    language: Language,
    kind: PluginKind,
) -> Result<Created, ScaffoldError> {
    if !is_name(name) || KEYWORDS.contains(&name) {
        return Err(ScaffoldError::Name(name.to_owned()));
    }
    if !AVAILABLE.contains(&language) {
        return Err(ScaffoldError::Language(language.as_str()));
    }
    let directory = parent.join(name);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ScaffoldError::Exists(directory.display().to_string()));
        }
        made => made.map_err(failed(&directory))?,
    }
    let own = match kind {
        PluginKind::Remediation => REMEDIATION,
        PluginKind::Connector => CONNECTOR,
        PluginKind::Check => CHECK,
    };
    let mut files = Vec::new();
    for (path, text) in PROJECT.iter().chain(own) {
        let file = directory.join(path);
        write(&file, &text.replace(NAME, name))?;
        files.push(file);
    }
    for (path, text) in sdk::FILES {
        write(&directory.join("sdk").join(path), text)?;
    }
    Ok(Created { directory, files })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ScaffoldError {
    move |source| ScaffoldError::Io { path: path.display().to_string(), source }
}

fn write(path: &Path, text: &str) -> Result<(), ScaffoldError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::Manifest;

    #[test]
    fn every_kind_has_a_valid_manifest_and_all_of_the_sdk() {
        let parent = tempfile::tempdir().unwrap();
        for (word, kind) in PluginKind::WORDS {
            let name = format!("my-{word}");
            let created = create(parent.path(), &name, Language::Rust, kind).unwrap();
            let text = fs::read(created.directory.join("plugin.toml")).unwrap();
            let manifest = Manifest::parse("plugin.toml", &text).unwrap();
            assert_eq!((manifest.name, manifest.kind), (name, kind));
            assert!(created.directory.join("sdk/wit/deps/http/http.wit").is_file());
            for file in created.files {
                assert!(!fs::read_to_string(&file).unwrap().contains(NAME), "{}", file.display());
            }
            let again = create(parent.path(), &format!("my-{word}"), Language::Rust, kind);
            assert!(matches!(again, Err(ScaffoldError::Exists(_))));
        }
    }

    #[test]
    fn refuses_names_and_languages_that_cannot_work() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["", "../x", "My", "a_b", "fn", "std"] {
            let refused = create(parent.path(), name, Language::Rust, PluginKind::Check);
            assert!(matches!(refused, Err(ScaffoldError::Name(_))), "{name}");
        }
        let go = create(parent.path(), "p", Language::Go, PluginKind::Check).unwrap_err().to_string();
        assert!(go.contains("available: rust"), "{go}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
