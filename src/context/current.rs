//! Where the running code belongs: the context, and the task, of this poll.
//!
//! Whoever runs code for a context says so for as long as that lasts, on its own stack: the thread knows the
//! innermost of these [`Frame`]s, and each knows the one round it. Entering costs two writes, and no
//! reference count.

#![expect(
    unsafe_code,
    reason = "a thread-local cannot have the lifetime of a poll, and `scoped-tls` takes twice as long"
)]

use crate::{
    context::core::Node,
    table::{card::Card, record::Record},
};
use std::{
    cell::Cell,
    iter,
    mem::transmute,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll},
};

/// Whose code a future is.
pub(crate) enum Scope {
    /// The body of `Registry::scope`: it belongs to nobody, and means this registry.
    Registry(Arc<Node>),
    /// A hook's.
    Hook(Arc<Node>),
}

/// Whose code is running.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    Registry(&'a Node),
    Hook(&'a Node),
    Task(&'a Card),
}

/// The context of a task.
#[inline]
pub(crate) fn context_of(task: &Card) -> &Node {
    let context = task.owner().and_then(Record::as_context);
    let node = context.and_then(|context| context.downcast_ref());
    node.expect("a task belongs to a context")
}

impl Scope {
    fn owner(&self) -> Owner<'_> {
        match self {
            Self::Registry(node) => Owner::Registry(node),
            Self::Hook(node) => Owner::Hook(node),
        }
    }
}

impl<'a> Owner<'a> {
    fn node(self) -> &'a Node {
        match self {
            Self::Registry(node) | Self::Hook(node) => node,
            Self::Task(task) => context_of(task),
        }
    }

    /// Whether a close of this context would wait for the code of this owner.
    fn is_awaited_by(self, node: &Node) -> bool {
        !matches!(self, Self::Registry(_)) && self.node().is_inside(node)
    }
}

/// Somebody's code that is running, and the code that runs it.
struct Frame {
    /// In truth it lives as long as the frame.
    owner: Owner<'static>,
    outer: Option<NonNull<Frame>>,
}

thread_local! {
    static INNERMOST: Cell<Option<NonNull<Frame>>> = const { Cell::new(None) };
}

/// Takes a frame off again when dropped.
struct Entered {
    outer: Option<NonNull<Frame>>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// Runs `body` as the code of this owner.
#[inline]
pub(crate) fn enter_as<R>(owner: Owner<'_>, body: impl FnOnce() -> R) -> R {
    let outer = INNERMOST.get();
    let frame = Frame {
        // SAFETY: only the lifetime changes. The frame is seen by this thread alone, which looks at it
        // without keeping it, and not any more when this function ends, or unwinds: until then `owner` is
        // borrowed.
        owner: unsafe { transmute::<Owner<'_>, Owner<'static>>(owner) },
        outer,
    };
    INNERMOST.set(Some(NonNull::from(&frame)));
    let _entered = Entered { outer };
    body()
}

/// Runs `body` in `scope`.
pub(crate) fn enter<R>(scope: &Scope, body: impl FnOnce() -> R) -> R {
    enter_as(scope.owner(), body)
}

/// Looks at the owners of the code that is running, innermost first, until it finds something. What it
/// looks with must not keep them.
fn find<R>(mut look: impl FnMut(Owner<'_>) -> Option<R>) -> Option<R> {
    // SAFETY: a frame is on this thread's stack, and taken off before it goes; the ones round it go later.
    let frame = |frame: &NonNull<Frame>| unsafe { frame.as_ref() };
    let mut frames = iter::successors(INNERMOST.get(), |inner| frame(inner).outer);
    frames.find_map(|one| look(frame(&one).owner))
}

/// Reads the innermost node, if there is one.
pub(crate) fn with_node<R>(read: impl FnOnce(&Node) -> R) -> Option<R> {
    let mut read = Some(read);
    find(|owner| read.take().map(|read| read(owner.node())))
}

/// Whether the running code belongs to this context or to a descendant of it, so that waiting for its
/// close would be waiting for oneself (I10). Outer code counts: it waits for the inner.
pub(crate) fn is_inside(node: &Node) -> bool {
    find(|owner| owner.is_awaited_by(node).then_some(())).is_some()
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
