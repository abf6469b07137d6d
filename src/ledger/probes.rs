//! [`Probes`]: numbers that the user counts, and that take part in growth reports.

use crate::{
    event, panics,
    sync::{Mutex, lock},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

type Ask = Arc<dyn Fn() -> usize + Send + Sync>;

/// The probes of one registry, by name.
#[derive(Default)]
pub(crate) struct Probes(Mutex<BTreeMap<String, Ask>>);

impl Probes {
    /// Sets a probe; one of the same name is replaced.
    pub(crate) fn set(&self, name: String, ask: impl Fn() -> usize + Send + Sync + 'static) {
        let before = lock(&self.0).insert(name, Arc::new(ask));
        panics::discard(before);
    }

    pub(crate) fn remove(&self, name: &str) -> bool {
        let before = lock(&self.0).remove(name);
        let was_there = before.is_some();
        panics::discard(before);
        was_there
    }

    /// Asks each probe, in the order of names. One that panics is left out, with a warning.
    pub(crate) fn ask(&self) -> Vec<(String, usize)> {
        let probes = lock(&self.0).clone();
        let mut answers = Vec::with_capacity(probes.len());
        for (name, ask) in probes {
            match panics::guarded(|| ask()) {
                Ok(count) => answers.push((name, count)),
                Err(payload) => {
                    let said = panics::message(&*payload);
                    panics::bury(payload);
                    event::emit!(WARN, probe = %crate::name::Printed(&name), "a probe panicked: {said}");
                }
            }
            panics::discard(ask);
        }
        answers
    }
}

/// Drops the user's closures one by one, because each may panic.
impl Drop for Probes {
    fn drop(&mut self) {
        let probes = std::mem::take(&mut *lock(&self.0));
        for (_, ask) in probes {
            panics::discard(ask);
        }
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}
