//! A spawned future or blocking closure, as the runtime sees it.

use crate::{
    clock::Sleep,
    context::{
        failure::FailureKind,
        quota::QuotaPermit,
        slots::{OnConflict, Turn},
        state::Core,
    },
    error::{RefusedReason, TaskError},
    ledger::acquirer::{Acquirer, Who},
    limits::permit::Permit,
    name::Label,
    panics,
    poll::{
        capture,
        scope::{self, Memory, Owner},
        waiting::{For, waiting},
    },
    table::{
        record::{Meta, Outcome, Record},
        store::TableRef,
    },
    task::{
        end_check::EndCheck,
        guard::TaskGuard,
        handle::{Outlet, Together},
        telling::TaskFailure,
    },
};
use std::{
    any::Any,
    fmt,
    mem::needs_drop,
    pin::Pin,
    sync::Arc,
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
        O: End,
    {
        #[pin]
        future: Option<F>,
        outlet: O,
        guard: TaskGuard<'static>,
    }

    impl<F, O> PinnedDrop for Running<F, O>
    where
        O: End,
    {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() {
                this.end(Ok(Err(TaskError::Aborted)));
            }
        }
    }
}

type Payload = Box<dyn Any + Send>;

/// What becomes of a task whose future is dropped.
pub(crate) trait End {
    type Output;

    /// Sees to what the task came to, and lets it leave.
    fn end(&self, guard: &mut TaskGuard<'static>, result: Ended<Self::Output>);
}

/// The result goes to the handle of the task.
impl<O: Outlet> End for O {
    type Output = O::Output;

    #[inline(always)]
    fn end(&self, guard: &mut TaskGuard<'static>, result: Ended<O::Output>) {
        finish(self, guard, result);
    }
}

impl<F, O: End> Running<F, O> {
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
        let drop_it = || panics::guarded(|| this.future.set(None));
        let dropped = this.guard.discard(drop_it);
        this.outlet.end(this.guard, ended(result, dropped));
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
        finish_claimed(outlet, guard, result);
    } else if !O::Check::CHECKS && is_plain(&result, guard) {
        guard.leave(outcome(&result), |_| {});
    } else {
        finish_unclaimed::<O>(guard, result);
    }
}

/// Delivers the result to the handle, and lets the task leave.
#[inline(never)]
fn finish_claimed<O: Outlet>(outlet: &O, guard: &mut TaskGuard<'static>, result: Ended<O::Output>) {
    // The handle gets it as well.
    let failed = failure::<O>(guard, &result, true);
    let failure = failed.map(TaskFailure::into_inner);
    // The handle may be dropped in the last moment; `deliver` drops the result then.
    let outcome = outcome(&result);
    guard.leave(outcome, |task| {
        let deliver = || outlet.output(task).deliver(result, failure, task);
        // What that runs belongs to the task: wakers, and destructors. A close that they wait for is one that they
        // are inside of (I10).
        scope::enter_as(Owner::Task(task), deliver);
    });
}

/// In which way the task failed, if it did; noted, and what follows from it done.
#[inline]
fn failure<O: Outlet>(
    guard: &TaskGuard<'_>,
    result: &Ended<O::Output>,
    is_claimed: bool,
) -> Option<TaskFailure> {
    match result {
        Err(TaskError::Panicked(_, message)) => {
            guard.note_failure(FailureKind::TaskPanicked, message.clone(), is_claimed)
        }
        result if O::Check::CHECKS => {
            // In the scope of the task: to print an error is its own code.
            let (kind, said) = guard.enter(|| O::Check::check(result))?;
            let is_allowed = kind == FailureKind::EssentialEnded && guard.may_end();
            (!is_allowed).then(|| guard.note_failure(kind, said, is_claimed))?
        }
        _ => None,
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
fn finish_unclaimed<O: Outlet>(guard: &mut TaskGuard<'static>, result: Ended<O::Output>) {
    let outcome = outcome(&result);
    let is_late = result.is_ok() && size_of::<O::Output>() > 0;
    let late = is_late.then(|| guard.late_result()).flatten();
    let failed = failure::<O>(guard, &result, false);
    let dropped = if needs_drop::<O::Output>() || result.is_err() {
        guard.enter(|| panics::discard(result))
    } else {
        None
    };
    let kind = FailureKind::DestructorPanicked;
    let dropped = dropped.and_then(|panic| guard.note_failure(kind, panic, false));
    guard.leave(outcome, |_| {});
    if let Some(late) = late {
        late.emit();
    }
    for failure in [failed, dropped].into_iter().flatten() {
        failure.emit();
    }
}

#[inline]
pub(crate) fn outcome<T>(result: &Ended<T>) -> Outcome {
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
    /// A future with settings: when it begins, what ends it at its next wait, and the span that it runs in.
    pub(crate) struct Configured<F> {
        // `None` once it is dropped.
        #[pin]
        pub(crate) future: Option<F>,
        // Ready when its context's token is cancelled.
        #[pin]
        pub(crate) cancelled: Option<WaitForCancellationFutureOwned>,
        // Dropped after the future, and with them its turn and its place in a limit: then the next one begins.
        pub(crate) settings: Option<Box<Settings>>,
    }

    impl<F> PinnedDrop for Configured<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = span(this.settings.as_deref()).map(Span::enter);
            this.future.set(None);
        }
    }
}

/// The settings that few tasks have.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) slot: Option<Label>,
    pub(crate) on_conflict: OnConflict,
    /// Its place in the line of its slot, once it was let in.
    pub(crate) turn: Option<Turn>,
    /// Its place in a limit.
    pub(crate) permit: Option<Permit>,
    /// Its part of what its context may have.
    pub(crate) quota: Option<QuotaPermit>,
    /// Runs from the first poll of the future on.
    pub(crate) deadline: Option<Sleep>,
    pub(crate) span: Option<Span>,
}

impl Settings {
    /// The same settings for another task, which has no place in the line yet, and room by itself.
    #[cfg(feature = "supervision")]
    pub(crate) fn again(&self) -> Self {
        Self {
            slot: self.slot.clone(),
            on_conflict: self.on_conflict,
            turn: None,
            permit: None,
            quota: None,
            deadline: self.deadline.as_ref().and_then(Sleep::again),
            span: self.span.clone(),
        }
    }

    /// Takes a place in the line of the slot, if there is one.
    #[cold]
    pub(crate) fn enter_slot(&mut self, core: &Core) -> Result<(), RefusedReason> {
        if let Some(slot) = &self.slot {
            let table = core.node.table.table_ref();
            self.turn = Some(core.slots().enter(slot, self.on_conflict, table)?);
        }
        Ok(())
    }

    /// The task is listed: its place in a line, and in a limit, are those of this task from now on.
    #[cold]
    pub(crate) fn listed(&self, table: &Arc<TableRef>, task: &Meta) {
        if let Some(turn) = &self.turn {
            turn.set_task(table, task.id);
        }
        if let Some(permit) = &self.permit {
            permit.pass(Acquirer::Task(Who::new(task.id, &task.name)));
        }
    }

    /// Whether the future may run.
    fn is_its_turn(&mut self, cx: &mut Context<'_>) -> bool {
        let turn = self.turn.as_mut();
        turn.is_none_or(|turn| turn.poll(cx).is_ready())
    }

    /// Whether the future has taken too long. Asked after a poll of it.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        // A task that is asked where it waits does not answer with its own deadline.
        let mut cx = Context::from_waker(capture::original(cx.waker()));
        let deadline = self.deadline.as_mut();
        deadline.is_some_and(|deadline| Pin::new(deadline).poll(&mut cx).is_ready())
    }
}

/// The span that a task runs in, if it has one of its own.
fn span(settings: Option<&Settings>) -> Option<&Span> {
    settings?.span.as_ref()
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("slot", &self.slot)
            .field("on_conflict", &self.on_conflict)
            .field("permit", &self.permit)
            .field("has_deadline", &self.deadline.is_some())
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Work for Configured<F> {
    type Output = F::Output;

    fn work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        let this = self.project();
        let mut cancelled = this.cancelled;
        if let Some(cancelled) = cancelled.as_mut().as_pin_mut() {
            // Asked first: the poll that its own cancellation wakes it for would take a message, and be dropped with it. A task
            // that is asked where it waits does not answer with this.
            let mut cx = Context::from_waker(capture::original(cx.waker()));
            if cancelled.poll(&mut cx).is_ready() {
                return Poll::Ready(Err(TaskError::Cancelled));
            }
        }
        let settings = this.settings;
        let is_its_turn = match settings {
            Some(settings) => settings.is_its_turn(cx),
            None => true,
        };
        if is_its_turn {
            let _entered = span(settings.as_deref()).map(Span::enter);
            let future = this.future.as_pin_mut();
            let future = future.expect("it is there until it is dropped");
            if let Poll::Ready(output) = future.poll(cx) {
                return Poll::Ready(Ok(output));
            }
        }
        // And again: it may have been cancelled by this very poll.
        if let Some(cancelled) = cancelled.as_pin_mut() {
            if waiting(cx, For::Cancellation, |cx| cancelled.poll(cx)).is_ready() {
                return Poll::Ready(Err(TaskError::Cancelled));
            }
        }
        let settings = settings.as_mut().filter(|_| is_its_turn);
        if settings.is_some_and(|settings| settings.is_over(cx)) {
            return Poll::Ready(Err(TaskError::TimedOut));
        }
        Poll::Pending
    }
}

impl<F, O> Future for Running<F, O>
where
    F: Work,
    O: End<Output = F::Output>,
{
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.guard.may_poll() {
            return Poll::Pending;
        }
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
        let polled = guard.poll(cx, Memory::of(&*this.future), |cx| {
            let future = this.future.as_mut().as_pin_mut()?;
            let result = match panics::guarded(|| future.work(cx)) {
                Ok(Poll::Pending) => return None,
                Ok(Poll::Ready(ended)) => Ok(ended),
                Err(payload) => Err(payload),
            };
            let dropped = panics::guarded(|| this.future.set(None));
            Some(ended(result, dropped))
        });
        let Some(result) = polled else {
            guard.park(cx);
            return Poll::Pending;
        };
        this.outlet.end(guard, result);
        Poll::Ready(())
    }
}

/// A closure that runs in its context's scope, and settles everything when it ends, also by being
/// dropped before it started.
pub(crate) struct Job<F, T: Send + 'static, C: EndCheck<T>> {
    closure: Option<F>,
    outlet: Together<T, C>,
    guard: TaskGuard<'static>,
}

impl<F: FnOnce() -> T, T: Send + 'static, C: EndCheck<T>> Job<F, T, C> {
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
            let result = self.guard.enter_closure(|| panics::guarded(closure));
            finish(
                &self.outlet,
                &mut self.guard,
                result.map_err(TaskError::panicked),
            );
        }
    }
}

impl<F, T: Send + 'static, C: EndCheck<T>> Drop for Job<F, T, C> {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let dropped = self.guard.enter(|| panics::guarded(|| drop(closure)));
            let error = dropped.map_or_else(TaskError::panicked, |()| TaskError::Aborted);
            finish(&self.outlet, &mut self.guard, Err(error));
        }
    }
}
