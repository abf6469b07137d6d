//! Where something was created: the end of a path, and perhaps a line.

use super::what::Problem;
use crate::name::Printed;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    file: String,
    line: Option<u32>,
}

impl Site {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text).map_err(|problem| {
            format!(
                "`{}` is no site: {problem}, like net/conn.rs or net/conn.rs:41",
                Printed(text)
            )
        })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let (file, line) = split_line(text)?;
        // Shells and editors write it; a path that the compiler names has none.
        let file = file
            .strip_prefix("./")
            .or_else(|| file.strip_prefix(".\\"))
            .unwrap_or(file);
        if file.contains('*') {
            return Err(
                "a `*` stands for any text in names alone; write the path, or the end of it",
            );
        }
        if matches!(last_part(file), "" | "." | "..") {
            return Err("it ends with the name of a file");
        }
        Ok(Self {
            file: file.to_owned(),
            line,
        })
    }

    pub(super) fn covers(&self, file: &str, line: u32) -> bool {
        let mut parts = file.rsplit(is_separator);
        self.line.is_none_or(|at| at == line)
            && self
                .file
                .rsplit(is_separator)
                .all(|part| parts.next() == Some(part))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A `:` before the last separator is no business of ours: `C:\net\conn.rs` has one.
fn split_line(text: &str) -> Result<(&str, Option<u32>), &'static str> {
    let name = last_part(text);
    let Some((_, line)) = name.split_once(':') else {
        return Ok((text, None));
    };
    let file = &text[..text.len() - line.len() - 1];
    if line.contains(':') {
        return Err("one line may follow the file, and no column");
    }
    match line.parse() {
        Ok(number) if number > 0 && line.bytes().all(|c| c.is_ascii_digit()) => {
            Ok((file, Some(number)))
        }
        _ => Err("what follows the `:` is the number of a line"),
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit(is_separator).next().unwrap_or(path)
}

fn is_separator(c: char) -> bool {
    matches!(c, '/' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(site: &str, file: &str, line: u32) -> bool {
        Site::parse(site).unwrap().covers(file, line)
    }

    #[test]
    fn the_end_of_a_path_is_enough() {
        for site in [
            "conn.rs",
            "net/conn.rs",
            "src/net/conn.rs",
            "./src/net/conn.rs",
        ] {
            assert!(covers(site, "src/net/conn.rs", 41), "{site}");
        }
    }

    #[test]
    fn it_ends_between_folders() {
        for site in ["onn.rs", "et/conn.rs", "rs", "t/conn.rs"] {
            assert!(!covers(site, "src/net/conn.rs", 41), "{site}");
        }
    }

    #[test]
    fn more_than_the_whole_path_is_another_file() {
        assert!(!covers("app/src/net/conn.rs", "src/net/conn.rs", 41));
        assert!(!covers("/src/net/conn.rs", "src/net/conn.rs", 41));
    }

    #[test]
    fn an_absolute_path_is_the_whole_path() {
        assert!(covers("/net/conn.rs", "/net/conn.rs", 41));
        assert!(!covers("/net/conn.rs", "/app/net/conn.rs", 41));
    }

    #[test]
    fn separators_of_all_systems_are_the_same() {
        assert!(covers(r"net\conn.rs:41", "src/net/conn.rs", 41));
        assert!(covers("net/conn.rs", r"C:\app\net\conn.rs", 41));
        assert!(covers(r"C:\app\net\conn.rs:41", r"C:\app\net\conn.rs", 41));
        assert!(covers(r".\net\conn.rs", r"net\conn.rs", 41));
    }

    #[test]
    fn a_line_is_that_line_alone() {
        assert!(covers("conn.rs:41", "src/net/conn.rs", 41));
        assert!(!covers("conn.rs:41", "src/net/conn.rs", 4));
        assert!(!covers("conn.rs:41", "src/net/conn.rs", 411));
    }

    #[test]
    fn case_matters() {
        assert!(!covers("Conn.rs", "src/net/conn.rs", 41));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for site in [
            "",
            ":41",
            "/",
            "net/",
            "net/:41",
            ".",
            "..",
            "./",
            "*",
            "net/*",
            "n*t/conn.rs",
        ] {
            assert!(Site::parse(site).is_err(), "{site}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for site in [
            "conn.rs:",
            "conn.rs:0",
            "conn.rs:+1",
            "conn.rs:x",
            "conn.rs:41:9",
            "conn.rs:4294967296",
            "conn.rs:٤١",
        ] {
            assert!(Site::parse(site).is_err(), "{site}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        assert_eq!(
            Site::parse("conn.rs:41:9").unwrap_err(),
            "`conn.rs:41:9` is no site: one line may follow the file, and no column, \
             like net/conn.rs or net/conn.rs:41"
        );
    }
}
