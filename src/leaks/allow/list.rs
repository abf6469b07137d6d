//! Several entries, and the file they may come from.

use super::{Allow, AllowError, AllowListError, Day, Suspect, Verdict, line};
use std::{fs, path::Path, slice, str, vec};

/// How some editors begin a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Known leaks: several [`Allow`]s, such as those of a file that lies in the repository.
///
/// ```
/// use headcount::leaks::AllowList;
///
/// let known = AllowList::parse(r#"
/// ## what                        until        why
/// fingerprint 3fa291bc07d1e2a4  2026-12-31   upstream bug, see issue 123
/// kind pool                     2027-06-30   its owner moves into a context this winter
/// name conn-*                   2026-12-31   upstream bug, see issue 123
/// name "my conn"                2026-12-31   upstream bug, see issue 123
/// site net/conn.rs:41           never        it lives as long as the process
/// "#)?;
/// assert_eq!(known.len(), 5);
/// # Ok::<(), headcount::leaks::AllowListError>(())
/// ```
///
/// # Format
///
/// One entry a line: what it covers, the last day it holds, and why it is accepted, with blanks or tabs
/// between. Blank lines are skipped, and so are comments: lines that begin with `#`.
///
/// * `fingerprint`, `kind`, `name` or `site` and then what [`Allow`] takes under that name.
/// * The day as in `2026-12-31`, in UTC, or `never`.
/// * The reason is the rest of the line. There must be one.
///
/// What has blanks in it, or begins with a quote, is put in `"quotes"`, where `""` stands for one quote.
/// Nothing else is special in there. So what a report escapes or cuts, such as a line feed in a name, is
/// best written as a `*`.
///
/// A file is in UTF-8. Lines end as on Unix or Windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Allow>,
}

impl AllowList {
    /// A list that allows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads entries from a text; see [Format](Self#format).
    ///
    /// ```
    /// use headcount::leaks::{Allow, AllowList};
    ///
    /// let known = AllowList::parse("kind pool  2027-06-30  its owner moves this winter")?;
    /// let entry = Allow::kind("pool").until("2027-06-30").because("its owner moves this winter");
    /// assert_eq!(known, AllowList::from(entry));
    /// # Ok::<(), headcount::leaks::AllowListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AllowListError`], if a line is malformed: it names all that are, and has the entries of the others.
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        Self::parse_bytes(text.as_bytes())
    }

    /// Reads entries from a file; see [Format](Self#format). This blocks, so it is best done at the beginning.
    ///
    /// ```
    /// use headcount::leaks::AllowList;
    ///
    /// let error = AllowList::read("nowhere/leaks.allow").unwrap_err();
    /// assert!(error.io_error().is_some());
    /// let known = error.into_valid(); // go on without
    /// assert!(known.is_empty());
    /// ```
    ///
    /// # Errors
    ///
    /// [`AllowListError`], if the file cannot be read, or as [`parse`](Self::parse) does.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, AllowListError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| AllowListError::unreadable(path, error))?;
        Self::parse_bytes(&bytes).map_err(|error| error.in_file(path))
    }

    /// Line by line, so that bytes that are no text spoil only their own.
    fn parse_bytes(bytes: &[u8]) -> Result<Self, AllowListError> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mut valid = Self::new();
        let mut malformed = Vec::new();
        for (before, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            match parse_line(line) {
                Ok(entry) => valid.extend(entry),
                Err(error) => malformed.push((before + 1, error)),
            }
        }
        if malformed.is_empty() {
            return Ok(valid);
        }
        Err(AllowListError::malformed(malformed, valid))
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Allow) {
        self.entries.push(entry);
    }

    /// The entries, in the order in which they came.
    pub fn iter(&self) -> slice::Iter<'_, Allow> {
        self.entries.iter()
    }

    /// How many entries there are, those that have expired included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An entry that holds beats those that have expired; of these it is the one that held longest.
    pub(crate) fn judge(&self, suspect: &Suspect<'_>, today: Day) -> Verdict<'_> {
        let covering = || self.iter().filter(|entry| entry.covers(suspect));
        if let Some(entry) = covering().find(|entry| entry.holds_on(today)) {
            return Verdict::Allowed(entry);
        }
        covering()
            .max_by_key(|entry| entry.expires())
            .map_or(Verdict::NotAllowed, Verdict::Expired)
    }
}

/// The entry of a line, unless it is blank or a comment.
fn parse_line(line: &[u8]) -> Result<Option<Allow>, AllowError> {
    let Ok(text) = str::from_utf8(line) else {
        let text = String::from_utf8_lossy(line);
        let problem = "it is not in UTF-8: save the file in that encoding".into();
        return Err(AllowError::in_text(&text, &problem));
    };
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    line::parse(text)
        .map(Some)
        .map_err(|problem| AllowError::in_text(text, &problem))
}

impl Extend<Allow> for AllowList {
    fn extend<I: IntoIterator<Item = Allow>>(&mut self, entries: I) {
        self.entries.extend(entries);
    }
}

impl FromIterator<Allow> for AllowList {
    fn from_iter<I: IntoIterator<Item = Allow>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }
}

impl From<Allow> for AllowList {
    fn from(entry: Allow) -> Self {
        Self {
            entries: vec![entry],
        }
    }
}

impl<'a> IntoIterator for &'a AllowList {
    type Item = &'a Allow;
    type IntoIter = slice::Iter<'a, Allow>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for AllowList {
    type Item = Allow;
    type IntoIter = vec::IntoIter<Allow>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUSPECT: Suspect<'_> = Suspect {
        fingerprint: "3fa291bc07d1e2a4",
        kind: "pool",
        name: "conn-7",
        file: "src/net/conn.rs",
        line: 41,
    };

    fn today() -> Day {
        Day::parse("2026-12-31").unwrap()
    }

    fn parse(text: &str) -> AllowList {
        AllowList::parse(text).unwrap()
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        for text in ["", "\n", "\u{feff}", "# nothing", "\r\n \t\r\n"] {
            let list = parse(text);
            assert!(list.is_empty());
            assert_eq!(list.judge(&SUSPECT, today()), Verdict::NotAllowed);
        }
    }

    #[test]
    fn the_entry_that_allows_is_named() {
        let list = parse("kind context never x\nkind pool 2026-12-31 y");
        let verdict = list.judge(&SUSPECT, today());
        assert!(matches!(verdict, Verdict::Allowed(entry) if entry.reason() == "y"));
    }

    #[test]
    fn an_entry_that_is_over_is_named_as_such() {
        let list = parse("kind pool 2026-12-30 y");
        let verdict = list.judge(&SUSPECT, today());
        assert!(matches!(verdict, Verdict::Expired(entry) if entry.reason() == "y"));
    }

    #[test]
    fn an_entry_that_holds_beats_one_that_is_over_wherever_they_are() {
        for text in [
            "kind pool 2020-01-01 over\nname conn-* 2027-01-01 holds",
            "name conn-* 2027-01-01 holds\nkind pool 2020-01-01 over",
        ] {
            let list = parse(text);
            let verdict = list.judge(&SUSPECT, today());
            assert!(matches!(verdict, Verdict::Allowed(entry) if entry.reason() == "holds"));
        }
    }

    #[test]
    fn of_those_that_are_over_the_last_is_named() {
        let list = parse("kind pool 2026-06-30 later\nkind pool 2020-01-01 earlier");
        let verdict = list.judge(&SUSPECT, today());
        assert!(matches!(verdict, Verdict::Expired(entry) if entry.reason() == "later"));
    }

    #[test]
    fn files_of_all_systems_read_the_same() {
        let unix = "# why\n\nkind pool never x\nname a never y\n";
        let expected = parse(unix);
        assert_eq!(expected.len(), 2);
        for text in [
            unix.replace('\n', "\r\n"),
            unix.replace('\n', " \t\n"),
            unix.replace(' ', "\t"),
            format!("\u{feff}{unix}"),
            unix.trim_end().to_owned(),
        ] {
            assert_eq!(parse(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_allows_nothing_and_spoils_no_other() {
        let text = "kind pool\nname conn-8 never x\n* never x\nname * never x\n";
        let error = AllowList::parse(text).unwrap_err();
        assert_eq!(error.lines().len(), 3);
        let valid = error.into_valid();
        assert_eq!(valid, AllowList::from(Allow::name("conn-8").because("x")));
        assert_eq!(valid.judge(&SUSPECT, today()), Verdict::NotAllowed);
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_line_alone() {
        let error = AllowList::parse_bytes(b"kind p\xFCl never x\nkind pool never x").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 1: `kind p\u{fffd}l never x`: it is not in UTF-8")
        );
        assert_eq!(error.into_valid().len(), 1);
    }

    #[test]
    fn a_file_in_utf_16_is_refused_line_by_line() {
        let text = "\u{feff}kind pool never x\nkind a never y\n";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = AllowList::parse_bytes(&bytes).unwrap_err();
        assert!(error.into_valid().is_empty());
    }

    #[test]
    fn ten_thousand_lines_are_read_and_asked() {
        use std::fmt::Write;
        let mut text = String::new();
        for number in 0..10_000 {
            writeln!(text, "name other-{number}-* 2026-12-31 issue {number}").unwrap();
        }
        text.push_str("name conn-7 never the last\n");
        let list = parse(&text);
        assert_eq!(list.len(), 10_001);
        let verdict = list.judge(&SUSPECT, today());
        assert!(matches!(verdict, Verdict::Allowed(entry) if entry.reason() == "the last"));
    }

    #[test]
    fn a_file_reads_as_its_text_and_is_named_in_errors() {
        let path = std::env::temp_dir().join(format!("headcount-{}.allow", std::process::id()));
        fs::write(&path, "kind pool never x\nkind pool\n").unwrap();
        let error = AllowList::read(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        let printed = error.to_string();
        assert!(printed.starts_with(&format!("1 line of `{}` is malformed", path.display())));
        assert_eq!(error.into_valid(), parse("kind pool never x"));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let error = AllowList::read("nowhere/leaks.allow").unwrap_err();
        assert_eq!(
            error.io_error().map(std::io::Error::kind),
            Some(std::io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn entries_come_in_and_out_in_their_order() {
        let mut list: AllowList = [Allow::kind("a"), Allow::kind("b")].into_iter().collect();
        list.push(Allow::kind("c"));
        list.extend(AllowList::from(Allow::kind("d")));
        let kinds: Vec<_> = list.iter().map(|entry| entry.what().to_string()).collect();
        assert_eq!(kinds, ["kind a", "kind b", "kind c", "kind d"]);
        assert_eq!((&list).into_iter().count(), list.into_iter().count());
    }
}
