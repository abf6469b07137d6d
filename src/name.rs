//! Names: kept whole, printed so that they cannot spoil a terminal.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// What a name or a kind is made from: a literal costs nothing, a `String` is kept as it is.
pub(crate) type Name = Cow<'static, str>;

/// A name as it is kept: two words instead of three, because every entry has two. The second word of a literal's
/// reference has no room in the other variant, and its first word tells the two apart.
#[derive(Clone)]
pub(crate) enum Label {
    Borrowed(&'static str),
    /// Shared, because whatever holds a handle or reports about an entry keeps a copy.
    Owned(Arc<String>),
}

impl Label {
    pub(crate) const fn borrowed(name: &'static str) -> Self {
        Self::Borrowed(name)
    }

    /// The name, if it is a literal of the program, or the path of a type.
    pub(crate) fn literal(&self) -> Option<&'static str> {
        match self {
            Self::Borrowed(name) => Some(name),
            Self::Owned(_) => None,
        }
    }

    #[inline]
    pub(crate) fn is_owned(&self) -> bool {
        matches!(self, Self::Owned(_))
    }
}

#[inline(always)]
pub(crate) fn label(name: Name) -> Label {
    match name {
        Name::Borrowed(name) => Label::Borrowed(name),
        Name::Owned(name) => Label::Owned(Arc::new(name)),
    }
}

impl Deref for Label {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(name) => name,
            Self::Owned(name) => name,
        }
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Label {}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        str::hash(self, state);
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// How many characters of a name are printed.
const NAME: usize = 80;
/// How many characters of a sentence are printed.
const SENTENCE: usize = 1_000;

/// Prints a name on one line: control characters escaped, long names cut with their length.
pub(crate) struct Printed<'a>(pub(crate) &'a str);

/// Prints a sentence that quotes something, as [`Printed`] does a name.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        on_one_line(f, self.0, NAME)
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        on_one_line(f, self.0, SENTENCE)
    }
}

fn on_one_line(f: &mut fmt::Formatter<'_>, text: &str, most: usize) -> fmt::Result {
    for (printed, c) in text.chars().enumerate() {
        if printed == most {
            return write!(f, "… ({} bytes)", text.len());
        }
        if spoils_a_line(c) {
            write!(f, "{}", c.escape_default())?;
        } else {
            fmt::Write::write_char(f, c)?;
        }
    }
    Ok(())
}

/// Control characters, and the separators and direction marks that terminals obey as well.
pub(crate) fn spoils_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The path of a future's or closure's type, as its author knows it: `my_app::poller` for
/// `async fn poller`, and the enclosing function for an `async` block.
pub(crate) fn of_type<T: ?Sized>() -> &'static str {
    let mut path = std::any::type_name::<T>();
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    path
}

/// A text without its digits.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a>(pub(crate) &'a str);

impl Shape<'_> {
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.bytes().filter(|byte| !byte.is_ascii_digit())
    }
}

impl PartialEq for Shape<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl Hash for Shape<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.bytes() {
            state.write_u8(byte);
        }
        state.write_u8(0xff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            Printed("a\n\u{1b}[31mb\u{202e}").to_string(),
            "a\\n\\u{1b}[31mb\\u{202e}"
        );
    }

    #[test]
    fn a_name_of_a_megabyte_is_cut_and_says_so() {
        let name = "é".repeat(524_288);
        let printed = Printed(&name).to_string();
        assert_eq!(printed, format!("{}… (1048576 bytes)", "é".repeat(80)));
        assert_eq!(Printed(&"x".repeat(80)).to_string(), "x".repeat(80));
    }

    #[test]
    fn a_name_is_kept_in_two_words() {
        assert_eq!(size_of::<Label>(), 2 * size_of::<usize>());
    }

    #[test]
    fn names_are_the_same_however_they_are_kept() {
        let (literal, made) = (label("conn".into()), label("conn".to_owned().into()));
        assert!(literal == made && *made == *"conn");
        assert_eq!(format!("{literal:>6}, {made:?}"), "  conn, \"conn\"");
    }

    #[test]
    fn a_future_is_named_after_its_function() {
        async fn poller() {
            std::future::ready(()).await;
        }
        fn name_of<F: Future>(_: F) -> &'static str {
            of_type::<F>()
        }
        assert!(
            name_of(poller())
                .ends_with("name::tests::a_future_is_named_after_its_function::poller")
        );
        assert!(name_of(async {}).ends_with("name::tests::a_future_is_named_after_its_function"));
    }
}
