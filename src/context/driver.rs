//! Who climbs the ladder: a background task on whichever runtime is there (I8, I11).
//!
//! A close is driven by one spawned future, the holder of the [`Claim`]. Runtimes end, and with them
//! their futures; a claim that is dropped before the close has ended gives it up for the next driver.
//! Where no runtime is at hand for that, and handles are left, the close is *stranded*: whoever awaits
//! it or an ancestor, or drives an ancestor, [`adopt`]s it and brings a runtime. Where no handle is
//! left either, the context is torn down without one.

use crate::{
    context::{
        close,
        core::Core,
        current::{self, Scope},
        gate::Left,
        ladder,
        reason::CloseReason,
        stragglers,
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
struct Claim {
    core: Arc<Core>,
    done: bool,
}

impl Claim {
    fn take(core: &Arc<Core>) -> Option<Self> {
        core.drive.take().then(|| Self {
            core: Arc::clone(core),
            done: false,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let core = &self.core;
        let is_ours_to_notice = core.drive.lose();
        close::ring(&core.node.changed);
        if is_ours_to_notice {
            ensure(core);
        }
    }
}

/// Sees to it that somebody drives the close, which has begun; with no runtime to do so and no handle
/// left, ends it here and now. False if it is stranded.
pub(crate) fn ensure(core: &Arc<Core>) -> bool {
    let is_cared_for = find_driver(core) || give_up(core);
    if !is_cared_for {
        strand(core);
    }
    is_cared_for
}

/// Tells those who await or drive closes in this registry that some of them may have to bring a
/// runtime. It is for ancestors only, but telling all is cheaper than finding those.
fn strand(core: &Arc<Core>) {
    let root = core.root();
    root.drive.strand();
    close::ring(&root.node.changed);
    if let Some(parent) = &core.node.parent {
        close::look_after(parent);
    }
}

/// Sees to stranded closes in the subtree, if there are any in the registry.
pub(crate) fn adopt(core: &Arc<Core>) {
    if !core.root().drive.has_stranded() {
        return;
    }
    let mut stack = core.children();
    while let Some(core) = stack.pop() {
        // Whoever drops the last handle meanwhile may see our attempt and rely on it: if it fails, the rest is ours.
        if core.node.gate.state() == State::Closing && !find_driver(&core) {
            give_up(&core);
        }
        stack.extend(core.children());
    }
}

/// Adopts whenever something was stranded; never ends.
async fn keep_adopting(core: &Arc<Core>) {
    loop {
        let mut stranded = pin!(core.root().node.changed.notified());
        stranded.as_mut().enable();
        adopt(core);
        stranded.await;
    }
}

/// Drives a close, and the stranded ones below it, in the future that waits for it: no runtime takes them, because that
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
        let mut stranded = pin!(core.root().node.changed.notified());
        stranded.as_mut().enable();
        closes.extend(
            claim_stranded(core)
                .into_iter()
                .map(|claim| drive(claim).boxed()),
        );
        if closes.is_empty() {
            // Another had it, and lost it this very moment or will be done with it.
            tokio::task::yield_now().await;
            return;
        }
        select(closes.next(), stranded).await;
    }
}

/// Takes the close of a context, and those below it, that have begun and that nobody drives.
fn claim_stranded(core: &Arc<Core>) -> Vec<Claim> {
    let (mut claims, mut stack) = (Vec::new(), vec![Arc::clone(core)]);
    while let Some(core) = stack.pop() {
        if core.node.gate.state() == State::Closing {
            claims.extend(Claim::take(&core));
        }
        stack.extend(core.children());
    }
    claims
}

/// Spawns a driver unless there is one; false if no runtime takes it.
fn find_driver(core: &Arc<Core>) -> bool {
    if core.drive.is_driven() {
        return true;
    }
    let search = core.drive.search();
    for runtime in runtimes(core) {
        if let Some(claim) = Claim::take(core) {
            spawn(&runtime, claim);
        }
        // A runtime that has shut down drops what it is given to spawn, and with it the claim.
        if core.drive.is_driven() {
            break;
        }
    }
    search.found()
}

/// Gives a close to a runtime. One that has shut down drops it, and so does one that panics in a callback of its own.
fn spawn(runtime: &Handle, claim: Claim) {
    panics::contain(|| drop(runtime.spawn(drive(claim))));
}

/// The runtimes that could drive this close: this thread's, which is certainly running, then the
/// context's own.
fn runtimes(core: &Core) -> impl Iterator<Item = Handle> + use<> {
    let own = core.runtime().cloned();
    Handle::try_current().into_iter().chain(own)
}

/// The whole close of a context and its subtree.
async fn drive(mut claim: Claim) {
    let core = Arc::clone(&claim.core);
    let members = close_doors(&core).await;
    cancel(&core);
    for member in members {
        launch(member);
    }
    select(pin!(ladder::climb(&core)), pin!(keep_adopting(&core))).await;
    claim.done = true;
    let left = close::conclude(&core);
    drop(claim);
    if let Some(parent) = &core.node.parent {
        close::settle(parent, left);
    }
    close::emit_closed(&core.node);
}

/// Closes the gate of every descendant and starts the hooks that want to know, parents first, before
/// the token is cancelled. Returns the claims of the descendants, whose closes go on one by one.
async fn close_doors(core: &Arc<Core>) -> Vec<Claim> {
    ladder::start_hooks(core);
    let mut members = Vec::new();
    let mut queue = VecDeque::from(core.children());
    while let Some(child) = queue.pop_front() {
        close::begin(&child, CloseReason::Parent);
        if let Some(claim) = Claim::take(&child) {
            ladder::start_hooks(&child);
            queue.extend(child.children());
            members.push(claim);
        }
        if members.len() % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
    }
    members
}

/// Hands a claimed close over to a task of its own.
fn launch(claim: Claim) {
    let core = Arc::clone(&claim.core);
    let search = core.drive.search();
    match runtimes(&core).next() {
        Some(runtime) => spawn(&runtime, claim),
        None => drop(claim),
    }
    if !search.found() {
        ensure(&core);
    }
}

/// Nobody drives the close and no runtime is at hand. Whoever awaits it, or still holds a handle, may
/// bring one later; if nobody can, tears it down. False if somebody can.
fn give_up(core: &Arc<Core>) -> bool {
    let hopeless = is_hopeless(core);
    if hopeless {
        if let Some(claim) = Claim::take(core) {
            tear_down(claim);
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
    static TORN_DOWN: RefCell<Option<VecDeque<Claim>>> = const { RefCell::new(None) };
}

/// Ends a close without a runtime. What that drops may be the last handle of another context, and so on: those wait
/// here until it is their turn, so that a long chain of them does not overflow the stack (I13).
#[cold]
fn tear_down(claim: Claim) {
    let Some(first) = enqueue(claim) else {
        return;
    };
    let mut next = Some(first);
    while let Some(claim) = next {
        // Whatever happens, the others have their turn.
        panics::contain(|| tear_down_now(claim));
        next = dequeue();
    }
}

/// Leaves a close to whatever this thread tears down just now; hands it back if that is nothing.
fn enqueue(claim: Claim) -> Option<Claim> {
    let mut claim = Some(claim);
    // A thread that is ending has no queue any more.
    let _ = TORN_DOWN.try_with(|torn_down| match &mut *torn_down.borrow_mut() {
        Some(queue) => queue.extend(claim.take()),
        none => *none = Some(VecDeque::new()),
    });
    claim
}

/// The next close to be torn down. If there is none, whoever comes next is the outermost.
fn dequeue() -> Option<Claim> {
    let next = |torn_down: &RefCell<Option<VecDeque<Claim>>>| {
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
fn tear_down_now(claim: Claim) {
    let doomed = condemn(claim);
    if doomed.iter().any(|claim| stragglers::has_any(&claim.core)) {
        stragglers::abort(&doomed[0].core.node.table);
    }
    for claim in doomed {
        abandon(&claim.core);
    }
}

/// Cancels a context and those below it that nobody can close, and condemns their tasks; parents first.
fn condemn(claim: Claim) -> Vec<Claim> {
    let mut doomed = vec![claim];
    let mut next = 0;
    while let Some(claim) = doomed.get_mut(next) {
        claim.done = true;
        let core = Arc::clone(&claim.core);
        cancel(&core);
        for child in core.children() {
            close::begin(&child, CloseReason::Parent);
            if find_driver(&child) {
                continue;
            }
            if is_hopeless(&child) {
                doomed.extend(Claim::take(&child));
            } else {
                strand(&child);
            }
        }
        ladder::condemn(&core);
        next += 1;
    }
    doomed
}

/// Drops the hooks of a context, and leaves the end of its close to the last task that goes.
fn abandon(core: &Arc<Core>) {
    let started = std::mem::take(&mut *lock(&core.started));
    drop(started);
    let hooks = core.on_closing.seal().into_iter();
    for hook in hooks.chain(core.on_close.seal()) {
        ladder::interrupted(&core.node, hook.origin());
        let scope = Scope::Hook(Arc::clone(&core.node));
        current::enter(&scope, || panics::discard(hook));
    }
    *lock(&core.node.orphan) = Some(Arc::clone(core));
    core.node.gate.orphan();
    close::settle(&core.node, Left::Orphaned);
}
