//! [`HookRun`]: a hook under way, within its time limit.

#[cfg(feature = "testing")]
use crate::poll::observer;
use crate::{
    clock,
    context::{
        begin,
        current::{Scope, Scoped},
        escalation::wait_until,
        failure::Failure,
        haste::{Haste, earlier},
        hook_guard::{HookGuard, LastAnswer},
        hook_origin::HookOrigin,
        hooks::{Callback, HookEnd, Kept},
        look_up::{LookUp, in_time},
        state::{Core, Node},
        stragglers,
        unwind::note_interrupted,
    },
    events::{Told, What},
    panics,
    sync::lock,
};
use futures::{FutureExt, future::BoxFuture};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Of so many hooks and values the hooks are counted that a deadline leaves time for. With more than that, the last ones have a
/// part of a part.
const COUNTED: usize = 256;

/// A hook under way, in the scope of its context and within its time limit. It notes in the report
/// how it ended; dropped before that, that it was interrupted. What is to be told of it may have to be looked up: that is what it
/// returns.
pub(super) struct HookRun {
    node: Arc<Node>,
    origin: HookOrigin,
    /// `None` once it has ended.
    run: Option<BoxFuture<'static, HookEnd>>,
}

impl HookRun {
    pub(super) fn new(core: &Arc<Core>, hook: Callback, kind: &'static str) -> Self {
        let node = &core.node;
        let scope = Scope::Hook(Arc::clone(node));
        let origin = hook.origin();
        #[cfg(feature = "testing")]
        let number = hook.number;
        let guard = HookGuard::new(&node.table, Arc::<Node>::clone(node), origin, kind);
        let is_hook = |kept: &Kept| matches!(kept, Kept::Hook(_));
        let more = (kind == "on_close").then(|| core.hooks.on_close.count_latest(COUNTED, is_hook));
        let limit = hook_limit(Arc::clone(node), core.limits.hook, more);
        let run = run_hook(
            Arc::clone(node),
            hook.run((core.limits.hook, limit), guard),
            more.is_some(),
        );
        #[cfg(feature = "testing")]
        if kind == "on_close" {
            observer::hook_starts(node.table.number, &**node, number);
        }
        let run = Scoped::new(scope, run).boxed();
        core.hooks.has_started(origin);
        Self {
            node: Arc::clone(node),
            origin,
            run: Some(run),
        }
    }
}

/// Runs a hook, and finds out which tasks it may have waited for where it was out of time. `is_last` if nothing runs in its context
/// any more.
async fn run_hook(
    node: Arc<Node>,
    hook: impl Future<Output = Result<HookEnd, LastAnswer>>,
    is_last: bool,
) -> HookEnd {
    let last = match hook.await {
        Ok(end) => return end,
        Err(last) => last,
    };
    let core = node.core.upgrade().filter(|_| is_last);
    let outside = match &core {
        Some(core) => stragglers::outside(core).await,
        None => None,
    };
    HookEnd::TimedOut { last, outside }
}

/// Tells of a hook that failed: what was out of time is looked up before that, as long as there is time for it.
fn tell(core: &Arc<Core>, failure: Failure, end: HookEnd) -> Option<LookUp> {
    let (telling, core) = (Arc::clone(begin::telling(core)), Arc::clone(core));
    let coming = telling.expect();
    let HookEnd::TimedOut { last, outside } = end else {
        telling.add_hook(&coming, &*core.node, &failure, None, None);
        return None;
    };
    let look_up = async move {
        let stack = in_time(&core.node, last.whereabouts()).await.flatten();
        if let Some(stack) = &stack {
            lock(&core.log).notes().hook_was_at(&failure, stack);
        }
        telling.add_hook(&coming, &*core.node, &failure, stack, outside);
    };
    Some(look_up.boxed())
}

/// Ends when a hook that starts now has had its time: its limit, or less where there is haste. `more` is how many are still to
/// run after it; `None` if it runs beside the drain.
async fn hook_limit(node: Arc<Node>, limit: Duration, more: Option<usize>) {
    let started = clock::now();
    let until = |haste: &Haste| {
        let hasty = match more {
            Some(more) => haste.hook_until(started, more),
            None => haste.closing_hook_until(),
        };
        earlier(started.checked_add(limit), hasty)
    };
    wait_until(&node, until).await;
}

/// Tells subscribers that a hook has ended, and what went wrong in it.
pub(super) fn tell_hook(node: &Node, origin: HookOrigin, failure: Option<&Failure>) -> Told {
    let failed = failure.map(|failure| node.tell(|| What::Failed(failure.clone())));
    let ended = node.tell(|| What::HookEnded {
        hook: origin.what,
        location: origin.location,
    });
    failed.unwrap_or_default().and(ended)
}

impl Future for HookRun {
    type Output = Option<LookUp>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.run else {
            return Poll::Ready(None);
        };
        let end = ready!(run.poll_unpin(cx));
        self.run = None;
        let Some(core) = self.node.core.upgrade() else {
            return Poll::Ready(None);
        };
        core.hooks.has_ended(self.origin);
        let failure = lock(&core.log).notes().hook(&*core.node, self.origin, &end);
        let _wakes = tell_hook(&core.node, self.origin, failure.as_ref());
        Poll::Ready(failure.and_then(|failure| tell(&core, failure, end)))
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
