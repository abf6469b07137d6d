//! Who polls a close: a background task on whichever runtime is there (I8, I11).
//!
//! A close is driven by one spawned future, which has the [`DriverLease`]. Runtimes end, and with them their futures; a lease
//! that is dropped before the close has ended gives it up for the next driver. Where no runtime is at hand for that, and
//! handles are left, the close *needs a runtime*: those that await it or an ancestor, or drive an ancestor, bring one
//! ([`respawn_drivers`]). Where no handle is left either, the context is torn down without one.

use crate::{
    context::{
        begin, blocked,
        close::{self, Driver},
        close_reason::CloseReason,
        gate::OnLeave,
        haste::Hurry,
        line_counts::Event,
        runtimes::note_ended,
        state::{Core, GiveBack, Node},
        unwind,
    },
    event,
    ledger::handle_log::HandleId,
    name::Printed,
    panics::{self, notify_all},
    registry::state::DroppedWhileOpen,
    sync::{Ordering::SeqCst, lock, order},
    table::record::State,
    timer,
};
use futures::{FutureExt, StreamExt, future::select, stream::FuturesUnordered};
use std::{
    cell::RefCell, collections::VecDeque, future::poll_fn, panic::Location, pin::pin, sync::Arc,
    time::Duration,
};
use tokio::runtime::Handle;

/// A table of so many entries is looked through in the call.
const FEW: usize = 1_024;

/// Begins the close and sees to it that it is driven.
pub(crate) fn request(core: &Arc<Core>, reason: CloseReason) {
    drop(Begun::new(core, reason, None));
}

/// As [`request`], on behalf of a line of code.
pub(crate) fn request_at(
    core: &Arc<Core>,
    reason: CloseReason,
    location: &'static Location<'static>,
) {
    note_line(core, location);
    request(core, reason);
}

/// Begins the close, or hurries the one that runs, for code that is to await it.
pub(crate) fn begin_at(
    core: &Arc<Core>,
    reason: CloseReason,
    hurry: Option<Hurry>,
    location: &'static Location<'static>,
) -> Begun {
    note_line(core, location);
    let mut begun = Begun::new(core, reason, hurry);
    // Called outside of a runtime it may be awaited in one, and that is surely running.
    if Handle::try_current().is_ok() {
        begun.start_now();
    }
    begun
}

/// Notes the line that asks for a close, if it is the first.
pub(crate) fn note_line(core: &Core, location: &'static Location<'static>) {
    if core.node.close_reason().is_none() {
        let _ = core.closed_at.set(location);
    }
}

/// A close that was begun. It is driven from the first time that it is awaited, or when this is dropped.
pub(crate) struct Begun {
    core: Arc<Core>,
    /// The closes that began with it, if they are not driven yet.
    members: Option<Vec<Arc<Core>>>,
}

impl Begun {
    pub(crate) fn new(core: &Arc<Core>, reason: CloseReason, hurry: Option<Hurry>) -> Self {
        let members = Some(begin::begin(core, reason));
        if let Some(hurry) = hurry {
            begin::hurry(core, hurry);
        }
        let core = Arc::clone(core);
        Self { core, members }
    }

    fn start_now(&mut self) {
        let Some(members) = self.members.take() else {
            return;
        };
        start(&members);
        if self.core.node.gate.state() == State::Closing {
            ensure_driver(&self.core);
        }
    }

    /// Sees to it that it is driven, and returns the context.
    pub(crate) fn start(mut self) -> Arc<Core> {
        self.start_now();
        Arc::clone(&self.core)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.start_now();
    }
}

/// Sees to it that closes that begin together are driven: the first one starts the others, after its own hooks.
fn start(begun: &[Arc<Core>]) {
    if let Some(outermost) = begun.first() {
        blocked::begin(outermost);
    }
    let mut leases = begun.iter().filter_map(DriverLease::take);
    if let Some(first) = leases.next() {
        let members = leases.collect();
        launch(first, members);
    }
    // Last: an observer may drop handles, which is to find drivers.
    for core in begun {
        core.tell_closing();
    }
}

/// Opens nothing, and counts and records a handle to what a context needs. What comes back gives the handle back when that
/// context is closed.
pub(crate) fn hold_need(dependent: &Node, need: &Arc<Core>, hold: HandleId) -> GiveBack {
    let (id, core) = (dependent.meta.id, Arc::clone(need));
    Box::new(move || {
        let which = cross_out(&core, hold);
        let (begun, was_last) = begin::stop_needing(&core, id);
        start(&begun);
        if was_last {
            last_handle_dropped(&core, which);
        }
    })
}

/// A handle is dropped.
pub(crate) fn drop_handle(core: &Arc<Core>, hold: HandleId) {
    let which = cross_out(core, hold);
    if core.node.handles.remove() {
        last_handle_dropped(core, which);
    }
}

/// Forgets a handle that is recorded. Returns its number.
fn cross_out(core: &Core, hold: HandleId) -> Option<usize> {
    let is_tracked = hold.is_tracked();
    is_tracked.then(|| core.node.ledger.remove(hold)).flatten()
}

/// What the last handle leaves behind: an open context is closed in the background (I11), a closed one
/// leaves the registry. `which` is the number under which the handle was crossed out, if it was recorded.
fn last_handle_dropped(core: &Arc<Core>, which: Option<usize>) {
    let node = &core.node;
    // A context that is finishing closes when it has run dry, with or without handles.
    let mut was_open = node.close_reason().is_none();
    order();
    if was_open && node.is_finishing_by_itself() {
        *lock(&node.kept) = Some(Arc::clone(core));
        // Unless the close began meanwhile, and has not seen that, or the task that watches has ended.
        was_open = !node.is_finishing_by_itself();
        if node.close_reason().is_some() {
            lock(&node.kept).take();
        }
    }
    if was_open {
        let inside = node.gate.inside();
        let begun = begin::begin(core, CloseReason::Dropped);
        was_open = node.close_reason() == Some(&CloseReason::Dropped);
        was_open &= !node.closes_by_drop;
        if was_open {
            note_dropped(core, inside, which);
        }
        start(&begun);
    }
    // Either we see that the close has ended, or it sees that we were the last.
    match node.gate.look() {
        State::Closed => drop(node.unlist()),
        State::Closing => {
            ensure_driver(core);
        }
        _ => {}
    }
    node.table.tracking.gone();
    if was_open {
        warn_of_drop(core);
    }
}

fn warn_of_drop(core: &Core) {
    let (meta, repeats) = (&core.node.meta, &core.registry.repeats);
    if let Some(so_far) = repeats.tell(Event::Dropped, meta.location) {
        event::emit!(target: "headcount::context", WARN,
            context = %Printed(&meta.name),
            id = %meta.id,
            "the last handle of an open context was dropped; closing it in the background (opened at {}:{}{so_far})",
            meta.location.file(),
            meta.location.line()
        );
    }
}

/// Notes for leak reports a context that was dropped while it was open, unless that is excused: a close further up had
/// begun, or a panic is unwinding.
fn note_dropped(core: &Core, inside: u64, which: Option<usize>) {
    let node: &Node = &core.node;
    if std::thread::panicking() || node.is_closing_above() {
        return;
    }
    let last = which.and_then(|which| node.ledger.read(|log| log.removed(which).cloned())?);
    let context = DroppedWhileOpen::of(node, inside, last);
    core.registry.dropped.add(context);
}

/// The right to drive one close.
struct DriverLease {
    core: Arc<Core>,
    done: bool,
}

impl DriverLease {
    fn take(core: &Arc<Core>) -> Option<Self> {
        core.lease.take().then(|| Self {
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
        note_ended();
        // State before foreign code: the wakers that are called next may begin anything (I9).
        let is_ours_to_notice = core.lease.give_back();
        notify_all(&core.node.changed);
        if is_ours_to_notice {
            ensure_driver(core);
        }
    }
}

impl Driver for DriverLease {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn launch(self) {
        launch(self, Vec::new());
    }

    fn keep_respawning(core: &Arc<Core>) -> impl Future<Output = ()> + Send {
        keep_respawning(core)
    }

    fn finish(&mut self) {
        self.done = true;
    }
}

/// Goes on with a close in a task of its own, which starts the others.
fn launch(lease: DriverLease, members: Vec<DriverLease>) {
    let core = Arc::clone(&lease.core);
    // Before the runtime gets it: one that has shut down drops the lease in this very call, and then it is ours to notice.
    let attempt = core.lease.attempt();
    match runtimes(&core).next() {
        Some(runtime) => spawn(&runtime, lease, members),
        None => drop((lease, members)),
    }
    if !attempt.has_succeeded() {
        ensure_driver(&core);
    }
}

/// Sees to it that the close, which has begun, is driven; with no runtime to do so and no handle
/// left, ends it here and now. False if it needs a runtime.
pub(crate) fn ensure_driver(core: &Arc<Core>) -> bool {
    let is_cared_for = spawn_driver(core) || give_up(core);
    if !is_cared_for {
        note_needs_runtime(core);
    }
    is_cared_for
}

/// Wakes those that can bring a runtime, and an ancestor that is being torn down: it may hold the last handle of this one.
fn note_needs_runtime(core: &Core) {
    core.registry.undriven.note();
    if let Some(parent) = &core.node.parent {
        close::tend_if_undriven(parent);
    }
}

/// Spawns drivers for the closes below that need a runtime, if there are any in the registry.
pub(crate) fn respawn_drivers(core: &Arc<Core>) {
    if !core.registry.undriven.is_noted() {
        return;
    }
    for core in core.closing_set() {
        // The drop of the last handle may meanwhile see our attempt and rely on it: if it fails, the rest is ours.
        if core.node.gate.state() == State::Closing && !spawn_driver(&core) {
            give_up(&core);
        }
    }
}

/// Respawns drivers whenever a close in the registry needs a runtime; never ends.
async fn keep_respawning(core: &Arc<Core>) {
    loop {
        let mut needs_runtime = pin!(core.registry.undriven.changed.notified());
        needs_runtime.as_mut().enable();
        respawn_drivers(core);
        needs_runtime.await;
    }
}

/// Drives a close, and those below it that need a runtime, in the future that waits for it: no runtime takes them, because that
/// of this thread is ending. Returns when it is over, or when another driver has it.
///
/// Hooks find that runtime wherever the future is polled later.
pub(crate) async fn drive_here(core: &Arc<Core>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let mut driven = pin!(drive_in_turns(core));
    let here = poll_fn(|cx| {
        // It may be polled outside of every runtime later, and hooks use timers and spawn.
        let _entered = Handle::try_current().is_err().then(|| runtime.enter());
        driven.as_mut().poll(cx)
    });
    here.await;
}

async fn drive_in_turns(core: &Arc<Core>) {
    let mut closes = FuturesUnordered::new();
    while core.node.report.get().is_none() {
        let mut needs_runtime = pin!(core.registry.undriven.changed.notified());
        needs_runtime.as_mut().enable();
        closes.extend(
            lease_undriven(core)
                .into_iter()
                .map(|lease| close::drive(lease, Vec::new()).boxed()),
        );
        if closes.is_empty() {
            // Another driver had it, and lost it this very moment or will be done with it.
            tokio::task::yield_now().await;
            return;
        }
        select(closes.next(), needs_runtime).await;
    }
}

/// Takes the leases of the close of a context and of those below it that have begun and that nothing drives.
fn lease_undriven(core: &Arc<Core>) -> Vec<DriverLease> {
    let mut set = core.closing_set();
    set.retain(|core| core.node.gate.state() == State::Closing);
    set.iter().filter_map(DriverLease::take).collect()
}

/// Spawns a driver unless there is one; false if no runtime takes it.
fn spawn_driver(core: &Arc<Core>) -> bool {
    if core.lease.is_taken() {
        return true;
    }
    let attempt = core.lease.attempt();
    for runtime in runtimes(core) {
        if let Some(lease) = DriverLease::take(core) {
            spawn(&runtime, lease, Vec::new());
        }
        // A runtime that has shut down drops what it is given to spawn, and with it the lease.
        if core.lease.is_taken() {
            break;
        }
    }
    attempt.has_succeeded()
}

/// Gives a close to a runtime. One that has shut down drops it, and so does one that panics in a callback of its own.
fn spawn(runtime: &Handle, lease: DriverLease, members: Vec<DriverLease>) {
    panics::contain(|| drop(runtime.spawn(close::drive(lease, members).boxed())));
}

/// The runtimes that could drive this close: this thread's, which is certainly running, then the
/// context's own.
pub(crate) fn runtimes(core: &Core) -> impl Iterator<Item = Handle> + use<> {
    let own = core.runtimes.first().and_then(|_| core.runtimes.latest());
    Handle::try_current().into_iter().chain(own)
}

/// The close is not driven and no runtime is at hand. Those that await it, or still hold a handle, may
/// bring one later; if there are none, tears it down. False if there are.
fn give_up(core: &Arc<Core>) -> bool {
    let hopeless = is_hopeless(core);
    if hopeless {
        // Another thread may see the same: only the one that has the lease tears down.
        if let Some(lease) = DriverLease::take(core) {
            tear_down(lease);
        }
    }
    hopeless
}

/// Whether nothing can bring a runtime any more. A registry has no counted handles, and no end but its drop.
fn is_hopeless(core: &Core) -> bool {
    let node = &core.node;
    !node.is_root() && node.handles.count() == 0 && node.gate.state() == State::Closing
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

/// Leaves a close to the loop in which this thread tears one down just now; hands it back if there is none.
fn enqueue(lease: DriverLease) -> Option<DriverLease> {
    let mut lease = Some(lease);
    // A thread that is ending has no queue any more.
    let _ = TORN_DOWN.try_with(|torn_down| match &mut *torn_down.borrow_mut() {
        Some(queue) => queue.extend(lease.take()),
        none => *none = Some(VecDeque::new()),
    });
    lease
}

/// The next close to be torn down. If there is none, the next one to come is the outermost.
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
/// Descendants that nothing can close any more go the same way.
fn tear_down_now(lease: DriverLease) {
    let undrivable = cancel_subtree(lease);
    if undrivable.iter().any(|lease| lease.core.has_tasks()) {
        abort_told(&undrivable[0].core);
    }
    for lease in undrivable {
        abandon(&lease.core);
    }
}

/// Aborts the tasks of contexts that abort theirs: at once if there are few to look through. Otherwise those that are torn down one
/// after the other share a look, on a thread of its own: one for each would cost a square (I13).
fn abort_told(core: &Core) {
    let table = &core.node.table;
    if table.count() <= FEW {
        return table.abort_told();
    }
    if core.registry.abort_scan.swap(1, SeqCst) == 0 {
        let (registry, table) = (Arc::clone(&core.registry), Arc::clone(table));
        timer::run_after(Duration::ZERO, move || {
            // Before the look: a context that is torn down from here on asks for another one.
            registry.abort_scan.store(0, SeqCst);
            table.abort_told();
        });
    }
}

/// Cancels a context and those below it that no handle can close, and aborts their tasks; parents first.
fn cancel_subtree(lease: DriverLease) -> Vec<DriverLease> {
    let mut undrivable = vec![lease];
    let mut next = 0;
    while let Some(lease) = undrivable.get_mut(next) {
        lease.done = true;
        let core = Arc::clone(&lease.core);
        begin::cancel(&core);
        for child in core.children() {
            // One that others need is open until those are closed.
            if child.node.gate.state() == State::Open || spawn_driver(&child) {
                continue;
            }
            if is_hopeless(&child) {
                undrivable.extend(DriverLease::take(&child));
            } else {
                note_needs_runtime(&child);
            }
        }
        core.node.is_abandoned.store(1, SeqCst);
        core.node.gate.abort();
        next += 1;
    }
    undrivable
}

/// Drops the hooks of a context that would have run beside its tasks, and leaves the end of its close to the last task that goes,
/// which unwinds the rest.
fn abandon(core: &Arc<Core>) {
    drop(core.hooks.take_started());
    for hook in core.hooks.on_closing.seal() {
        unwind::drop_hook(core, hook);
    }
    *lock(&core.node.undriven) = Some(Arc::clone(core));
    core.node.gate.leave_undriven();
    close::on_leave(&core.node, OnLeave::FinishClose);
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
