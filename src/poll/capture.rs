//! A waker that notes who clones it.

#![expect(
    unsafe_code,
    reason = "a waker that can tell its clones from itself is made by hand, and lies on the stack"
)]

use crate::{
    poll::awaited::Awaited,
    sync::{Mutex, lock},
};
use backtrace::Frame;
use std::{
    ffi::c_void,
    iter,
    mem::ManuallyDrop,
    ptr,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

/// Frames of one stack that are kept.
const FRAMES: usize = 256;
/// Stacks of one poll that are kept: of a `join_all` of thousands the rest says nothing new.
const STACKS: usize = 32;

/// The stack of somebody who waits: addresses, innermost first, down to the task's own poll.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RawStack {
    pub(crate) frames: Box<[usize]>,
    /// Whether it woke the task at once instead of waiting: it only let others run.
    pub(crate) yields: bool,
    /// What it waits for, where that is known, and of which registry that is.
    pub(crate) awaited: Option<(Awaited, u32)>,
}

/// What one poll was found waiting for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured {
    pub(crate) stacks: Vec<RawStack>,
    /// How many more there were.
    pub(crate) cut: usize,
}

/// On the stack of [`poll`], for as long as that runs.
struct Capturing<'a> {
    original: &'a Waker,
    /// Where the stack of the poll begins; what lies above is the runtime's.
    limit: usize,
    /// A waker may be lent to other threads for the time of the poll.
    found: Mutex<Captured>,
}

/// Runs one poll, and notes the stacks of those who clone its waker. They get the original.
#[inline(never)]
pub(crate) fn poll<R>(original: &Waker, poll: impl FnOnce(&mut Context<'_>) -> R) -> (R, Captured) {
    let marker = 0_u8;
    let capturing = Capturing {
        original,
        limit: &raw const marker as usize,
        found: Mutex::default(),
    };
    let data = (&raw const capturing).cast();
    // SAFETY: the functions of the table below keep the contract of wakers, for as long as `capturing` lives.
    // This waker is dropped before that ends, and nobody can keep it: only a reference to it is lent, and its
    // clones are clones of the original. That reference may be lent to other threads meanwhile, so what they reach is
    // `Sync` (the assertion below).
    let waker = unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) };
    let result = poll(&mut Context::from_waker(&waker));
    drop(waker);
    (result, std::mem::take(&mut lock(&capturing.found)))
}

/// Runs a poll that waits for something known: stacks that are noted meanwhile are one, and say so. In every capture
/// that is under way: one future may be asked inside another.
pub(crate) fn waiting<T>(
    cx: &mut Context<'_>,
    what: impl FnOnce() -> (Awaited, u32),
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let Some(innermost) = of_waker(cx.waker()) else {
        return poll(cx);
    };
    let captures = || iter::successors(Some(innermost), |inner| of_waker(inner.original));
    let before: Vec<_> = captures().map(Capturing::count).collect();
    let result = poll(cx);
    if result.is_pending() {
        let what = what();
        for (capturing, before) in captures().zip(before) {
            capturing.mark(before, &what);
        }
    }
    result
}

/// The waker that whoever clones this one gets; cloning that is not noted.
pub(crate) fn original(waker: &Waker) -> &Waker {
    let mut waker = waker;
    while let Some(capturing) = of_waker(waker) {
        waker = capturing.original;
    }
    waker
}

/// The capture that lends this waker, if one does.
fn of_waker(waker: &Waker) -> Option<&Capturing<'_>> {
    // SAFETY: nobody else has this table, so the waker is lent by a `poll` that is still running.
    ptr::eq(waker.vtable(), &raw const TABLE).then(|| unsafe { lent(waker.data()) })
}

const _: () = {
    const fn is_sync<T: Sync>() {}
    is_sync::<Capturing<'_>>();
};

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, |_| {});

/// Whose data it is.
///
/// # Safety
///
/// It comes from [`poll`], which is still running.
unsafe fn lent<'a>(data: *const ()) -> &'a Capturing<'a> {
    // SAFETY: as demanded.
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: only the waker in `poll` has this table, and lives no longer than that.
    let capturing = unsafe { lent(data) };
    capturing.note(false);
    let original = ManuallyDrop::new(capturing.original.clone());
    RawWaker::new(original.data(), original.vtable())
}

/// Nobody owns the waker but `poll`, which does not wake it; a correct answer all the same.
unsafe fn wake(data: *const ()) {
    // SAFETY: as in `clone`.
    unsafe { wake_by_ref(data) }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone`.
    let capturing = unsafe { lent(data) };
    capturing.note(true);
    capturing.original.wake_by_ref();
}

impl Capturing<'_> {
    fn note(&self, yields: bool) {
        if self.count() == STACKS {
            lock(&self.found).cut += 1;
            return;
        }
        let stack = RawStack {
            frames: self.stack(),
            yields,
            awaited: None,
        };
        let mut found = lock(&self.found);
        if found.stacks.len() < STACKS {
            found.stacks.push(stack);
        } else {
            found.cut += 1;
        }
    }

    /// How many stacks were noted so far.
    fn count(&self) -> usize {
        lock(&self.found).stacks.len()
    }

    /// Says of the stacks after the first few what they wait for, unless they only let others run.
    fn mark(&self, from: usize, what: &(Awaited, u32)) {
        let mut found = lock(&self.found);
        if found.stacks[from..].iter().any(|stack| stack.yields) {
            return;
        }
        found.stacks.truncate(from + 1);
        if let Some(stack) = found.stacks.get_mut(from) {
            stack.awaited = Some(what.clone());
        }
    }

    #[inline(never)]
    fn stack(&self) -> Box<[usize]> {
        let mut frames = Vec::with_capacity(64);
        walk(|frame| {
            let is_ours = is_above(frame.sp(), self.limit);
            if !is_ours {
                frames.push(frame.ip() as usize);
            }
            !is_ours && frames.len() < FRAMES
        });
        frames.into()
    }
}

/// Walks up the stack without a lock: that of the library is held by whoever looks up a symbol, which may take a second.
#[cfg(unix)]
fn walk(look: impl FnMut(&Frame) -> bool) {
    // SAFETY: the lock is for the symbolizer. Walking is the unwinder's work, as for a panic, and that locks what it
    // needs by itself.
    unsafe { backtrace::trace_unsynchronized(look) }
}

/// Walks up the stack; elsewhere the library's lock is for that as well.
#[cfg(not(unix))]
fn walk(look: impl FnMut(&Frame) -> bool) {
    backtrace::trace(look);
}

/// Whether a frame lies above the poll. Stacks grow down; where the place of a frame is unknown it is null.
fn is_above(frame: *mut c_void, limit: usize) -> bool {
    frame as usize > limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::Future,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::{Poll, Wake},
    };

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn counting() -> (Arc<Counts>, Waker) {
        let counts = Arc::new(Counts::default());
        (Arc::clone(&counts), Waker::from(counts))
    }

    #[test]
    fn whoever_clones_the_waker_gets_the_original() {
        let (counts, original) = counting();
        let (clone, found) = poll(&original, |cx| cx.waker().clone());
        assert!(clone.will_wake(&original));
        assert_eq!((found.stacks.len(), found.cut), (1, 0));
        drop(original);
        clone.wake();
        assert_eq!(counts.0.load(SeqCst), 1);
        assert_eq!(Arc::strong_count(&counts), 1);
    }

    #[test]
    fn waking_wakes_the_original_and_is_noted_as_such() {
        let (counts, original) = counting();
        let ((), found) = poll(&original, |cx| cx.waker().wake_by_ref());
        assert_eq!(counts.0.load(SeqCst), 1);
        assert!(found.stacks[0].yields);
    }

    #[test]
    fn two_waiters_are_two_stacks_and_the_runtime_is_in_none() {
        #[inline(never)]
        fn deep(depth: u32, body: &mut dyn FnMut()) {
            if depth == 0 {
                body();
            } else {
                deep(depth - 1, body);
            }
            std::hint::black_box(depth);
        }
        let (_, original) = counting();
        let mut lengths = Vec::new();
        for depth in [0, 100] {
            deep(depth, &mut || {
                let future = async {
                    futures::join!(tokio::task::yield_now(), std::future::pending::<()>())
                };
                let mut future = pin!(future);
                let (_, found) = poll(&original, |cx| future.as_mut().poll(cx).is_pending());
                assert_eq!(found.stacks.len(), 1);
                lengths.push(found.stacks[0].frames.len());
            });
        }
        assert_eq!(lengths[0], lengths[1]);
        assert!(lengths[0] > 2, "{lengths:?}");
    }

    #[test]
    fn a_poll_that_panics_leaves_nothing_behind() {
        let (counts, original) = counting();
        let panicked = crate::panics::guarded(|| {
            poll(&original, |cx| -> Poll<()> {
                let _clone = cx.waker().clone();
                panic!("no");
            })
        });
        assert!(panicked.is_err());
        drop(original);
        assert_eq!(Arc::strong_count(&counts), 1);
    }

    /// Looking up symbols takes long; threads of the runtime do not wait for that.
    #[cfg(unix)]
    #[test]
    fn a_stack_is_noted_while_somebody_looks_up_symbols() {
        use std::{sync::mpsc, thread, time::Duration};
        let (enter, entered) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let looking_up = thread::spawn(move || {
            let mut told = false;
            backtrace::resolve(inside_of(looking), |_| {
                if !std::mem::replace(&mut told, true) {
                    enter.send(()).unwrap();
                    let _ = ended.recv();
                }
            });
        });
        entered.recv().unwrap();
        let (give, take) = mpsc::channel();
        thread::spawn(move || give.send(looking().stacks.len()));
        let noted = take.recv_timeout(Duration::from_secs(60));
        drop(end);
        looking_up.join().unwrap();
        assert_eq!(noted, Ok(1));
    }

    /// An address of its code.
    #[cfg(unix)]
    fn inside_of(function: fn() -> Captured) -> *mut c_void {
        (function as *const ())
            .wrapping_byte_add(8)
            .cast_mut()
            .cast()
    }

    #[cfg(unix)]
    fn looking() -> Captured {
        let (_, original) = counting();
        poll(&original, |cx| drop(cx.waker().clone())).1
    }

    #[test]
    fn a_thousand_waiters_are_cut_and_counted() {
        let (_, original) = counting();
        let ((), found) = poll(&original, |cx| {
            for _ in 0..1_000 {
                drop(cx.waker().clone());
            }
        });
        assert_eq!((found.stacks.len(), found.cut), (STACKS, 1_000 - STACKS));
    }
}
