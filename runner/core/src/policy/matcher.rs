//! Matchers over labels in Alertmanager's syntax: `alertname="X"`, `severity=~"critical|error"`.
//!
//! Operators are `=`, `!=`, `=~` and `!~`; regular expressions match the whole value; a missing label is an
//! empty value. Names and values may stand in double quotes, and must where they hold spaces or any of
//! `{}!=~,\"'` and the backtick. In quotes, `\"`, `\\`, `\n`, `\t` and `\r` mean what they do everywhere, and
//! any other backslash stands for itself, as in Alertmanager's default mode, so that `"web\d+"` is one.
//! Regular expressions are RE2's but for rare escapes: linear time, no look-around.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};

/// The largest compiled regular expression, in bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// The longest text with matchers, in bytes.
const TEXT_LIMIT: usize = 8 * 1024;

/// One condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    label: String,
    operator: Operator,
    value: String,
    regex: Option<Regex>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

impl Operator {
    /// The sign.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }
}

/// A text that is no matcher, and where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {message}", column + 1)]
pub struct MatcherError {
    /// How many characters stand before the place.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl Matcher {
    /// A matcher from its parts.
    ///
    /// # Errors
    /// When the value of a `=~` or `!~` is no regular expression.
    pub fn new(label: &str, operator: Operator, value: &str) -> Result<Self, String> {
        let regex = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::MatchesNot => Some(compile(value)?),
        };
        Ok(Self { label: label.to_owned(), operator, value: value.to_owned(), regex })
    }

    /// The label that it looks at.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The value that the label must have, when the matcher is an equality with one.
    #[must_use]
    pub fn required_value(&self) -> Option<&str> {
        (self.operator == Operator::Equal && !self.value.is_empty()).then_some(&self.value)
    }

    /// Whether the labels fulfil it.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let actual = labels.get(&self.label).map_or("", String::as_str);
        let fits = self.regex.as_ref().map_or(actual == self.value, |regex| regex.is_match(actual));
        fits == matches!(self.operator, Operator::Equal | Operator::Matches)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.label.is_empty() || self.label.contains(is_reserved) {
            write_quoted(f, &self.label)?;
        } else {
            f.write_str(&self.label)?;
        }
        f.write_str(self.operator.as_str())?;
        write_quoted(f, &self.value)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

/// Compiled bare first: `)(` would be balanced by the anchors' own parentheses.
fn compile(value: &str) -> Result<Regex, String> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(REGEX_SIZE_LIMIT).build();
    build(value).and_then(|_| build(&format!("^(?:{value})$"))).map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("{value:?} is not a regular expression: {why}")
    })
}

/// Parses a text with one matcher or several, separated by commas, with or without braces around them.
///
/// # Errors
/// Where the text stops being a matcher, and why. A text without any matcher is an error too.
pub fn parse(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    if text.len() > TEXT_LIMIT {
        return Err(MatcherError { column: 0, message: format!("longer than {TEXT_LIMIT} bytes") });
    }
    let mut scanner = Scanner { rest: text.chars().peekable(), column: 0 };
    scanner.skip_spaces();
    let braces = scanner.take('{');
    let mut matchers = Vec::new();
    loop {
        matchers.push(scanner.matcher()?);
        scanner.skip_spaces();
        let comma = scanner.take(',');
        scanner.skip_spaces();
        if braces && scanner.take('}') {
            scanner.skip_spaces();
            return match scanner.rest.peek() {
                None => Ok(matchers),
                Some(_) => Err(scanner.error("nothing may follow the closing brace")),
            };
        }
        match scanner.rest.peek() {
            None if braces => return Err(scanner.error("the closing brace is missing")),
            None => return Ok(matchers),
            Some(_) if comma => {}
            Some(_) => {
                return Err(scanner.error("expected a comma or the end; quote values with spaces or signs"));
            }
        }
    }
}

fn is_reserved(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

struct Scanner<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    column: usize,
}

impl Scanner<'_> {
    fn error(&self, message: &str) -> MatcherError {
        MatcherError { column: self.column, message: message.to_owned() }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        self.column += 1;
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.peek() == Some(&wanted);
        if found {
            self.next();
        }
        found
    }

    fn skip_spaces(&mut self) {
        while self.rest.peek().is_some_and(|c| c.is_whitespace()) {
            self.next();
        }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        self.skip_spaces();
        let label = self.word("a label name")?;
        self.skip_spaces();
        let operator = self.operator()?;
        self.skip_spaces();
        let column = self.column;
        let value = self.word("a value")?;
        Matcher::new(&label, operator, &value).map_err(|message| MatcherError { column, message })
    }

    fn operator(&mut self) -> Result<Operator, MatcherError> {
        if self.take('=') {
            return Ok(if self.take('~') { Operator::Matches } else { Operator::Equal });
        }
        if self.take('!') {
            if self.take('=') {
                return Ok(Operator::NotEqual);
            }
            if self.take('~') {
                return Ok(Operator::MatchesNot);
            }
        }
        Err(self.error("expected one of the operators =, !=, =~, !~"))
    }

    fn word(&mut self, what: &str) -> Result<String, MatcherError> {
        if self.take('"') {
            return self.quoted();
        }
        let mut word = String::new();
        while let Some(&character) = self.rest.peek() {
            if is_reserved(character) {
                break;
            }
            word.push(character);
            self.next();
        }
        if word.is_empty() {
            return Err(self.error(&format!("expected {what}, plain or in double quotes")));
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let mut word = String::new();
        while let Some(character) = self.next() {
            match character {
                '"' => return Ok(word),
                '\\' => match self.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('r') => word.push('\r'),
                    Some(same @ ('"' | '\\')) => word.push(same),
                    Some(other) => word.extend(['\\', other]),
                    None => break,
                },
                other => word.push(other),
            }
        }
        Err(self.error("the closing quote is missing"))
    }
}

#[cfg(test)]
mod tests;
