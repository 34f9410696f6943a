//! An error and its causes, in the one line that a person reads.

/// The error's own words and those of each cause behind it, with colons between.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the door is shut")]
    struct Shut(#[source] std::io::Error);

    #[test]
    fn every_cause_is_told_once_and_in_order() {
        let error = Shut(std::io::Error::other("no key"));
        assert_eq!(chain(&error), "the door is shut: no key");
    }
}
