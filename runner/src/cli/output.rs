//! What is printed: tables for people, JSON for programs, messages beside the data.

use std::io::{IsTerminal as _, Write};

use serde_json::Value;

use super::args::Format;
use super::client::Listed;

/// Where a command's words go.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    colour: bool,
}

impl Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR is a convention of the terminal, not configuration"
    )]
    pub(super) fn new(format: Format) -> Self {
        let plain = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        Self { format, colour: !plain && std::io::stderr().is_terminal() }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Data, as text that ends in a newline.
    pub(super) fn data(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        // A reader that has gone away (`| head`) is no error worth a word.
        drop(stdout.write_all(text.as_bytes()));
        if !text.ends_with('\n') {
            drop(stdout.write_all(b"\n"));
        }
        drop(stdout.flush());
    }

    /// Data that is written piece by piece.
    #[expect(clippy::unused_self, reason = "all data goes out through here")]
    pub(super) fn stream(&self) -> impl Write {
        std::io::BufWriter::with_capacity(1 << 16, std::io::stdout())
    }

    /// Data, as indented JSON.
    pub(super) fn json(&self, value: &Value) {
        self.data(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A listing: JSON, or a table of these columns.
    pub(super) fn listing(&self, items: &[Value], columns: &[(&str, &str)]) {
        if self.is_json() {
            return self.json(&Value::Array(items.to_vec()));
        }
        let head: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let body = items.iter().map(|item| columns.iter().map(|(_, path)| cell(item, path)).collect());
        self.data(&table(&std::iter::once(head).chain(body).collect::<Vec<_>>()));
    }

    /// A part of a list, and how to see the rest.
    pub(super) fn part(&self, listed: &Listed, columns: &[(&str, &str)]) {
        self.listing(&listed.items, columns);
        if let Some(next) = &listed.next {
            self.note(&format!("There is more: --after {} goes on, --all lists all.", safe(next)));
        }
    }

    /// A message for people.
    pub(super) fn note(&self, message: &str) {
        self.message(message);
    }

    /// What went wrong.
    pub(super) fn error(&self, message: &str) {
        let (red, plain) = if self.colour { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        self.message(&format!("{red}error:{plain} {message}"));
    }

    fn message(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(writeln!(stderr, "{text}"));
    }
}

/// Text from outside, safe for a terminal: control characters and direction overrides are shown as codes.
pub(super) fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hidden = c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
            let escaped: Vec<char> = if hidden { c.escape_unicode().collect() } else { vec![c] };
            escaped
        })
        .collect()
}

/// The member at a JSON pointer, as a cell.
fn cell(item: &Value, path: &str) -> String {
    match item.pointer(path) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => safe(text),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            safe(&items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        }
        Some(other) => safe(&other.to_string()),
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_hide_nothing_dangerous() {
        let rows = vec![vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&rows), "A     B\nlong  x\n");
        assert_eq!(safe("a\u{202e}b\n\u{1b}[31m"), "a\\u{202e}b\\u{a}\\u{1b}[31m");
    }
}
