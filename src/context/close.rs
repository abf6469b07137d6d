//! The close of a context, in the order in which it runs.
//!
//! 1. [`begin`], in the call that asks for the close: the gates refuse, that of the context and of all below it, and the tokens
//!    are cancelled, parents first. A context that others need stays open: they are closed first, and then it begins. Everything
//!    else is done by the [`Driver`] of each close, in [`drive`]:
//! 2. `on_closing` hooks start, parents first;
//! 3. children close, each with a driver of its own; tasks [drain], and those that are left after the grace period are aborted;
//! 4. `on_close` hooks run and owned values are dropped, latest first: they are one stack;
//! 5. [`conclude`]: the report is made, and the context leaves its parent and wakes those that wait. Where something is left
//!    that cannot be ended, and there is a deadline, what comes after does not wait for that: the context is [released](release);
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
        haste::{Haste, Hurry, earlier},
        hooks::{Callback, HookEnd, HookGuard, Kept, Origin},
        report::{CloseReason, CloseReport, CloseStatus},
        state::{Core, Node},
        stragglers,
        unwind::{drop_value, note_interrupted, unwind_undriven},
    },
    event,
    id::ResourceId,
    ledger::handle_log::Ledger,
    panics::{self, notify_all},
    sync::{Ordering::SeqCst, lock},
    table::record::{Class, Meta, Outcome, Record, State},
};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};
use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    future::{pending, poll_fn},
    iter,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// Contexts whose hooks are started between two yields.
const STEP: usize = 64;
/// Of so many hooks and values the hooks are counted that a deadline leaves time for. With more than that, the last ones have a
/// part of a part.
const COUNTED: usize = 256;
/// The shortest time between two warnings about the same stragglers.
const REMIND: Duration = Duration::from_secs(1);
/// The time that tasks have after the last child is closed, to tidy up after it; less if the grace period is shorter.
const TIDY: Duration = Duration::from_secs(1);
/// How long a close waits before it checks for a deadlock for the first time; then twice as long, and so on.
const CHECK: Duration = Duration::from_secs(1);

// 1. Refuse and cancel.

/// Begins the close of a context, of those below it, and of those that need one of them. Returns those whose close begins
/// here, parents first: they are to be [driven](drive).
///
/// The first reason wins (I8), and is there before the gate closes. A context that others need stays open; what needs it
/// is closed first. Wakers come after all gates: they may do anything (I9).
pub(crate) fn begin(core: &Arc<Core>, reason: CloseReason) -> Vec<Arc<Core>> {
    let mut begun = Vec::new();
    let mut queue = VecDeque::from([(Arc::clone(core), reason)]);
    let mut needed = VecDeque::new();
    loop {
        while let Some((core, reason)) = queue.pop_front() {
            match close_gate(&core, reason) {
                Gated::Begun => {
                    let below = core.node.close_reason().map(CloseReason::of_parent);
                    for (child, reason) in core.children().into_iter().zip(iter::repeat(below)) {
                        hand_down_haste(&core, &child);
                        queue.push_back((child, reason.expect("a close that begins has a reason")));
                    }
                    begun.push(core);
                }
                Gated::Needed => needed.push_back(core),
                Gated::Before => {}
            }
        }
        let Some(core) = needed.pop_front() else {
            break;
        };
        let dependents = core.dependents().into_iter();
        queue.extend(dependents.map(|dependent| (dependent, CloseReason::Needed)));
    }
    for core in &begun {
        cancel(core);
    }
    begun
}

/// What became of the gate of a context that is to close.
enum Gated {
    /// It is closed from here on.
    Begun,
    /// It closes when what needs the context is closed.
    Needed,
    /// The close has begun, or was asked for, before.
    Before,
}

fn close_gate(core: &Core, reason: CloseReason) -> Gated {
    let now = clock::now();
    let _ = core.node.begun.set((reason, now));
    // Held until the gate is closed: nothing can come to need the context in between.
    let mut dependents = lock(&core.dependents);
    if !dependents.open.is_empty() {
        let is_first = !std::mem::replace(&mut dependents.is_awaited, true);
        return if is_first {
            Gated::Needed
        } else {
            Gated::Before
        };
    }
    if core.node.gate.begin() != State::Open {
        return Gated::Before;
    }
    if std::mem::take(&mut dependents.is_awaited) {
        lock(&core.node.haste).begin(now);
    }
    // The caller has it as well.
    lock(&core.node.kept).take();
    Gated::Begun
}

/// A child closes with the haste of its parent.
fn hand_down_haste(parent: &Core, child: &Core) {
    let haste = *lock(&parent.node.haste);
    lock(&child.node.haste).inherit(&haste, clock::now());
}

/// Cancels the token, and wakes those that wait for the close to begin. Their wakers may panic.
pub(crate) fn cancel(core: &Core) {
    panics::contain(|| core.node.token.cancel());
    core.node.table.tracking.closing();
    notify_all(&core.node.changed);
}

/// Nothing needs `dependent` any more, which needs `core`. True if the close of that was waiting for this.
pub(crate) fn stop_needing(core: &Core, dependent: ResourceId) -> bool {
    let mut dependents = lock(&core.dependents);
    dependents.open.remove(&dependent);
    dependents.open.is_empty() && dependents.is_awaited
}

/// Hurries a close that has begun, and everything that comes before it. Each gets its part of the time, by how many come after
/// it on the longest way.
pub(crate) fn hurry(core: &Arc<Core>, hurry: Hurry) {
    let mut all = core.closing_set();
    // Parents, and what is needed, were there before.
    all.sort_by_key(|core| core.node.meta.order());
    let mut after: HashMap<ResourceId, u32> = HashMap::with_capacity(all.len());
    let now = clock::now();
    for core in &all {
        let node = &core.node;
        let next = node.parent.iter().chain(&*node.needs);
        let longest = next.filter_map(|next| after.get(&next.meta.id)).max();
        let after_this = longest.map_or(0, |longest| longest.saturating_add(1));
        after.insert(node.meta.id, after_this);
        lock(&node.haste).hurry(hurry, after_this, now);
    }
    for core in &all {
        notify_all(&core.node.hurried);
    }
}

/// The one that drives a close. Dropped before the end, as runtimes do with their futures, it leaves the close to the next
/// one.
pub(crate) trait Driver: Sized + Send + 'static {
    /// The close that it drives.
    fn core(&self) -> &Arc<Core>;
    /// Goes on with it in a task of its own.
    fn launch(self);
    /// Sees to the closes below that lose their drivers; never ends.
    fn keep_respawning(core: &Arc<Core>) -> impl Future<Output = ()> + Send;
    /// The close ends here: there is no next one.
    fn finish(&mut self);
}

/// The whole close of a context, whose gate is closed. Those that began with it start from here: their hooks after its own.
pub(crate) async fn drive<D: Driver>(mut driver: D, members: Vec<D>) {
    let core = Arc::clone(driver.core());
    start_hooks(&core);
    for (n, member) in members.into_iter().enumerate() {
        start_hooks(member.core());
        member.launch();
        if n % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
    }
    select(pin!(run(&core)), pin!(D::keep_respawning(&core))).await;
    driver.finish();
    let left = conclude(&core);
    drop(driver);
    if let Some(parent) = &core.node.parent {
        on_leave(parent, left);
    }
    give_back(&core);
    emit_closed(&core.node);
}

// 2. Start hooks.

/// Starts the hooks that run when the close begins, latest first: each gets as far as its first wait.
fn start_hooks(core: &Arc<Core>) {
    for hook in core.hooks.on_closing.seal() {
        let mut hook = HookRun::new(core, hook, "on_closing");
        if (&mut hook).now_or_never().is_none() {
            lock(&core.hooks.started).push(hook.boxed());
        }
    }
}

/// From "the token is cancelled" to "nothing is left": everything inside has left, hooks have run, owned values are dropped.
/// May be dropped anywhere and begun again; a hook that was under way then is noted as interrupted.
async fn run(core: &Arc<Core>) {
    drain(core, Goal::OwnTurn).await;
    core.node.table.tasks.purge();
    while let Some(kept) = core.hooks.on_close.pop_or_seal() {
        match kept {
            Kept::Hook(hook) => with_checks(core, HookRun::new(core, hook, "on_close")).await,
            Kept::Value(value) => drop_value(core, value),
        }
    }
    if core.node.gate.inside() > 0 {
        release(core);
        drain(core, Goal::Empty).await;
    }
}

// 3. Drain.

/// What a drain waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// That it is the turn of the hooks: own tasks have left, or cannot be ended and the time is up; children are closed, or
    /// released.
    OwnTurn,
    /// That nothing is inside.
    Empty,
}

impl Goal {
    fn is_reached(self, node: &Node) -> bool {
        let inside = node.gate.inside();
        match self {
            Self::OwnTurn => inside <= node.released.load(SeqCst) as u64,
            Self::Empty => inside == 0,
        }
    }
}

/// Waits until everything inside has left and every started hook has ended: first patiently, then
/// with force.
async fn drain(core: &Arc<Core>, goal: Goal) {
    let node = &core.node;
    let started = std::mem::take(&mut *lock(&core.hooks.started));
    let mut hooks: FuturesUnordered<_> = started.into_iter().collect();
    let mut escalation = Escalation::new(clock::now(), core.limits.grace);
    let mut timer: Option<(Instant, clock::Sleep)> = None;
    let mut checking: BoxFuture<'_, ()> = pending().boxed();
    loop {
        let (mut drained, mut hurried) =
            (pin!(node.drained.notified()), pin!(node.hurried.notified()));
        drained.as_mut().enable();
        hurried.as_mut().enable();
        if goal.is_reached(node) {
            break;
        }
        let (now, haste) = (clock::now(), *lock(&node.haste));
        escalation.look(now, core.has_open_children());
        let next = escalation.next(now, &haste, goal);
        if timer.as_ref().map(|(at, _)| *at) != next.map(|(at, _)| at) {
            timer = next.map(|(at, _)| (at, clock::sleep(at.saturating_duration_since(now))));
        }
        let is_time = poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() || hurried.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if checking.poll_unpin(cx).is_ready() {
                checking = pending().boxed();
            }
            match &mut timer {
                Some((_, timer)) => timer.poll_unpin(cx).map(|()| true),
                None => Poll::Pending,
            }
        });
        let is_time = beside(&mut hooks, is_time).await;
        let Some((_, step)) = next.filter(|_| is_time) else {
            continue;
        };
        timer = None;
        match step {
            Step::CheckDeadlock => checking = check_deadlock(core).boxed(),
            Step::Abort => {
                // Cancel the running deadlock check: `use_force` starts its own, which would wait for it.
                checking = pending().boxed();
                beside(&mut hooks, use_force(core)).await;
            }
            Step::Release => break,
        }
        escalation.done(clock::now(), step);
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
    /// To go on without what could not be ended.
    Release,
}

/// How long a close still waits for what is inside, and what it does then.
struct Escalation {
    /// When it began to wait.
    began: Instant,
    grace: Duration,
    /// When it was seen first that no child is open.
    children_gone: Option<Instant>,
    /// The next check, before it has used force, and the time until the one after that.
    check: Option<(Instant, Duration)>,
    /// Once it has used force: the next time, and the time until the one after that.
    again: Option<(Instant, Duration)>,
}

impl Escalation {
    fn new(began: Instant, grace: Duration) -> Self {
        Self {
            began,
            grace,
            children_gone: None,
            check: cfg!(feature = "dump").then_some((began + CHECK, CHECK)),
            again: None,
        }
    }

    /// Notes whether children are open.
    fn look(&mut self, now: Instant, has_open_children: bool) {
        if has_open_children {
            self.children_gone = None;
        } else {
            self.children_gone.get_or_insert(now);
        }
    }

    /// When own tasks are aborted: after the grace period. A task that waits for the task of a child must have time to tidy up
    /// after it, so they have some time after the last child; but no longer than twice the grace period.
    fn abort_at(&self, haste: &Haste) -> Option<Instant> {
        let after_grace = self.began.checked_add(self.grace);
        let latest = self.began.checked_add(self.grace.saturating_mul(2));
        let by_grace = match self.children_gone {
            Some(at) => {
                let tidied = at.checked_add(self.grace.min(TIDY));
                after_grace.and_then(|grace| tidied.map(|tidied| grace.max(tidied)))
            }
            None => latest,
        };
        earlier(earlier(by_grace, latest), haste.abort_at())
    }

    /// What is next, and when; `None` if nothing is before something changes.
    fn next(&self, now: Instant, haste: &Haste, goal: Goal) -> Option<(Instant, Step)> {
        let force = match self.again {
            Some((at, _)) => Some(at),
            None => self.abort_at(haste),
        };
        let check = self.check.filter(|_| self.again.is_none());
        let release = haste
            .release_at()
            .filter(|_| goal == Goal::OwnTurn && self.again.is_some());
        let steps = [
            (force, Step::Abort),
            (check.map(|(at, _)| at), Step::CheckDeadlock),
            (release, Step::Release),
        ];
        let steps = steps
            .into_iter()
            .filter_map(|(at, step)| Some((at?.max(now), step)));
        steps.min_by_key(|(at, _)| *at)
    }

    fn done(&mut self, now: Instant, step: Step) {
        match step {
            Step::CheckDeadlock => {
                self.check = self.check.map(|(_, between)| {
                    let between = between.saturating_mul(2);
                    (now + between, between)
                });
            }
            Step::Abort => {
                let waited = now.saturating_duration_since(self.began);
                let between = self.again.map_or(waited, |(_, between)| between);
                let between = between.max(REMIND).saturating_mul(2);
                self.again = now.checked_add(between).map(|at| (at, between));
            }
            Step::Release => {}
        }
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
    let mut between = CHECK;
    loop {
        clock::sleep(between).await;
        between = between.saturating_mul(2);
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
        let is_hook = |kept: &Kept| matches!(kept, Kept::Hook(_));
        let more = (kind == "on_close").then(|| core.hooks.on_close.count_latest(COUNTED, is_hook));
        let limit = hook_limit(Arc::clone(node), core.limits.hook, more);
        let run = Scoped::new(scope, hook.run(limit, guard)).boxed();
        core.hooks.has_started(origin);
        Self {
            node: Arc::clone(node),
            origin,
            run: Some(run),
        }
    }
}

/// Ends when a hook that starts now has had its time: its limit, or less where there is haste. `more` is how many are still to
/// run after it; `None` if it runs beside the drain.
async fn hook_limit(node: Arc<Node>, limit: Duration, more: Option<usize>) {
    let started = clock::now();
    loop {
        let mut hurried = pin!(node.hurried.notified());
        hurried.as_mut().enable();
        let haste = *lock(&node.haste);
        let hasty = match more {
            Some(more) => haste.hook_until(started, more),
            None => haste.closing_hook_until(),
        };
        let Some(until) = earlier(started.checked_add(limit), hasty) else {
            hurried.await;
            continue;
        };
        let timer = pin!(clock::sleep(until.saturating_duration_since(clock::now())));
        if let Either::Left(_) = select(timer, hurried).await {
            return;
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

// 5. Release, or conclude.

/// Nothing is left of the context but work that cannot be ended, and children that are released themselves: the parent and
/// what this one needed do not wait for that. The close itself does.
fn release(core: &Core) {
    let node = &core.node;
    if node.is_released.swap(1, SeqCst) == 1 {
        return;
    }
    if let Some(parent) = &node.parent {
        parent.released.fetch_add(1, SeqCst);
        // Its own tasks may leave before the children that are released do: each that leaves may be the last it waits for.
        parent.gate.tell_each();
        notify_all(&parent.drained);
    }
    give_back(core);
}

/// Gives back the handles to what the context needed, whose closes may have waited for that.
pub(crate) fn give_back(core: &Core) {
    let needs = std::mem::take(&mut *lock(&core.give_back));
    for give_back in needs {
        panics::contain(give_back);
    }
}

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
    let mut has_more = true;
    let left = node.parent.as_ref().map_or(OnLeave::Nothing, |parent| {
        if let Some(parent) = parent.core.upgrade() {
            let mut children = lock(&parent.children);
            children.remove(&node.meta.id);
            has_more = !children.is_empty();
            drop(children);
            let log = lock(&core.log).close();
            lock(&parent.log).child(log);
        }
        parent.tally.child(node.counts());
        // Before it leaves: what the parent waits for is those inside but for the released ones, and must not be too few.
        if node.is_released.load(SeqCst) == 1 {
            parent.released.fetch_sub(1, SeqCst);
        }
        match parent.gate.leave() {
            // The grace period of the parent's own tasks depends on the last child.
            OnLeave::Nothing if !has_more && parent.gate.state() == State::Closing => {
                OnLeave::NotifyDrained
            }
            left => left,
        }
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
        give_back(&core);
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
    let has_begun = node.begun.get().is_some() && node.report.get().is_none();
    (has_begun && current::is_inside(node)).then(|| report(core, CloseStatus::Begun))
}

/// What can be said of a close that has begun, or that is to begin when the context has run dry.
pub(crate) fn begun_report(core: &Core) -> CloseReport {
    report(core, CloseStatus::Begun)
}

/// What can be said of the close so far.
fn report(core: &Core, status: CloseStatus) -> CloseReport {
    let now = clock::now();
    let begun = core.node.begun.get().cloned();
    let (reason, at) = begun.unwrap_or((CloseReason::Finished, now));
    let why = (reason, now.saturating_duration_since(at));
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
