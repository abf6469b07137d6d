//! A spawned future or blocking closure, as the runtime sees it.

use crate::{
    clock::Sleep,
    context::slots::{OnConflict, Turn},
    error::TaskError,
    name::Label,
    panics,
    poll::{
        capture,
        scope::{self, Owner},
        waiting::{For, waiting},
    },
    table::record::{Outcome, Record},
    task::{
        guard::TaskGuard,
        handle::{Outlet, Together},
    },
};
use std::{
    any::Any,
    fmt,
    mem::needs_drop,
    pin::Pin,
    task::{Context, Poll},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Span;

/// What a task came to by itself: its output, or `Cancelled`.
pub(crate) type Ended<T> = Result<T, TaskError>;

pin_project_lite::pin_project! {
    /// A future that runs in its context's scope, and settles everything when it ends: by returning,
    /// by panicking, or by being dropped wherever the runtime drops it.
    pub(crate) struct Running<F, O>
    where
        F: Work,
        O: Outlet,
    {
        #[pin]
        future: Option<F>,
        outlet: O,
        guard: TaskGuard<'static>,
    }

    impl<F, O> PinnedDrop for Running<F, O>
    where
        F: Work,
        O: Outlet,
    {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() {
                this.end(Ok(Err(TaskError::Aborted)));
            }
        }
    }
}

type Payload = Box<dyn Any + Send>;

impl<F: Work, O: Outlet> Running<F, O> {
    pub(crate) fn new(future: F, outlet: O, guard: TaskGuard<'static>) -> Self {
        Self {
            future: Some(future),
            outlet,
            guard,
        }
    }

    /// Drops the future, then delivers the result and lets the task leave; only the first time.
    #[inline(never)]
    fn end(self: Pin<&mut Self>, result: Result<Ended<O::Output>, Payload>) {
        let mut this = self.project();
        if this.future.is_none() {
            return;
        }
        let drop_it = || panics::guarded(|| F::discard(this.future.as_mut()));
        let dropped = this.guard.enter(drop_it);
        finish(this.outlet, this.guard, ended(result, dropped));
    }
}

/// What a task came to, from what its future returned or panicked with, and what dropping it did.
fn ended<T>(result: Result<Ended<T>, Payload>, dropped: Result<(), Payload>) -> Ended<T> {
    match (result, dropped) {
        (Ok(result), Ok(())) => result,
        (Err(payload), Ok(())) => Err(TaskError::panicked(payload)),
        // The panic of the future outranks that of its destructor, and both outrank an output.
        (Err(payload), Err(second)) => {
            panics::bury(second);
            Err(TaskError::panicked(payload))
        }
        (Ok(result), Err(payload)) => {
            panics::discard(result);
            Err(TaskError::panicked(payload))
        }
    }
}

/// Delivers a result and lets the task leave.
#[inline]
fn finish<O: Outlet>(outlet: &O, guard: &mut TaskGuard<'static>, mut result: Ended<O::Output>) {
    let Some(task) = guard.task() else {
        return;
    };
    if let Err(error) = &mut result {
        error.name_task(&task.meta().name);
    }
    if guard.is_claimed() {
        if let Err(TaskError::Panicked(_, message)) = &result {
            // The handle gets it as well.
            drop(guard.note_panic(message));
        }
        // The handle may be dropped in the last moment; `deliver` drops the result then.
        let outcome = outcome(&result);
        guard.leave(outcome, |task| {
            let deliver = || outlet.output(task).deliver(result, task);
            // What that runs belongs to the task: wakers, and destructors. A close that they wait for is one that they
            // are inside of (I10).
            scope::enter_as(Owner::Task(task), deliver);
        });
    } else if is_plain(&result, guard) {
        guard.leave(outcome(&result), |_| {});
    } else {
        finish_unclaimed(guard, result);
    }
}

/// Whether there is nothing to run or to say when a result is dropped.
#[inline]
fn is_plain<T>(result: &Ended<T>, guard: &TaskGuard<'_>) -> bool {
    match result {
        Ok(_) => !needs_drop::<T>() && (size_of::<T>() == 0 || !guard.is_cancelled()),
        Err(error) => !error.is_panic(),
    }
}

/// Drops the result of a task without a handle, while the task is still listed and in its scope, and lets the task leave. Events
/// come last: a subscriber may do anything.
#[inline(never)]
fn finish_unclaimed<T>(guard: &mut TaskGuard<'static>, result: Ended<T>) {
    let outcome = outcome(&result);
    let is_late = result.is_ok() && size_of::<T>() > 0;
    let late = is_late.then(|| guard.late_result()).flatten();
    let panicked = match &result {
        Err(TaskError::Panicked(_, message)) => guard.note_panic(message),
        _ => None,
    };
    let dropped = if needs_drop::<T>() || result.is_err() {
        guard.enter(|| panics::discard(result))
    } else {
        None
    };
    let dropped = dropped.and_then(|panic| guard.note_panic(&panic));
    guard.leave(outcome, |_| {});
    if let Some(late) = late {
        late.emit();
    }
    for panicked in [panicked, dropped].into_iter().flatten() {
        panicked.emit();
    }
}

#[inline]
fn outcome<T>(result: &Ended<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Finished,
        Err(TaskError::Cancelled | TaskError::TimedOut) => Outcome::Cancelled,
        Err(TaskError::Panicked(..)) => Outcome::Panicked,
        Err(_) => Outcome::Aborted,
    }
}

/// A future of a task: it comes to something by itself, or is cancelled.
pub(crate) trait Work {
    type Output;

    fn work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<Self::Output>>;

    /// Drops the future, in its place.
    #[inline]
    fn discard(mut future: Pin<&mut Option<Self>>)
    where
        Self: Sized,
    {
        future.set(None);
    }
}

pin_project_lite::pin_project! {
    /// A future that finds out about the close by itself.
    pub(crate) struct Plain<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<F: Future> Work for Plain<F> {
    type Output = F::Output;

    #[inline]
    fn work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        self.project().future.poll(cx).map(Ok)
    }
}

pin_project_lite::pin_project! {
    /// A future that ends, at its next wait, when its context's token is cancelled.
    pub(crate) struct UntilCancelled<F> {
        #[pin]
        pub(crate) future: F,
        #[pin]
        pub(crate) cancelled: WaitForCancellationFutureOwned,
    }
}

impl<F: Future> Work for UntilCancelled<F> {
    type Output = F::Output;

    fn work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        waiting(cx, For::Cancellation, |cx| this.cancelled.poll(cx))
            .map(|()| Err(TaskError::Cancelled))
    }
}

pin_project_lite::pin_project! {
    /// A future with settings, which may be cancelled as well.
    pub(crate) struct Configured<F> {
        #[pin]
        pub(crate) future: F,
        // Ready when its context's token is cancelled.
        #[pin]
        pub(crate) cancelled: Option<WaitForCancellationFutureOwned>,
        // Dropped after the future, and with them its turn: then the next one begins.
        pub(crate) settings: Box<Settings>,
    }
}

/// The settings that few tasks have.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) slot: Option<Label>,
    pub(crate) on_conflict: OnConflict,
    /// Its place in the line of its slot, once it was let in.
    pub(crate) turn: Option<Turn>,
    /// Runs from the first poll of the future on.
    pub(crate) deadline: Option<Sleep>,
    pub(crate) span: Option<Span>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("slot", &self.slot)
            .field("on_conflict", &self.on_conflict)
            .field("has_deadline", &self.deadline.is_some())
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Whether the future may run.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turn.as_mut();
        turn.map_or(Poll::Ready(()), |turn| turn.poll(cx))
    }

    /// Whether the future has taken too long. Asked after a poll of it.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        // A task that is asked where it waits does not answer with its own deadline.
        let mut cx = Context::from_waker(capture::original(cx.waker()));
        let deadline = self.deadline.as_mut();
        deadline.is_some_and(|deadline| Pin::new(deadline).poll(&mut cx).is_ready())
    }
}

impl<F: Future> Work for Configured<F> {
    type Output = F::Output;

    fn work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        let this = self.project();
        let settings = this.settings;
        let is_its_turn = settings.poll_turn(cx).is_ready();
        if is_its_turn {
            let _entered = settings.span.as_ref().map(Span::enter);
            if let Poll::Ready(output) = this.future.poll(cx) {
                return Poll::Ready(Ok(output));
            }
        }
        if let Some(cancelled) = this.cancelled.as_pin_mut() {
            if waiting(cx, For::Cancellation, |cx| cancelled.poll(cx)).is_ready() {
                return Poll::Ready(Err(TaskError::Cancelled));
            }
        }
        if is_its_turn && settings.is_over(cx) {
            return Poll::Ready(Err(TaskError::TimedOut));
        }
        Poll::Pending
    }

    fn discard(mut future: Pin<&mut Option<Self>>) {
        let this = future.as_mut().as_pin_mut().map(Self::project);
        let span = this.and_then(|this| this.settings.span.clone());
        let _entered = span.as_ref().map(Span::enter);
        future.set(None);
    }
}

impl<F, O> Future for Running<F, O>
where
    F: Work,
    O: Outlet<Output = F::Output>,
{
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.guard.is_aborting() {
            self.end(Ok(Err(TaskError::Aborted)));
            return Poll::Ready(());
        }
        let mut this = self.as_mut().project();
        if this.future.is_none() {
            return Poll::Ready(());
        }
        let guard = &mut *this.guard;
        // A future that is done is dropped in the same breath.
        let polled = guard.poll(cx, |cx| {
            guard.enter(|| {
                let future = this.future.as_mut().as_pin_mut()?;
                let result = match panics::guarded(|| future.work(cx)) {
                    Ok(Poll::Pending) => return None,
                    Ok(Poll::Ready(ended)) => Ok(ended),
                    Err(payload) => Err(payload),
                };
                let dropped = panics::guarded(|| F::discard(this.future.as_mut()));
                Some(ended(result, dropped))
            })
        });
        let Some(result) = polled else {
            guard.park(cx);
            return Poll::Pending;
        };
        finish(this.outlet, guard, result);
        Poll::Ready(())
    }
}

/// A closure that runs in its context's scope, and settles everything when it ends, also by being
/// dropped before it started.
pub(crate) struct Job<F, T: Send + 'static> {
    closure: Option<F>,
    outlet: Together<T>,
    guard: TaskGuard<'static>,
}

impl<F: FnOnce() -> T, T: Send + 'static> Job<F, T> {
    pub(crate) fn new(closure: F, guard: TaskGuard<'static>) -> Self {
        Self {
            closure: Some(closure),
            outlet: Together::new(),
            guard,
        }
    }

    pub(crate) fn run(mut self) {
        if self.guard.start_closure() {
            return;
        }
        if let Some(closure) = self.closure.take() {
            let result = self.guard.enter(|| panics::guarded(closure));
            finish(
                &self.outlet,
                &mut self.guard,
                result.map_err(TaskError::panicked),
            );
        }
    }
}

impl<F, T: Send + 'static> Drop for Job<F, T> {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let dropped = self.guard.enter(|| panics::guarded(|| drop(closure)));
            let error = dropped.map_or_else(TaskError::panicked, |()| TaskError::Aborted);
            finish(&self.outlet, &mut self.guard, Err(error));
        }
    }
}
