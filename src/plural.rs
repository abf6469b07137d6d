//! Counted nouns: `1 task`, `3 tasks`.

use std::fmt;

/// Writes the count and the noun, which gets an `s` unless there is exactly one.
pub(crate) fn plural(count: usize, noun: &str) -> impl fmt::Display {
    Plural { count, noun }
}

/// The verb that goes with such a noun.
pub(crate) fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

struct Plural<'a> {
    count: usize,
    noun: &'a str,
}

impl fmt::Display for Plural<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, noun } = self;
        let ending = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {noun}{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_plural() {
        let counted = [0, 1, 2].map(|count| plural(count, "more task").to_string());
        assert_eq!(["are", "is", "are"], [0, 1, 2].map(are));
        assert_eq!(["0 more tasks", "1 more task", "2 more tasks"], counted);
    }
}
