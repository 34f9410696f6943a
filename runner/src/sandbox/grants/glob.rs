//! Patterns over names and paths: `*` stays inside a segment, `**` crosses segments. There is nothing else.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Glob {
    parts: Vec<Part>,
    /// `/tree/**` also matches `/tree` itself.
    tree: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Any text without `/`.
    Segment,
    /// Any text.
    All,
}

impl Glob {
    /// A pattern over any text.
    pub(in crate::sandbox) fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let star = rest.find('*').unwrap_or(rest.len());
            let (literal, stars) = rest.split_at(star);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let others = stars.trim_start_matches('*');
            match stars.len() - others.len() {
                0 => {}
                1 => parts.push(Part::Segment),
                _ => parts.push(Part::All),
            }
            rest = others;
        }
        let tree = pattern.strip_suffix("/**").filter(|tree| !tree.is_empty() && !tree.contains('*'));
        Self { parts, tree: tree.map(str::to_owned) }
    }

    /// A pattern over absolute paths.
    pub(super) fn path(pattern: &str) -> Result<Self, String> {
        if !pattern.starts_with('/') {
            return Err("a path begins with `/`".to_owned());
        }
        if pattern.split('/').skip(1).any(|segment| matches!(segment, "." | "..")) {
            return Err("a path has no `.` and no `..`".to_owned());
        }
        if pattern.contains("//") || pattern.contains('\0') {
            return Err("a path has no empty segment".to_owned());
        }
        Ok(Self::new(pattern))
    }

    /// A pattern over unit names.
    pub(super) fn unit(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() || pattern.contains('/') || pattern.contains(char::is_whitespace) {
            return Err("a unit name is one word without `/`".to_owned());
        }
        if pattern != "*" && pattern != "**" && !pattern.contains('.') && !pattern.ends_with('*') {
            return Err(format!("a unit name has its type: `{pattern}.service`"));
        }
        Ok(Self::new(pattern))
    }

    /// Whether the pattern matches the whole text.
    pub(in crate::sandbox) fn matches(&self, text: &str) -> bool {
        self.tree.as_deref() == Some(text) || matches(&self.parts, text.as_bytes())
    }
}

/// Greedy with one way back for each kind of star: linear in practice, quadratic at worst.
fn matches(parts: &[Part], text: &[u8]) -> bool {
    let Some((part, others)) = parts.split_first() else { return text.is_empty() };
    match part {
        Part::Literal(literal) => {
            text.strip_prefix(literal.as_bytes()).is_some_and(|rest| matches(others, rest))
        }
        Part::Segment | Part::All => star(part, others, text),
    }
}

fn star(part: &Part, others: &[Part], text: &[u8]) -> bool {
    let end = match part {
        Part::Segment => text.iter().position(|byte| *byte == b'/').unwrap_or(text.len()),
        Part::All | Part::Literal(_) => text.len(),
    };
    match others.first() {
        None => end == text.len(),
        // Only where the next literal begins is a try worth while.
        Some(Part::Literal(next)) => {
            let next = next.as_bytes();
            (0..=end).any(|skip| text[skip..].starts_with(next) && matches(others, &text[skip..]))
        }
        Some(Part::Segment | Part::All) => (0..=end).any(|skip| matches(others, &text[skip..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
    }

    #[test]
    fn a_star_stays_inside_a_segment_and_two_cross() {
        check("/a/*", "/a/b", true);
        check("/a/*", "/a/b/c", false);
        check("/a/*", "/a/", true);
        check("/a/**", "/a/b/c", true);
        check("/a/**", "/a", true);
        check("/a/**", "/ab", false);
        check("/a/*.log", "/a/x.log", true);
        check("/a/*.log", "/a/x.log.1", false);
        check("/**/x", "/a/b/x", true);
        check("web-*.service", "web-7.service", true);
        check("web-*.service", "db.service", false);
        check("**", "", true);
        check("", "", true);
        check("", "a", false);
        check("*a*b*", "xxaxxb", true);
        check("*a*b*", "xxbxxa", false);
    }

    #[test]
    fn refuses_paths_that_could_climb() {
        for pattern in ["a", "/a/../b", "/./a", "/a//b"] {
            assert!(Glob::path(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "a*".repeat(12) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(60)));
    }
}
