//! The outputs of tasks, and their handles.

use super::{
    destructor::Destructor,
    fate::{DROPPED, FAILED, Fate, RETURNED, STARTED},
    kinds::Kind,
    model::Model,
    panics::{failure, never},
    running::{Running, check_scope},
    world::{WeakCtx, World},
};
use crate::common::Dice;
use headcount::{ResourceId, Task, TaskError};
use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{self, Poll},
};

thread_local! {
    /// How many handles of tasks this thread is dropping: an output may be dropped with them.
    static DROPS_HANDLE: Cell<usize> = const { Cell::new(0) };
}

/// This thread drops handles of tasks until this is dropped.
pub(crate) struct DropsHandle;

impl DropsHandle {
    pub(crate) fn new() -> Self {
        DROPS_HANDLE.set(DROPS_HANDLE.get() + 1);
        Self
    }
}

impl Drop for DropsHandle {
    fn drop(&mut self) {
        DROPS_HANDLE.set(DROPS_HANDLE.get() - 1);
    }
}

/// What a task returns.
pub(crate) struct Output {
    world: Arc<World>,
    destructor: Destructor,
    /// Whose code its destructor is.
    scope: Option<Arc<Model>>,
    is_claimed: AtomicBool,
}

impl Output {
    pub(crate) fn new(
        world: &Arc<World>,
        own: &WeakCtx,
        scope: Option<Arc<Model>>,
        dice: &mut Dice,
    ) -> Self {
        world.counts.outputs.fetch_add(1, SeqCst);
        let scope = scope.filter(|_| world.has(Kind::OutputScope));
        Self {
            world: Arc::clone(world),
            destructor: Destructor::new(world, own, dice),
            scope,
            is_claimed: AtomicBool::new(false),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.world.counts.outputs_dropped.fetch_add(1, SeqCst);
        let is_ours = self.is_claimed.load(SeqCst) || DROPS_HANDLE.get() > 0;
        let scope = self.scope.take().filter(|_| !is_ours);
        if let Some(scope) = &scope {
            check_scope(scope, "the destructor of an output that no handle claims");
        }
        let _running = scope.as_ref().map(Running::new);
        self.destructor.run();
    }
}

/// The handle of a task, with what is known of the task.
pub(crate) struct TaskHandle {
    task: Option<Task<Output>>,
    fate: Arc<Fate>,
}

impl TaskHandle {
    pub(crate) fn new(task: Task<Output>, fate: &Arc<Fate>) -> Self {
        Self {
            task: Some(task),
            fate: Arc::clone(fate),
        }
    }

    /// The task, for others to handle.
    pub(crate) fn into_inner(mut self) -> Option<(Task<Output>, Arc<Fate>)> {
        let task = self.task.take()?;
        Some((task, Arc::clone(&self.fate)))
    }

    pub(crate) fn task(&self) -> &Task<Output> {
        self.task.as_ref().expect("it is there until it is dropped")
    }

    #[cfg(feature = "dump")]
    pub(crate) async fn trace(&self) {
        drop(self.task().trace().await);
    }

    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    /// What is listed under this id while its future is alive.
    pub(crate) fn alive(&self) -> Option<ResourceId> {
        (!self.fate.flags.has(DROPPED)).then(|| self.task().id())
    }
}

impl Future for TaskHandle {
    type Output = Result<Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut().expect("it is there until it is dropped");
        let result = std::task::ready!(Pin::new(task).poll(cx));
        judge(&self.fate, &result);
        Poll::Ready(result)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        let _drops = DropsHandle::new();
        let task = self.task.take();
        never("dropping the handle of a task", || drop(task));
    }
}

/// Whether a result is what happened to the future.
pub(crate) fn judge(fate: &Fate, result: &Result<Output, TaskError>) {
    let flags = &fate.flags;
    let is_right = match result {
        Ok(output) => {
            output.is_claimed.store(true, SeqCst);
            flags.has(RETURNED) && !flags.has(FAILED)
        }
        Err(TaskError::Panicked(..)) => flags.has(FAILED),
        Err(TaskError::Refused) => !flags.has(STARTED),
        Err(_) => !flags.has(RETURNED) && !flags.has(FAILED),
    };
    if !is_right || !flags.has(DROPPED) {
        let result = result.as_ref().map(|_| ());
        failure(format_args!("a task gave {result:?}, but {fate:?}"));
    }
}
