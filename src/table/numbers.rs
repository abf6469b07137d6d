//! [`Numbers`]: what a context has that is not listed by itself.

use std::fmt;

/// How much a context has of what is not listed by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Weak handles.
    pub(crate) weak: usize,
    /// Hooks that wait for its close, or run.
    pub(crate) hooks: usize,
    /// Handles of tasks that have ended.
    pub(crate) kept: usize,
}

/// ` · 2 weak · 1 hook · 3 handles of ended tasks`; nothing of what there is none of.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, one, many) in [
            (self.weak, "weak", "weak"),
            (self.hooks, "hook", "hooks"),
            (
                self.kept,
                "handle of an ended task",
                "handles of ended tasks",
            ),
        ] {
            match count {
                0 => {}
                1 => write!(f, " · 1 {one}")?,
                count => write!(f, " · {count} {many}")?,
            }
        }
        Ok(())
    }
}
