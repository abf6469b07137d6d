//! What was lost in a registry: closes that were not clean, and failures of tasks that nothing has seen.

use crate::{
    context::{failure::Failure, log::Notes, report::CloseReport, state::Core},
    plural::plural,
    registry::registry::Registry,
    sync::lock,
};
use std::{fmt, sync::Arc};

/// How many reports, and how many failures, are printed.
const PRINTED: usize = 8;

/// What was lost.
pub(super) struct Unclean {
    count: usize,
    reports: Vec<CloseReport>,
    /// Of the registry itself, and of contexts that are open.
    unseen: Vec<Failure>,
    has_more_unseen: bool,
}

impl Unclean {
    /// What was lost in this registry so far; `None` if nothing was.
    pub(super) fn of(registry: &Registry) -> Option<Self> {
        let root = registry.root();
        let (count, reports) = root.registry.unclean.all();
        let mut unclean = Self {
            count,
            reports,
            unseen: Vec::new(),
            has_more_unseen: false,
        };
        let mut stack = vec![Arc::clone(root)];
        while let Some(core) = stack.pop() {
            unclean.add_open(&core);
            stack.extend(core.children());
        }
        let Self {
            count,
            unseen,
            has_more_unseen,
            ..
        } = &unclean;
        (*count > 0 || !unseen.is_empty() || *has_more_unseen).then_some(unclean)
    }

    /// Adds what a context that has not closed knows of, unless a report has it.
    fn add_open(&mut self, core: &Core) {
        let mut log = lock(&core.log);
        log.look(|notes| self.add_notes(notes));
    }

    fn add_notes(&mut self, notes: &mut Notes) {
        if !notes.any_unseen() {
            return;
        }
        let is_new = |failure: &&Failure| {
            let mut reports = self.reports.iter();
            !failure.is_seen() && !reports.any(|report| report.failures().contains(failure))
        };
        let unseen: Vec<_> = notes.failures().iter().filter(is_new).cloned().collect();
        // A report that is not clean has what is not listed.
        self.has_more_unseen |= unseen.is_empty() && self.count == 0;
        self.unseen.extend(unseen);
    }
}

impl fmt::Display for Unclean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, report) in self.reports.iter().take(PRINTED).enumerate() {
            let apart = if n > 0 { "\n\n" } else { "" };
            write!(f, "{apart}a close was not clean:\n{report}")?;
        }
        if self.count > PRINTED {
            write!(f, "\n\n… {}", plural(self.count - PRINTED, "more close"))?;
        }
        if self.count > 0 && !self.unseen.is_empty() {
            f.write_str("\n\n")?;
        }
        if !self.unseen.is_empty() {
            f.write_str("these failures were not seen, because no handle was awaited:")?;
        }
        for failure in self.unseen.iter().take(PRINTED) {
            write!(f, "\n  ! {failure}")?;
        }
        if self.has_more_unseen || self.unseen.len() > PRINTED {
            f.write_str("\n  … more failures")?;
        }
        f.write_str(
            "\n\nWhat the test expects is seen when it awaits the task's handle before the close; \
             `Check::allow_unclean_closes` allows the rest.",
        )
    }
}
