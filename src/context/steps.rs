//! The steps of a close, from "the token is cancelled" to "nothing is left".

use crate::{
    clock,
    context::{
        callback::{Callback, End, Origin},
        close,
        core::{Core, Node},
        current::{Scope, Scoped},
        escalation::{Escalation, Step},
        hook_place::Place,
        stragglers,
    },
    event, panics,
    sync::lock,
};
#[cfg(feature = "dump")]
use futures::future::select;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
#[cfg(feature = "dump")]
use std::time::Duration;
use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

/// Climbs to the end: everything inside has left, hooks have run, owned values are dropped. May be
/// dropped anywhere and begun again; a hook that was under way then is noted as interrupted.
pub(crate) async fn run(core: &Arc<Core>) {
    drain(core).await;
    core.node.table.tasks.purge();
    while let Some(hook) = core.on_close.pop_or_seal() {
        with_looks(core, Watched::new(core, hook, "on_close")).await;
    }
    close::drop_owned(core);
}

/// Starts the hooks that run when the close begins, latest first: each gets as far as its first wait.
pub(crate) fn start_hooks(core: &Arc<Core>) {
    for hook in core.on_closing.seal() {
        let mut hook = Watched::new(core, hook, "on_closing");
        if (&mut hook).now_or_never().is_none() {
            lock(&core.started).push(hook.boxed());
        }
    }
}

/// Waits until everything inside has left and every started hook has ended: first patiently, then
/// with force.
async fn drain(core: &Arc<Core>) {
    let node = &core.node;
    let started = std::mem::take(&mut *lock(&core.started));
    let mut hooks: FuturesUnordered<_> = started.into_iter().collect();
    let mut escalation = Escalation::new(core.limits.grace);
    let mut timer = None;
    let mut looking: BoxFuture<'_, ()> = pending().boxed();
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
            if looking.poll_unpin(cx).is_ready() {
                looking = pending().boxed();
            }
            timer_now.as_mut().poll(cx).map(|()| true)
        });
        if beside(&mut hooks, is_time).await {
            match step {
                Step::CheckDeadlock => looking = look(core).boxed(),
                Step::Abort => {
                    // It may be in the way of the look before the force, and it is for the same.
                    looking = pending().boxed();
                    beside(&mut hooks, use_force(core)).await;
                }
            }
            timer = None;
        }
    }
    // Nobody polls it any more, and others wait until it is over.
    drop(looking);
    with_looks(core, async { while hooks.next().await.is_some() {} }).await;
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

/// Waits for hooks, and looks now and then whether they wait in vain.
#[cfg(feature = "dump")]
async fn with_looks(core: &Arc<Core>, hooks: impl Future<Output = ()>) {
    select(pin!(hooks), pin!(keep_looking(core))).await;
}

#[cfg(not(feature = "dump"))]
fn with_looks<F: Future<Output = ()>>(_: &Arc<Core>, hooks: F) -> F {
    hooks
}

/// Never ends.
#[cfg(feature = "dump")]
async fn keep_looking(core: &Arc<Core>) {
    let mut escalation = Escalation::new(Duration::MAX);
    loop {
        clock::sleep(escalation.next().0).await;
        look(core).await;
    }
}

/// Looks whether it waits in vain.
#[cfg(feature = "dump")]
async fn look(core: &Arc<Core>) {
    drop(crate::context::deadlocks::look(core).await);
}

#[cfg(not(feature = "dump"))]
fn look(_: &Arc<Core>) -> futures::future::Ready<()> {
    futures::future::ready(())
}

/// Says who is still there, and ends what can be ended.
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
    abort_tasks(core);
    stragglers::warn_and_abort(core, is_first).await;
}

/// From here on the tasks of a context are to be ended by force: [`stragglers`] aborts those that are
/// there, and those that come late abort themselves. Blocking closures that have started run on.
pub(crate) fn abort_tasks(core: &Core) {
    core.node.gate.abort();
}

/// A hook under way, in the scope of its context and within its time limit. It notes in the report
/// how it ended; dropped before that, that it was interrupted.
struct Watched {
    node: Arc<Node>,
    origin: Origin,
    /// `None` once it has ended.
    run: Option<BoxFuture<'static, End>>,
}

impl Watched {
    fn new(core: &Arc<Core>, hook: Callback, kind: &'static str) -> Self {
        let scope = Scope::Hook(Arc::clone(&core.node));
        let origin = hook.origin();
        let place = Place::new(&core.node, origin, kind);
        let run = Scoped::new(scope, hook.run(core.limits.hook, place)).boxed();
        lock(&core.running).push(origin);
        Self {
            node: Arc::clone(&core.node),
            origin,
            run: Some(run),
        }
    }
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(run) = &mut self.run else {
            return Poll::Ready(());
        };
        let end = ready!(run.poll_unpin(cx));
        self.run = None;
        if let Some(core) = self.node.core.upgrade() {
            has_ended(&core, self.origin);
            let stacks = end.whereabouts().map(tracing::field::display);
            let failure = lock(&core.log).hook(&*core.node, self.origin, end);
            if let Some(failure) = failure {
                event::emit!(WARN, context = %self.node.meta.name, stacks, "{failure}");
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        panics::discard(run);
        if let Some(core) = self.node.core.upgrade() {
            has_ended(&core, self.origin);
        }
        interrupted(&self.node, self.origin);
    }
}

fn has_ended(core: &Core, origin: Origin) {
    let mut running = lock(&core.running);
    if let Some(at) = running.iter().position(|other| *other == origin) {
        running.swap_remove(at);
    }
}

/// Notes a hook that did not run to its end because no runtime was left, and says so.
pub(crate) fn interrupted(node: &Node, origin: Origin) {
    let failure = format!("hook {origin}: could not run to its end, its runtime is gone");
    event::emit!(ERROR, context = %node.meta.name, "{failure}");
    if let Some(core) = node.core.upgrade() {
        lock(&core.log).interrupted(&*core.node, &failure);
    }
}
