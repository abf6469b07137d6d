//! Texts in a picture: legible whatever they contain, and as long as there is room.

use crate::name::{self, Printed, Quoted};

/// A text on one line, as long as a sentence at most, without characters that act instead of showing.
pub(super) fn legible(text: &str) -> String {
    let mut shown = String::new();
    for c in Quoted(text).to_string().chars() {
        if acts(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same as long as a name at most, where nothing cuts it and no tooltip has the rest.
pub(super) fn short(text: &str) -> String {
    legible(&Printed(text).to_string())
}

/// What spoils a line, one more direction mark, what has no width, and what XML forbids.
pub(super) fn acts(c: char) -> bool {
    name::spoils_a_line(c)
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// `1 culprit`, `2 culprits`
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_instead_of_showing_is_escaped() {
        assert_eq!(
            legible("a\n\u{202e}\u{61c}\u{feff}\u{ffff}\0"),
            "a\\n\\u{202e}\\u{61c}\\u{feff}\\u{ffff}\\u{0}"
        );
    }

    #[test]
    fn a_short_text_says_how_long_it_was() {
        assert!(short(&"x".repeat(500)).ends_with("x… (500 bytes)"));
    }
}
