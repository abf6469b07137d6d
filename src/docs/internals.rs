//! How it is built.
//!
//! Imports point one way, and nothing below knows what is above:
//!
//! ```text
//! sync, clock, id, name, error, panics
//!   → table      slots, records, listings
//!   → tracked    shared values that are listed
//!   → context    gate, hooks, the close
//!   → task       futures and closures that a context accepted
//!   → registry   the root of a tree of contexts, and its table
//! ```
//!
//! # The table
//!
//! A slot table in blocks of doubling size. The list of blocks is swapped as a whole through
//! [arc-swap](https://docs.rs/arc-swap), whose loads are wait-free and whose stores are slow (a store
//! looks at the debt list of every thread that ever loaded). So it is swapped only when the table grows
//! or shrinks, and everything that happens per entry happens inside a block: a slot is taken from a free
//! list, filled, and published by one store to its state word; it is removed by one compare-and-swap that
//! checks the generation, so a stale id never hits a newer entry.
//!
//! A reader announces itself once for a row of 64 slots. A remover that finds readers in the row marks the
//! slot dead and leaves the clean-up to the last of them: neither ever waits for the other. Free lists are
//! striped by thread and hold indices with a tag, so there is no ABA. What is in a slot is guarded by its
//! state word alone. That is the one place with `unsafe`: a checked cell costs an entry two
//! read-modify-writes more. It is confined to one file, and checked by loom and the address sanitizer.
//!
//! Slots hold `Weak` references to *records*, the facts about a thing, never the thing. A listing that
//! upgrades a record can at worst become the last owner of some facts.
//!
//! # Contexts
//!
//! A context is two things. Its *node* is what is known about it: name, place in the tree, state, counters,
//! report. Tasks, weak handles and listings hold nodes. Its *core* is what a close has to bring to an end:
//! tasks, hooks, values, children. Only strong handles hold cores, and the driver of the close while it
//! runs. Strong handles have a counter of their own, because a close that began with the drop of the last
//! handle still needs the core, and must not make `upgrade` work again.
//!
//! The *gate* is one atomic word: the state, and how many are inside. Entering is one `fetch_add` that
//! returns the state of the same instant, which is why there is no gap between "it is closed" and "it has
//! been counted".
//!
//! # Why there is no `JoinSet`
//!
//! A `JoinSet` knows which tasks are there, awaits them, and aborts them. The gate and the list know the first
//! two already, so it would be there for the abort alone, at a third of the cost of a short task: it
//! allocates an entry for each, locks three times, and keeps a shell of every finished task until somebody
//! reads it, so that somebody has to. Measured here, with a `JoinSet` under it a task cost 1.9 times as much
//! as on a bare `JoinSet`, without it 1.4 times, and in that nothing lingers.
//! So a task is spawned bare. Its record keeps tokio's handle for as long as the record lives, and a close
//! that has lost its patience looks through the list, once, for the tasks it has to abort. One that is
//! being spawned just then looks at the gate afterwards and aborts itself: of the two, one sees the other.
//!
//! What is left of a task that ran on another thread than the one that spawned it goes back there to be
//! freed, at most 32 in the whole process at a time: allocators are slow at memory that changes threads.
//!
//! # A task
//!
//! One allocation holds the record and the place for the output. The future is wrapped so that, however it
//! ends (by returning, by panicking, or by being dropped wherever the runtime drops it), the same things
//! happen in the same order: the future is dropped; the task leaves the list; its output goes to its
//! handle, or is dropped if that is gone; it leaves the gate.
//!
//! # What is checked how
//!
//! The protocols (gate, slots, free lists, hook stack, handles, output, driver) are modelled with
//! [loom](https://docs.rs/loom): `RUSTFLAGS="--cfg headcount_loom" cargo test --release --lib models`.
//! arc-swap has no loom hooks; there the directory is a mutex round an `Arc`, so loom checks this crate's
//! part. The rest is in `tests/`: behaviour by concept (`it`), the product of runtimes, task shapes,
//! moments and endings (`matrix`), and load (`stress`, `stress_memory`).
