//! Tasks that are in no registry: what the runtime's own count of its tasks tells.

use crate::{
    leaks::{
        find::{self, LeakScan},
        finding::Finding,
        judge::LeakKind,
        policy::LeakPolicy,
        subject::Subject,
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

/// Who is looking at the count of which runtime, just now.
static WATCHED: LazyLock<Mutex<HashMap<Id, Vec<Arc<AtomicBool>>>>> = LazyLock::new(Mutex::default);

/// A look at the count of this runtime from now on. It tells something only to one who is alone on the runtime: tasks
/// that were there before may spawn others.
pub(super) struct Foreign {
    runtime: Option<(Handle, usize)>,
    /// Whether somebody else looked at the same time.
    is_shared: Arc<AtomicBool>,
}

impl Foreign {
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

    /// How many tasks more there are than at the beginning, if that says anything.
    pub(super) fn more(&self) -> usize {
        let alive = |(runtime, _): &(Handle, usize)| runtime.metrics().num_alive_tasks();
        match self.why_blind() {
            None => self.runtime.as_ref().map_or(0, alive),
            Some(_) => 0,
        }
    }

    /// Why the count says nothing, if so.
    fn why_blind(&self) -> Option<&'static str> {
        if self.is_shared.load(Relaxed) {
            return Some("other checks ran on this runtime");
        }
        let had_tasks = matches!(&self.runtime, Some((_, 1..)));
        had_tasks.then_some("the runtime had tasks before")
    }

    /// Adds what the count tells to what was found.
    pub(super) fn judge(&self, found: &mut LeakScan, policy: &LeakPolicy, notes: &mut Vec<String>) {
        if let Some(why) = self.why_blind().filter(|_| !found.findings.is_empty()) {
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
                "the runtime has {more} tasks more than before, those above included"
            ));
            return;
        }
        let mut finding = finding(more);
        find::apply_allow_list(&mut finding, policy);
        found.findings.push(finding);
    }
}

impl Drop for Foreign {
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
    let subject = Subject {
        name: String::new(),
        kind: "tokio task".to_owned(),
        path: String::new(),
        state: format!("{more} {tasks} of bare `tokio::spawn`: nobody knows where"),
        location: None,
        made: "spawned",
        resource: None,
    };
    let advice = "spawn them on a context, or count them with `tokio::spawn(ctx.wrap(..))`: then they are named";
    Finding::of_fact(LeakKind::BareSpawn, subject, Vec::new(), advice.to_owned())
}
