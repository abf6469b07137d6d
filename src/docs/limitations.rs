//! What to know before relying on it.
//!
//! * **An abort is a request.** tokio drops an aborted future when it is next scheduled. A task that never
//!   waits is never dropped, and its context never closes; [`close_within`](crate::Context::close_within)
//!   says which one it is.
//! * **Blocking closures that have started run on.** Nothing can stop them; give them a
//!   [`WeakContext`](crate::WeakContext) to look at. One that is still queued is dropped when a thread of
//!   the pool gets to it.
//! * **Local tasks move only while their `LocalSet` is polled.** A close that is awaited elsewhere waits
//!   for that.
//! * **A wrapped future belongs to whoever polls it.** If nobody polls it and nobody drops it, the close
//!   waits, and names it.
//! * **On a `current_thread` runtime** a task that does not yield starves everything, the grace timer too.
//! * **Time limits need no timers of tokio's.** The crate has a timer thread of its own, so they hold on a runtime that
//!   was built without `enable_time`, or has ended. Where tokio's clock is paused they follow that clock; one that is
//!   paused while something waits already does not hold it up.
//! * **Stackful coroutines.** The code that is running is known by a list of frames on this thread's stack. A coroutine
//!   that is suspended inside [`Registry::scope`](crate::Registry::scope), a task or a hook, by switching to another
//!   stack instead of returning from its poll, and resumed later or elsewhere, would leave a dangling pointer in that
//!   list: do not do that.
//! * **A `current_thread` runtime that nobody runs** takes a close and does not drive it: one that was
//!   begun by a drop on a plain thread waits there until that runtime runs or is dropped.
//! * **A hook that captures a strong context** keeps it open for ever: take a
//!   [`WeakContext`](crate::WeakContext).
//! * **Each context warns for itself** when its grace period ends: a thousand that hang say so a thousand
//!   times.
//! * **Paused time jumps.** In a test with paused time a close that waits for something outside the clock
//!   sees its grace period pass in no time.
//! * **`tokio::spawn` is not seen.** What a task spawns bare belongs to nobody here; use
//!   [`headcount::spawn`](crate::spawn), which lands on the current context.
//! * **A tracked `Arc` dies unannounced.** It is not listed or counted any more, but its memory is kept
//!   until somebody registers or tracks something.
//! * **What is left of a finished task holds on to its runtime's memory**, until the next spawn on the same
//!   registry: of at most as many tasks as are alive, and 16, and only of those that ran on another thread
//!   than spawned them. A close throws away the 16.
//! * **A listing keeps the list.** A [`Live`](crate::Live) or [`Resource`](crate::Resource) that is kept holds on
//!   to the memory of its registry's list, also when the registry is gone; and of each task in it that has ended, to what
//!   the runtime keeps: the task's memory, with the future dropped but, if it was small, its room not given back, and the
//!   runtime's own, with what its builder was given, and its files. So do a kept dump with tasks in it, and a
//!   [`Task`](crate::Task). Look, and let go.
//! * **A waker that panics takes the wakes of others along**, who wait for the same close, token, or end of a grace period:
//!   tokio stops there. Nothing here panics for it, and tasks end at the next rung of the close; a wrapped future whose wake
//!   was lost ends when it is polled next, and is woken once more at the end of the grace period only with the feature `dump`.
//! * **Ages are coarse**: to 4 ms on most Linux systems, to 16 ms on Windows. They do not follow time that a test pauses or
//!   advances, except with the feature `testing`. Waiting (a grace period, a limit of a hook) does so in every build.
//!   Entries of one such tick that different threads made are listed in any order.
//! * **The table shrinks from its end.** Places are reused lowest first, but an entry that sits in the last
//!   block keeps that block: one survivor of a burst of 300,000 entries may keep some 20 MB until it ends.
//! * **The registry count is exact when nothing changes.** While others register and end it is a moment's
//!   approximation; a listing is exact in the sense of [I4](super::invariants).
//! * **The last nanoseconds belong to the runtime.** A task's future is dropped and it has left the list
//!   when `close` returns; on a `multi_thread` runtime its worker may still be about to note that in the
//!   runtime's own statistics (`num_alive_tasks`).
