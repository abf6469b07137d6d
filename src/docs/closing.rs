//! The close, step by step.
//!
//! `Open → Closing → Closed`, once. [`Context::close`](crate::Context::close) begins it and waits;
//! [`request_close`](crate::Context::request_close) only begins it;
//! [`closed`](crate::Context::closed) only waits; dropping the last handle begins it in the background.
//! The first caller gives the reason, and all get the same report.
//!
//! # The steps
//!
//! 1. **New work is refused, and the token is cancelled**, in the call that begins the close, and for the whole subtree. From
//!    one atomic step on, spawns, wraps and children are refused, and everything that was accepted before that step is
//!    awaited. There is no third outcome. The call takes time in proportion to the number of contexts.
//! 2. **`on_closing` hooks start**, parents before children, latest first, each as far as its first wait.
//! 3. **Children close and tasks drain**, all side by side. After the grace period (5 s unless
//!    [set](crate::ContextBuilder::grace)) the tasks that are left are aborted, a warning event names
//!    them with the line that spawned them, and the close goes on waiting, with a warning each time the
//!    wait has doubled. One event tells of all contexts of the close that come to this at the same moment: `server/conn-*/handler
//!    (50 × task running for 5.0s, spawned at src/main.rs:40)`. A context's own tasks have a second more after its last child (less, if the grace period is shorter;
//!    twice the grace period at most): one that waits for a child's task must be able to tidy up after it. With the feature `dump` the
//!    close looks up where they were before it goes on, which may take seconds the first time.
//! 4. **`on_close` hooks run and owned values are dropped**, one after the other: they are one stack, and the latest comes
//!    first, so a hook finds the values that were there when it was registered. Each hook runs for at most the
//!    [hook time limit](crate::ContextBuilder::hook_timeout). A panic, an error or a timeout is
//!    recorded, with the feature `dump` together with where the hook was waiting, and the next one runs. A hook or a value
//!    that is added meanwhile is next. From the step on in which the stack is found empty, hooks and values are refused.
//! 5. The context leaves its parent, and all that wait get the **report**.
//!
//! # Which ending
//!
//! All of these are on contexts and on the registry, also for a close that runs already. Each acts when it is called; its future
//! only waits, and may be dropped.
//!
//! | call | refuses | cancels | aborts | returns |
//! |---|---|---|---|---|
//! | [`idle`](crate::Context::idle) | nothing | no | no | when no task and no open child is left; it stays open |
//! | [`finish`](crate::Context::finish) | outsiders | no | no | the report, once it has run dry |
//! | [`finish_by`](crate::Context::finish_by) | outsiders | near the deadline | as `close_by` | the report, or what is left at the deadline |
//! | [`close`](crate::Context::close), [`close_with`](crate::Context::close_with) | all | yes | after the grace period | the report, as late as it takes |
//! | [`close_by`](crate::Context::close_by) | all | yes | early enough for hooks to have their turn | the report, or what is left at the deadline |
//! | [`close_now`](crate::Context::close_now) | all | yes | at once; hooks get a second | the report, as late as it takes |
//! | [`close_within`](crate::Context::close_within) | all | yes | after the grace period | the report, or what is left at the limit; it goes on |
//!
//! # Order
//!
//! Contexts side by side close side by side, unless one [needs](crate::ContextBuilder::needs) the other. What is needed stays
//! open, and accepts work, until those that need it are closed: tasks that save in their grace period find the database open.
//! Closing what is needed closes those first, with the reason [`Needed`](crate::CloseReason::Needed).
//!
//! # What happens to a task
//!
//! | the task | at the close |
//! |---|---|
//! | watches [`WeakContext::cancelled`](crate::WeakContext::cancelled), or a token | ends by itself: `finished` |
//! | was spawned [`cancellable`](crate::TaskBuilder::cancellable) | is dropped at its next wait: `cancelled` |
//! | waits for its [slot](crate::TaskBuilder::slot) | waits on, and is aborted or cancelled as if it had begun |
//! | is [supervised](crate::supervision), and backs off | ends at once, and is not counted; no other attempt begins |
//! | does neither | is aborted after the grace period: `aborted` |
//! | never waits, or is a blocking closure that has started | cannot be ended: the close waits, and names it |
//!
//! # Queues
//!
//! From the first step on nothing can be spawned, not even by the context's own tasks: a worker that empties a queue
//! by spawning must be done with that before the close begins. Stop the intake, let the workers run dry, await
//! them, then close; or do the rest of the work inside the worker's own future, which has the grace period.
//!
//! A task that does not notice the close, and goes on spawning, is refused each time. It does no harm: awaiting a refused
//! task takes part in tokio's cooperative budget, so other tasks run meanwhile; a warning event reports the first refusal of a
//! line of code, the tenth, the hundredth and so on; and the close names the task:
//! [`CloseReport::refusals`](crate::CloseReport::refusals), [`StillClosing::refusals`](crate::StillClosing::refusals).
//!
//! # Failures
//!
//! A task fails by a panic. A [`fallible`](crate::TaskBuilder::fallible) one also fails by an error that it returns, and an
//! [`essential`](crate::TaskBuilder::essential) one by its end, however it ends, while its context is open. The failure reaches
//! the task's handle and the reports, as a [`Failure`](crate::Failure). What else follows is up to the nearest context, from the
//! task's own upwards, that was opened with [`on_failure`](crate::ContextBuilder::on_failure), and last to the
//! [registry](crate::RegistryBuilder::on_failure). A [supervised](crate::supervision) task fails when it is not started again: see
//! [its chapter](super::supervision#failures-and-the-report).
//!
//! | setting | a failure of a task |
//! |---|---|
//! | `OnFailure::Report`, the default of a registry | is reported |
//! | `OnFailure::Close` | closes the context that set it, with the reason [`Failed`](crate::CloseReason::Failed) |
//!
//! Failures of hooks and destructors are reported and trigger nothing.
//!
//! # Clean or not
//!
//! [`CloseReport::is_clean`](crate::CloseReport::is_clean) says whether anything was lost:
//!
//! | clean in spite of | not clean because of |
//! |---|---|
//! | a task that was aborted by hand or superseded, a wrapped future that was dropped | a task that the close aborted, or that ended with its runtime |
//! | a failure of an attempt of a supervised task that another was to follow | one that nothing follows, and that was not seen |
//! | a failure whose result was taken from the handle before the report | a failure that was not; that of a hook, a destructor or a wrapped future |
//! | a spawn from outside that came too late, or found the context full | a spawn by a task or a hook of the context, or below it, that came too late, or found the context full, and was dropped |
//! | a spawn from inside that a `try_` method handed back | the reason `Failed` |
//!
//! A report is not changed later. A parent judges the failures of its children anew, when its own report is made.
//!
//! # Time limits
//!
//! [`close_by`](crate::Context::close_by) shares out the time until its deadline among what closes one after the other.
//! A context leaves a second to each context that closes after it and has something to do (an equal part where there is less), and has
//! the rest itself: so a service of a few layers with a deadline of 25 s keeps its grace period of 5 s.
//!
//! [`close_within`](crate::Context::close_within) limits the waiting, not the close. With a limit below the
//! grace period nothing has been aborted when the limit comes: choose one above the grace period and the hook time
//! limits if reaching it is to be the exception. `on_close` hooks wait for the `on_closing` hooks, so two that hang one
//! after the other take two limits.
//!
//! # Code that blocks its thread
//!
//! A hook, a destructor or a task that does not return to its runtime holds up all that runs on its thread, the timers of the close
//! included. So while a close is under way a thread of the crate looks at it once a second. It warns
//!
//! * when the runtime of the context has not run an empty task for two seconds, and names the hook, the value that is being
//!   dropped, or the tasks that it is in;
//! * when a hook, or the destructor of an owned value, has blocked a thread of a runtime that still answers, beyond the
//!   [hook time limit](crate::ContextBuilder::hook_timeout). One that took that long, and a second at least, is a failure in the
//!   report, though it has run to its end.
//!
//! Both again each time that the wait has doubled.
//!
//! A dump that is waited for on a runtime that does not answer is told in the same way. A dump at a
//! [signal](crate::Registry#method.dump_on) is made by a thread of its own, and does not need one that does.
//!
//! # Events
//!
//! All that the crate says to `tracing`, and how often. *Counted* means the first time, the tenth, the hundredth and so on, with the
//! number so far, for each registry; what is counted together is in brackets. Under `headcount::run` warnings and errors are printed
//! to standard error where no subscriber is installed.
//!
//! | event | level | how often |
//! |---|---|---|
//! | tasks have outlived the grace period, and are aborted | warning | once a close and moment; counted (line that opened the outermost context, line that spawned the tasks) |
//! | tasks have outlived that: still closing | warning | when the wait has doubled; counted in the same way, each close once |
//! | a hook failed or timed out | warning | once a close and moment; counted (line that opened the outermost context, line of the hook, message but for its numbers) |
//! | a hook could not run to its end | error | counted (line of the hook) |
//! | the destructor of an owned value failed | error | counted (line that opened its context, name of the value) |
//! | tasks and hooks wait for each other | warning | each group once; counted (text but for its numbers) |
//! | a runtime does not answer a close or a dump; a hook or a destructor blocks its thread | warning | after its limit, and when the time has doubled |
//! | a task without a handle failed | error | counted (line that spawned it, message but for its numbers) |
//! | a supervised task failed, and is started again | warning | counted (line that started it, message but for its numbers) |
//! | a supervised task is given up; it failed and nothing follows, and it has no handle | error | counted (line that started it, message but for its numbers) |
//! | a task ended with its runtime | error | counted (line that spawned it) |
//! | a late result was dropped | debug | counted while it is heard (line that spawned the task) |
//! | a spawn or a wrap was refused, because its context closes or is full | warning | counted (reason, its line) |
//! | a context was dropped while it was open | warning | counted (line that opened it) |
//! | the runtime of a context has ended | warning | counted (line that opened it) |
//! | a task ran for long without waiting | warning | counted in the process (line that spawned it) |
//! | a probe panicked | warning | counted (probe) |
//! | a server can accept no connection | warning | counted (line that started it, message but for its numbers) |
//! | a leak was found by [`watch_leaks`](crate::Registry::watch_leaks) | warning | each group once, at ten times as many, and after an hour if there are more |
//! | an attach to a session of another owner was refused | warning | counted (its line) |
//! | tasks run on where a registry has closed | info | each registry once |
//! | [`headcount::spawn`](crate::spawn) outside of any context; an unknown `HEADCOUNT_LEVEL` | info, warning | once |
//! | a future of [`stop_on`](crate::Context::stop_on) panicked | warning | each |
//! | `headcount::run` or `close_on_signals` got a signal | info | each |
//! | a context closed | debug | each |
//!
//! # From inside
//!
//! A task that awaited the close of its own context would wait for itself. `close` notices that it is
//! awaited from inside, by a task or a hook of the context, of a descendant, or of what needs one of them, or by a destructor
//! of what they leave behind. It then begins the close and returns at once, with a report whose status is
//! [`Begun`](crate::CloseStatus::Begun). It checks this at each poll, because a future that was made outside may be awaited
//! inside. The same goes for `closed` and `close_within`.
//!
//! It cannot notice a detour: a task that awaits a bare `tokio::spawn` that awaits the close. There the
//! grace period ends the wait: the task is aborted, and the close completes.
//!
//! # Runtimes that end
//!
//! A close is driven by a background task, on the runtime of the code that began it, else on the one the context
//! remembers. When that runtime ends in the middle of it, the other one takes over, or the runtime of the code that awaits
//! the close, and the close goes on where it was; a hook that was under way is recorded as failed.
//!
//! When the last handle is gone too, nothing can bring another runtime, and the context is torn down without one: tasks are
//! aborted, and the last one of them that leaves unwinds the stack: an error event names each task and each hook that cannot run to
//! its end (the tasks of one line the first time, the tenth, the hundredth and so on), and values
//! are dropped, in the same order as ever. That may be a task on some other runtime, or a blocking closure. A child that has handles is waited for,
//! because their owners may bring it a runtime. But what a context keeps may be what holds its child, so once its own tasks
//! have left, the hooks and values of such a context are dropped without waiting for that child.
//!
//! Code that awaits a close by the handle of a runtime that has ended (`handle.block_on(ctx.close())`) drives the close
//! itself, because that runtime accepts no task any more. A hook under way is recorded as failed if that future is dropped
//! before its end.
//!
//! A context that is used after the end of its runtime, as a static one may be by several tests, works on the runtime at hand from
//! then on, and a warning says so. Without one, `try_spawn` hands the future back with
//! [`RuntimeGone`](crate::RefusedReason::RuntimeGone).
//!
//! # Subscribers, wakers and destructors that panic
//!
//! They change nothing: what has to happen next happens. An event comes after the state that it reports, so a subscriber
//! may use the registry, and its panic goes no further. The same holds for wakers, and for what is dropped on the way:
//! results, hooks, owned values, and what the memory of a runtime that has ended still holds.
