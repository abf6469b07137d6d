//! Where the running code belongs: the context, and the task, of this poll.
//!
//! A scope is borrowed for as long as its code runs: the thread knows where it is, and no more, so entering
//! costs no reference count. Scopes nest as polls do; those round the innermost one, of which there mostly
//! are none, are remembered apart.

use crate::{
    context::core::Node,
    table::{
        card::{Card, CardPlace},
        record::Record,
    },
};
use scoped_tls::scoped_thread_local;
use std::{
    cell::RefCell,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll},
};

/// Whose code is running.
pub(crate) enum Scope {
    /// The body of `Registry::scope`: it belongs to nobody, and means this registry.
    Registry(Arc<Node>),
    /// A hook's.
    Hook(Arc<Node>),
    /// A task's.
    Task(Borrowed),
}

/// A task's place, for as long as [`enter_task`] lasts.
pub(crate) struct Borrowed(NonNull<CardPlace>);

#[expect(
    unsafe_code,
    reason = "scopes of the other kinds travel with their futures"
)]
// SAFETY: it is made by `enter_task` alone, on its stack, and shown to its own thread.
unsafe impl Send for Borrowed {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for Borrowed {}

impl Borrowed {
    #[expect(unsafe_code, reason = "a scope cannot have the lifetime of a poll")]
    fn task(&self) -> &Card {
        // SAFETY: it is made by `enter_task` alone, which borrows the place and ends after everybody who
        // can see the scope: they see it by reference, and none outlives `enter`.
        unsafe { self.0.as_ref() }
    }
}

/// The context of a task.
#[inline]
pub(crate) fn context_of(task: &Card) -> &Node {
    let context = task.owner().and_then(Record::as_context);
    let node = context.and_then(|context| context.downcast_ref());
    node.expect("a task belongs to a context")
}

impl Scope {
    fn node(&self) -> &Node {
        match self {
            Self::Registry(node) | Self::Hook(node) => node,
            Self::Task(task) => context_of(task.task()),
        }
    }

    /// Whether a close of this context would wait for the code in this scope.
    fn is_awaited_by(&self, node: &Node) -> bool {
        !matches!(self, Self::Registry(_)) && self.node().is_inside(node)
    }

    /// The innermost context whose close would wait for the code in this scope.
    fn awaited_by(&self) -> Option<Arc<Node>> {
        (!matches!(self, Self::Registry(_))).then(|| self.node().arc())
    }
}

scoped_thread_local!(static INNERMOST: Scope);

thread_local! {
    /// The contexts that would wait for the scopes round the innermost one, outermost first.
    static OUTER: RefCell<Vec<Option<Arc<Node>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` in `scope`.
#[inline]
pub(crate) fn enter<R>(scope: &Scope, body: impl FnOnce() -> R) -> R {
    let _nested = INNERMOST.is_set().then(Nested::new);
    INNERMOST.set(scope, body)
}

/// Runs a task's code, with the task's own scope.
#[inline]
pub(crate) fn enter_task<R>(place: &CardPlace, body: impl FnOnce() -> R) -> R {
    let scope = Scope::Task(Borrowed(NonNull::from(place)));
    enter(&scope, body)
}

/// Remembers the scope round another one, until dropped.
struct Nested {
    /// False while the thread is being torn down: there is nothing to remember it in.
    is_remembered: bool,
}

impl Nested {
    #[cold]
    fn new() -> Self {
        let outer = INNERMOST.with(Scope::awaited_by);
        let remember = |all: &RefCell<Vec<_>>| all.borrow_mut().push(outer);
        Self {
            is_remembered: OUTER.try_with(remember).is_ok(),
        }
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        if self.is_remembered {
            let _ = OUTER.try_with(|all| all.borrow_mut().pop());
        }
    }
}

/// Reads the innermost node, if there is one.
pub(crate) fn with_node<R>(read: impl FnOnce(&Node) -> R) -> Option<R> {
    INNERMOST
        .is_set()
        .then(|| INNERMOST.with(|scope| read(scope.node())))
}

/// Whether the running code belongs to this context or to a descendant of it, so that waiting for its
/// close would be waiting for oneself (I10). Outer scopes count: they wait for the inner ones.
pub(crate) fn is_inside(node: &Node) -> bool {
    let is_awaited = |scope: &Scope| scope.is_awaited_by(node);
    if INNERMOST.is_set() && INNERMOST.with(is_awaited) {
        return true;
    }
    let is_inside = |outer: &RefCell<Vec<Option<Arc<Node>>>>| {
        let outer = outer.borrow();
        outer.iter().flatten().any(|inner| inner.is_inside(node))
    };
    OUTER.try_with(is_inside).unwrap_or(false)
}

pin_project_lite::pin_project! {
    /// A future that runs in a scope, wherever it is polled, and is dropped in it.
    pub(crate) struct Scoped<F> {
        #[pin]
        future: Option<F>,
        scope: Scope,
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
            scope,
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
