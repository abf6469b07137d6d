//! The driver of a close: a background task on whichever runtime is there (I8, I11).
//!
//! A close is driven by one spawned future, which has the [`DriverLease`]. Runtimes end, and with them their futures; a lease
//! that is dropped before the close has ended gives it up for the next driver. Where no runtime is at hand for that, and
//! handles are left, the close *needs a runtime*: those that await it or an ancestor, or drive an ancestor, bring one
//! ([`respawn_drivers`]). Where no handle is left either, the context is torn down without one.

use crate::{
    context::{
        close,
        core::Core,
        current::{self, Scope},
        gate::OnLeave,
        reason::CloseReason,
        steps, stragglers,
    },
    panics,
    sync::lock,
    table::record::State,
};
use futures::{FutureExt, StreamExt, future::select, stream::FuturesUnordered};
use std::{cell::RefCell, collections::VecDeque, future::poll_fn, pin::pin, sync::Arc};
use tokio::runtime::Handle;

/// Contexts looked at between two yields when a close walks its subtree.
const STEP: usize = 64;

/// The right to drive one close.
struct DriverLease {
    core: Arc<Core>,
    done: bool,
}

impl DriverLease {
    fn take(core: &Arc<Core>) -> Option<Self> {
        core.drive.take().then(|| Self {
            core: Arc::clone(core),
            done: false,
        })
    }
}

impl Drop for DriverLease {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let core = &self.core;
        let is_ours_to_notice = core.drive.lose();
        close::notify_all(&core.node.changed);
        if is_ours_to_notice {
            ensure_driver(core);
        }
    }
}

/// Sees to it that somebody drives the close, which has begun; with no runtime to do so and no handle
/// left, ends it here and now. False if it needs a runtime.
pub(crate) fn ensure_driver(core: &Arc<Core>) -> bool {
    let is_cared_for = find_driver(core) || give_up(core);
    if !is_cared_for {
        note_needs_runtime(core);
    }
    is_cared_for
}

/// Tells those who await or drive closes in this registry that some of them may have to bring a
/// runtime. It is for ancestors only, but telling all is cheaper than finding those.
fn note_needs_runtime(core: &Arc<Core>) {
    let root = core.root();
    root.drive.note_needs_runtime();
    close::notify_all(&root.node.changed);
    if let Some(parent) = &core.node.parent {
        close::look_after(parent);
    }
}

/// Spawns drivers for the closes below that need a runtime, if there are any in the registry.
pub(crate) fn respawn_drivers(core: &Arc<Core>) {
    if !core.root().drive.needs_runtime() {
        return;
    }
    let mut stack = core.children();
    while let Some(core) = stack.pop() {
        // The drop of the last handle may meanwhile see our attempt and rely on it: if it fails, the rest is ours.
        if core.node.gate.state() == State::Closing && !find_driver(&core) {
            give_up(&core);
        }
        stack.extend(core.children());
    }
}

/// Respawns drivers whenever a close in the registry needs a runtime; never ends.
async fn keep_respawning(core: &Arc<Core>) {
    loop {
        let mut needs_runtime = pin!(core.root().node.changed.notified());
        needs_runtime.as_mut().enable();
        respawn_drivers(core);
        needs_runtime.await;
    }
}

/// Drives a close, and those below it that need a runtime, in the future that waits for it: no runtime takes them, because that
/// of this thread is ending. Returns when it is over, or when another drives it.
///
/// Hooks find that runtime wherever the future is polled later.
pub(crate) async fn drive_here(core: &Arc<Core>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let mut driven = pin!(drive_in_turns(core));
    let here = poll_fn(|cx| {
        let _entered = Handle::try_current().is_err().then(|| runtime.enter());
        driven.as_mut().poll(cx)
    });
    here.await;
}

async fn drive_in_turns(core: &Arc<Core>) {
    let mut closes = FuturesUnordered::new();
    while core.node.report.get().is_none() {
        let mut needs_runtime = pin!(core.root().node.changed.notified());
        needs_runtime.as_mut().enable();
        closes.extend(
            lease_undriven(core)
                .into_iter()
                .map(|lease| drive(lease).boxed()),
        );
        if closes.is_empty() {
            // Another had it, and lost it this very moment or will be done with it.
            tokio::task::yield_now().await;
            return;
        }
        select(closes.next(), needs_runtime).await;
    }
}

/// Takes the close of a context, and those below it, that have begun and that nobody drives.
fn lease_undriven(core: &Arc<Core>) -> Vec<DriverLease> {
    let (mut leases, mut stack) = (Vec::new(), vec![Arc::clone(core)]);
    while let Some(core) = stack.pop() {
        if core.node.gate.state() == State::Closing {
            leases.extend(DriverLease::take(&core));
        }
        stack.extend(core.children());
    }
    leases
}

/// Spawns a driver unless there is one; false if no runtime takes it.
fn find_driver(core: &Arc<Core>) -> bool {
    if core.drive.is_driven() {
        return true;
    }
    let search = core.drive.search();
    for runtime in runtimes(core) {
        if let Some(lease) = DriverLease::take(core) {
            spawn(&runtime, lease);
        }
        // A runtime that has shut down drops what it is given to spawn, and with it the lease.
        if core.drive.is_driven() {
            break;
        }
    }
    search.found()
}

/// Gives a close to a runtime. One that has shut down drops it, and so does one that panics in a callback of its own.
fn spawn(runtime: &Handle, lease: DriverLease) {
    panics::contain(|| drop(runtime.spawn(drive(lease))));
}

/// The runtimes that could drive this close: this thread's, which is certainly running, then the
/// context's own.
fn runtimes(core: &Core) -> impl Iterator<Item = Handle> + use<> {
    let own = core.runtime().cloned();
    Handle::try_current().into_iter().chain(own)
}

/// The whole close of a context and its subtree.
async fn drive(mut lease: DriverLease) {
    let core = Arc::clone(&lease.core);
    let members = close_gates(&core).await;
    cancel(&core);
    for member in members {
        launch(member);
    }
    select(pin!(steps::run(&core)), pin!(keep_respawning(&core))).await;
    lease.done = true;
    let left = close::conclude(&core);
    drop(lease);
    if let Some(parent) = &core.node.parent {
        close::on_leave(parent, left);
    }
    close::emit_closed(&core.node);
}

/// Closes the gate of every descendant and starts the hooks that want to know, parents first, before
/// the token is cancelled. Returns the leases of the descendants, whose closes go on one by one.
async fn close_gates(core: &Arc<Core>) -> Vec<DriverLease> {
    steps::start_hooks(core);
    let mut members = Vec::new();
    let mut queue = VecDeque::from(core.children());
    while let Some(child) = queue.pop_front() {
        close::begin(&child, CloseReason::Parent);
        if let Some(lease) = DriverLease::take(&child) {
            steps::start_hooks(&child);
            queue.extend(child.children());
            members.push(lease);
        }
        if members.len() % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
    }
    members
}

/// Hands a claimed close over to a task of its own.
fn launch(lease: DriverLease) {
    let core = Arc::clone(&lease.core);
    let search = core.drive.search();
    match runtimes(&core).next() {
        Some(runtime) => spawn(&runtime, lease),
        None => drop(lease),
    }
    if !search.found() {
        ensure_driver(&core);
    }
}

/// Nobody drives the close and no runtime is at hand. Whoever awaits it, or still holds a handle, may
/// bring one later; if nobody can, tears it down. False if somebody can.
fn give_up(core: &Arc<Core>) -> bool {
    let hopeless = is_hopeless(core);
    if hopeless {
        if let Some(lease) = DriverLease::take(core) {
            tear_down(lease);
        }
    }
    hopeless
}

/// Nobody can bring a runtime any more. A registry has no counted handles, and no end but its drop.
fn is_hopeless(core: &Core) -> bool {
    let node = &core.node;
    !node.is_root() && node.handles.count() == 0 && node.gate.state() == State::Closing
}

/// Cancels the token. Whoever waits for it may have a waker that panics.
fn cancel(core: &Core) {
    panics::contain(|| core.node.token.cancel());
}

thread_local! {
    /// Closes that are to be torn down by this thread, while it tears one down.
    static TORN_DOWN: RefCell<Option<VecDeque<DriverLease>>> = const { RefCell::new(None) };
}

/// Ends a close without a runtime. What that drops may be the last handle of another context, and so on: those wait
/// here until it is their turn, so that a long chain of them does not overflow the stack (I13).
#[cold]
fn tear_down(lease: DriverLease) {
    let Some(first) = enqueue(lease) else {
        return;
    };
    let mut next = Some(first);
    while let Some(lease) = next {
        // Whatever happens, the others have their turn.
        panics::contain(|| tear_down_now(lease));
        next = dequeue();
    }
}

/// Leaves a close to whatever this thread tears down just now; hands it back if that is nothing.
fn enqueue(lease: DriverLease) -> Option<DriverLease> {
    let mut lease = Some(lease);
    // A thread that is ending has no queue any more.
    let _ = TORN_DOWN.try_with(|torn_down| match &mut *torn_down.borrow_mut() {
        Some(queue) => queue.extend(lease.take()),
        none => *none = Some(VecDeque::new()),
    });
    lease
}

/// The next close to be torn down. If there is none, whoever comes next is the outermost.
fn dequeue() -> Option<DriverLease> {
    let next = |torn_down: &RefCell<Option<VecDeque<DriverLease>>>| {
        let mut queue = torn_down.borrow_mut();
        let next = queue.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *queue = None;
        }
        next
    };
    TORN_DOWN.try_with(next).ok().flatten()
}

/// Aborts tasks, names the hooks that cannot run, and leaves the rest of the close to the last task that goes.
/// Descendants that nobody can close any more go the same way.
fn tear_down_now(lease: DriverLease) {
    let undrivable = cancel_subtree(lease);
    if undrivable
        .iter()
        .any(|lease| stragglers::has_any(&lease.core))
    {
        stragglers::abort(&undrivable[0].core.node.table);
    }
    for lease in undrivable {
        abandon(&lease.core);
    }
}

/// Cancels a context and those below it that no handle can close, and aborts their tasks; parents first.
fn cancel_subtree(lease: DriverLease) -> Vec<DriverLease> {
    let mut undrivable = vec![lease];
    let mut next = 0;
    while let Some(lease) = undrivable.get_mut(next) {
        lease.done = true;
        let core = Arc::clone(&lease.core);
        cancel(&core);
        for child in core.children() {
            close::begin(&child, CloseReason::Parent);
            if find_driver(&child) {
                continue;
            }
            if is_hopeless(&child) {
                undrivable.extend(DriverLease::take(&child));
            } else {
                note_needs_runtime(&child);
            }
        }
        steps::abort_tasks(&core);
        next += 1;
    }
    undrivable
}

/// Drops the hooks of a context, and leaves the end of its close to the last task that goes.
fn abandon(core: &Arc<Core>) {
    let started = std::mem::take(&mut *lock(&core.started));
    drop(started);
    let hooks = core.on_closing.seal().into_iter();
    for hook in hooks.chain(core.on_close.seal()) {
        steps::interrupted(&core.node, hook.origin());
        let scope = Scope::Hook(Arc::clone(&core.node));
        current::enter(&scope, || panics::discard(hook));
    }
    *lock(&core.node.undriven) = Some(Arc::clone(core));
    core.node.gate.leave_undriven();
    close::on_leave(&core.node, OnLeave::FinishClose);
}
