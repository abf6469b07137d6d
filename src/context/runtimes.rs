//! [`Runtimes`]: where the tasks of a context run.
//!
//! A context remembers the first runtime that it was used on, so that any thread can spawn on it. It may outlive that runtime, as
//! a static one does that several tests use; then it works on the one at hand.

use crate::{
    context::line_counts::{Event, LineCounts, SoFar, is_told_with},
    error::RefusedReason,
    event,
    name::Printed,
    panics,
    rare::Rare,
    sync::{Mutex, lock},
    table::record::Meta,
};
use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU8, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
};
use tokio::runtime::{self, Handle};

/// The runtimes of one context.
#[derive(Default)]
pub(crate) struct Runtimes {
    first: OnceLock<Handle>,
    later: Mutex<Rare<Later>>,
    /// 1 once it was told that a task was refused.
    is_told: AtomicU8,
}

#[derive(Default)]
struct Later {
    /// The one that it works on since the first has ended.
    runtime: Option<Handle>,
    /// Where the latest one was seen to run: from which runtime, and how many ends of runtimes had been noticed by then.
    checked: (Option<runtime::Id>, usize),
}

/// How many ends of runtimes were noticed in the process, by what they dropped; more than there were.
static ENDED: AtomicUsize = AtomicUsize::new(1);

/// A runtime has ended, whichever.
pub(crate) fn note_ended() {
    ENDED.fetch_add(1, Relaxed);
}

impl Runtimes {
    /// Remembers the first runtime.
    pub(crate) fn set(&self, runtime: Handle) {
        let _ = self.first.set(runtime);
    }

    /// The first runtime: the one remembered, else this thread's, which is remembered.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Handle> {
        self.first.get().or_else(|| self.remember())
    }

    #[cold]
    fn remember(&self) -> Option<&Handle> {
        let here = Handle::try_current().ok()?;
        Some(self.first.get_or_init(|| here))
    }

    /// The latest that is remembered.
    pub(crate) fn latest(&self) -> Option<Handle> {
        let later = lock(&self.later)
            .get()
            .and_then(|later| later.runtime.clone());
        later.or_else(|| self.first.get().cloned())
    }

    /// Whether it is the first one.
    #[inline]
    pub(crate) fn is_first(&self, runtime: &Handle) -> bool {
        let first = self.first();
        first.is_some_and(|first| first.id() == runtime.id())
    }

    /// A runtime that is running: one that was remembered, else this thread's, which is remembered from now on.
    #[cold]
    pub(crate) fn running(
        &self,
        context: &Meta,
        repeats: &LineCounts,
    ) -> Result<Handle, RefusedReason> {
        let known = self.latest().ok_or(RefusedReason::NoRuntime)?;
        let here = Handle::try_current().ok();
        // Asked once from each runtime in turn, and again when a runtime has ended.
        let now = (here.as_ref().map(Handle::id), ENDED.load(Relaxed));
        if lock(&self.later)
            .get()
            .is_some_and(|later| later.checked == now)
        {
            return Ok(known);
        }
        if now.0 == Some(known.id()) || is_running(&known) {
            lock(&self.later).get_mut().checked = now;
            return Ok(known);
        }
        let (name, opened) = (Printed(&context.name), context.location);
        let Some(here) = here else {
            let is_first = self.is_told.swap(1, Relaxed) == 0;
            let told = is_first.then(|| repeats.add((Event::RuntimeEnded, opened), "refused", 1));
            if let Some(count) = told.filter(|count| is_told_with(1, *count)) {
                event::emit!(target: "headcount::context", WARN,
                    context = %name,
                    "a task was refused: the runtime of its context has ended, and this thread is in no other runtime{}",
                    SoFar(count)
                );
            }
            return Err(RefusedReason::RuntimeGone);
        };
        let before = lock(&self.later).get_mut().runtime.replace(here.clone());
        drop(before);
        if let Some(so_far) = repeats.tell(Event::RuntimeEnded, opened) {
            event::emit!(target: "headcount::context", WARN,
                context = %name,
                "the runtime of the context has ended; from now on its tasks run on the runtime of the current thread{so_far}"
            );
        }
        Ok(here)
    }

    /// Lets go of all of them.
    pub(crate) fn take(&mut self) -> [Option<Handle>; 2] {
        [self.first.take(), lock(&self.later).take().runtime]
    }
}

/// Whether a runtime takes tasks. One that has ended drops them in the call.
fn is_running(runtime: &Handle) -> bool {
    let fate = Arc::new(AtomicU8::new(WAITS));
    let probe = Probe(Arc::clone(&fate));
    panics::contain(|| drop(runtime.spawn(probe)));
    fate.load(SeqCst) != DROPPED
}

const WAITS: u8 = 0;
const POLLED: u8 = 1;
const DROPPED: u8 = 2;

/// A task that tells whether it was polled before it was dropped.
struct Probe(Arc<AtomicU8>);

impl Future for Probe {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.store(POLLED, SeqCst);
        Poll::Ready(())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.compare_exchange(WAITS, DROPPED, SeqCst, SeqCst);
    }
}
