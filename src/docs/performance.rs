//! Performance: what it costs, compared with the alternatives.
//!
//! Measured on a virtual machine with 2 cores of an AMD EPYC, Linux, glibc's allocator, Rust 1.95,
//! tokio 1.54, by `cargo bench --bench bars`: all contestants run in turns in one process, and the ratios are medians over the
//! rounds. Ratios carry over to other machines better than nanoseconds do. On this machine a read-modify-write takes 5 ns, a
//! read of the precise clock 21 ns and of the coarse one 3 ns, and an empty task on a bare `JoinSet` 355 ns.
//!
//! The benches are a package of their own, which is built as a program is: without the feature `testing`. With that feature, ages
//! follow tokio's clock, which takes 18 ns more for each thing that is listed.
//!
//! # Tasks
//!
//! A short task, named, from spawn to the end of the close; two polls:
//!
//! | | 1,000 at a time, `current_thread` | 100,000 | 100,000, `multi_thread` |
//! |---|---|---|---|
//! | headcount | 330 ns | 515 ns | 365 ns |
//! | `JoinSet` | 360 ns | 490 ns | 510 ns |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 685 ns | 1,350 ns | 1,060 ns |
//! | `TaskTracker` and a token | 235 ns | 375 ns | 610 ns |
//! | `tokio::spawn` | 230 ns | 350 ns | 275 ns |
//! | headcount / `JoinSet` | 0.88 | 1.03 | 0.71 (0.69 to 0.89) |
//!
//! So a full head count costs about as much as a bare `JoinSet`, and less than half of a head count that is written by
//! hand. On one thread a `TaskTracker`, which lists nothing and aborts nothing, is faster by a third.
//!
//! A task that waits for the end, 20,000 of them, spawn and close:
//!
//! | | time | bytes | allocations |
//! |---|---|---|---|
//! | headcount | 530 ns | 421 | 1 |
//! | `JoinSet` and a token | 490 ns | 325 | 2 |
//! | `TaskTracker` and a token | 305 ns | | |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 1,110 ns | | |
//! | kameo | 3,870 ns | | |
//! | tokio-graceful-shutdown | 6,280 ns | | |
//! | `tokio::spawn` | | 255 | 1 |
//!
//! The cost of a task does not depend on the number of tasks: one more among a million is as expensive as one more among
//! ten thousand. After a million tasks have ended, 130 KB are left: the first blocks of the table.
//!
//! # The allocator decides
//!
//! Where memory is cold, the expensive part is not the head count but the position of tokio's task cells. Every wrapped
//! future needs a cell of 256 bytes, aligned to 128, where the bare future of these benches fits into 128. glibc makes such
//! cells by cutting larger pieces, and keeps the rest of each piece, so that the next cell comes 384 or 512 bytes later, in
//! turns. That defeats the processor's prefetching. On another machine with the same processor, and with the same wrapper,
//! the three ratios above were 1.31, 1.60 and 1.25; with `LD_PRELOAD=libjemalloc.so.2` they were 1.26, 1.29 and 0.98 there,
//! and with mimalloc 1.23, 1.30 and 1.09. A `TaskTracker`, which wraps as well, has the same cost.
//!
//! # The list
//!
//! | register and remove | 1 thread | 2 threads |
//! |---|---|---|
//! | headcount | 44 ns | 45 ns |
//! | `DashMap` | 55 ns | 105 to 380 ns |
//! | `Mutex<HashMap>` | 58 ns | 495 ns |
//! | `papaya` | 120 ns | 720 ns |
//! | `sharded_slab`, which cannot be listed | 40 ns | 48 ns |
//! | `ArcSwap<HashMap>` with 10,000 entries | 206,050 ns | 372,180 ns |
//!
//! An entry has the time of its creation, and an id that is never reused. A second thread does not slow the first one down;
//! how much it slows down a `DashMap` depends on the run: over 12 runs the ratio was 0.12 to 0.44, with a median of 0.32. Idle
//! threads cost nothing either (ratio 1.00 with 64 of them).
//!
//! Listing takes 10 ns an entry at a million entries, twice as long as cloning a `Vec<Arc<_>>`, and yields after 384 slots,
//! which take at most 60 µs. A listing collects references; the first access in order makes the lines and sorts them.
//!
//! # Closing
//!
//! A thousand contexts of a hundred tasks each close in 1.1 to 1.3 times the time that one `JoinSet` of as many
//! tasks takes to be cancelled and joined. A context by itself costs 1.5 µs to close; the rest is the tasks.
//!
//! # Contexts
//!
//! | a context, level | off | `Holders` |
//! |---|---|---|
//! | open and empty | 892 bytes, 3 allocations | 1,132 bytes, 5 allocations |
//! | closed, with a strong handle | 1,370 bytes | |
//! | closed, with weak handles | 790 bytes | |
//!
//! What few contexts need is made when it is needed: the token, hooks, owned values, children, what went wrong.
//!
//! To open and close an empty child takes 2.3 µs, 14 times what a `JoinSet` and a child token take that have nothing to do; with one task
//! that waits for the end it is 3.0 µs, 3.3 times as much (`cargo bench --package benches --bench context`). Half of the difference is the
//! task that drives the close: the call returns before the close is over, and hooks that are registered right after it still run.
//!
//! # Sessions, and tasks that are restarted
//!
//! | 10,000 sessions, `current_thread` | headcount | by hand: a mutex, and a timer task each | `moka` |
//! |---|---|---|---|
//! | attach to a session that is there, and lose it | 1.6 µs | 1.0 µs | 0.5 µs (a get) |
//! | open, and cull with all that a close does | 16 µs | 0.8 µs, which closes nothing | |
//! | an idle session | 5.5 KB | 0.3 KB | 0.2 KB |
//!
//! A session is two contexts, one below the other. To open and close two contexts in turn takes 4.4 µs; 10,000 that close at once are
//! cold in the cache. Among 100,000 idle sessions an attach costs 1.0 to 1.16 times what it does among 1,000: there is one timer, and it
//! sleeps until something is due.
//!
//! An attempt of a supervised task that fails, and the restart without a pause, take 0.96 µs; to spawn, join and spawn again 0.56 µs.
//!
//! # Handles, and dumps
//!
//! A clone of a context costs 11 ns with tracking off, 33 ns at `Counts` and 42 ns at `Holders`; its
//! drop 11, 31 and 30 ns (`holders_clone`). Spawning with tracking off takes as long as in a build without it
//! (`level_off`: 0.99 to 1.02). With the feature `dump` on and no dump under way, a short task takes 2 to 3 % longer
//! (`dump_idle`). 10,000 parked tasks are dumped in 0.8 s (`dump_10k`), and meanwhile the runtime's thread is never held for
//! longer than 0.5 ms (`dump_hold`).
//!
//! # How to repeat it
//!
//! ```text
//! cargo bench --bench bars                         all figures that have a limit, two minutes
//! cargo bench --package benches --bench spawn      one question at length: spawn, idle, register, live, close, context, memory, holders, dump, sessions
//! cargo bench --package benches --bench instructions   instruction counts, against those noted in the repository
//! ```
//!
//! Instruction counts guard against regressions: 3,660 from spawn to end, 3,190 on a `JoinSet`; 549 to register and remove;
//! 138 to list an entry and drop the listing.
//!
//! # What it is made of
//!
//! A short task takes 100 ns longer than with `tokio::spawn`. Most of that is fourteen read-modify-writes: two at the gate; five
//! to take, list, unlist and free a slot, and to let go of the handle; two each to hold the context and the slab; and three to
//! leave the waker. 15 ns are three more in tokio, for the waker that an abort needs. 10 ns are the two scopes that make
//! `Context::current` work. Of a registration, 22 ns are five read-modify-writes.
//!
//! Facts are filled in place because to move them is expensive: a processor cannot forward several narrow stores to one wide
//! load, and each such stall costs as much as three of those operations.
