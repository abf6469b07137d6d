//! Whose code is running, on this thread, just now.
//!
//! Whoever runs code for a context says so for as long as that lasts, on its own stack: the thread knows the
//! innermost of these [`Frame`]s, and each knows the one round it. Entering costs two writes, and no
//! reference count.

#![expect(
    unsafe_code,
    reason = "a thread-local cannot have the lifetime of a poll, and `scoped-tls` takes twice as long"
)]

use crate::{
    ledger::acquirer::{Acquirer, Who},
    poll::state::PollState,
    table::{record::Record, task_entry::TaskEntry},
};
use std::{
    cell::Cell,
    iter,
    mem::transmute,
    ptr::{self, NonNull},
};

/// Whose code is running. The records are those of contexts.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// The body of `Registry::scope`: it belongs to nobody, and means this registry.
    Registry(&'a dyn Record),
    Hook {
        context: &'a dyn Record,
        /// Of one that can be asked.
        poll_state: Option<&'a PollState>,
    },
    Task(&'a TaskEntry),
}

/// Somebody's code that is running, and the code that runs it.
struct Frame {
    /// In truth it lives as long as the frame.
    owner: Owner<'static>,
    memory: Memory,
    outer: Option<NonNull<Frame>>,
}

/// Where the values lie that the running code owns, as far as that is known: addresses, which are only compared.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    start: usize,
    size: usize,
}

impl Memory {
    const UNKNOWN: Self = Self { start: 0, size: 0 };
    /// Of a closure: its variables are on the stack, below the frame that says that it runs.
    pub(crate) const STACK: Self = Self {
        start: 0,
        size: usize::MAX,
    };

    /// Of a future, which has its variables in itself from one poll to the next.
    #[inline]
    pub(crate) fn of<F>(future: &F) -> Self {
        Self {
            start: address(future),
            size: size_of::<F>(),
        }
    }
}

impl Frame {
    /// Whether the running code owns what lies at this address.
    fn owns(&self, place: usize) -> bool {
        let Memory { start, size } = self.memory;
        if size != usize::MAX {
            return place.wrapping_sub(start) < size;
        }
        // Between the frame and what is called last, whichever way the stack grows.
        let (here, there) = (address(&place), address(self));
        (here.min(there)..here.max(there)).contains(&place)
    }
}

#[inline]
fn address<T>(of: &T) -> usize {
    ptr::from_ref(of).addr()
}

thread_local! {
    static INNERMOST: Cell<Option<NonNull<Frame>>> = const { Cell::new(None) };
}

/// Takes a frame off again when dropped.
struct Entered {
    outer: Option<NonNull<Frame>>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// Runs `body` as the code of this owner.
#[inline]
pub(crate) fn enter_as<R>(owner: Owner<'_>, body: impl FnOnce() -> R) -> R {
    enter_with(owner, Memory::UNKNOWN, body)
}

/// The same, for code of which it is known where its values lie.
#[inline]
pub(crate) fn enter_with<R>(owner: Owner<'_>, memory: Memory, body: impl FnOnce() -> R) -> R {
    let outer = INNERMOST.get();
    let frame = Frame {
        // SAFETY: only the lifetime changes. The frame is seen by this thread alone, which looks at it
        // without keeping it, and not any more when this function ends, or unwinds: until then `owner` is
        // borrowed.
        owner: unsafe { transmute::<Owner<'_>, Owner<'static>>(owner) },
        memory,
        outer,
    };
    INNERMOST.set(Some(NonNull::from(&frame)));
    let _entered = Entered { outer };
    body()
}

/// Looks at the owners of the code that is running, innermost first, until it finds something. What it
/// looks with must not keep them.
pub(crate) fn find<R>(mut look: impl FnMut(Owner<'_>) -> Option<R>) -> Option<R> {
    find_frame(|frame| look(frame.owner))
}

fn find_frame<R>(mut look: impl FnMut(&Frame) -> Option<R>) -> Option<R> {
    // SAFETY: a frame is on this thread's stack, and taken off before it goes; the ones round it go later.
    let frame = |frame: &NonNull<Frame>| unsafe { frame.as_ref() };
    let mut frames = iter::successors(INNERMOST.get(), |inner| frame(inner).outer);
    frames.find_map(|one| look(frame(&one)))
}

/// The task of which the running code owns the value at this place: it is a variable of the task's future or closure, and not
/// behind a reference to something that others may have as well.
pub(crate) fn owner_of<T>(value: &T) -> Option<Acquirer> {
    let place = address(value);
    find_frame(|frame| match frame.owner {
        Owner::Task(task) if frame.owns(place) => Some(Acquirer::Task(who(task))),
        _ => None,
    })
}

/// Who takes a handle when this code does: the task or hook that is running, else a task of somebody
/// else's, else the thread.
pub(crate) fn acquirer() -> Acquirer {
    let of_ours = |owner: Owner<'_>| match owner {
        Owner::Registry(_) => None,
        Owner::Hook { context, .. } => Some(Acquirer::Hook(who(context))),
        Owner::Task(task) => Some(Acquirer::Task(who(task))),
    };
    find(of_ours).unwrap_or_else(Acquirer::of_thread)
}

fn who(record: &dyn Record) -> Who {
    let meta = record.meta();
    Who::new(meta.id, &meta.name)
}
