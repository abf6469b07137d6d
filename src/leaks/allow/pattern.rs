//! Names with a `*` for any text.

use super::what::Problem;
use crate::name::Printed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    /// Refuses one that covers everything: nobody would notice the next leak.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err("the name is empty: say which, like conn-*".into());
        }
        if text.chars().all(|c| c == '*') {
            return Err(format!(
                "`{}` covers everything: say which names, like conn-*",
                Printed(text)
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// In linear time: what stands between two stars is taken where it comes first, which leaves the most for
    /// what follows, so that there is nothing to try again.
    pub(super) fn covers(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return name == self.0;
        };
        let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        name.strip_prefix(first)
            .and_then(|name| name.strip_suffix(last))
            .is_some_and(|name| has_in_order(name, between.split('*')))
    }
}

fn has_in_order<'a>(mut text: &str, mut parts: impl Iterator<Item = &'a str>) -> bool {
    parts.all(|part| match text.find(part) {
        Some(at) => {
            text = &text[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().covers(name)
    }

    /// What a pattern means, tried out letter by letter.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|skip| by_definition(rest, &name[skip..])),
            [c, rest @ ..] => name.first() == Some(c) && by_definition(rest, &name[1..]),
        }
    }

    /// All texts of up to four of these letters.
    fn texts(letters: &[char]) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..4 {
            longest = longest
                .iter()
                .flat_map(|text| letters.iter().map(move |c| format!("{text}{c}")))
                .collect();
            all.extend_from_slice(&longest);
        }
        all
    }

    #[test]
    fn without_a_star_it_is_the_whole_name() {
        assert!(covers("conn", "conn"));
        assert!(!covers("conn", "conn-1"));
        assert!(!covers("conn", "a conn"));
        assert!(!covers("conn", ""));
    }

    #[test]
    fn short_patterns_mean_what_the_definition_says() {
        let names = texts(&['a', 'b']);
        for pattern in texts(&['a', 'b', '*']) {
            let Ok(parsed) = Pattern::parse(&pattern) else {
                continue;
            };
            for name in &names {
                assert_eq!(
                    parsed.covers(name),
                    by_definition(pattern.as_bytes(), name.as_bytes()),
                    "{pattern} {name}"
                );
            }
        }
    }

    #[test]
    fn the_end_does_not_reach_back_into_the_beginning() {
        assert!(!covers("ab*bc", "abc"));
        assert!(!covers("a*a", "a"));
        assert!(covers("a*a", "aa"));
    }

    #[test]
    fn several_stars_in_a_row_are_one() {
        assert!(covers("a**b", "ab"));
        assert!(covers("**a**", "xay"));
    }

    #[test]
    fn case_matters() {
        assert!(!covers("Conn-*", "conn-1"));
        assert!(!covers("É*", "é1"));
    }

    #[test]
    fn letters_of_several_bytes_are_letters() {
        assert!(covers("é*ü", "éß漢ü"));
        assert!(covers("*漢*", "ß漢ü"));
        assert!(!covers("*字*", "ß漢ü"));
    }

    #[test]
    fn what_covers_everything_is_refused() {
        for pattern in ["", "*", "**", "*".repeat(1_000).as_str()] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    /// With a search that tries again, this would take longer than anybody waits.
    #[test]
    fn a_long_pattern_on_a_long_name_takes_no_time() {
        let name = "a".repeat(1 << 20);
        assert!(!covers(&format!("{}b*", "*a".repeat(1 << 18)), &name));
        assert!(!covers(&format!("*{}b*", "a".repeat(1 << 19)), &name));
        assert!(covers(&"*a".repeat(1 << 18), &name));
        assert!(covers(&format!("a{}", "*".repeat(1 << 20)), &name));
    }
}
