//! The close of a context, in the order in which it runs.
//!
//! 1. [`begin`]: the gate refuses. Everything else is done by the [`Driver`] of the close, in [`drive`]:
//! 2. the gates of all descendants are closed and their `on_closing` hooks start, parents first; then the tokens are cancelled;
//! 3. children close, each with a driver of its own; tasks [drain], and those that are left after the grace period are aborted;
//! 4. `on_close` hooks run and owned values are dropped, latest first: they are one stack;
//! 5. [`conclude`]: the report is made, and the context leaves its parent and wakes those that wait;
//! 6. events come last: a subscriber may do anything.
//!
//! A close that nothing can drive any more is torn down instead, by its [driver](super::driver); the last one to
//! [leave](on_leave) it does the rest, here.

#[cfg(feature = "dump")]
use crate::context::deadlocks;
use crate::{
    clock,
    context::{
        current::{self, Scope, Scoped},
        gate::OnLeave,
        hooks::{Callback, HookEnd, HookGuard, Kept, Origin},
        report::{CloseReason, CloseReport, CloseStatus},
        state::{Core, Node},
        stragglers,
        unwind::{drop_value, note_interrupted, unwind_undriven},
    },
    event,
    ledger::handle_log::Ledger,
    panics::{self, notify_all},
    sync::lock,
    table::record::{Class, Meta, Outcome, Record, State},
};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, select},
    stream::FuturesUnordered,
};
use std::{
    any::Any,
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

#[cfg(test)]
mod tests;

/// Contexts looked at between two yields when a close walks its subtree.
const STEP: usize = 64;
/// The shortest time between two warnings about the same stragglers.
const REMIND: Duration = Duration::from_secs(1);
/// How long a close waits before it checks for a deadlock for the first time; then twice as long, and so on.
const CHECK: Duration = Duration::from_secs(1);

// 1. Refuse.

/// Begins the close; from here on the gate refuses. False if it had begun before: the first reason
/// wins (I8). The reason is there before the gate closes, so a close that has begun has one.
pub(crate) fn begin(core: &Core, reason: CloseReason) -> bool {
    let first = core.begun.set((reason, clock::now())).is_ok();
    if core.node.gate.begin() == State::Open {
        core.node.table.tracking.closing();
        notify_all(&core.node.changed);
    }
    first
}

/// The one that drives a close. Dropped before the end, as runtimes do with their futures, it leaves the close to the next
/// one.
pub(crate) trait Driver: Sized + Send + 'static {
    /// The driver of a close that nothing drives.
    fn of(core: &Arc<Core>) -> Option<Self>;
    /// The close that it drives.
    fn core(&self) -> &Arc<Core>;
    /// Goes on with it in a task of its own.
    fn launch(self);
    /// Sees to the closes below that lose their drivers; never ends.
    fn keep_respawning(core: &Arc<Core>) -> impl Future<Output = ()> + Send;
    /// The close ends here: there is no next one.
    fn finish(&mut self);
}

/// The whole close of a context and its subtree.
pub(crate) async fn drive<D: Driver>(mut driver: D) {
    let core = Arc::clone(driver.core());
    let members: Vec<D> = close_gates(&core).await;
    cancel(&core);
    for member in members {
        member.launch();
    }
    select(pin!(run(&core)), pin!(D::keep_respawning(&core))).await;
    driver.finish();
    let left = conclude(&core);
    drop(driver);
    if let Some(parent) = &core.node.parent {
        on_leave(parent, left);
    }
    emit_closed(&core.node);
}

// 2. Cancel.

/// Closes the gate of every descendant and starts the hooks that want to know, parents first, before
/// the token is cancelled. Returns the drivers of the descendants, whose closes go on one by one.
async fn close_gates<D: Driver>(core: &Arc<Core>) -> Vec<D> {
    start_hooks(core);
    let mut members = Vec::new();
    let mut queue = VecDeque::from(core.children());
    while let Some(child) = queue.pop_front() {
        begin(&child, CloseReason::Parent);
        if let Some(driver) = D::of(&child) {
            start_hooks(&child);
            queue.extend(child.children());
            members.push(driver);
        }
        if members.len() % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
    }
    members
}

/// Starts the hooks that run when the close begins, latest first: each gets as far as its first wait.
fn start_hooks(core: &Arc<Core>) {
    for hook in core.hooks.on_closing.seal() {
        let mut hook = HookRun::new(core, hook, "on_closing");
        if (&mut hook).now_or_never().is_none() {
            lock(&core.hooks.started).push(hook.boxed());
        }
    }
}

/// Cancels the token. A waker of those that wait for it may panic.
pub(crate) fn cancel(core: &Core) {
    panics::contain(|| core.node.token.cancel());
}

/// From "the token is cancelled" to "nothing is left": everything inside has left, hooks have run, owned values are dropped.
/// May be dropped anywhere and begun again; a hook that was under way then is noted as interrupted.
async fn run(core: &Arc<Core>) {
    drain(core).await;
    core.node.table.tasks.purge();
    while let Some(kept) = core.hooks.on_close.pop_or_seal() {
        match kept {
            Kept::Hook(hook) => with_checks(core, HookRun::new(core, hook, "on_close")).await,
            Kept::Value(value) => drop_value(core, value),
        }
    }
}

// 3. Drain.

/// Waits until everything inside has left and every started hook has ended: first patiently, then
/// with force.
async fn drain(core: &Arc<Core>) {
    let node = &core.node;
    let started = std::mem::take(&mut *lock(&core.hooks.started));
    let mut hooks: FuturesUnordered<_> = started.into_iter().collect();
    let mut escalation = Escalation::new(core.limits.grace);
    let mut timer = None;
    let mut checking: BoxFuture<'_, ()> = pending().boxed();
    loop {
        let mut drained = pin!(node.drained.notified());
        drained.as_mut().enable();
        if node.gate.inside() == 0 {
            break;
        }
        let (timer_now, step) = timer.get_or_insert_with(|| {
            let (after, step) = escalation.next();
            (Box::pin(clock::sleep(after)), step)
        });
        let is_time = poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if checking.poll_unpin(cx).is_ready() {
                checking = pending().boxed();
            }
            timer_now.as_mut().poll(cx).map(|()| true)
        });
        if beside(&mut hooks, is_time).await {
            match step {
                Step::CheckDeadlock => checking = check_deadlock(core).boxed(),
                Step::Abort => {
                    // Cancel the running deadlock check: `use_force` starts its own, which would wait for it.
                    checking = pending().boxed();
                    beside(&mut hooks, use_force(core)).await;
                }
            }
            timer = None;
        }
    }
    // It is not polled any more, and other checks wait until it is over.
    drop(checking);
    with_checks(core, async { while hooks.next().await.is_some() {} }).await;
}

/// Runs something while hooks run on.
async fn beside<F: Future>(hooks: &mut FuturesUnordered<BoxFuture<'_, ()>>, run: F) -> F::Output {
    let mut run = pin!(run);
    let both = poll_fn(|cx| {
        while let Poll::Ready(Some(())) = hooks.poll_next_unpin(cx) {}
        run.as_mut().poll(cx)
    });
    both.await
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To check whether tasks wait for each other.
    CheckDeadlock,
    /// To end tasks by force, and to warn of them.
    Abort,
}

/// How long a close still waits for what is inside, and what it does then.
struct Escalation {
    /// Until the next time it uses force.
    left: Duration,
    /// The time between two times.
    between: Duration,
    /// Until the next check, before it has used force.
    check: Option<Duration>,
}

impl Escalation {
    fn new(grace: Duration) -> Self {
        Self {
            left: grace,
            between: grace,
            check: cfg!(feature = "dump").then_some(CHECK),
        }
    }

    /// What is next, and after how long.
    fn next(&mut self) -> (Duration, Step) {
        if let Some(check) = self.check.filter(|check| *check < self.left) {
            self.left -= check;
            self.check = Some(check.saturating_mul(2));
            return (check, Step::CheckDeadlock);
        }
        self.check = None;
        self.between = self.between.max(REMIND).saturating_mul(2);
        (std::mem::replace(&mut self.left, self.between), Step::Abort)
    }
}

/// Waits for hooks, and checks now and then whether they wait in vain.
#[cfg(feature = "dump")]
async fn with_checks(core: &Arc<Core>, hooks: impl Future<Output = ()>) {
    select(pin!(hooks), pin!(keep_checking(core))).await;
}

#[cfg(not(feature = "dump"))]
fn with_checks<F: Future<Output = ()>>(_: &Arc<Core>, hooks: F) -> F {
    hooks
}

/// Never ends.
#[cfg(feature = "dump")]
async fn keep_checking(core: &Arc<Core>) {
    let mut escalation = Escalation::new(Duration::MAX);
    loop {
        clock::sleep(escalation.next().0).await;
        check_deadlock(core).await;
    }
}

/// Checks whether it waits in vain.
#[cfg(feature = "dump")]
async fn check_deadlock(core: &Arc<Core>) {
    drop(deadlocks::check(core).await);
}

#[cfg(not(feature = "dump"))]
fn check_deadlock(_: &Arc<Core>) -> futures::future::Ready<()> {
    futures::future::ready(())
}

/// Names those that are still there, and ends what can be ended.
async fn use_force(core: &Arc<Core>) {
    let is_first = !core.node.gate.is_aborting();
    #[cfg(feature = "dump")]
    if is_first {
        // Before they are aborted: afterwards they are nowhere. They may end meanwhile.
        let mut drained = pin!(core.node.drained.notified());
        drained.as_mut().enable();
        if core.node.gate.inside() > 0 {
            select(pin!(stragglers::ask(core)), drained).await;
        }
        if core.node.gate.inside() == 0 {
            return;
        }
    }
    // From here on: the scan for stragglers aborts those that are there, and those that come late abort themselves. Blocking
    // closures that have started run on.
    core.node.gate.abort();
    stragglers::warn_and_abort(core, is_first).await;
}

// 4. Hooks run, values go.

/// A hook under way, in the scope of its context and within its time limit. It notes in the report
/// how it ended; dropped before that, that it was interrupted.
struct HookRun {
    node: Arc<Node>,
    origin: Origin,
    /// `None` once it has ended.
    run: Option<BoxFuture<'static, HookEnd>>,
}

impl HookRun {
    fn new(core: &Arc<Core>, hook: Callback, kind: &'static str) -> Self {
        let node = &core.node;
        let scope = Scope::Hook(Arc::clone(node));
        let origin = hook.origin();
        let guard = HookGuard::new(&node.table, Arc::<Node>::clone(node), origin, kind);
        let run = Scoped::new(scope, hook.run(core.limits.hook, guard)).boxed();
        core.hooks.has_started(origin);
        Self {
            node: Arc::clone(node),
            origin,
            run: Some(run),
        }
    }
}

impl Future for HookRun {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(run) = &mut self.run else {
            return Poll::Ready(());
        };
        let end = ready!(run.poll_unpin(cx));
        self.run = None;
        if let Some(core) = self.node.core.upgrade() {
            core.hooks.has_ended(self.origin);
            let stacks = end.whereabouts().map(tracing::field::display);
            let failure = lock(&core.log).hook(&*core.node, self.origin, end);
            if let Some(failure) = failure {
                let said = failure.sentence();
                event::emit!(WARN, context = %self.node.meta.name, stacks, "{said}");
            }
        }
        Poll::Ready(())
    }
}

impl Drop for HookRun {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        panics::discard(run);
        if let Some(core) = self.node.core.upgrade() {
            core.hooks.has_ended(self.origin);
        }
        note_interrupted(&self.node, self.origin);
    }
}

// 5. Conclude.

/// Ends the close: nothing of the context is left but handles. Returns what the parent's gate said
/// when this context went out of it, which is to be [handled](on_leave) before the event.
fn conclude(core: &Arc<Core>) -> OnLeave {
    let node = &core.node;
    let report = report(core, CloseStatus::Closed);
    if !node.gate.end() {
        return OnLeave::Nothing;
    }
    // Either we see that the last handle is gone, or its drop sees that the close has ended.
    if node.handles.count() == 0 {
        node.table.remove(node.meta.id);
    }
    let left = node.parent.as_ref().map_or(OnLeave::Nothing, |parent| {
        if let Some(parent) = parent.core.upgrade() {
            lock(&parent.children).remove(&node.meta.id);
            let log = lock(&core.log).close();
            lock(&parent.log).child(log);
        }
        parent.tally.child(node.counts());
        parent.gate.leave()
    });
    #[cfg(feature = "testing")]
    if !report.is_clean() {
        core.registry.unclean.add(&report);
    }
    let _ = node.report.set(report);
    notify_all(&node.changed);
    node.table.tracking.closed();
    left
}

/// Does what the last one to leave a gate has to do.
#[inline]
pub(crate) fn on_leave(node: &Node, left: OnLeave) {
    match left {
        OnLeave::Nothing => {}
        OnLeave::NotifyDrained => notify_all(&node.drained),
        OnLeave::FinishClose => finish_undriven(node.arc()),
    }
}

/// Ends closes that have no driver, from a context up to the first ancestor that something is left of.
/// A loop, not a recursion: the chain may be 50,000 long (I13).
#[cold]
fn finish_undriven(node: Arc<Node>) {
    let mut closed = Vec::new();
    let mut next = Some(node);
    while let Some(node) = next.take() {
        let Some(core) = node.gate.take_undriven(&node.undriven, tend_undriven) else {
            break;
        };
        unwind_undriven(&core);
        let left = conclude(&core);
        match (&node.parent, left) {
            (Some(parent), OnLeave::FinishClose) => next = Some(Arc::clone(parent)),
            (Some(parent), left) => on_leave(parent, left),
            (None, _) => {}
        }
        closed.push(node);
    }
    for node in &closed {
        emit_closed(node);
    }
}

/// What a torn-down context keeps may be the last handles of its children, which then wait for it as it waits for them:
/// once its tasks have left, and children are left that nothing drives, it does not keep its hooks and values any longer.
fn tend_undriven(core: &Arc<Core>) {
    let needs_driver = |child: &Arc<Core>| !child.lease.is_taken();
    if !core.has_tasks() && core.children().iter().any(needs_driver) {
        unwind_undriven(core);
    }
}

/// Tries again to finish a close that nothing drives, if this is one.
pub(crate) fn tend_if_undriven(node: &Arc<Node>) {
    if lock(&node.undriven).is_some() {
        finish_undriven(Arc::clone(node));
    }
}

// 6. Report.

/// Says that a context has closed, when that is so for all that depend on it.
fn emit_closed(node: &Node) {
    if let Some(report) = node.report.get() {
        let (name, id, reason) = (&node.meta.name, node.meta.id, report.reason());
        event::emit!(DEBUG, context = %name, %id, %reason, "context closed");
    }
}

/// What can be said of a close that has begun, for code that is inside and must not wait for it (I10).
pub(crate) fn begun_inside(core: &Core) -> Option<CloseReport> {
    let node = &core.node;
    let has_begun = node.gate.state() != State::Open && node.report.get().is_none();
    (has_begun && current::is_inside(node)).then(|| report(core, CloseStatus::Begun))
}

/// What can be said of the close so far.
fn report(core: &Core, status: CloseStatus) -> CloseReport {
    let (reason, at) = core
        .begun
        .get()
        .expect("a close that is reported has begun");
    let why = (reason.clone(), clock::now().saturating_duration_since(*at));
    let (name, counts) = (&core.node.meta.name, core.node.counts());
    CloseReport::new(name, status, why, counts, &mut lock(&core.log))
}

/// A context as its registry lists it, and as its tasks see it.
impl Record for Node {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Context
    }

    fn state(&self) -> State {
        Node::state(self)
    }

    fn parent(&self) -> Option<&dyn Record> {
        match &self.parent {
            Some(parent) if !parent.is_root() => Some(&**parent),
            _ => None,
        }
    }

    fn strong_count(&self) -> Option<usize> {
        Some(self.handles.count())
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.ledger)
    }

    fn is_root(&self) -> bool {
        Node::is_root(self)
    }

    fn is_aborting(&self) -> bool {
        self.gate.is_aborting()
    }

    fn as_context(&self) -> Option<&dyn Any> {
        Some(self)
    }

    #[inline]
    fn task_left(&self, outcome: Outcome) {
        let left = if outcome == Outcome::Finished {
            self.gate.leave_finished()
        } else {
            self.tally.task(outcome);
            self.gate.leave()
        };
        on_leave(self, left);
    }
}
