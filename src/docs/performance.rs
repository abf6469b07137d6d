//! What it costs, next to what people use instead.
//!
//! Measured on a virtual machine with 2 cores of an AMD EPYC, Linux, glibc's allocator, Rust 1.95,
//! tokio 1.54, by `cargo bench --bench bars`: all contestants in turns in one run, medians of the ratios of
//! each round, the middle one of three runs. Ratios carry over to other machines better than nanoseconds
//! do: on this one a read-modify-write takes 6 ns, a look at the clock 25 ns, and an empty task on a bare
//! `JoinSet` 270 ns.
//!
//! # Tasks
//!
//! A short task, named, from spawn to the end of the close; two polls:
//!
//! | | 1,000 at a time, `current_thread` | 100,000 | 100,000, `multi_thread` |
//! |---|---|---|---|
//! | headcount | 360 ns | 615 ns | 515 ns |
//! | `JoinSet` | 270 ns | 390 ns | 350 to 410 ns |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 565 ns | 1,095 ns | 1,025 ns |
//! | `TaskTracker` and a token | 230 ns | 450 ns | 620 ns |
//! | `tokio::spawn` | 220 ns | 440 ns | 270 ns |
//! | headcount / `JoinSet` | 1.31 | 1.60 | 1.25 (1.08 to 1.36) |
//!
//! So a full head count costs 30 % more than a bare `JoinSet` in small batches, and a third less than the
//! head count one writes by hand. It costs 60 % more where memory is cold, and a quarter more where
//! two threads hand tasks to each other.
//!
//! A task that waits for the end, 20,000 of them, spawn and close:
//!
//! | | time | bytes | allocations |
//! |---|---|---|---|
//! | headcount | 460 ns | 421 | 1 |
//! | `JoinSet` and a token | 310 ns | 325 | 2 |
//! | `TaskTracker` and a token | 240 ns | | |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 755 ns | | |
//! | kameo | 4,300 ns | | |
//! | tokio-graceful-shutdown | 5,550 ns | | |
//! | `tokio::spawn` | | 255 | 1 |
//!
//! What a task costs does not depend on how many there are: one more among a million is as dear as one more
//! among ten thousand. A million that came and went leave 130 KB behind, the first blocks of the list.
//!
//! # The allocator decides
//!
//! What is dearer where memory is cold is not the head count but where tokio's task cells lie. Every wrapped
//! future needs a cell of 256 bytes, aligned to 128, where the bare one of these benches fits into 128; glibc
//! makes such cells by cutting larger pieces, and keeps the cuttings, so that the next cell comes 384 or 512
//! bytes later, by turns, which defeats the processor's prefetching. A `TaskTracker`, which wraps as well, pays
//! for it too. The same benches with another allocator (`LD_PRELOAD=libjemalloc.so.2 cargo bench --bench bars`):
//!
//! | ratio to `JoinSet` | glibc | jemalloc 5.3 | mimalloc 2.0 |
//! |---|---|---|---|
//! | short tasks, 1,000 at a time | 1.31 | 1.26 | 1.23 |
//! | short tasks, 100,000 | 1.60 | 1.29 | 1.30 |
//! | short tasks, 100,000, `multi_thread` | 1.25 | 0.98 | 1.09 |
//! | tasks that wait for the end | 1.47 | 1.29 | 1.41 |
//! | closing a tree | 1.87 | 1.41 | 1.62 |
//!
//! # The list
//!
//! | register and remove | 1 thread | 2 threads |
//! |---|---|---|
//! | headcount | 68 ns | 70 ns |
//! | `DashMap` | 54 ns | 165 ns |
//! | `Mutex<HashMap>` | 49 ns | 250 ns |
//! | `papaya` | 120 ns | 735 ns |
//! | `sharded_slab`, which cannot be listed | 32 ns | 34 ns |
//! | `ArcSwap<HashMap>` with 10,000 entries | 158,000 ns | 436,000 ns |
//!
//! On one thread a `DashMap` is a fifth faster, and does less: an entry here has the time it was made, which
//! is 25 ns of the 68, and an id that is never used again. Idle threads cost nothing (ratio 1.00 with 64 of
//! them).
//!
//! Listing costs 10 ns an entry at a million entries, twice as much as cloning a `Vec<Arc<_>>`,
//! and yields after 512 slots, which take 60 µs at the longest. A listing notes where things are; the first
//! access in order makes its lines and sorts them.
//!
//! # Closing
//!
//! A thousand contexts of a hundred tasks each close in 1.9 times the time that one `JoinSet` of as many
//! tasks takes to be cancelled and joined. A context by itself costs 1.5 µs to close; the rest is the tasks.
//!
//! # Handles, and dumps
//!
//! A clone of a context costs 4 ns with tracking off, 24 ns at `Counts` and 58 ns at `Holders`, of which 25 are the clock; its
//! drop 4 ns and 20 ns (`holders_clone`). Spawning with tracking off takes as long as in a build without it
//! (`level_off`: 0.99 to 1.01). With the feature `dump` on and nobody dumping a short task takes 3 to 5 % longer (`dump_idle`), and
//! 10,000 parked tasks are dumped in 0.9 s (`dump_10k`).
//!
//! # How to repeat it
//!
//! ```text
//! cargo bench --bench bars              all figures that have a limit, two minutes
//! cargo bench --bench spawn             one question at length: spawn, idle, register, live, close, memory, holders, dump
//! cargo bench --bench instructions      instruction counts, against those noted in the repository
//! ```
//!
//! The counts are the guard: 3,483 instructions from spawn to end, 3,263 on a `JoinSet`; 690 to
//! register and remove; 134 to list an entry and let go of it.
//!
//! # What it is made of
//!
//! Of the 140 ns that a short task costs more than on `tokio::spawn`, 60 are nine read-modify-writes (in and
//! out of the gate; a place in the list taken, published, left, and given back; the context counted by
//! reference; tokio's handle kept, and the task's own let go), 25 the clock, 20 three more read-modify-writes
//! of tokio's for the handle that is kept for the abort, 10 the two scopes that make `Context::current` work.
//! What it is *not* made of was the larger part of it once: facts that are moved about in pieces, which
//! processors cannot forward from one store to a wider load, cost as much as three of those operations each.
//! That is why a card is written in place.
