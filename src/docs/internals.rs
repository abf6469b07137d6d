//! How the registry, the contexts and the close are built, and why.
//!
//! # The layers
//!
//! The imports of files make no circle. Folders are ordered from the store to the handles; a public handle, such as
//! [`Context`](crate::Context), has all its methods in one file, which imports what these methods return.
//!
//! ```text
//! sync, clock, timer, offload, id, name, error, event, panics, symbol, codebase
//!   → slab        the store: slots, guards, readers
//!   → ledger      records who holds handles
//!   → poll        whose code is running, how a task is doing, and where it waits
//!   → table       what is listed: records and listings
//!   → console     spans of tasks, as tokio-console reads them (feature `console`)
//!   → holders     the public view of the ledger
//!   → tracked     shared values that are listed
//!   → locks       tracked mutexes, locks and semaphores: who holds them
//!   → dump        from captured stacks to lines and deadlocks (feature `dump`)
//!   → registry::state, context::state
//!                 what exists once a registry, and once a context
//!   → limits      the places of a limit, and its queue
//!   → task        futures and closures that a context accepted
//!   → context     the gate, hooks, the close, and the handles
//!   → limits      the handles of a limit, which start tasks
//!   → sessions    contexts by key, which clients hold (feature `sessions`)
//!   → supervision tasks that are started again (feature `supervision`)
//!   → leaks       findings, culprits and victims, reports, graphs, growth
//!   → registry    the root of a tree of contexts, and its table
//!   → testing     checks for tests (feature `testing`)
//! ```
//!
//! There is one build. The feature `dump` adds capturing, symbols and printing. How a task is listed, woken, asked and aborted
//! is the same without it.
//!
//! # A task and a close through the code
//!
//! Both together go through these files, in this order.
//!
//! **A task begins.** `Context::spawn` (`context/context.rs`) makes a [`TaskBuilder`](crate::TaskBuilder) (`task/builder.rs`,
//! `task/spawn.rs`).
//! `TaskGuard::admit` (`task/guard.rs`) asks the `Gate` of the context's `Node` (`context/gate.rs`, `context/state.rs`). If the
//! gate refuses, the future is handed back or the refusal is counted (`task/guard.rs`, `context/refusal.rs`). If it admits, the guard lists a
//! `TaskEntry` in the `Table` (`table/task_entry.rs`, `table/store.rs`), which puts it into a slot (`slab/slab.rs`,
//! `slab/block.rs`, `slab/free_list.rs`, `slab/slot.rs`). The guard owns the entry from then on. The future and the guard
//! together are a `Running` (`task/future.rs`), and that is what tokio gets. The caller gets the [`Task`](crate::Task)
//! (`task/handle.rs`), which holds the same entry (`slab/guard.rs`).
//!
//! **A task runs.** `Running::poll` asks its guard first whether an abort was requested. The poll happens inside a scope
//! (`poll/scope.rs`), so that [`Context::current`](crate::Context::current) works and a close knows when it is awaited from
//! inside. The `PollState` (`poll/state.rs`) counts it. If a dump has asked, this poll gets the capturing waker instead
//! (`poll/capture.rs`). When the first poll has not finished the future, the guard leaves the task's waker beside its slot.
//!
//! **A task ends.** It does so by returning, by panicking, or because the runtime drops it. `Running` always does the same, in
//! this order: it drops the future inside the scope; `TaskGuard::leave` takes the entry off the list and delivers the output
//! through the `Outlet`, so the code that awaits it may run from here on; the slot is freed; and the task leaves the gate, which
//! counts it in the same step. If it was the last one inside, the
//! gate returns an `OnLeave`: notify the close that waits, or finish a close that has no driver.
//!
//! **A close begins.** [`Context::close`](crate::Context::close) stores the first reason and closes the gate, in the call
//! itself, and so for everything below it; then it cancels the tokens, parents first (`context/begin.rs`). Which closes wait
//! for which is in `context/needs.rs`. Then it makes sure that there is a driver (`context/driver.rs`): a task on a runtime, which holds the `DriverLease` (`context/lease.rs`). The future that it
//! returns only waits for the report (`context/wait.rs`).
//!
//! **A close goes on** (`context/close.rs`, in the order in which it runs). The driver starts the `on_closing` hooks
//! (`context/hook_run.rs`), parents first. Each descendant gets a driver of its own, but for those that have nothing to do: they end
//! here. Then it waits for its gate to be empty.
//! `context/escalation.rs` says when a step is due, sooner where there is haste (`context/haste.rs`), by `clock.rs` and
//! `timer.rs`: a check for deadlocks (`context/deadlocks.rs`), then force, which marks the
//! gate, and finds and aborts the tasks that are left (`context/stragglers.rs`, by one scan for all closes that want one:
//! `registry/coalesced_scan.rs`, `registry/state.rs`). What there is to tell of it goes to the driver of the outermost context,
//! which tells of all of them in one event (`context/telling.rs`, `context/alike.rs`); the close goes on while stacks are looked up for
//! that (`context/look_up.rs`). When the gate is empty, the `on_close` hooks run and the owned values are
//! dropped, from one stack (`context/stack.rs`).
//!
//! **A close ends.** The gate becomes `Closed`, the context leaves its parent's gate, the [`CloseReport`](crate::CloseReport)
//! (`context/report.rs`) is stored, and all that wait are notified. Leaving the parent's gate may in turn be what the parent
//! waits for.
//!
//! # The slab
//!
//! The slab is a lock-free store in blocks, which double up to 2,048 slots and then stay equal. The list of blocks is replaced
//! as a whole through [arc-swap](https://docs.rs/arc-swap). Its loads are wait-free, but a store visits the debt list of every
//! thread that ever loaded. So the list is replaced only when the slab grows or shrinks, and everything that happens for each
//! entry happens inside a block. The first blocks stay once they exist, and are found without loading the list.
//!
//! *A slot contains its entry.* The facts about a task or a registration have no allocation of their own. One atomic word of
//! the slot records who holds them: the owner, whose drop takes the entry off the list; the task's handle; and pins, which
//! are readers. When the entry is no longer listed, the last one to release it empties the slot. So a listing never waits for
//! a task that ends, nor the other way round. A line of a [`Live`](crate::Live) is a pin: its facts stay readable after the
//! task has ended. The word also has a generation, so a stale id never matches a newer entry.
//!
//! Every slot has an entry from the start, which is *vacant* while the slot is free. It is filled and cleared in place, field
//! by field, in safe code. To move it costs as much as three atomic operations, because a processor stalls when it reads in
//! wide pieces what was just written in narrow ones. A slot is two cache lines. The first one has the slot's
//! word and what the end of a task needs; the second one has names, the line and the time, which only listings read. The waker
//! and the output, which only tasks have, lie in an array beside the slots, so that a listing does not pass over them: with
//! slots of three lines, listing an entry took about three quarters longer.
//!
//! *An entry keeps its slab alive*, by a reference count for each stripe of threads. So a guard is a pointer into
//! a block, and stays valid whatever safe code does with it.
//!
//! Contexts and owned values have an allocation of their own. Their slots hold a `Weak` to the facts, never to the value. A
//! listing that upgrades it can at worst become the last owner of some facts.
//!
//! Free slots are on lists, striped by thread. A list holds indices with a tag of 40 bits, which each push and pop changes. For
//! the ABA problem to occur, a thread would have to stop between two instructions for at least three hours, while other threads
//! use that one list without a pause. The links of a list count its length, and its head counts the entries that are neither
//! listed nor free. The number of entries is read off the heads, so registering an entry counts nothing.
//!
//! # Where `unsafe` is, and why
//!
//! `unsafe` is in three modules: the slab; the scope of a poll, which is a pointer to the task for the time of the poll; and the
//! waker that captures stacks. Their protocols are modelled with loom, and run under the address sanitizer.
//!
//! A slab in safe code was built and measured: a slot with a `Weak` to an entry that has an allocation of its own, entered by
//! `try_` operations only. With it, registering an entry takes 1.03 times as long as in a `DashMap`, where it takes 0.8 here. A
//! task takes 1.18 to 1.26 times as long as here if 1,000 are spawned at a time, and 1.4 to 1.55 times if 100,000 are. Most of
//! that is the allocation.
//!
//! # Contexts
//!
//! A context has two parts. Its `Node` is what is known about it: the name, the position in the tree, the state, the counters
//! and the report. Tasks, weak handles and listings hold nodes. Its `Core` is what a close has to bring to an end: tasks, hooks,
//! values and children. Only strong handles hold a core, and so does the driver of the close while it runs. Strong handles have
//! a counter of their own, because a close that began with the drop of the last handle still needs the core, and must not make
//! `upgrade` succeed again.
//!
//! The `Gate` is one atomic word: the state, and how many are inside, which are tasks and open children. Entering is one `fetch_add`, which returns the state of the
//! same instant. So there is no gap between "the context is open" and "the task is counted" (I2).
//!
//! # Why there is no `JoinSet`
//!
//! A `JoinSet` knows its tasks, awaits them, and aborts them. Here the gate and the list do the first two already, so a `JoinSet`
//! would be there for the abort alone, at a third of the cost of a short task: it allocates an entry for each task, locks three
//! times, and keeps what is left of a finished task until it is read, so that a reader is needed. Measured with a `JoinSet`, a
//! task cost 1.9 times as much as on a bare `JoinSet`; without it, and all else being equal, 1.4 times, on the machine of that measurement.
//!
//! So a task is spawned bare, and tokio's handle to it is dropped at once. An abort marks the entry and wakes the task; the poll
//! that finds the mark drops the future, as the runtime would have. Two pairs of steps make that safe:
//!
//! * A task whose first poll has not finished it leaves its waker, then notes that it did. The abort marks the entry, then looks
//!   for a waker. Both marks are in one word, so either the abort finds the waker, or the task finds the abort and wakes
//!   itself. A task that never waits leaves no waker.
//! * A close that aborts sets a mark at the gate, then scans the list once. A task that is being spawned is listed, then reads
//!   the gate. So either the scan finds the task, or the task sees the mark.
//!
//! # Stale slots
//!
//! A waker keeps tokio's memory of a finished task. If the thread that ran the task freed it, and another thread had spawned the
//! task, the two would contend for the allocator: spawning 100,000 tasks on a `multi_thread` runtime then takes half as long
//! again. So the waker stays in the free slot, which is then *stale*, until the next task takes the slot. Most likely that
//! happens on the thread that spawned the first task, and needs as much memory just then. A waker that has just become stale is
//! not touched, because the runtime may still be about to release the task. There is at most one stale slot for each entry, and
//! 16 more: when the last task of a burst ends, at most 16 are left. A close purges those too.
//!
//! # Polls
//!
//! Every task and every running hook has a `PollState`: how often it was polled, whether it is being polled now, and what was
//! asked of it. While code of a task or a hook runs, a frame on its thread's stack says so, and frames are linked. So the
//! question "is this close awaited from inside?" walks that list, and costs nothing while it is not asked.
//!
//! A dump sets the flag `ASKED` and wakes the task. Its next poll uses a waker that captures a backtrace whenever a future clones
//! it. The rest is in the chapter on dumps (`docs::dumps`, with the feature `dump`).
//!
//! # Holders
//!
//! Every context and every tracked value has a `Ledger`, which allocates nothing until the first handle is recorded. A handle
//! knows the number of its entry, and removes it when it is dropped. The ledger compares what it has recorded with the counter
//! of handles, and shows the difference as untracked. Only handles of the same thing share its lock. It gives memory back as
//! handles go.
//!
//! While a task is polled, the frame on the thread's stack also says where its future lies. When a handle to a context is used, its
//! own address shows whether it is a variable of that future, and so whether the task holds its own context open. Addresses are
//! compared, and never followed.
//!
//! # Limits
//!
//! The queue of a limit is that of tokio's semaphore. All of its operations happen under one lock, together with the counts of the
//! limit (`limits/places.rs`): so the usage is exact, a lowered limit lets none in before enough places are free, and one that leaves
//! the queue with a place that it was given pays for that first. The semaphore is given a waker that only notes that it was
//! woken, so that no foreign code runs under the lock. A task's place lies beside its future, as its turn in a slot does, and is
//! dropped right after it: before the output is delivered, and long before the task leaves the gate.
//!
//! What a context may have (`context/quota.rs`) is counted behind the gate, not in its word: that has no room for a second count, and
//! most contexts have no such limit. What the gate lets in and finds no room goes out again, as one that is refused by the gate
//! does. The reference to the quota lies beside the gate's word.
//!
//! # What is counted and not listed
//!
//! Hooks and weak handles have a counter in the context. Handles of tasks that have ended are found by a listing in their slots,
//! which are not listed any more and not free yet. Which lines they come from is found out when growth or a limit asks
//! (`leaks/counts.rs`).
//!
//! # Sessions
//!
//! A table of sessions is a map, a queue of idle sessions and a queue of what is due, under one lock (`sessions/table.rs`). Its methods
//! decide, and return what follows as values: contexts to close, waiters to notify, keys to drop. That is done when the lock is free
//! (`sessions/shared.rs`). So the table can be modelled without contexts, and no code of users runs under it but `Eq` of keys, and
//! that of keys only whose hashes are the same.
//!
//! The strong handles of sessions are in the table, and the table is held by an observer of its own context, which lets go of it when
//! the close begins (`CloseObserver` in `context/state.rs`). An observer of each session's context takes its entry out when that is
//! closed, whatever closed it, and before a parent can see that. So a session has no task of its own while it is open, and a table has one:
//! its timer, while something is due.
//!
//! # Supervised tasks
//!
//! A supervised task is one future of the runtime (`supervision/supervisor.rs`), which polls its attempts and the pauses between
//! them one after the other. Each of those is a `Running` with a guard and an entry of its own, as a spawned future is, so the
//! rest of the crate needs to know nothing of them: an abort, a close, a dump and a listing find tasks. The future of an attempt
//! lies in place, so that attempts cannot overlap, and a restart allocates nothing.
//!
//! What follows is decided in the `end` of the one that is over (`supervision/ends.rs`), which is called when its future is
//! dropped, wherever that happens, and before it leaves the gate: what follows enters first. The decision is under one lock with
//! what handles have asked for (`supervision/state.rs`). A command notes itself there and then aborts what is listed; what is
//! listed next is noted there and then looks for a command: so either the command finds a task, or the task finds the
//! command. Budget and pauses are a plain value (`supervision/restarts.rs`) on the iterator of the library
//! [backon](https://docs.rs/backon). The closures of the user lie in a cell, and are out of it while they run.
//!
//! # What is checked how
//!
//! The protocols (gate, slab, free lists, hook stack, handles, output, driver) are modelled with
//! [loom](https://docs.rs/loom): `RUSTFLAGS="--cfg headcount_loom" cargo test --release --lib models`. arc-swap has no hooks for
//! loom. There, the directory is a mutex around an `Arc`, so loom checks the part of the protocol that is this crate's. The
//! rest is in `tests/`: behaviour by concept (`it`), the product of runtimes, task shapes, moments and endings (`matrix`), real
//! programs with planted leaks (`corpus`), and load (`stress`, `stress_memory`).
