//! Where the running code belongs: the context, and the task, of this poll.
//!
//! Scopes nest as polls do, so a thread has a stack of them. A scope travels by value: a poll moves it
//! onto the stack and takes it off again, so entering costs no reference count.

use crate::{context::core::Node, table::record::Record};
use std::{
    any::Any,
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Whose code is running.
#[derive(Clone)]
pub(crate) enum Scope {
    /// The body of `Registry::scope`: it belongs to nobody, and means this registry.
    Registry(Arc<Node>),
    /// A hook's.
    Hook(Arc<Node>),
    /// A task's.
    Task(Arc<dyn InTask>),
}

/// A task, as its own code sees it.
pub(crate) trait InTask: Record {
    fn node(&self) -> &Arc<Node>;
    /// It is polled, or its closure runs.
    fn start(&self);
    /// How it is to be settled when it ends.
    fn terms(&self) -> Terms;
    /// The place for its output, if that lies with the task.
    fn output(&self) -> Option<&dyn Any>;
}

/// What has to be done when a task ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// A shell of it stays in the context's task sets.
    pub(crate) is_pooled: bool,
    /// It may be the latest of its name.
    pub(crate) supersedes: bool,
}

impl Scope {
    fn node(&self) -> &Arc<Node> {
        match self {
            Self::Registry(node) | Self::Hook(node) => node,
            Self::Task(task) => task.node(),
        }
    }

    /// Whether a close of this context would wait for the code in this scope.
    fn is_awaited_by(&self, node: &Node) -> bool {
        !matches!(self, Self::Registry(_)) && self.node().is_inside(node)
    }
}

thread_local! {
    static SCOPES: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` in `scope`; the scope comes back when it is done, or unwinds. While the thread is being
/// torn down there is no stack, and code runs without a scope.
pub(crate) fn enter<R>(scope: &mut Option<Scope>, body: impl FnOnce() -> R) -> R {
    let _entered = Entered::new(scope);
    body()
}

/// Puts the scope on the stack, and takes it off again when dropped.
struct Entered<'a>(&'a mut Option<Scope>);

impl<'a> Entered<'a> {
    fn new(scope: &'a mut Option<Scope>) -> Self {
        let _ = SCOPES.try_with(|scopes| scopes.borrow_mut().extend(scope.take()));
        Self(scope)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.0.is_none() {
            *self.0 = SCOPES
                .try_with(|scopes| scopes.borrow_mut().pop())
                .ok()
                .flatten();
        }
    }
}

/// Reads the innermost node, if there is one.
pub(crate) fn with_node<R>(read: impl FnOnce(&Arc<Node>) -> R) -> Option<R> {
    let read =
        |scopes: &RefCell<Vec<Scope>>| scopes.borrow().last().map(|scope| read(scope.node()));
    SCOPES.try_with(read).ok().flatten()
}

/// Whether the running code belongs to this context or to a descendant of it, so that waiting for its
/// close would be waiting for oneself (I10). Outer scopes count: they wait for the inner ones.
pub(crate) fn is_inside(node: &Node) -> bool {
    let is_inside = |scopes: &RefCell<Vec<Scope>>| {
        scopes
            .borrow()
            .iter()
            .any(|scope| scope.is_awaited_by(node))
    };
    SCOPES.try_with(is_inside).unwrap_or(false)
}

pin_project_lite::pin_project! {
    /// A future that runs in a scope, wherever it is polled, and is dropped in it.
    pub(crate) struct Scoped<F> {
        #[pin]
        future: Option<F>,
        scope: Option<Scope>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            enter(this.scope, || this.future.set(None));
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(scope: Scope, future: F) -> Self {
        Self {
            future: Some(future),
            scope: Some(scope),
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this
            .future
            .as_pin_mut()
            .expect("it is there until it is dropped");
        enter(this.scope, || future.poll(cx))
    }
}
