//! [`Labels`]: how names leave the program in JSON, as they are or hashed.

use crate::{
    id::ResourceId,
    name::Label,
    table::record::{Meta, Record},
};
use std::{
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

/// How many characters of a name are written.
const LONGEST: usize = 200;
/// How many names a path has, those nearest to the thing.
const NEAREST: usize = 6;

/// Whether names that were made at run time are written as they are.
///
/// They may contain what clients sent: user names, addresses, keys of sessions. A name that is a literal contains what is in the source,
/// as the lines do that are written beside it, and is never hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    Shown,
    #[cfg(feature = "web")]
    Hashed,
}

impl Labels {
    pub(crate) fn are_shown(self) -> bool {
        self == Self::Shown
    }

    /// A name, or a kind.
    pub(crate) fn label(self, label: &Label) -> String {
        self.name(label, label.literal().is_some())
    }

    /// A name of which it is known whether it is a literal.
    pub(crate) fn name(self, name: &str, is_literal: bool) -> String {
        if is_literal || self.are_shown() {
            cut(name)
        } else {
            hashed(name)
        }
    }

    /// The names from an ancestor down to this, joined by `/`.
    pub(crate) fn path(self, record: &dyn Record) -> String {
        let mut names = Vec::new();
        let mut next = Some(record);
        while let Some(record) = next {
            if names.len() == NEAREST {
                names.push("…".to_owned());
                break;
            }
            let meta: &Meta = record.meta();
            names.push(self.label(&meta.name));
            next = record.parent();
        }
        names.reverse();
        names.join("/")
    }

    /// A text that may quote names; `None` if it must not.
    pub(crate) fn text(self, text: &str) -> Option<&str> {
        self.are_shown().then_some(text)
    }
}

/// How names and ids are written.
#[derive(Clone, Copy)]
pub(crate) struct Wording<'a> {
    pub(crate) labels: Labels,
    pub(crate) id: &'a dyn Fn(ResourceId) -> String,
}

/// The beginning of a long name, with its length.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
        None => name.to_owned(),
    }
}

/// The same for the same name, until the process ends; nothing leads back to the name.
fn hashed(name: &str) -> String {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let hash = KEY.get_or_init(RandomState::new).hash_one(name);
    let mut text = String::from("~");
    let _ = write!(text, "{hash:016x}");
    text.truncate(1 + 10);
    text
}

#[cfg(all(test, feature = "web"))]
mod tests {
    use super::*;
    use crate::name::label;

    #[test]
    fn only_names_made_at_run_time_are_hashed() {
        let (literal, made) = (label("conn".into()), label("ada".to_owned().into()));
        assert_eq!(Labels::Hashed.label(&literal), "conn");
        let hidden = Labels::Hashed.label(&made);
        assert!(
            hidden.starts_with('~') && !hidden.contains("ada"),
            "{hidden}"
        );
        assert_eq!(hidden, Labels::Hashed.label(&made));
        assert_ne!(hidden, Labels::Hashed.name("bob", false));
        assert_eq!(Labels::Shown.label(&made), "ada");
    }

    #[test]
    fn a_name_of_a_megabyte_is_cut() {
        let name = "é".repeat(524_288);
        let shown = Labels::Shown.name(&name, false);
        assert_eq!(shown, format!("{}… (1048576 bytes)", "é".repeat(200)));
    }
}
