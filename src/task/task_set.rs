//! [`TaskSet`]: tasks of one context, joined in the order in which they end.

use crate::{
    context::state::Node,
    error::TaskError,
    id::ResourceId,
    name::{Name, label},
    panics,
    task::{abort::AbortHandle, builder::TaskBuilder, handle::Task},
};
use slab::Slab;
use std::{
    fmt,
    future::poll_fn,
    panic::resume_unwind,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Tasks of one context, which are joined in the order in which they end: what tokio's
/// [`JoinSet`](tokio::task::JoinSet) offers. Made by [`Context::join_set`](crate::Context::join_set).
///
/// The tasks are the context's: they are listed and counted as others are, and its close awaits them. The set holds their
/// handles, so it keeps each output until that is joined. Dropping the set aborts its tasks;
/// [`detach_all`](Self::detach_all) lets them run on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("crawler");
/// let mut pages = ctx.join_set();
/// for page in 1..=3_u64 {
///     pages.spawn(async move { page * page });
/// }
/// // With settings: any task can be added.
/// pages.insert(ctx.task("last page").cancellable().spawn(async { 16 }));
///
/// let mut sum = 0;
/// while let Some(page) = pages.join_next().await {
///     sum += page.unwrap();
/// }
/// assert_eq!(sum, 30);
/// assert_eq!(ctx.close().await.finished(), 4);
/// # }
/// ```
///
/// # After the end of the context or the runtime
///
/// The set does not keep its context open (I3). What is spawned when that is closing, closed or gone is joined as
/// [`TaskError::Refused`]; tasks that end with their runtime are joined as [`TaskError::Aborted`].
///
/// # Performance
///
/// One allocation and one message for each task: joining the next one takes the same time however many there are.
#[must_use = "dropping a set aborts its tasks"]
pub struct TaskSet<T> {
    /// The identity of the context, not a handle (I3).
    node: Arc<Node>,
    members: Slab<Member<T>>,
    /// `None` only while the set is dropped.
    queue: Option<Queue>,
}

/// The keys of members that have ended, in that order. It has the waker of the code that joins.
struct Queue {
    ended: UnboundedReceiver<usize>,
    sender: UnboundedSender<usize>,
}

struct Member<T> {
    task: Task<T>,
    /// Of a task that had ended when it was added.
    result: Option<Result<T, TaskError>>,
    /// What the task wakes at its end.
    waker: Waker,
}

/// Says that a member has ended.
struct HasEnded {
    key: usize,
    sender: UnboundedSender<usize>,
}

impl Wake for HasEnded {
    fn wake(self: Arc<Self>) {
        // A set that is gone does not listen any more. The waker of the code that joins may panic.
        panics::contain(|| {
            let _ = self.sender.send(self.key);
        });
    }
}

impl<T> TaskSet<T> {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let (sender, ended) = unbounded_channel();
        Self {
            node,
            members: Slab::new(),
            queue: Some(Queue { ended, sender }),
        }
    }

    fn queue(&mut self) -> &mut Queue {
        self.queue
            .as_mut()
            .expect("it is there until it is dropped")
    }

    /// How many tasks are in it, those included that have ended and were not joined.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Spawns a future on the context, as [`Context::spawn`](crate::Context::spawn) does.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: the context remembers none and none is on this thread.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let task = TaskBuilder::weak(&self.node, None).spawn(future);
        self.insert(task)
    }

    /// As [`spawn`](Self::spawn), under this name. For other settings see [`insert`](Self::insert).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_named<F>(&mut self, name: impl Into<Name>, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let task = TaskBuilder::weak(&self.node, Some(label(name.into()))).spawn(future);
        self.insert(task)
    }

    /// Runs a closure on the runtime's blocking threads, as [`Context::spawn_blocking`](crate::Context::spawn_blocking) does.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, closure: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let task = TaskBuilder::weak(&self.node, None).spawn_blocking(closure);
        self.insert(task)
    }

    /// Spawns a future that may not leave this thread, as [`Context::spawn_local`](crate::Context::spawn_local) does.
    ///
    /// # Panics
    ///
    /// Outside a [`LocalSet`](tokio::task::LocalSet) and a [`LocalRuntime`](tokio::runtime::LocalRuntime).
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let task = TaskBuilder::weak(&self.node, None).spawn_local(future);
        self.insert(task)
    }

    /// Adds a task that was spawned before, with whatever settings. One of another context is still that one's.
    pub fn insert(&mut self, mut task: Task<T>) -> AbortHandle {
        let handle = task.abort_handle();
        let sender = self.queue().sender.clone();
        let entry = self.members.vacant_entry();
        let key = entry.key();
        let waker = Waker::from(Arc::new(HasEnded { key, sender }));
        // Polled now, so that its end is noted in its turn among those of others.
        let polled = task.poll_result(&mut Context::from_waker(&waker));
        let result = match polled {
            Poll::Ready(result) => {
                waker.wake_by_ref();
                Some(result)
            }
            Poll::Pending => None,
        };
        entry.insert(Member {
            task,
            result,
            waker,
        });
        handle
    }

    /// Waits for the next task to end, and returns its result; `None` if there is none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn join_next(&mut self) -> Option<Result<T, TaskError>> {
        self.join_next_with_id().await.map(|(_, result)| result)
    }

    /// As [`join_next`](Self::join_next), with the id of the task.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn join_next_with_id(&mut self) -> Option<(ResourceId, Result<T, TaskError>)> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// As [`join_next`](Self::join_next), for code that polls.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        let polled = self.poll_join_next_with_id(cx);
        polled.map(|next| next.map(|(_, result)| result))
    }

    /// As [`join_next_with_id`](Self::join_next_with_id), for code that polls.
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(ResourceId, Result<T, TaskError>)>> {
        while !self.members.is_empty() {
            let key = ready!(self.queue().ended.poll_recv(cx));
            let ended = key.and_then(|key| self.take_ended(key));
            if ended.is_some() {
                return Poll::Ready(ended);
            }
        }
        Poll::Ready(None)
    }

    /// The result of a task that has ended, in the order of their ends; `None` if none has, or there is none.
    pub fn try_join_next(&mut self) -> Option<Result<T, TaskError>> {
        self.try_join_next_with_id().map(|(_, result)| result)
    }

    /// As [`try_join_next`](Self::try_join_next), with the id of the task.
    pub fn try_join_next_with_id(&mut self) -> Option<(ResourceId, Result<T, TaskError>)> {
        while let Ok(key) = self.queue().ended.try_recv() {
            let ended = self.take_ended(key);
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    /// Waits for all tasks, and returns their outputs in the order in which they ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the set, and aborts its tasks.
    ///
    /// # Panics
    ///
    /// If a task has no output, as tokio's does: with the task's own panic if it panicked. The other tasks are aborted then.
    /// [`join_next`](Self::join_next) returns errors.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                Err(error) => panic!("a task that is joined has no output: {error}"),
            }
        }
        outputs
    }

    /// Aborts all tasks. They stay in the set, and are joined as [`TaskError::Aborted`] unless they end before.
    pub fn abort_all(&mut self) {
        for (_, member) in &self.members {
            member.task.abort();
        }
    }

    /// Removes all tasks from the set, and lets them run on: their outputs are dropped, and the close of their context awaits
    /// them.
    pub fn detach_all(&mut self) {
        // With a queue of its own, which no task that was in it before knows.
        let emptied = Self::new(Arc::clone(&self.node));
        let mut before = std::mem::replace(self, emptied);
        before.members.drain().for_each(Member::discard);
    }

    /// Aborts all tasks, and waits until they have ended. Results are dropped, those of panics as well.
    ///
    /// # Cancel safety
    ///
    /// The tasks are aborted with the first poll; those that were not joined when it is dropped stay in the set.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// The result of a member that is said to have ended.
    fn take_ended(&mut self, key: usize) -> Option<(ResourceId, Result<T, TaskError>)> {
        let member = self.members.get_mut(key)?;
        let polled = match member.result.take() {
            Some(result) => Poll::Ready(result),
            None => member
                .task
                .poll_result(&mut Context::from_waker(&member.waker)),
        };
        // Pending after a wake that means nothing.
        let Poll::Ready(result) = polled else {
            return None;
        };
        let member = self.members.remove(key);
        Some((member.task.id(), result))
    }
}

impl<T> Member<T> {
    /// Drops the handle, and a result that was not joined.
    fn discard(self) {
        panics::discard(self);
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        for member in self.members.drain() {
            member.task.abort();
            member.discard();
        }
        panics::discard(self.queue.take());
    }
}

impl<T> fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet")
            .field("context", &self.node.meta.name)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
