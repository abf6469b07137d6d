//! Where the running code belongs: the context, and the task, of this poll.
//!
//! Scopes nest as polls do, so a thread has a stack of them: the innermost, and those round it, of which
//! there mostly are none. A scope travels by value: a poll moves it in and takes it out again, so
//! entering costs no reference count.

use crate::{
    context::core::Node,
    table::{
        card::{Card, CardPlace},
        record::Record,
    },
};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
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
    Task(CardPlace),
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
            Self::Task(task) => context_of(task),
        }
    }

    /// Whether a close of this context would wait for the code in this scope.
    fn is_awaited_by(&self, node: &Node) -> bool {
        !matches!(self, Self::Registry(_)) && self.node().is_inside(node)
    }
}

thread_local! {
    static INNERMOST: Cell<Option<Scope>> = const { Cell::new(None) };
    /// Those round it, outermost first.
    static OUTER: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` in `scope`; the scope comes back when it is done, or unwinds. While the thread is being
/// torn down there is no stack, and code runs without a scope.
#[inline]
pub(crate) fn enter<R>(scope: &mut Option<Scope>, body: impl FnOnce() -> R) -> R {
    let _entered = Entered::new(scope);
    body()
}

/// Puts the scope on the stack, and takes it off again when dropped.
struct Entered<'a> {
    scope: &'a mut Option<Scope>,
    depth: Depth,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// There is no stack any more: the thread is being torn down.
    Outside,
    First,
    /// Inside another scope, which is among the outer ones meanwhile.
    Nested,
}

impl<'a> Entered<'a> {
    #[inline]
    fn new(scope: &'a mut Option<Scope>) -> Self {
        let depth = INNERMOST.try_with(|innermost| match innermost.take() {
            None => {
                innermost.set(scope.take());
                Depth::First
            }
            outer => nest(innermost, outer, scope),
        });
        Self {
            scope,
            depth: depth.unwrap_or(Depth::Outside),
        }
    }
}

#[cold]
fn nest(innermost: &Cell<Option<Scope>>, outer: Option<Scope>, scope: &mut Option<Scope>) -> Depth {
    if OUTER.try_with(|_| ()).is_err() {
        innermost.set(outer);
        return Depth::Outside;
    }
    let _ = OUTER.try_with(|all| all.borrow_mut().extend(outer));
    innermost.set(scope.take());
    Depth::Nested
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.depth == Depth::Outside {
            return;
        }
        let outer = if self.depth == Depth::Nested {
            take_outer()
        } else {
            None
        };
        let _ = INNERMOST.try_with(|innermost| *self.scope = innermost.replace(outer));
    }
}

#[cold]
fn take_outer() -> Option<Scope> {
    let take = |all: &RefCell<Vec<Scope>>| all.borrow_mut().pop();
    OUTER.try_with(take).ok().flatten()
}

/// Looks at the innermost scope, if there is one.
fn with_innermost<R>(look: impl FnOnce(&Scope) -> R) -> Option<R> {
    INNERMOST
        .try_with(|innermost| {
            let scope = innermost.take();
            let seen = scope.as_ref().map(look);
            innermost.set(scope);
            seen
        })
        .ok()
        .flatten()
}

/// Reads the innermost node, if there is one. `read` must not ask for scopes, nor unwind.
pub(crate) fn with_node<R>(read: impl FnOnce(&Node) -> R) -> Option<R> {
    with_innermost(|scope| read(scope.node()))
}

/// Whether the running code belongs to this context or to a descendant of it, so that waiting for its
/// close would be waiting for oneself (I10). Outer scopes count: they wait for the inner ones.
pub(crate) fn is_inside(node: &Node) -> bool {
    if with_innermost(|scope| scope.is_awaited_by(node)).unwrap_or(false) {
        return true;
    }
    let is_inside = |outer: &RefCell<Vec<Scope>>| {
        let outer = outer.borrow();
        outer.iter().any(|scope| scope.is_awaited_by(node))
    };
    OUTER.try_with(is_inside).unwrap_or(false)
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
