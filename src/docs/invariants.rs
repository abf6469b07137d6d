//! What holds, always. Code and tests cite these numbers.
//!
//! | | |
//! |---|---|
//! | **I1** drain | When `close()` or `closed()` resolves, every future that the context or a descendant ever accepted is dropped, no hook is running, and owned values are dropped. |
//! | **I2** no gap | A spawn is either refused or awaited by the close, under any interleaving. |
//! | **I3** weak | Neither a task nor the registry holds a strong context handle. |
//! | **I4** visible | A task is listed from before its first poll until after its future is dropped. A listing contains everything that was live during the whole call, and nothing that had ended before it began. |
//! | **I5** never prolong | Listings and reports never keep a user's value alive and never run its destructor. |
//! | **I6** bounded garbage | Memory is O(live), without any call for it. No user value outlives its task. What the runtime keeps of a finished task may stay until the next spawn: of at most as many tasks as are alive, and 16. |
//! | **I7** hooks | Latest first, exactly once, each isolated. One registered while closing still runs; after that it is handed back. |
//! | **I8** close once | Concurrent callers share one close and one report; the first reason wins; dropping a `close()` future abandons nothing. |
//! | **I9** no user code under a lock | Futures, hooks, destructors, wakers: never under an internal lock. |
//! | **I10** no self-deadlock | `close()` from inside begins the close and returns at once, with a report that says so. |
//! | **I11** drop is a close | Dropping the last handle of an open context closes it in the background. Nothing blocks or panics in `Drop`. |
//! | **I12** panics | A panic reaches its task's handle and the close report, never its siblings, unless the context asks for it. |
//! | **I13** depth and width | 50,000 contexts deep and 1,000,000 tasks wide work. |
//! | **I14** parents wait | A parent's close awaits descendants, also those whose handles were dropped meanwhile. |
//! | **I15** cheap when off | What is not switched on costs a relaxed load and a branch. |
//! | **I16** honest | A report says what it does not know, and what it cut. |
//! | **I20** sound | No call of safe code causes undefined behaviour, whatever panics in between. `unsafe` is in three modules (the slab, the scope of a poll, the capturing waker), each of them sound at its own boundary. |
