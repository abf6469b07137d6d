//! Detects tasks of bare `tokio::spawn`, which are in no registry, by the runtime's own count of its tasks.

use crate::{
    leaks::{
        find::LeakScan, finding::Finding, judge::LeakKind, policy::LeakPolicy, snapshot::Subject,
    },
    sync::{Mutex, lock},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::runtime::{Handle, Id};

/// The watches of each runtime that exist now, as the `is_shared` of each.
static WATCHED: LazyLock<Mutex<HashMap<Id, Vec<Arc<AtomicBool>>>>> = LazyLock::new(Mutex::default);

/// Watches the number of tasks of this runtime.
///
/// The number is conclusive only if the runtime had no task before, because a task of before may spawn others, and if
/// there is no other watch of the same runtime.
pub(super) struct BareSpawns {
    /// The runtime, and how many tasks it had at the beginning.
    runtime: Option<(Handle, usize)>,
    /// Whether there was another watch of the same runtime at any time.
    is_shared: Arc<AtomicBool>,
}

impl BareSpawns {
    pub(super) fn watch() -> Self {
        let runtime = Handle::try_current().ok();
        let is_shared = Arc::new(AtomicBool::new(false));
        if let Some(runtime) = &runtime {
            let mut watched = lock(&WATCHED);
            let others = watched.entry(runtime.id()).or_default();
            others.push(Arc::clone(&is_shared));
            if others.len() > 1 {
                for other in others {
                    other.store(true, Relaxed);
                }
            }
        }
        let runtime = runtime.map(|runtime| {
            let alive = runtime.metrics().num_alive_tasks();
            (runtime, alive)
        });
        Self { runtime, is_shared }
    }

    /// How many more tasks there are than at the beginning; 0 if the number is not conclusive.
    pub(super) fn more(&self) -> usize {
        let alive = |(runtime, _): &(Handle, usize)| runtime.metrics().num_alive_tasks();
        match self.why_inconclusive() {
            None => self.runtime.as_ref().map_or(0, alive),
            Some(_) => 0,
        }
    }

    /// Why the number is not conclusive; `None` if it is.
    fn why_inconclusive(&self) -> Option<&'static str> {
        if self.is_shared.load(Relaxed) {
            return Some("other checks ran on this runtime");
        }
        let had_tasks = matches!(&self.runtime, Some((_, 1..)));
        had_tasks.then_some("the runtime had tasks before")
    }

    /// Adds a finding, or a note, about the tasks that are in no registry.
    pub(super) fn judge(&self, found: &mut LeakScan, policy: &LeakPolicy, notes: &mut Vec<String>) {
        let why = self.why_inconclusive();
        if let Some(why) = why.filter(|_| !found.findings.is_empty()) {
            notes.push(format!(
                "tasks of bare `tokio::spawn` cannot be told apart: {why}"
            ));
        }
        let more = self.more();
        if more == 0 {
            return;
        }
        if found.tasks > 0 {
            notes.push(format!(
                "the runtime has {more} more {} than before, those above included",
                if more == 1 { "task" } else { "tasks" }
            ));
            return;
        }
        found.add(finding(more), policy);
    }
}

impl Drop for BareSpawns {
    fn drop(&mut self) {
        let Some((runtime, _)) = &self.runtime else {
            return;
        };
        let mut watched = lock(&WATCHED);
        if let Some(others) = watched.get_mut(&runtime.id()) {
            others.retain(|other| !Arc::ptr_eq(other, &self.is_shared));
            if others.is_empty() {
                watched.remove(&runtime.id());
            }
        }
    }
}

fn finding(more: usize) -> Finding {
    let tasks = if more == 1 { "task" } else { "tasks" };
    let state = format!("{more} {tasks} of bare `tokio::spawn`, on unknown lines");
    let subject = Subject::unlisted("tokio task", state);
    let advice = "spawn them on a context, or count them with `tokio::spawn(ctx.wrap(..))`: then they are named";
    Finding::of_fact(LeakKind::BareSpawn, subject, Vec::new(), advice.to_owned())
}
