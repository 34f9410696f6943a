//! Patterns over programs and their arguments.
//!
//! In a request the program may have wildcards, as in paths; in a grant it has none.
//! `/usr/bin/tool status *` is the program, one fixed argument and one free one. A word that is `*` alone is
//! any one argument that does not begin with `-` (options must be spelled out), `**` alone, at the end, is the
//! rest, whatever it is. Inside a word `*` and `**` are as in paths. `sha256:DIGEST` at the end pins the bytes.

use staunch_core::id::Digest;

use super::glob::Glob;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArgvPattern {
    program: Glob,
    named: bool,
    words: Vec<Word>,
    rest: bool,
    pin: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Any,
    Like(Glob),
}

/// What a grant says about running the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct ArgvLeave {
    /// The bytes that the program must be made of.
    pub(in crate::sandbox) pin: Option<Digest>,
}

impl ArgvPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
        let pin = match words.last() {
            Some(last) if last.starts_with("sha256:") => {
                let pin = last.parse().map_err(|error| format!("{error}"))?;
                words.pop();
                Some(pin)
            }
            _ => None,
        };
        let Some((program, words)) = words.split_first() else { return Err("it is empty".to_owned()) };
        let named = !program.contains('*');
        let program = Glob::path(program)?;
        let (rest, words) = match words.split_last() {
            Some((&"**", words)) => (true, words),
            _ => (false, words),
        };
        if words.contains(&"**") {
            return Err("`**` alone stands at the end".to_owned());
        }
        let compile = |word: &&str| if *word == "*" { Word::Any } else { Word::Like(Glob::new(word)) };
        let words = words.iter().map(compile).collect();
        Ok(Self { program, named, words, rest, pin })
    }

    pub(super) fn matches(&self, program: &str, arguments: &[String]) -> bool {
        let enough = match self.rest {
            true => arguments.len() >= self.words.len(),
            false => arguments.len() == self.words.len(),
        };
        let like = |(word, argument): (&Word, &String)| match word {
            Word::Any => !argument.starts_with('-'),
            Word::Like(glob) => glob.matches(argument),
        };
        self.program.matches(program) && enough && self.words.iter().zip(arguments).all(like)
    }

    /// Whether it is about one program alone. A request may be wider, a grant may not: who grants it must know
    /// what will be run.
    pub(super) fn names_its_program(&self) -> bool {
        self.named
    }

    pub(super) fn leave(&self) -> ArgvLeave {
        ArgvLeave { pin: self.pin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, line: &[&str], expected: bool) {
        let arguments: Vec<String> = line[1..].iter().map(|&argument| argument.to_owned()).collect();
        assert_eq!(
            ArgvPattern::parse(pattern).unwrap().matches(line[0], &arguments),
            expected,
            "{pattern}: {line:?}"
        );
    }

    #[test]
    fn arguments_are_matched_one_by_one() {
        check("/bin/x a *", &["/bin/x", "a", "b c/d"], true);
        check("/bin/x a *", &["/bin/x", "a"], false);
        check("/bin/x a *", &["/bin/x", "a", "b", "c"], false);
        check("/bin/x a *", &["/bin/x", "a", "--force"], false);
        check("/bin/x --unit=*", &["/bin/x", "--unit=web"], true);
        check("/bin/x --unit=*", &["/bin/x", "--unit=../web"], false);
        check("/bin/x **", &["/bin/x"], true);
        check("/bin/x **", &["/bin/x", "-a", "b"], true);
        check("/bin/x", &["/bin/y"], false);
        check("/bin/x", &["/bin/x", "a"], false);
        check("/** **", &["/usr/bin/x", "-a"], true);
        check("/bin/*", &["/bin/x"], true);
        check("/bin/*", &["/bin/a/x"], false);
    }

    #[test]
    fn refuses_what_is_no_template() {
        for pattern in ["", "x", "bin/*", "/bin/x ** a", "/bin/../x", "/bin/x sha256:12"] {
            assert!(ArgvPattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(
            ArgvPattern::parse(&format!("/bin/x sha256:{}", "a".repeat(64))).unwrap().leave().pin.is_some()
        );
    }
}
