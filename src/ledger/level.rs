//! How much is recorded about handles.

use std::{fmt, str::FromStr};

/// How much a registry records about every strong handle of a [`Context`](crate::Context) or a
/// [`Tracked`](crate::Tracked) value.
///
/// A new registry starts at `Holders` in debug builds and at `Off` in release builds, or at what the
/// environment variable `HEADCOUNT_LEVEL` says when the first registry of the process is made: `off`, `counts`,
/// `holders` or `backtraces`. [`Registry::set_level`] changes it while the program runs, and
/// [`Registry::sample_backtraces`] takes a backtrace of one handle in so many.
///
/// ```
/// use headcount::{Level, Registry};
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let cache = registry.own("users", "cache", vec![1, 2, 3]);
/// let other = cache.clone();
/// let holders = cache.holders();
/// assert_eq!((holders.len(), holders.untracked()), (2, 0));
/// assert_eq!(holders.iter().next().unwrap().location().file(), file!());
/// # drop(other);
/// ```
///
/// [`Registry::set_level`]: crate::Registry::set_level
/// [`Registry::sample_backtraces`]: crate::Registry::sample_backtraces
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Level {
    /// Nothing but how many handles there are. Costs a relaxed load and a branch a handle (I15).
    Off,
    /// On which line each handle was taken.
    Counts,
    /// By which task, when, and when it was last used as well.
    Holders,
    /// And the whole stack it was taken on, of each handle or of one in so many.
    Backtraces,
}

/// All levels, in order.
const LEVELS: [Level; 4] = [Level::Off, Level::Counts, Level::Holders, Level::Backtraces];

impl Level {
    /// The level of a registry unless the environment sets one.
    pub(crate) const fn default_of_build() -> Self {
        if cfg!(debug_assertions) {
            Self::Holders
        } else {
            Self::Off
        }
    }

    #[inline]
    pub(crate) fn of_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Counts,
            2 => Self::Holders,
            3 => Self::Backtraces,
            _ => Self::Off,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Counts => "counts",
            Self::Holders => "holders",
            Self::Backtraces => "backtraces",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Upper and lower case are the same.
impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let is_meant = |level: &Level| level.name().eq_ignore_ascii_case(text.trim());
        let unknown = || UnknownLevel(text.to_owned());
        LEVELS.into_iter().find(is_meant).ok_or_else(unknown)
    }
}

/// A text that names no [`Level`].
///
/// ```
/// use headcount::Level;
/// assert_eq!("holders".parse::<Level>().unwrap(), Level::Holders);
/// let error = "all".parse::<Level>().unwrap_err();
/// assert_eq!(error.to_string(), "`all` is not a level; use off, counts, holders or backtraces");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a level; use off, counts, holders or backtraces",
            crate::name::Printed(&self.0)
        )
    }
}

impl std::error::Error for UnknownLevel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_printed() {
        for level in LEVELS {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(Level::of_byte(level as u8), level);
        }
        assert_eq!(" HOLDERS\n".parse(), Ok(Level::Holders));
    }

    #[test]
    fn a_bad_value_is_answered_with_the_good_ones() {
        for bad in ["lots\n", "backtraces/16", "backtraces/", "holders/2", ""] {
            let error = bad.parse::<Level>().unwrap_err().to_string();
            assert!(
                error.ends_with(" is not a level; use off, counts, holders or backtraces"),
                "{error}"
            );
        }
        let error = "lots\n".parse::<Level>().unwrap_err().to_string();
        assert!(error.starts_with("`lots\\n` is not a level"), "{error}");
    }
}
