//! One entry as a file has it: what, until when, why.

use super::{
    Allow, date,
    what::{Problem, What},
};
use crate::name::Printed;
use std::borrow::Cow;

/// Reads a line that is neither blank nor a comment.
pub(super) fn parse(line: &str) -> Result<Allow, Problem> {
    let (keyword, rest) = word(line);
    let Some(make) = What::maker(keyword) else {
        return Err(format!(
            "`{}` is no beginning: an entry begins with fingerprint, kind, name or site",
            Printed(keyword)
        ));
    };
    let (value, rest) = value(rest)?;
    if value.is_empty() {
        return Err(format!("nothing follows: write after `{keyword}` which"));
    }
    let what = make(&value)?;
    let (until, reason) = word(rest);
    Ok(Allow {
        what,
        until: parse_until(until)?,
        reason: parse_reason(reason)?,
    })
}

fn parse_until(text: &str) -> Result<Option<super::Day>, Problem> {
    if text.is_empty() {
        return Err(
            "no date follows: write the last day it holds, like 2026-12-31, or never, and then why"
                .into(),
        );
    }
    date::parse_until(text).map_err(|problem| {
        // Most likely the rest of a name.
        let hint = if text.starts_with(|c: char| c.is_ascii_digit()) {
            ""
        } else {
            "; what has blanks in it is put in \"quotes\""
        };
        problem + hint
    })
}

fn parse_reason(text: &str) -> Result<String, Problem> {
    let reason = text.trim();
    if reason.is_empty() {
        return Err("no reason follows: write after the date why it is accepted".into());
    }
    Ok(reason.to_owned())
}

/// The first word, which is empty if there is none, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// As [`word`], or what is in quotes. Two quotes in there are one; nothing else is special, so that paths
/// may have a `\`.
fn value(text: &str) -> Result<(Cow<'_, str>, &str), Problem> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = word(text);
        return Ok((Cow::Borrowed(value), rest));
    };
    let Some(end) = closing_quote(quoted) else {
        return Err(
            "the quotes are not closed: a value ends with \", and a \" within it is written \"\""
                .into(),
        );
    };
    let rest = &quoted[end + 1..];
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(
            "a blank must follow the closing quote; a \" within a value is written \"\"".into(),
        );
    }
    Ok((Cow::Owned(quoted[..end].replace("\"\"", "\"")), rest))
}

/// The first quote that is not one of a pair.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('"')?;
        if !text[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        parse(line).unwrap_err()
    }

    #[test]
    fn a_line_is_the_entry_it_says() {
        assert_eq!(
            parse("name conn-*  2026-12-31   upstream bug,  issue #123 ").unwrap(),
            Allow::name("conn-*")
                .until("2026-12-31")
                .because("upstream bug,  issue #123")
        );
        assert_eq!(
            parse("site net/conn.rs:41 never x").unwrap(),
            Allow::site("net/conn.rs:41").because("x")
        );
        assert_eq!(
            parse("kind pool 2026-12-31 x").unwrap(),
            Allow::kind("pool").until("2026-12-31").because("x")
        );
        assert_eq!(
            parse("fingerprint 3FA291BC07D1E2A4 never x").unwrap(),
            Allow::fingerprint("3fa291bc07d1e2a4").because("x")
        );
    }

    #[test]
    fn any_blanks_part_the_columns() {
        let entry = Allow::kind("pool").because("why not");
        for line in [
            "kind pool never why not",
            "\tkind\tpool\tnever\twhy not\t\r",
            "  kind \u{a0} pool \u{3000} never  why not  ",
        ] {
            assert_eq!(parse(line).unwrap(), entry, "{line:?}");
        }
    }

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(
            parse(r#"name "my conn *" never x"#).unwrap(),
            Allow::name("my conn *").because("x")
        );
    }

    #[test]
    fn two_quotes_in_quotes_are_one() {
        assert_eq!(
            parse(r#"name """a"" b" never x"#).unwrap(),
            Allow::name("\"a\" b").because("x")
        );
    }

    #[test]
    fn a_quote_within_a_word_is_a_letter() {
        assert_eq!(
            parse(r#"name a"b never x"#).unwrap(),
            Allow::name("a\"b").because("x")
        );
    }

    #[test]
    fn a_backslash_is_a_letter() {
        assert_eq!(
            parse(r#"site "C:\my net\conn.rs" never x"#).unwrap(),
            Allow::site(r"C:\my net\conn.rs").because("x")
        );
    }

    #[test]
    fn what_an_entry_says_of_itself_reads_as_that_entry() {
        for name in ["a", "a b", "\"", "\"\"", "a\" b", "#", "漢 字", "\\\""] {
            let entry = Allow::name(name).because("x");
            let line = format!("{} never x", entry.what());
            assert_eq!(parse(&line).unwrap(), entry, "{line}");
        }
    }

    #[test]
    fn each_part_that_is_missing_is_named() {
        for (line, missing) in [
            ("name", "nothing follows"),
            ("kind \"\" never x", "nothing follows"),
            ("kind pool", "no date follows"),
            ("kind pool never", "no reason follows"),
            ("kind pool 2026-12-31 \t", "no reason follows"),
        ] {
            assert!(problem(line).starts_with(missing), "{line}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for line in [
            "name ** never x",
            "kind * never x",
            "site net/ never x",
            "fingerprint 3fa2 never x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn another_beginning_is_refused() {
        for line in [
            "pool never x",
            "Kind pool never x",
            "kind: pool never x",
            "kind=pool never x",
            "\"kind\" pool never x",
            "kind\u{200b} pool never x",
        ] {
            assert!(problem(line).contains("is no beginning"), "{line}");
        }
    }

    #[test]
    fn blanks_without_quotes_are_explained() {
        assert_eq!(
            problem("name my conn never x"),
            "`conn` is no date: write it like 2026-12-31, or never; \
             what has blanks in it is put in \"quotes\""
        );
    }

    #[test]
    fn bad_quotes_are_refused() {
        for line in [
            "name \"conn never x",
            "name \"",
            "name \"a\"\" never x",
            "name \"a\"b never x",
        ] {
            assert!(problem(line).contains("written \"\""), "{line}");
        }
    }
}
