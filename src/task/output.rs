//! How the result of a task reaches its handle, or is dropped where nobody can claim it.

use crate::{
    error::TaskError,
    panics,
    slab::guard::Hold,
    sync::{Mutex, lock},
    table::task_entry::{TaskAside, TaskEntry, TaskHandle, TaskOwner},
};
use std::{
    marker::PhantomData,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A place for one result between a task and its handle. Which of them comes first is decided by the
/// holds on the task's slot: whoever comes second sees the other, and the result is claimed, or
/// dropped, exactly once. A task whose handle was dropped before needs no place at all.
#[derive(Debug)]
pub(crate) struct Output<T>(Mutex<OutputState<T>>);

/// Where the output of a task goes.
pub(crate) trait Outlet {
    type Output;

    fn output<'a>(&'a self, task: &'a TaskOwner) -> &'a Output<Self::Output>;
}

/// The output lies with the entry of the task.
pub(crate) struct Together<T>(PhantomData<fn(T)>);

impl<T> Together<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Send + 'static> Outlet for Together<T> {
    type Output = T;

    fn output<'a>(&'a self, task: &'a TaskOwner) -> &'a Output<T> {
        task.aside().output(Output::new)
    }
}

/// The output lies by itself, because it may not leave its thread.
pub(crate) struct Apart<T>(pub(crate) Arc<Output<T>>);

impl<T> Outlet for Apart<T> {
    type Output = T;

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
    /// Errors are boxed, because they are rare, and a place is part of many tasks.
    Done(Result<T, Box<TaskError>>),
}

impl<T> Output<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(OutputState::Empty))
    }

    /// The task's part, once, when it has left the list. Never panics, whatever
    /// wakers and destructors do.
    pub(crate) fn deliver(&self, result: Result<T, TaskError>, owner: &TaskOwner) {
        let done = OutputState::Done(result.map_err(Box::new));
        let before = mem::replace(&mut *lock(&self.0), done);
        if !owner.make_ready() {
            panics::discard(self.take());
        }
        if let OutputState::Waiting(waker) = before {
            panics::contain(|| waker.wake());
        }
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
        let before = match (&*place, waker.take()) {
            (OutputState::Empty | OutputState::Waiting(_), Some(waker)) => {
                mem::replace(&mut *place, OutputState::Waiting(waker))
            }
            (_, unused) => {
                waker = unused;
                mem::replace(&mut *place, OutputState::Empty)
            }
        };
        let is_waiting = matches!(*place, OutputState::Waiting(_));
        drop(place);
        panics::discard(waker);
        match before {
            OutputState::Done(result) => Poll::Ready(Some(result.map_err(|error| *error))),
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
