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

/// Goes through the pattern part by part, with the set of places in the text that it can have reached: time is
/// bounded by the product of both lengths, whatever the pattern.
fn matches(parts: &[Part], text: &[u8]) -> bool {
    let (parts, text) = match parts.split_first() {
        Some((Part::Literal(prefix), others)) => match text.strip_prefix(prefix.as_bytes()) {
            Some(rest) => (others, rest),
            None => return false,
        },
        _ => (parts, text),
    };
    match parts {
        [] => return text.is_empty(),
        [Part::All] => return true,
        [Part::Segment] => return !text.contains(&b'/'),
        _ => {}
    }
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in parts {
        match part {
            Part::Literal(literal) => advance(&mut reached, text, literal.as_bytes()),
            Part::Segment => spread(&mut reached, |at| text[at] != b'/'),
            Part::All => spread(&mut reached, |_| true),
        }
    }
    reached.last().copied().unwrap_or(false)
}

fn advance(reached: &mut [bool], text: &[u8], literal: &[u8]) {
    for at in (0..reached.len()).rev() {
        let from = at.checked_sub(literal.len());
        reached[at] = from.is_some_and(|from| reached[from] && &text[from..at] == literal);
    }
}

fn spread(reached: &mut [bool], over: impl Fn(usize) -> bool) {
    for at in 1..reached.len() {
        reached[at] = reached[at] || (reached[at - 1] && over(at - 1));
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
        check("**/*.log", "a/b/c.log", true);
        check("*/**/c", "a/b/c", true);
        check("*a", "aaa", true);
        check("*a*b", "a/ab", false);
    }

    #[test]
    fn refuses_paths_that_could_climb() {
        for pattern in ["a", "/a/../b", "/./a", "/a//b"] {
            assert!(Glob::path(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        for star in ["*", "**"] {
            let pattern = format!("a{star}").repeat(100) + "b";
            assert!(!Glob::new(&pattern).matches(&"a".repeat(4_000)));
        }
    }
}
