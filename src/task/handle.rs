//! [`Task`]: the handle to a spawned task, [`AbortOnDrop`] round it, and how the result of the task reaches it, or is dropped where no handle can claim
//! it.

use crate::{
    context::{current::context_of, failure::Failure},
    error::{RefusedReason, TaskError},
    id::ResourceId,
    name::Label,
    panics,
    poll::waiting::{For, waiting},
    slab::guard::Hold,
    sync::{Mutex, lock},
    table::{
        record::{Meta, Record},
        task_entry::{TaskAside, TaskEntry, TaskHandle, TaskHold as _, TaskOwner},
    },
    task::{abort::AbortHandle, end_check::EndCheck},
};
use ::slab::Slab;
use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    mem,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};
use tokio::task::coop::poll_proceed;

/// A handle to a task: await it for the output, or drop it and let the task run on.
///
/// Dropping the handle detaches it; the task stays with its context, and its output is dropped when
/// it ends (I6).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, TaskError};
/// let ctx = Registry::new().context("ctx");
///
/// let task = ctx.spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
///
/// let task = ctx.spawn(std::future::pending::<()>());
/// task.abort();
/// assert!(matches!(task.await, Err(TaskError::Aborted)));
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut task` and dropping that future loses nothing.
///
/// It takes part in tokio's cooperative budget: code that awaits many finished tasks in a row yields now and then.
///
/// # Panics
///
/// If it is polled again after it gave its result.
pub struct Task<T>(Inner<T>);

enum Inner<T> {
    Accepted {
        /// `None` once it is let go.
        held: Option<TaskHandle>,
        output: Whereabouts<T>,
        has_waited: bool,
    },
    Refused {
        name: Label,
        reason: RefusedReason,
    },
}

impl<T> Task<T> {
    #[inline(always)]
    pub(crate) fn accepted(held: TaskHandle, output: Whereabouts<T>) -> Self {
        Self(Inner::Accepted {
            held: Some(held),
            output,
            has_waited: false,
        })
    }

    pub(crate) fn refused(name: Label, reason: RefusedReason) -> Self {
        Self(Inner::Refused { name, reason })
    }

    fn held(&self) -> Option<&TaskHandle> {
        match &self.0 {
            Inner::Accepted { held, .. } => held.as_ref(),
            Inner::Refused { .. } => None,
        }
    }

    fn meta(&self) -> Option<&Meta> {
        self.held().map(|held| held.meta())
    }

    /// Asks the runtime to drop the task's future at its next wait. It may still return before that;
    /// a blocking closure that has started runs on. Calling it again does nothing.
    pub fn abort(&self) {
        if let Some(held) = self.held() {
            held.request_abort();
        }
    }

    /// The id of the task's entry. That of a task that was refused names nothing, and prints as `#refused`.
    pub fn id(&self) -> ResourceId {
        self.meta().map_or(ResourceId::REFUSED, |meta| meta.id)
    }

    /// The name it was given, or the type path of its future.
    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Refused { name, .. } => name,
            Inner::Accepted { .. } => self.meta().map_or("", |meta| &meta.name),
        }
    }

    /// Whether its future is dropped and its result is here (or it was refused). It has left the list by then; it leaves its
    /// context right after that, so a close may still wait for it a moment longer.
    pub fn is_finished(&self) -> bool {
        self.held().is_none_or(TaskHandle::is_ready)
    }

    /// A handle that can abort the task, and no more: it claims no output, and keeps none alive.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(self.held().map(|held| {
            let table = context_of(held).table.table_ref();
            (held.meta().id, Arc::clone(table))
        }))
    }

    /// The same handle, except that dropping it aborts the task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// drop(ctx.spawn(std::future::pending::<()>()).abort_on_drop());
    /// assert_eq!(ctx.close().await.aborted(), 1);
    /// # }
    /// ```
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop::new(self)
    }

    /// Waits until the task [is finished](Self::is_finished), without taking its output.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let task = ctx.spawn(async { 42 });
    /// tokio::join!(task.finished(), task.finished());
    /// assert_eq!(task.await.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn finished(&self) {
        let mut watch = Watch {
            task: self,
            key: None,
        };
        poll_fn(|cx| watch.poll(cx)).await;
    }

    /// From here on there may be a waker with the output. `None` if the task was refused.
    #[inline(always)]
    fn begin_to_wait(&mut self) -> Option<(&TaskHandle, &Whereabouts<T>)> {
        match &mut self.0 {
            Inner::Accepted {
                held,
                output,
                has_waited,
            } => {
                *has_waited = true;
                let held = held.as_ref();
                let held = held.expect("a handle holds its task until it is dropped");
                Some((held, output))
            }
            Inner::Refused { .. } => None,
        }
    }

    /// The result of a task that was never started.
    fn refusal(&self) -> TaskError {
        match self.0 {
            Inner::Refused {
                reason: RefusedReason::RuntimeGone,
                ..
            } => TaskError::RuntimeGone,
            _ => TaskError::Refused,
        }
    }

    /// Takes the result, without a part in the cooperative budget: the caller has one.
    pub(crate) fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        let Some((held, output)) = self.begin_to_wait() else {
            return Poll::Ready(Err(self.refusal()));
        };
        let result = ready!(output.find(held).poll(held.is_ready(), cx));
        Poll::Ready(result.expect("a task was polled again after it gave its result"))
    }

    /// Asks this task where it waits; `None` if it has ended, or was refused. See [`Registry::dump`](crate::Registry::dump).
    #[cfg(feature = "dump")]
    pub async fn trace(&self) -> Option<crate::dump::view::TaskDump> {
        use crate::{
            context::{blocked, current::node_of, dumps::DUMP_LIMIT},
            dump::collect,
        };
        let node = node_of(self.held()?.owner()?)?;
        let table = Arc::clone(&node.table);
        let task = table.find_task(self.id())?;
        let core = node.core.upgrade();
        let _watched = core.as_ref().and_then(blocked::watch_dump);
        drop(core);
        let dump = collect::dump(table, vec![task], Vec::new(), DUMP_LIMIT).await;
        dump.tasks.into_iter().next()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((held, output)) = self.begin_to_wait() else {
            ready!(poll_proceed(cx)).made_progress();
            return Poll::Ready(Err(self.refusal()));
        };
        let is_ready = held.is_ready();
        if is_ready {
            // Awaiting one finished task after the other lets others run now and then.
            ready!(poll_proceed(cx)).made_progress();
        }
        let result = ready!(waiting(cx, For::Task(&**held), |cx| {
            output.find(held).poll(is_ready, cx)
        }));
        Poll::Ready(result.expect("a task was polled again after it gave its result"))
    }
}

/// One that waits for the end of a task, and leaves the output to others.
struct Watch<'a, T> {
    task: &'a Task<T>,
    /// Under which its waker is kept, if it is.
    key: Option<usize>,
}

impl<T> Watch<'_, T> {
    fn output(&self) -> Option<(&TaskHandle, &Output<T>)> {
        match &self.task.0 {
            Inner::Accepted { held, output, .. } => {
                let held = held.as_ref()?;
                Some((held, output.find(held)))
            }
            Inner::Refused { .. } => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut key = self.key;
        let polled = match self.output().filter(|(held, _)| !held.is_ready()) {
            Some((held, output)) => {
                let watch = |cx: &mut Context<'_>| output.watch(&mut key, held, cx);
                waiting(cx, For::Task(&**held), watch)
            }
            None => poll_proceed(cx).map(|coop| coop.made_progress()),
        };
        self.key = key;
        polled
    }
}

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if let (Some(key), Some((_, output))) = (self.key, self.output()) {
            output.unwatch(key);
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Inner::Accepted {
            held,
            output,
            has_waited,
        } = &mut self.0
        {
            if let Some(held) = held.take() {
                Output::abandon(held, output, *has_waited);
            }
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// A [`Task`] that is aborted when this is dropped. Made by [`Task::abort_on_drop`].
///
/// It is awaited like the task, and has its methods. [`detach`](Self::detach) gives the task back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::{future::pending, time::Duration};
/// let ctx = headcount::Registry::new().context("ctx");
/// let lookup = ctx.task("lookup").spawn(pending::<()>()).abort_on_drop();
/// let answer = tokio::time::timeout(Duration::from_secs(1), lookup).await;
/// assert!(answer.is_err()); // the task was dropped with the timeout
///
/// drop(ctx.spawn(async {}).abort_on_drop().detach()); // this one runs on
/// let report = ctx.close().await;
/// assert_eq!((report.aborted(), report.forced(), report.finished()), (1, 0, 1));
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut task` and dropping that future loses nothing, and aborts nothing.
#[must_use = "the task is aborted when this is dropped"]
pub struct AbortOnDrop<T> {
    /// `None` once it was detached.
    task: Option<Task<T>>,
}

impl<T> AbortOnDrop<T> {
    pub(crate) fn new(task: Task<T>) -> Self {
        Self { task: Some(task) }
    }

    /// The handle alone; dropping that leaves the task running.
    pub fn detach(mut self) -> Task<T> {
        self.task.take().expect("it is detached once")
    }
}

impl<T> Deref for AbortOnDrop<T> {
    type Target = Task<T>;

    fn deref(&self) -> &Task<T> {
        self.task
            .as_ref()
            .expect("it is there until it is detached")
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut();
        Pin::new(task.expect("it is there until it is detached")).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take().filter(|task| !task.is_finished()) {
            task.abort();
        }
    }
}

impl<T> fmt::Debug for AbortOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortOnDrop").field(&self.task).finish()
    }
}

/// A place for one result between a task and its handle. Which of them comes first is decided by the
/// holds on the task's slot: the one that comes second sees the other, and the result is claimed, or
/// dropped, exactly once. A task whose handle was dropped before needs no place at all.
#[derive(Debug)]
pub(crate) struct Output<T>(Mutex<OutputState<T>>);

/// Where the output of a task goes.
pub(crate) trait Outlet {
    type Output;

    /// What the end of the task is checked for.
    type Check: EndCheck<Self::Output>;

    fn output<'a>(&'a self, task: &'a TaskOwner) -> &'a Output<Self::Output>;
}

/// The output lies with the entry of the task.
pub(crate) struct Together<T, C>(PhantomData<fn(T, C)>);

impl<T, C> Together<T, C> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Send + 'static, C: EndCheck<T>> Outlet for Together<T, C> {
    type Output = T;
    type Check = C;

    fn output<'a>(&'a self, task: &'a TaskOwner) -> &'a Output<T> {
        task.aside().output(Output::new)
    }
}

/// The output lies by itself, because it may not leave its thread.
pub(crate) struct Apart<T, C>(Arc<Output<T>>, PhantomData<fn(C)>);

impl<T, C> Apart<T, C> {
    pub(crate) fn new(output: &Arc<Output<T>>) -> Self {
        Self(Arc::clone(output), PhantomData)
    }
}

impl<T, C: EndCheck<T>> Outlet for Apart<T, C> {
    type Output = T;
    type Check = C;

    fn output<'a>(&'a self, _: &'a TaskOwner) -> &'a Output<T> {
        &self.0
    }
}

/// Where the output of a task comes from.
pub(crate) enum Whereabouts<T> {
    /// With the task's entry, which finds or makes it.
    Entry(fn(&TaskAside) -> &Output<T>),
    /// By itself, because it may not leave its thread.
    Apart(Arc<Output<T>>),
}

impl<T: Send + 'static> Whereabouts<T> {
    pub(crate) fn entry() -> Self {
        Self::Entry(|task| task.output(Output::new))
    }
}

impl<T> Whereabouts<T> {
    #[inline]
    pub(crate) fn find<'a>(&'a self, task: &'a impl Hold<Entry = TaskEntry>) -> &'a Output<T> {
        match self {
            Self::Entry(find) => find(task.aside()),
            Self::Apart(output) => output,
        }
    }
}

#[derive(Debug)]
enum OutputState<T> {
    Empty,
    /// The handle waits.
    Waiting(Waker),
    /// Others wait for the end as well.
    Watched(Box<Watched>),
    /// Errors are boxed, because they are rare, and a place is part of many tasks.
    Done(Result<T, Box<TaskError>>),
    /// The same, of a task that failed.
    Failed(Box<FailedOutput<T>>),
}

/// The result of a task that failed, and the failure that is seen once the result is taken.
#[derive(Debug)]
struct FailedOutput<T> {
    result: Result<T, TaskError>,
    failure: Unseen,
}

/// A failure that is not seen unless its result is taken.
#[derive(Debug)]
struct Unseen(Failure);

impl Drop for Unseen {
    fn drop(&mut self) {
        self.0.note_unseen();
    }
}

/// Wakers of those that wait for a task.
#[derive(Debug, Default)]
struct Watched {
    /// The handle's, if it waits.
    handle: Option<Waker>,
    others: Slab<Waker>,
}

impl<T> OutputState<T> {
    /// The wakers of those that wait, with room for one more; `None` once the result is there.
    fn watched(&mut self) -> Option<&mut Watched> {
        if matches!(self, Self::Empty | Self::Waiting(_)) {
            let handle = match mem::replace(self, Self::Empty) {
                Self::Waiting(waker) => Some(waker),
                _ => None,
            };
            let others = Slab::new();
            *self = Self::Watched(Box::new(Watched { handle, others }));
        }
        match self {
            Self::Watched(watched) => Some(watched),
            _ => None,
        }
    }

    fn wake(self) {
        match self {
            Self::Waiting(waker) => panics::contain(|| waker.wake()),
            Self::Watched(watched) => {
                let Watched { handle, others } = *watched;
                let others = others.into_iter().map(|(_, waker)| waker);
                for waker in handle.into_iter().chain(others) {
                    panics::contain(|| waker.wake());
                }
            }
            Self::Empty | Self::Done(_) | Self::Failed(_) => {}
        }
    }
}

impl<T> Output<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(OutputState::Empty))
    }

    /// The task's part, once, when it has left the list. Never panics, whatever
    /// wakers and destructors do.
    #[inline]
    pub(crate) fn deliver(
        &self,
        result: Result<T, TaskError>,
        failure: Option<Failure>,
        owner: &TaskOwner,
    ) {
        let done = match failure {
            None => OutputState::Done(result.map_err(Box::new)),
            Some(failure) => {
                let failure = Unseen(failure);
                OutputState::Failed(Box::new(FailedOutput { result, failure }))
            }
        };
        let before = mem::replace(&mut *lock(&self.0), done);
        if !owner.make_ready() {
            panics::discard(self.take());
        }
        before.wake();
    }

    /// The handle's part, once. `has_waited` if it was ever polled: then there may be a waker.
    #[inline]
    pub(crate) fn abandon(held: TaskHandle, place: &Whereabouts<T>, has_waited: bool) {
        if has_waited {
            panics::discard(place.find(&held).take());
        }
        if let Err(held) = held.release_unready() {
            panics::discard(place.find(&held).take());
        }
    }

    /// Waits for the result without taking it. `key` is under which the waker is kept meanwhile.
    fn watch(&self, key: &mut Option<usize>, held: &TaskHandle, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = Some(cx.waker().clone());
        let mut place = lock(&self.0);
        let is_waiting = match (place.watched(), waker.take()) {
            (Some(watched), Some(new)) => {
                match key.and_then(|key| watched.others.get_mut(key)) {
                    Some(known) => waker = Some(mem::replace(known, new)),
                    None => *key = Some(watched.others.insert(new)),
                }
                true
            }
            (_, unused) => {
                waker = unused;
                false
            }
        };
        drop(place);
        if let Some(waker) = waker.take_if(|_| !is_waiting && !held.is_ready()) {
            // The task is just delivering its result, and wakes none that come now.
            panics::contain(|| waker.wake());
            return Poll::Pending;
        }
        panics::discard(waker);
        if is_waiting {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Forgets the waker under this key.
    fn unwatch(&self, key: usize) {
        let waker = match &mut *lock(&self.0) {
            OutputState::Watched(watched) => watched.others.try_remove(key),
            _ => None,
        };
        panics::discard(waker);
    }

    fn take(&self) -> OutputState<T> {
        mem::replace(&mut *lock(&self.0), OutputState::Empty)
    }

    /// The result, once it is there. After that there is none.
    #[inline]
    pub(crate) fn poll(
        &self,
        is_ready: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, TaskError>>> {
        // Made before the lock is taken and dropped after it is let go: wakers are user code (I9).
        let mut waker = (!is_ready).then(|| cx.waker().clone());
        let mut place = lock(&self.0);
        let before = match (&mut *place, waker.take()) {
            (OutputState::Empty | OutputState::Waiting(_), Some(waker)) => {
                mem::replace(&mut *place, OutputState::Waiting(waker))
            }
            (OutputState::Watched(watched), Some(new)) => {
                waker = watched.handle.replace(new);
                OutputState::Empty
            }
            (_, unused) => {
                waker = unused;
                mem::replace(&mut *place, OutputState::Empty)
            }
        };
        let is_waiting = matches!(*place, OutputState::Waiting(_) | OutputState::Watched(_));
        drop(place);
        panics::discard(waker);
        match before {
            OutputState::Done(result) => Poll::Ready(Some(result.map_err(|error| *error))),
            OutputState::Failed(failed) => {
                failed.failure.0.note_seen();
                Poll::Ready(Some(failed.result))
            }
            before => {
                panics::discard(before);
                if is_waiting {
                    Poll::Pending
                } else {
                    Poll::Ready(None)
                }
            }
        }
    }
}
