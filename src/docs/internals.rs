//! How it is built.
//!
//! Imports point one way, and nothing below knows what is above:
//!
//! ```text
//! sync, clock, id, name, error, panics
//!   → slab       the store: slots, guards, readers
//!   → ledger     what is recorded of handles
//!   → poll       whose code is running, how a task is doing, where it waits
//!   → table      what is listed: records, listings
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
//! (`slab`, `poll` and `table` still import from each other and from what is above them; that is to end.)
//!
//! There is one build. The feature `dump` adds capturing, symbols and printing; how a task is listed, woken, asked and
//! aborted is the same without it.
//!
//! # The slab
//!
//! A lock-free slab in blocks that double up to 2,048 slots and then stay equal. The list of blocks is swapped as a whole
//! through [arc-swap](https://docs.rs/arc-swap), whose loads are wait-free and whose stores are slow (a store looks at the debt
//! list of every thread that ever loaded). So it is swapped only when the slab grows or shrinks, and everything that happens
//! per entry happens inside a block. The first blocks, once there, stay, and are found without loading the list.
//!
//! *A slot is its entry's memory.* The facts about a task or a registration have no allocation of their own. One word of the
//! slot says who holds them: the owner, whose drop takes the entry off the list; the task's handle; and pins, of readers. Who
//! releases last, of an entry that is not listed any more, empties the slot. So a listing never waits for a task that ends, nor
//! the other way round, and a line of a [`Live`](crate::Live) is a pin: its facts stay readable after the task is gone. The
//! word has a generation as well, so a stale id never hits a newer entry.
//!
//! Every slot has an entry from the start, which is *vacant* while the slot is free. It is filled and cleared in place, field
//! by field, in safe code, because moving it costs as much as three atomic operations: a processor that reads back in wide
//! pieces what was written in narrow ones has to wait. A slot with a task is three cache lines: what the end of a task needs is
//! on the first, together with the slot's word; names, place and time are on the second, which only listings read; the third,
//! with the waker and the place for the output, is a task's alone.
//!
//! *An entry keeps its slab*, by a reference that is counted once a stripe of threads. So guards are pointers into a block, and
//! sound whatever safe code does with them.
//!
//! Contexts and owned values have memory of their own; their slots hold a `Weak` to the facts, never to the value. A listing
//! that upgrades it can at worst become the last owner of some facts.
//!
//! Free places are on lists, striped by thread, which hold indices with a tag of 40 bits that each push and pop changes: for
//! two states of a list to be mistaken for each other (ABA), a thread would have to stop between two instructions for three
//! hours, at the least, while others use that one list without a pause. A list is counted in its links, and entries that are
//! neither listed nor free in its head: the number of entries is read off the heads, and registering counts nothing.
//!
//! # Where `unsafe` is, and why
//!
//! In three places: the slab's slots and guards; the scope of a poll, which is a pointer to the task for that time; and the
//! waker that captures stacks. The protocols are modelled with loom, and run under the address sanitizer.
//!
//! A slab in safe code was built and measured: a slot with a `Weak` to an entry that has an allocation of its own, entered by
//! `try_` operations only. Registering an entry takes 1.03 times as long as in a `DashMap` then, where it takes 0.77 here. A
//! task takes 1.18 to 1.26 times as long as here if 1,000 are spawned at a time, and 1.4 to 1.55 times if 100,000 are: most of
//! that is the allocation.
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
//! allocates an entry for each, locks three times, and keeps what is left of every finished task until it is
//! read, so that a reader is needed. Measured here, with a `JoinSet` under it a task cost 1.9 times as much
//! as on a bare `JoinSet`, without it, and all else being equal, 1.4 times.
//! So a task is spawned bare, and tokio's handle to it is dropped at once. To abort a task is to mark its entry and to wake it:
//! the poll that finds the mark drops the future, as the runtime would have. The waker is in the entry from the first poll on.
//! It is put there before the task is marked as started; an abort is marked before the waker is looked for; both marks are in
//! one word, so either the abort finds the waker or the first poll finds the abort. A close that ends its tasks by force says so
//! at the gate, and then looks through the list, once. A task that is being spawned just then is listed before it looks at the
//! gate: of the two, one sees the other.
//!
//! # Stale places
//!
//! What tokio keeps of a finished task, for its waker, is freed with the waker. If the thread that ran the task freed it, and
//! another one had spawned it, the two would contend for the allocator: spawning 100,000 tasks on a `multi_thread` runtime takes
//! half as long again. So the waker is left in the slot, which is free, until the slot is taken for the next task: by the thread
//! that spawned it, most likely, which needs as much memory just then. A waker that was left only now is not touched, because the
//! runtime may still be about to release the task. There are never more such places than tasks that are alive, and 16: when the
//! last task of a burst ends, at most 16 are left, and a close purges those as well.
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
//! The protocols (gate, slab, free lists, hook stack, handles, output, driver) are modelled with
//! [loom](https://docs.rs/loom): `RUSTFLAGS="--cfg headcount_loom" cargo test --release --lib models`.
//! arc-swap has no loom hooks; there the directory is a mutex round an `Arc`, so loom checks this crate's
//! part. The rest is in `tests/`: behaviour by concept (`it`), the product of runtimes, task shapes,
//! moments and endings (`matrix`), and load (`stress`, `stress_memory`).
