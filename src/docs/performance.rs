//! What it costs, next to what people use instead.
//!
//! Measured on a virtual machine with 2 cores of an AMD EPYC, Linux, glibc's allocator, Rust 1.95,
//! tokio 1.54, by `cargo bench --bench bars`: all contestants in turns in one run, medians of the ratios of
//! each round. Ratios carry over to other machines better than nanoseconds do: on this one a read-modify-write takes
//! 5 ns, a look at the precise clock 21 and at the coarse one 3, and an empty task on a bare `JoinSet` 355 ns.
//!
//! The benches are a package of their own, built as a program is: without the feature `testing`. With that, ages follow
//! tokio's clock, which takes 18 ns more for everything that is listed.
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
//! So a full head count costs here what a bare `JoinSet` does, and less than half of the head count one writes by
//! hand. On one thread a `TaskTracker`, which lists nothing and ends nothing by force, is faster by a third.
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
//! What a task costs does not depend on how many there are: one more among a million is as dear as one more
//! among ten thousand. A million that came and went leave 130 KB behind, the first blocks of the list.
//!
//! # The allocator decides
//!
//! What can be dearer where memory is cold is not the head count but where tokio's task cells lie. Every wrapped
//! future needs a cell of 256 bytes, aligned to 128, where the bare one of these benches fits into 128; glibc
//! makes such cells by cutting larger pieces, and keeps the cuttings, so that the next cell may come 384 or 512
//! bytes later, by turns, which defeats the processor's prefetching. On another machine of the same make, with the same
//! code as to that, the three ratios above were 1.31, 1.60 and 1.25; with `LD_PRELOAD=libjemalloc.so.2` they were 1.26,
//! 1.29 and 0.98 there, with mimalloc 1.23, 1.30 and 1.09. A `TaskTracker`, which wraps as well, pays for it too.
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
//! An entry has the time it was made, and an id that is never used again; a second thread costs the first nothing. How
//! dear it is to a `DashMap` depends on the run: of 12 the ratio was 0.12 to 0.44, in the middle 0.32. Idle
//! threads cost nothing either (ratio 1.00 with 64 of them).
//!
//! Listing costs 10 ns an entry at a million entries, twice as much as cloning a `Vec<Arc<_>>`,
//! and yields after 384 slots, which take 60 µs at the longest. A listing notes where things are; the first
//! access in order makes its lines and sorts them.
//!
//! # Closing
//!
//! A thousand contexts of a hundred tasks each close in 1.1 to 1.3 times the time that one `JoinSet` of as many
//! tasks takes to be cancelled and joined. A context by itself costs 1.5 µs to close; the rest is the tasks.
//!
//! # Handles, and dumps
//!
//! A clone of a context costs 11 ns with tracking off, 33 ns at `Counts` and 42 ns at `Holders`; its
//! drop 11, 31 and 30 ns (`holders_clone`). Spawning with tracking off takes as long as in a build without it
//! (`level_off`: 0.99 to 1.02). With the feature `dump` on and nobody dumping a short task takes 2 to 3 % longer (`dump_idle`),
//! 10,000 parked tasks are dumped in 0.8 s (`dump_10k`), and no turn of the runtime's thread takes longer than 0.5 ms
//! meanwhile (`dump_hold`).
//!
//! # How to repeat it
//!
//! ```text
//! cargo bench --bench bars                         all figures that have a limit, two minutes
//! cargo bench --package benches --bench spawn      one question at length: spawn, idle, register, live, close, memory, holders, dump
//! cargo bench --package benches --bench instructions   instruction counts, against those noted in the repository
//! ```
//!
//! The counts are the guard: 3,338 instructions from spawn to end, 3,211 on a `JoinSet`; 550 to
//! register and remove; 133 to list an entry and let go of it.
//!
//! # What it is made of
//!
//! Of the 100 ns that a short task costs more than on `tokio::spawn`, 50 are nine read-modify-writes (in and
//! out of the gate; a place in the list taken, published, left, and given back; the context counted by
//! reference; the waker put in place, and the task's own hold released), 15 three more
//! of tokio's for the waker that is kept for the abort, 10 the two scopes that make `Context::current` work.
//! Of a registration 22 are five of them.
//! What it is *not* made of was the larger part of it once: facts that are moved about in pieces, which
//! processors cannot forward from one store to a wider load, cost as much as three of those operations each.
//! That is why an entry is filled in place.
