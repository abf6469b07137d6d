//! What it costs, next to what people use instead.
//!
//! Measured on a virtual machine with 2 cores of an Intel Xeon, Linux, glibc's allocator, Rust 1.95,
//! tokio 1.54, by `cargo bench --bench bars`: all contestants in turns in one run, medians of the ratios of
//! each round, the middle one of three runs. Ratios carry over to other machines, nanoseconds do not: on
//! this one a read-modify-write takes 10 ns, a look at the clock 42 ns, and an empty task on a bare
//! `JoinSet` 950 ns.
//!
//! # Tasks
//!
//! A short task, named, from spawn to the end of the close; two polls:
//!
//! | | 1,000 at a time, `current_thread` | 100,000 | 100,000, `multi_thread` |
//! |---|---|---|---|
//! | headcount | 1,340 ns | 1,630 ns | 2,350 ns |
//! | `JoinSet` | 950 ns | 1,030 ns | 1,340 ns |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 1,770 ns | 2,600 ns | 3,510 ns |
//! | `TaskTracker` and a token | 590 ns | 960 ns | 1,790 ns |
//! | `tokio::spawn` | 625 ns | 815 ns | 965 ns |
//!
//! So a full head count costs a third more than a bare `JoinSet` for small batches, and 60 % more where
//! memory is cold; and it costs a quarter less than the head count one writes by hand. On `multi_thread` what is
//! dearer is that two cores share the gate's counter and the allocator.
//!
//! A task that waits for the end, 20,000 of them, spawn and close:
//!
//! | | time | bytes | allocations |
//! |---|---|---|---|
//! | headcount | 1,930 ns | 510 | 2 |
//! | `JoinSet` and a token | 1,190 ns | 325 | 2 |
//! | `TaskTracker` and a token | 800 ns | | |
//! | `JoinSet`, `Mutex<HashMap>`, a child token each | 3,040 ns | | |
//! | kameo | 8,250 ns | | |
//! | tokio-graceful-shutdown | 11,100 ns | | |
//! | `tokio::spawn` | | 255 | 1 |
//!
//! What a task costs does not depend on how many there are: one more among a million is as dear as one more
//! among ten thousand. A million that came and went leave 64 KB behind, the first blocks of the list.
//!
//! # The list
//!
//! | register and remove | 1 thread | 2 threads |
//! |---|---|---|
//! | headcount | 300 ns | 320 to 540 ns |
//! | `DashMap` | 135 ns | 450 to 565 ns |
//! | `Mutex<HashMap>` | 140 ns | 560 to 690 ns |
//! | `papaya` | 310 ns | 1,500 ns |
//! | `sharded_slab`, which cannot be listed | 105 ns | 120 ns |
//! | `ArcSwap<HashMap>` with 10,000 entries | 435,000 ns | 1,200,000 ns |
//!
//! On one thread a `DashMap` is twice as fast, and does less: an entry here has the time it was made, which is
//! a seventh of the cost, and an id that is never used again. Idle threads cost nothing (ratio 1.00
//! with 64 of them).
//!
//! Listing costs 31 ns an entry at a million entries, 2.5 times as much as cloning a `Vec<Arc<_>>`,
//! and yields after 512 slots, which take 60 µs at the longest.
//!
//! # Closing
//!
//! A thousand contexts of a hundred tasks each close in 1.5 times the time that one `JoinSet` of as many
//! tasks takes to be cancelled and joined.
//!
//! # How to repeat it
//!
//! ```text
//! cargo bench --bench bars              all figures that have a limit, 80 seconds
//! cargo bench --bench spawn             one question at length: spawn, idle, register, live, close, memory
//! cargo bench --bench instructions      instruction counts, against those noted in the repository
//! ```
//!
//! The counts are the guard: 4,775 instructions from spawn to end, 3,192 on a `JoinSet`; 1,048 to
//! register and remove; 101 to list an entry.
//!
//! # What it is made of
//!
//! Of what a short task costs more than on `tokio::spawn`, a quarter is its place in the list (reserve,
//! publish, remove, give back), and a twentieth each the scope that makes `Context::current` work, the clock,
//! and tokio's handle, which is kept for the abort: found by leaving each of them out. The rest is the
//! allocation of the record, the reference counts of record and context, and the gate.
