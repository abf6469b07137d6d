//! How it is built.
//!
//! Imports point one way, and nothing below knows what is above:
//!
//! ```text
//! sync, clock, id, name, error, panics
//!   → table      slots, records, listings
//!   → tracked    shared values that are listed
//!   → context    gate, task sets, hooks, the close
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
//! A reader announces itself in the state word. A remover that finds a reader inside marks the slot dead
//! and leaves the clean-up to it: neither ever waits for the other. Free lists are striped by thread and
//! hold indices with a tag, so there is no ABA and no `unsafe`.
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
//! Tasks live in tokio `JoinSet`s. A set needs exclusive access, and a spawn can run user code (a runtime
//! that has shut down drops the future on the spot), so sets are not kept under a lock but taken out of a
//! pool and put back. Finished tasks leave shells behind in them; the completion that makes it sixteen
//! reaps them.
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
