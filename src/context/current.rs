//! Where the running code belongs: the context, and the task, of this poll.
//!
//! The scope travels by value: a poll moves it into the thread's slot and takes it out again, so
//! entering costs no reference count.

use crate::{context::core::Node, table::record::Record};
use std::{cell::RefCell, sync::Arc};

/// Whose code is running.
#[derive(Clone)]
pub(crate) enum Scope {
    /// A hook's, or the body of `Registry::scope`.
    Context(Arc<Node>),
    /// A task's.
    Task(Arc<dyn InTask>),
}

/// A task, as its own code sees it.
pub(crate) trait InTask: Record {
    fn node(&self) -> &Arc<Node>;
}

impl Scope {
    pub(crate) fn node(&self) -> &Arc<Node> {
        match self {
            Self::Context(node) => node,
            Self::Task(task) => task.node(),
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Runs `body` with `scope` as the current one; the scope comes back when it is done, or unwinds.
pub(crate) fn enter<R>(scope: &mut Option<Scope>, body: impl FnOnce() -> R) -> R {
    let _entered = Entered::new(scope);
    body()
}

/// Swaps the scope in, and out again when dropped. While the thread is being torn down there is no
/// slot, and code runs without a scope.
struct Entered<'a>(&'a mut Option<Scope>);

impl<'a> Entered<'a> {
    fn new(scope: &'a mut Option<Scope>) -> Self {
        swap(scope);
        Self(scope)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(scope: &mut Option<Scope>) {
    let _ = CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), scope));
}

/// Reads the current node, if there is one.
pub(crate) fn with_node<R>(read: impl FnOnce(&Arc<Node>) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(|scope| read(scope.node())))
        .ok()
        .flatten()
}

/// Whether the running code belongs to this context or to a descendant of it (I10).
pub(crate) fn is_inside(node: &Node) -> bool {
    with_node(|current| current.is_inside(node)).unwrap_or(false)
}

pin_project_lite::pin_project! {
    /// A future that runs in a scope, wherever it is polled.
    pub(crate) struct Scoped<F> {
        #[pin]
        future: F,
        scope: Option<Scope>,
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(scope: Scope, future: F) -> Self {
        Self {
            future,
            scope: Some(scope),
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        let this = self.project();
        enter(this.scope, || this.future.poll(cx))
    }
}
