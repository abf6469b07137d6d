//! Limitations: what to know before relying on this crate.
//!
//! * **An abort is a request.** The future of an aborted task is dropped when the task is next scheduled. A task that never
//!   waits is never dropped, and its context never closes; [`close_within`](crate::Context::close_within) names it.
//! * **A blocking closure that has started runs to its end.** Nothing can stop it; give it a
//!   [`WeakContext`](crate::WeakContext) to look at. One that is still queued is dropped when a thread of the pool takes it.
//! * **Local tasks move only while their `LocalSet` is polled.** A close that is awaited elsewhere waits
//!   for that.
//! * **A blocking closure cannot wait for its [slot](crate::TaskBuilder::slot).** It is refused if that is taken.
//! * **A deadlock is found only where tasks await each other's handles**, closes,
//!   [tracked mutexes](crate::Tracked#impl-Tracked%3CMutex%3CT%3E%3E), or places of a [limit](crate::Limit) of which tasks have all.
//!   One by way of a [`TaskSet`](crate::TaskSet) or a slot is not.
//! * **A task that waits for a place of a [limit](crate::Limit) which it holds itself waits for ever**, until the context of the limit
//!   closes. It is found as a deadlock where the holders are recorded. See [limits](super::limits).
//! * **A wrapped future or stream belongs to its owner.** If the owner neither polls nor drops it, the close waits, and names
//!   it.
//! * **On a `current_thread` runtime** a task that does not yield starves everything, also the timer of the grace period.
//! * **Time limits do not need tokio's timers.** The crate has its own timer thread, so limits hold on a runtime that was
//!   built without `enable_time`, or has ended. If tokio's clock is paused, limits follow that clock; a wait that began before
//!   the clock was paused does not.
//! * **Stackful coroutines are not supported.** A list of frames on the stack of each thread records which code is running. A
//!   coroutine that is suspended inside [`Registry::scope`](crate::Registry::scope), a task or a hook, by a switch to another
//!   stack instead of a return from its poll, and resumed later or elsewhere, would leave a dangling pointer in that list.
//! * **A `current_thread` runtime that is not run** takes a close and does not drive it: a close that was begun by a drop on a
//!   plain thread waits until that runtime runs or is dropped. After some seconds an event says so.
//! * **The warnings of a close come from its outermost context**, also those about contexts below it. While the runtime of the
//!   outermost one is not run, none of them is told.
//! * **Blocking work of tokio's own keeps a process from ending.** Reads of `tokio::io::stdin`, look-ups of names and file operations
//!   run on threads of the runtime's pool, and the drop of a runtime waits for them; `#[tokio::main]` does so at its end. They
//!   are in no registry. `headcount::run` leaves them behind after 100 ms. Elsewhere end with `std::process::exit` after the close, or with
//!   `Runtime::shutdown_timeout`.
//! * **A context remembers its first runtime.** If that ended while no task of this crate was on it, the context has not noticed, and
//!   the next spawn from a plain thread goes to it: the task ends as aborted, and an event says so. Spawns after that do not.
//! * **An essential task may end in the moment of the close.** Its end is a failure if the close of its context, and of each of the
//!   64 contexts above it, had not begun by then. A token that the program cancels by itself is no close.
//! * **A failure of a wrapped future counts as unseen.** Its panic goes to the code that polls it, and whether that looks at it is not
//!   known.
//! * **A report lists 32 failures.** All are counted, and an unseen one makes the close unclean whether it is listed or not.
//! * **A hook that captures a strong context** keeps it open for ever, and no report can know what a closure captured: take a
//!   [`WeakContext`](crate::WeakContext).
//! * **What happens again is told less often.** Events are told for each line the first time, the tenth, the hundredth and so on
//!   ([table](super::closing#events)). A report, [`CloseReport::stuck`](crate::CloseReport::stuck) for example, has what an event
//!   leaves out.
//! * **Paused time jumps.** In a test with paused time, the grace period of a close that waits for something outside of the
//!   clock passes in no time.
//! * **`tokio::spawn` is not seen.** A task of bare `tokio::spawn` belongs to no context: it is neither listed nor dumped nor closed,
//!   and only the test kit counts such tasks, where it can. Use [`headcount::spawn`](crate::spawn), which spawns on the current context.
//! * **A tracked `Arc` ends unnoticed.** From then on it is neither listed nor counted, but its memory is kept until the next
//!   thing is registered or tracked.
//! * **A finished task may retain its allocation until the next spawn** on the same registry. That is so for at most one task
//!   for each entry, and 16 more, and only for tasks that ran on another thread than the one that spawned them. A close frees
//!   the 16.
//! * **A listing that is kept keeps memory.** A [`Live`](crate::Live) or a [`Resource`](crate::Resource) keeps the memory of
//!   its registry's table, also after the registry is gone. For each task in it that has ended, it keeps tokio's memory of that
//!   task (the future is dropped, but the room of a small one is not given back) and the memory and the files of the runtime.
//!   The same is true for a dump with tasks in it, and for a [`Task`](crate::Task). Drop them when they have been read.
//! * **A waker that panics takes the wakes of other waiters along**, if they wait for the same close, token, or end of a grace
//!   period: tokio's `Notify` drops up to 31 wakers that come after it. Those of tokio and futures never panic. This crate catches it, and the tasks end at the next step of the close. A wrapped future
//!   whose wake was lost ends when it is polled next; only with the feature `dump` is it woken once more, at the end of the
//!   grace period.
//! * **Ages are coarse**: to 4 ms on most Linux systems, and to 16 ms on Windows. They follow time that a test pauses or advances only
//!   with the feature `testing`; waits (a grace period, the limit of a hook) follow it in every build. Entries that different
//!   threads made within one such tick are listed in any order.
//! * **A closed context takes memory as long as it is known.** With a strong handle it is about 1.4 KB, a quarter of a KB more where
//!   handles are recorded; with weak handles only it is 0.8 KB: its name, its path, its state and its report.
//! * **The table shrinks from its end.** The lowest slots are reused first, but an entry in the last block keeps that block:
//!   one survivor of a burst of 300,000 entries may keep some 20 MB until it ends.
//! * **The count of a registry is exact when nothing changes.** While entries come and go it is approximate; a listing is
//!   exact in the sense of [I4](super::invariants).
//! * **The last nanoseconds belong to the runtime.** When `close` returns, a task's future is dropped and the task has left the
//!   list. On a `multi_thread` runtime its worker may still be about to record that in the runtime's own statistics
//!   (`num_alive_tasks`).
