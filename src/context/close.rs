//! The close of a context, in the order in which it runs.
//!
//! 1. [`begin`](super::begin), in the call that asks for the close: the gates refuse, that of the context and of all below it, and the tokens
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
use crate::context::{deadlocks, escalation::CHECK};
use crate::{
    clock,
    context::{
        begin, blocked,
        close_reason::CloseReason,
        current,
        escalation::{Escalation, Goal, Step},
        gate::OnLeave,
        hook_run::HookRun,
        hooks::Kept,
        look_up::{self, LookUp, LookUps},
        report::{CloseReport, CloseStatus},
        state::{Core, Node},
        stragglers::{self, LastAnswers},
        unwind::{drop_value, unwind_undriven},
    },
    event,
    events::{Told, What},
    panics::{self, notify_all},
    sync::{Ordering::SeqCst, lock},
    table::record::State,
};
#[cfg(feature = "dump")]
use futures::future::Either;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join, select},
    stream::FuturesUnordered,
};
use std::{
    future::{pending, poll_fn, ready},
    pin::pin,
    sync::Arc,
    task::Poll,
};
use tokio::{runtime::Handle, time::Instant};

/// Contexts whose hooks are started between two yields.
const STEP: usize = 64;

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
    for step in members.chunks(STEP) {
        for member in step {
            start_hooks(member.core());
        }
        if step.len() == STEP {
            tokio::task::yield_now().await;
        }
    }
    // Children first: with those that have nothing to do their parents may have nothing left.
    let mut to_come = members.len();
    for mut member in members.into_iter().rev() {
        if has_nothing_to_do(member.core()) {
            over(&mut member);
        } else {
            member.launch();
        }
        to_come -= 1;
        if to_come % STEP == 0 && to_come > 0 {
            tokio::task::yield_now().await;
        }
    }
    if !has_nothing_to_do(&core) {
        // Apart, because it is large, and many closes have no need of it.
        Box::pin(run_and_tell::<D>(&core)).await;
    }
    over(&mut driver);
}

/// Whether nothing is inside and no hook or value is left, and then none can come.
fn has_nothing_to_do(core: &Core) -> bool {
    core.node.gate.inside() == 0 && core.hooks.seal_if_empty()
}

/// Nothing is left to do in the close.
fn over<D: Driver>(driver: &mut D) {
    let core = Arc::clone(driver.core());
    core.node.table.tasks.purge();
    // Before those that wait are told that it is over: they may end the program.
    begin::telling(&core).tell(&core.node.meta, &core.registry);
    driver.finish();
    end(&core);
    emit_closed(&core.node);
}

async fn run_and_tell<D: Driver>(core: &Arc<Core>) {
    let telling = Arc::clone(begin::telling(core));
    let beside = join(
        D::keep_respawning(core),
        telling.keep_telling(&core.node.meta, &core.registry),
    );
    select(pin!(run(core)), pin!(beside)).await;
}

// 2. Start hooks.

/// Starts the hooks that run when the close begins, latest first: each gets as far as its first wait.
fn start_hooks(core: &Arc<Core>) {
    for hook in core.hooks.on_closing.seal() {
        let mut hook = HookRun::new(core, hook, "on_closing");
        let started = match (&mut hook).now_or_never() {
            None => hook.boxed(),
            Some(Some(look_up)) => ready(Some(look_up)).boxed(),
            Some(None) => continue,
        };
        core.hooks.keep_started(started);
    }
}

/// From "the token is cancelled" to "nothing is left", and all that is to be told of it is known.
/// May be dropped anywhere and begun again; a hook that was under way then is noted as interrupted.
async fn run(core: &Arc<Core>) {
    let (look_ups, begun) = look_up::queue();
    let steps = async move { run_steps(core, &look_ups).await };
    join(steps, look_up::make(begun)).await;
}

/// Everything inside leaves, hooks run, owned values are dropped.
async fn run_steps(core: &Arc<Core>, look_ups: &LookUps) {
    let mut escalation = Escalation::new(clock::now(), core.limits.grace);
    drain(core, Goal::OwnTurn, &mut escalation, look_ups).await;
    core.node.table.tasks.purge();
    while let Some(kept) = core.hooks.on_close.pop_or_seal() {
        match kept {
            Kept::Hook(hook) => {
                let hook = HookRun::new(core, hook, "on_close");
                look_ups.begin(with_checks(core, hook).await);
            }
            Kept::Value(value) => drop_value(core, value),
        }
    }
    if core.node.gate.inside() > 0 {
        release(core);
        drain(core, Goal::Empty, &mut escalation, look_ups).await;
    }
}

// 3. Drain.

/// Waits until everything inside has left and every started hook has ended: first patiently, then
/// with force.
async fn drain(core: &Arc<Core>, goal: Goal, escalation: &mut Escalation, look_ups: &LookUps) {
    let node = &core.node;
    let started = core.hooks.take_started();
    let mut hooks: FuturesUnordered<_> = started.into_iter().collect();
    let mut timer: Option<(Instant, clock::Sleep)> = None;
    let mut checking: BoxFuture<'_, ()> = pending().boxed();
    loop {
        let (mut drained, mut hurried) =
            (pin!(node.drained.notified()), pin!(node.changed.notified()));
        drained.as_mut().enable();
        hurried.as_mut().enable();
        if goal.is_reached(node) {
            break;
        }
        let (now, haste) = (clock::now(), node.haste());
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
        let is_time = beside(&mut hooks, look_ups, is_time).await;
        let Some((_, step)) = next.filter(|_| is_time) else {
            continue;
        };
        timer = None;
        match step {
            Step::CheckDeadlock => checking = check_deadlock(core).boxed(),
            Step::Abort => {
                // Cancel the running deadlock check: `use_force` starts its own, which would wait for it.
                checking = pending().boxed();
                let look_up = beside(&mut hooks, look_ups, use_force(core).boxed()).await;
                look_ups.begin(look_up);
            }
            Step::Release => break,
        }
        escalation.done(clock::now(), step);
    }
    // It is not polled any more, and other checks wait until it is over.
    drop(checking);
    let rest = async {
        while let Some(look_up) = hooks.next().await {
            look_ups.begin(look_up);
        }
    };
    with_checks(core, rest).await;
}

/// Runs something while hooks run on.
async fn beside<F: Future>(
    hooks: &mut FuturesUnordered<BoxFuture<'_, Option<LookUp>>>,
    look_ups: &LookUps,
    run: F,
) -> F::Output {
    let mut run = pin!(run);
    let both = poll_fn(|cx| {
        while let Poll::Ready(Some(look_up)) = hooks.poll_next_unpin(cx) {
            look_ups.begin(look_up);
        }
        run.as_mut().poll(cx)
    });
    both.await
}

/// Waits for hooks, and checks now and then whether they wait in vain.
#[cfg(feature = "dump")]
async fn with_checks<F: Future>(core: &Arc<Core>, hooks: F) -> F::Output {
    match select(pin!(hooks), pin!(keep_checking(core))).await {
        Either::Left((output, _)) => output,
        Either::Right((never, _)) => match never {},
    }
}

#[cfg(not(feature = "dump"))]
fn with_checks<F: Future>(_: &Arc<Core>, hooks: F) -> F {
    hooks
}

/// Never ends.
#[cfg(feature = "dump")]
async fn keep_checking(core: &Arc<Core>) -> std::convert::Infallible {
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

/// Ends what can be ended of those that are still there. Which they were is told after what is returned.
async fn use_force(core: &Arc<Core>) -> Option<LookUp> {
    let coming = begin::telling(core).expect();
    let answers = last_answers(core).await;
    if core.node.gate.inside() == 0 {
        return None;
    }
    let aborted = stragglers::abort(core).await?;
    Some(aborted.tell(answers, coming).boxed())
}

/// Asks those that are still there where they are before they are aborted: afterwards they are nowhere. They may end meanwhile.
#[cfg(feature = "dump")]
async fn last_answers(core: &Arc<Core>) -> Option<LastAnswers> {
    let node = &core.node;
    let mut drained = pin!(node.drained.notified());
    drained.as_mut().enable();
    if node.gate.inside() == 0 {
        return None;
    }
    let limit = node.haste().time_to_answer(clock::now());
    let ask = stragglers::ask(core, limit);
    match select(pin!(ask), drained).await {
        Either::Left((answers, _)) => answers,
        Either::Right(_) => None,
    }
}

#[cfg(not(feature = "dump"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
async fn last_answers(_: &Arc<Core>) -> Option<LastAnswers> {
    None
}

// 5. Release, or conclude.

/// Nothing is left of the context but work that cannot be ended, and children that are released themselves: the parent and
/// what this one needed do not wait for that. The close itself does.
pub(crate) fn release(core: &Core) {
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
    let needs = lock(&core.give_back).take();
    for give_back in needs {
        panics::contain(give_back);
    }
}

/// Ends the close of a context of which nothing is left: it leaves its parent, and what it needed.
pub(crate) fn end(core: &Arc<Core>) {
    let (left, wakes) = conclude(core);
    if let Some(parent) = &core.node.parent {
        on_leave(parent, left);
    }
    give_back(core);
    drop(wakes);
}

/// Ends the close: nothing of the context is left but handles. Returns what the parent's gate said
/// when this context went out of it, which is to be [handled](on_leave) before the event, and the subscribers to be woken.
fn conclude(core: &Arc<Core>) -> (OnLeave, Told) {
    let node = &core.node;
    let report = report(core, CloseStatus::Closed);
    if !node.gate.end() {
        return (OnLeave::Nothing, Told::default());
    }
    // Before those that wait for the close know, and before the parent can close.
    let mut wakes = tell_closed(node, &report);
    blocked::end(core);
    // Before the parent can know: what was kept beside the context is gone by the time that a close further up ends.
    core.tell_closed();
    drop(lock(&core.quota_permit).take());
    // Either we see that the last handle is gone, or its drop sees that the close has ended.
    if node.handles.count() == 0 {
        wakes = wakes.and(node.unlist());
    }
    let mut has_more = true;
    let left = node.parent.as_ref().map_or(OnLeave::Nothing, |parent| {
        let above = parent.core.upgrade();
        if let Some(above) = &above {
            // One step for those who add up what is known of a context and of its children: neither twice, nor not at all.
            let mut children = lock(&above.children);
            children.remove(node.meta.id);
            has_more = !children.is_empty();
            let log = lock(&core.log).close();
            lock(&above.log).child(log);
            parent.tally.child(node.counts());
        } else {
            parent.tally.child(node.counts());
        }
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
    #[cfg(feature = "metrics")]
    core.registry.figures.note_closed(&report);
    #[cfg(feature = "testing")]
    if !report.is_clean() {
        core.registry.unclean.add(&report);
    }
    let _ = node.report.set(report);
    notify_all(&node.changed);
    node.table.tracking.closed();
    (left, wakes)
}

/// Tells subscribers that a context has closed. After the registry itself nothing more is told.
fn tell_closed(node: &Node, report: &CloseReport) -> Told {
    let wakes = node.tell(|| What::Closed(report.clone()));
    if node.is_root() {
        return wakes.and(node.table.events.end());
    }
    wakes
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
    let (mut closed, mut wakes) = (Vec::new(), Told::default());
    let mut next = Some(node);
    while let Some(node) = next.take() {
        let Some(core) = node.gate.take_undriven(&node.undriven, tend_undriven) else {
            break;
        };
        unwind_undriven(&core);
        let (left, more) = conclude(&core);
        wakes = wakes.and(more);
        give_back(&core);
        let (telling, registry) = (
            Arc::clone(begin::telling(&core)),
            Arc::clone(&core.registry),
        );
        match (&node.parent, left) {
            (Some(parent), OnLeave::FinishClose) => next = Some(Arc::clone(parent)),
            (Some(parent), left) => on_leave(parent, left),
            (None, _) => {}
        }
        closed.push((node, telling, registry));
    }
    drop(wakes);
    for (node, telling, registry) in &closed {
        telling.tell(&node.meta, registry);
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
        event::emit!(target: "headcount::context", DEBUG, context = %name, %id, %reason, "context closed");
    }
    if node.is_root() {
        emit_others();
    }
}

/// Says what runs on where a registry has closed. The task that drives the close is one of those that the runtime counts.
fn emit_others() {
    let runtime = Handle::try_current();
    let alive = runtime.map_or(0, |runtime| runtime.metrics().num_alive_tasks());
    let tasks = alive.saturating_sub(1);
    if tasks > 0 {
        event::emit!(target: "headcount::registry", INFO,
            tasks,
            "the registry is closed; {} on this runtime not part of it and still running",
            if tasks == 1 {
                "1 other task is".to_owned()
            } else {
                format!("{tasks} other tasks are")
            }
        );
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
    let begun = core.node.begun.get().map(|begun| (**begun).clone());
    let (reason, at) = begun.unwrap_or((CloseReason::Finished, now));
    let why = (reason, now.saturating_duration_since(at));
    let (name, counts) = (&core.node.meta.name, core.node.counts());
    let mut log = lock(&core.log);
    let counts = log.counts(counts);
    log.look(|notes| CloseReport::new(name, status, why, counts, notes))
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
