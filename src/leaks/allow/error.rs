//! What may be wrong with an entry, and with a list of them.

use super::{AllowList, what::Problem};
use crate::name::{Printed, Quoted};
use std::{error::Error, fmt, io, path::Path};

/// What is wrong with an [`Allow`](crate::leaks::Allow), and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowError {
    message: String,
}

impl AllowError {
    pub(super) fn new(message: Problem) -> Self {
        Self { message }
    }

    /// A problem somewhere in this text, which may be long and hostile.
    pub(super) fn in_text(text: &str, problem: &Problem) -> Self {
        Self::new(format!("`{}`: {problem}", Printed(text.trim())))
    }
}

impl fmt::Display for AllowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for AllowError {}

/// What is wrong with an [`AllowList`]: each line that is, or that its file cannot be read. The entries that
/// are right are in here.
///
/// ```
/// use headcount::leaks::AllowList;
///
/// let text = "kind pool never the pool lives as long as the process\n\
///             kind session 2026-12-31\n";
/// let error = AllowList::parse(text).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "1 line of the list is malformed and allows nothing:\n  \
///      line 2: `kind session 2026-12-31`: no reason follows: write after the date why it is accepted"
/// );
/// assert_eq!(error.into_valid().len(), 1);
/// ```
#[derive(Debug)]
pub struct AllowListError {
    /// What was read, as it is to be printed.
    origin: String,
    cause: Cause,
    valid: AllowList,
}

#[derive(Debug)]
enum Cause {
    Unreadable(io::Error),
    /// The malformed lines with their numbers.
    Malformed(Vec<(usize, AllowError)>),
}

impl AllowListError {
    pub(super) fn malformed(lines: Vec<(usize, AllowError)>, valid: AllowList) -> Self {
        Self {
            origin: "the list".into(),
            cause: Cause::Malformed(lines),
            valid,
        }
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self {
            origin: printed(path),
            cause: Cause::Unreadable(error),
            valid: AllowList::new(),
        }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.origin = printed(path);
        self
    }

    /// The malformed lines, from the top: their numbers, the first of which is 1, and what is wrong.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = (usize, &AllowError)> {
        let lines = match &self.cause {
            Cause::Unreadable(_) => &[],
            Cause::Malformed(lines) => lines.as_slice(),
        };
        lines.iter().map(|(number, error)| (*number, error))
    }

    /// Why the file cannot be read, if it cannot.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Unreadable(error) => Some(error),
            Cause::Malformed(_) => None,
        }
    }

    /// The entries of all other lines. They mean what they would mean in a list without mistakes.
    pub fn into_valid(self) -> AllowList {
        self.valid
    }
}

impl fmt::Display for AllowListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match &self.cause {
            Cause::Unreadable(error) => return write!(f, "cannot read {origin}: {error}"),
            Cause::Malformed(lines) if lines.len() == 1 => {
                write!(f, "1 line of {origin} is malformed and allows nothing:")?;
            }
            Cause::Malformed(lines) => {
                let lines = lines.len();
                write!(
                    f,
                    "{lines} lines of {origin} are malformed and allow nothing:"
                )?;
            }
        }
        self.lines()
            .try_for_each(|(number, error)| write!(f, "\n  line {number}: {error}"))
    }
}

impl Error for AllowListError {}

fn printed(path: &Path) -> String {
    format!("`{}`", Quoted(&path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> AllowListError {
        AllowList::parse(text).unwrap_err()
    }

    #[test]
    fn every_bad_line_is_named() {
        let error = error("kind\n# fine\nkind pool never x\nnonsense\n");
        assert_eq!(
            error.to_string(),
            "2 lines of the list are malformed and allow nothing:\n  \
             line 1: `kind`: nothing follows: write after `kind` which\n  \
             line 4: `nonsense`: `nonsense` is no beginning: \
             an entry begins with fingerprint, kind, name or site"
        );
        let numbers: Vec<_> = error.lines().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 4]);
    }

    #[test]
    fn a_hostile_line_is_printed_on_one_short_line() {
        let hostile = format!("\u{1b}[2J\rname \u{202e}{}", "x".repeat(1 << 20));
        let printed = error(&hostile).to_string();
        assert_eq!(printed.lines().count(), 2);
        assert!(printed.len() < 500, "{printed}");
        assert!(!printed.contains(['\u{1b}', '\r', '\u{202e}']));
    }

    #[test]
    fn a_file_that_cannot_be_read_has_no_lines() {
        let error = AllowListError::unreadable(Path::new("a\nb"), io::Error::other("no"));
        assert_eq!(error.lines().len(), 0);
        assert!(error.io_error().is_some());
        assert_eq!(error.to_string(), "cannot read `a\\nb`: no");
        assert!(error.into_valid().is_empty());
    }
}
