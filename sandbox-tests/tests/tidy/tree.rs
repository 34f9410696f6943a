//! The files of this tree, as git knows them, else as they lie there.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of text.
pub(crate) struct File {
    /// Its path from the top, with slashes.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl File {
    /// The lines with their numbers, without comments: for rules about code.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).map(|(number, line)| (number, code_of(line)))
    }

    /// Whether it is a test: a file of tests, or one in a folder of them.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("sandbox-tests/")
            || self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs")
    }

    /// Its lines up to the unit tests that close it.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }
}

/// A line up to its comment. An address in a string is not a comment.
fn code_of(line: &str) -> &str {
    match line.split_once("//") {
        Some((code, _)) if !code.ends_with(':') => code,
        _ => line,
    }
}

/// All files.
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the tree that this test was built from. What is not text is left out.
    pub(crate) fn read() -> Self {
        let top = top();
        let files = tracked(&top)
            .unwrap_or_else(|| walk(&top))
            .into_iter()
            .filter_map(|path| Some(File { text: fs::read_to_string(top.join(&path)).ok()?, path }))
            .collect();
        Self { files }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// Those below a folder (with its slash) that end so.
    pub(crate) fn below<'a>(&'a self, folder: &'a str, ending: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(folder) && file.path.ends_with(ending))
    }

    /// One file's text; empty when it is not there.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
    }

    /// Whether there is a file or folder of this name.
    pub(crate) fn has(&self, path: &str) -> bool {
        top().join(path).exists()
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What git would commit.
#[expect(clippy::disallowed_methods, reason = "git knows which files belong to the tree")]
fn tracked(top: &Path) -> Option<Vec<String>> {
    let output = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(top)
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// What lies there, without what is built or hidden.
fn walk(top: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let kind = entry.file_type().ok();
            if matches!(name.as_str(), "target" | "dist" | ".git") {
                continue;
            }
            if kind.is_some_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if kind.is_some_and(|kind| kind.is_file()) {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    files
}
