//! What is wrong with a file that an operator wrote, and where.

use std::fmt;

/// A place in a text, both numbers counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// The first character: for what is wrong with a file as a whole.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte offset in `text`; past the end, the end.
    #[must_use]
    pub fn of_offset(text: &str, offset: usize) -> Self {
        let mut at = Self::START;
        for (index, character) in text.char_indices() {
            if index >= offset {
                break;
            }
            if character == '\n' {
                at = Self { line: at.line.saturating_add(1), column: 1 };
            } else {
                at.column = at.column.saturating_add(1);
            }
        }
        at
    }
}

/// Whether a problem keeps a file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gravity {
    /// It cannot be used.
    Error,
    /// It can, but is hardly meant so.
    Warning,
}

/// One thing that is wrong with a file. Printed as `FILE:LINE:COLUMN: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named when it was loaded.
    pub file: String,
    /// Where in the file.
    pub at: Position,
    /// How bad it is.
    pub gravity: Gravity,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// Something that keeps the file from being used.
    #[must_use]
    pub fn error(file: &str, at: Position, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at, gravity: Gravity::Error, message: message.into() }
    }

    /// Something that an operator should know.
    #[must_use]
    pub fn warning(file: &str, at: Position, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at, gravity: Gravity::Warning, message: message.into() }
    }

    /// Whether it keeps the file from being used.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.gravity == Gravity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.at;
        let gravity = if self.is_error() { "" } else { "warning: " };
        write!(f, "{}:{line}:{column}: {gravity}{}", self.file, self.message)
    }
}
