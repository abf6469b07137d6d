//! Which findings an entry is about.

use super::{Suspect, pattern::Pattern, site::Site};
use crate::name::{Printed, Quoted};
use std::fmt;

/// What is wrong with an entry, and what would be right.
pub(super) type Problem = String;

/// Makes one of a text, if it is well-formed.
pub(super) type Maker = fn(&str) -> Result<What, Problem>;

/// How many digits a fingerprint has.
const DIGITS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// In lower case.
    Fingerprint(String),
    Kind(String),
    Name(Pattern),
    Site(Site),
}

impl What {
    /// How to make it of the text that follows this word in a file.
    pub(super) fn maker(keyword: &str) -> Option<Maker> {
        Some(match keyword {
            "fingerprint" => Self::fingerprint,
            "kind" => Self::kind,
            "name" => Self::name,
            "site" => Self::site,
            _ => return None,
        })
    }

    pub(super) fn fingerprint(text: &str) -> Result<Self, Problem> {
        if text.len() != DIGITS || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!(
                "`{}` is no fingerprint: it has {DIGITS} hexadecimal digits, as a report prints them",
                Printed(text)
            ));
        }
        Ok(Self::Fingerprint(text.to_ascii_lowercase()))
    }

    /// Nobody who writes `*` means a kind of that name, so it is not taken for one.
    pub(super) fn kind(text: &str) -> Result<Self, Problem> {
        if text.chars().all(|c| c == '*') {
            return Err(format!(
                "`{}` is no kind: write it as a report prints it, like pool",
                Printed(text)
            ));
        }
        Ok(Self::Kind(text.to_owned()))
    }

    pub(super) fn name(text: &str) -> Result<Self, Problem> {
        Pattern::parse(text).map(Self::Name)
    }

    pub(super) fn site(text: &str) -> Result<Self, Problem> {
        Site::parse(text).map(Self::Site)
    }

    pub(super) fn covers(&self, suspect: &Suspect<'_>) -> bool {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.eq_ignore_ascii_case(suspect.fingerprint),
            Self::Kind(kind) => kind == suspect.kind,
            Self::Name(pattern) => pattern.covers(suspect.name),
            Self::Site(site) => site.covers(suspect.file, suspect.line),
        }
    }
}

/// As a file would have it, so that it is found there.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(fingerprint) => write!(f, "fingerprint {fingerprint}"),
            Self::Kind(kind) => write!(f, "kind {}", InFile(kind)),
            Self::Name(pattern) => write!(f, "name {}", InFile(pattern.as_str())),
            Self::Site(site) => write!(f, "site {}", InFile(&site.to_string())),
        }
    }
}

/// In quotes if it would not be read back without.
struct InFile<'a>(&'a str);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with('"') || self.0.contains(char::is_whitespace) {
            let doubled = self.0.replace('"', "\"\"");
            return write!(f, "\"{}\"", Quoted(&doubled));
        }
        Quoted(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(made: Result<What, Problem>) -> String {
        made.unwrap_err()
    }

    #[test]
    fn a_fingerprint_has_16_hexadecimal_digits() {
        for text in [
            "",
            "3fa291bc07d1e2a",
            "3fa291bc07d1e2a44",
            "3fa291bc07d1e2ag",
            "0x3fa291bc07d1e2",
            "+fa291bc07d1e2a4",
            "３fa291bc07d1e2",
        ] {
            assert!(problem(What::fingerprint(text)).contains("16 hexadecimal digits"));
        }
    }

    #[test]
    fn a_kind_is_compared_whole_and_with_its_case() {
        let of_kind = |kind| Suspect {
            fingerprint: "",
            kind,
            name: "",
            file: "",
            line: 1,
        };
        let pool = What::kind("pool").unwrap();
        assert!(pool.covers(&of_kind("pool")));
        for other in ["", "Pool", "pools", "poo", "a pool"] {
            assert!(!pool.covers(&of_kind(other)), "{other}");
        }
    }

    #[test]
    fn a_star_in_a_kind_is_a_star() {
        let starred = What::kind("p*").unwrap();
        let suspect = Suspect {
            fingerprint: "",
            kind: "pool",
            name: "",
            file: "",
            line: 1,
        };
        assert!(!starred.covers(&suspect));
    }

    #[test]
    fn it_prints_as_a_file_has_it() {
        for (what, printed) in [
            (What::kind("pool"), "kind pool"),
            (What::name("my conn-*"), "name \"my conn-*\""),
            (What::name("\"a\" b"), "name \"\"\"a\"\" b\""),
            (What::name("a\"b"), "name a\"b"),
            (What::site(r"net\conn.rs:41"), r"site net\conn.rs:41"),
            (
                What::fingerprint("3FA291BC07D1E2A4"),
                "fingerprint 3fa291bc07d1e2a4",
            ),
        ] {
            assert_eq!(what.unwrap().to_string(), printed);
        }
    }

    #[test]
    fn it_prints_on_one_line_whatever_it_is() {
        let what = What::name(&format!("a\n\u{1b}[31m{}", "x".repeat(1 << 20))).unwrap();
        let printed = what.to_string();
        assert!(printed.starts_with("name \"a\\n\\u{1b}[31mx"));
        assert!(printed.len() < 1_100 && !printed.contains(char::is_control));
    }
}
