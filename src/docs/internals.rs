//! How it is built.
//!
//! Imports point one way, and nothing below knows what is above:
//!
//! ```text
//! sync, clock, id, name, error, panics
//!   → ledger     what is written down about handles
//!   → trace      a waker that notes who clones it, questions to tasks and hooks (feature `dump`)
//!   → table      slots, records, listings
//!   → scope      whose code is running
//!   → waiting    what of a registry it waits for
//!   → holders    who holds something, as users ask
//!   → tracked    shared values that are listed
//!   → dump       from answers to lines, and who waits for whom (feature `dump`)
//!   → context    gate, hooks, the close
//!   → task       futures and closures that a context accepted
//!   → leaks      facts, culprits and victims, reports, pictures, growth
//!   → registry   the root of a tree of contexts, and its table
//!   → testing    checks for tests (feature `testing`)
//! ```
//!
//! # The table
//!
//! A slot table in blocks that double up to 2,048 slots and then stay equal. The list of blocks is swapped as
//! a whole through [arc-swap](https://docs.rs/arc-swap), whose loads are wait-free and whose stores are slow (a
//! store looks at the debt list of every thread that ever loaded). So it is swapped only when the table grows
//! or shrinks, and everything that happens per entry happens inside a block. The first blocks, once there, stay,
//! and are found without loading the list.
//!
//! *A slot is its tenant's memory.* The facts about a task or a registration (its *card*) have no allocation of
//! their own: they are written into the slot, field by field, and stay there as long as anybody holds them.
//! One word of the slot says who does: the owner, whose drop takes the entry off the list; the task's handle;
//! and pins, of those who look. Whoever lets go last, of an entry that is not listed any more, empties the slot.
//! So a listing never waits for a task that ends, nor the other way round, and a line of a
//! [`Live`](crate::Live) is a pin: its facts stay readable after the task is gone, and of the task nothing else but its shell
//! is kept (below). The word has a generation as well, so a stale id never hits a newer entry.
//!
//! A card is two cache lines: what the end of a task needs is on the first, together with the slot's word;
//! names, place and time are on the second, which nobody but listings reads.
//!
//! Contexts and owned values have memory of their own; their slots hold a `Weak` to the facts, never to the
//! value. A listing that upgrades it can at worst become the last owner of some facts.
//!
//! Free places are on lists, striped by thread, which hold indices with a tag of 40 bits that each push and pop changes: for two states of a list to be mistaken for
//! each other (ABA), a thread would have to stop between two instructions for three hours, at the least, while others use that one
//! list without a pause. A list is
//! counted in its links, and entries that are neither listed nor free in its head: the number of entries is
//! read off the heads, and registering counts nothing.
//!
//! The places of `unsafe`: the slot's cells and the holds, which are pointers into a block (safe code was built
//! and measured: with checked cells and records of their own a registration took half as long again, and a
//! task an allocation more); cards that are written in place; a task's scope, which is a
//! pointer to the task for the time of a poll. Their protocol is modelled with loom, and run under the address
//! sanitizer.
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
//! as on a bare `JoinSet`, without it, and all else being equal, 1.4 times.
//! So a task is spawned bare. Its slot keeps tokio's handle, and a close that has lost its patience looks
//! through the list, once, for the tasks it has to abort. One that is being spawned just then looks at the
//! gate after it made itself abortable: of the two, one sees the other.
//!
//! With the feature `dump` a task has to be woken, to be asked, so its slot keeps its waker, from the first poll on,
//! and not the handle: to abort a task is to mark it and to wake it, and the poll that finds the mark drops the future.
//! Keeping both costs a short task 37 ns more than without the feature, the waker alone 8. Without the feature it stays
//! the handle, which is a word, where a waker is two: with that, a slot has two cache lines.
//!
//! # Shells
//!
//! What tokio still keeps of a finished task, for that handle or waker, is its *shell*. If the thread that ran the task
//! freed it, and another one had spawned it, the two would contend for the allocator: spawning 100,000 tasks
//! on a `multi_thread` runtime takes half as long again. So the shell is left in the slot, which is free, and
//! goes when somebody takes the slot for the next task: the thread that spawned it, most likely, which needs
//! as much memory just then. A thread rather throws away shells that have lain for a moment, because the runtime
//! may still be about to let go of a fresh one. There are never more shells than tasks that are alive, and 16:
//! so when the last task of a burst ends, at most 16 are left, and a close throws those away as well.
//!
//! # A task
//!
//! The future is wrapped so that, however it
//! ends (by returning, by panicking, or by being dropped wherever the runtime drops it), the same things
//! happen in the same order: the future is dropped; the task leaves the list; its output goes to its
//! handle, or is dropped if that is gone; it leaves the gate, which counts it as finished in the same step. A
//! place for the output is made only for a handle that still waits for it.
//!
//! # What is checked how
//!
//! The protocols (gate, slots, free lists, hook stack, handles, output, driver) are modelled with
//! [loom](https://docs.rs/loom): `RUSTFLAGS="--cfg headcount_loom" cargo test --release --lib --features dump models`.
//! arc-swap has no loom hooks; there the directory is a mutex round an `Arc`, so loom checks this crate's
//! part. The rest is in `tests/`: behaviour by concept (`it`), the product of runtimes, task shapes,
//! moments and endings (`matrix`), and load (`stress`, `stress_memory`).
