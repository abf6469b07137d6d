//! [`HookOrigin`]: where a hook was registered.

use crate::context::failure::Subject;
use std::{fmt, panic::Location};

/// Where a hook was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HookOrigin {
    pub(crate) what: &'static str,
    pub(crate) location: &'static Location<'static>,
}

impl HookOrigin {
    pub(crate) fn subject(self) -> Subject {
        Subject::Hook {
            name: self.what,
            location: self.location,
        }
    }
}

impl fmt::Display for HookOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {}:{}",
            self.what,
            self.location.file(),
            self.location.line()
        )
    }
}
