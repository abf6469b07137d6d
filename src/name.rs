//! Names: kept whole, printed so that they cannot spoil a terminal.

use std::{borrow::Cow, fmt};

/// What a name or a kind is made from: a literal costs nothing, a `String` is kept as it is.
pub(crate) type Name = Cow<'static, str>;

/// A name as it is kept: two words instead of three, because every entry has two.
#[cfg(target_pointer_width = "64")]
pub(crate) type Label = beef::lean::Cow<'static, str>;
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type Label = beef::Cow<'static, str>;

/// The longest name that is kept whole: nearly 4 GiB.
const LONGEST: usize = u32::MAX as usize;

#[inline(always)]
pub(crate) fn label(name: Name) -> Label {
    match name {
        Name::Borrowed(name) if name.len() <= LONGEST => Label::borrowed(name),
        Name::Owned(name) if name.capacity() <= LONGEST => Label::owned(name),
        name => cut(&name, LONGEST),
    }
}

#[cold]
fn cut(name: &str, longest: usize) -> Label {
    let mut end = longest.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Label::owned(name[..end].to_owned())
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
    fn a_name_that_is_too_long_is_cut_between_characters() {
        assert_eq!(&*cut("aé", 2), "a");
        assert_eq!((&*cut("aé", 3), &*cut("aé", 9)), ("aé", "aé"));
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
