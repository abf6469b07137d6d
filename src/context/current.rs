//! Where the running code belongs: its context, and the futures that say so.

use crate::{
    context::state::Node,
    poll::scope::{self, Owner},
    table::{record::Record, task_entry::TaskEntry},
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Whose code a future is.
pub(crate) enum Scope {
    /// The body of `Registry::scope`: it belongs to no context, and means this registry.
    Registry(Arc<Node>),
    /// A hook's.
    Hook(Arc<Node>),
}

impl Scope {
    fn owner(&self) -> Owner<'_> {
        match self {
            Self::Registry(node) => Owner::Registry(&**node),
            Self::Hook(node) => Owner::Hook {
                context: &**node,
                poll_state: None,
            },
        }
    }
}

/// The context of a task.
#[inline]
pub(crate) fn context_of(task: &TaskEntry) -> &Node {
    let context = task.owner().and_then(node_of);
    context.expect("a task belongs to a context")
}

/// The context that a record is of.
#[inline]
pub(crate) fn node_of(record: &dyn Record) -> Option<&Node> {
    record.as_context()?.downcast_ref()
}

fn node_in(owner: Owner<'_>) -> Option<&Node> {
    match owner {
        Owner::Registry(context) | Owner::Hook { context, .. } => node_of(context),
        Owner::Task(task) => Some(context_of(task)),
    }
}

/// Whether a close of this context would wait for the code of this owner.
fn is_awaited_by(owner: Owner<'_>, node: &Node) -> bool {
    !matches!(owner, Owner::Registry(_)) && node_in(owner).is_some_and(|own| own.is_inside(node))
}

/// Runs `body` in `scope`.
pub(crate) fn enter<R>(scope: &Scope, body: impl FnOnce() -> R) -> R {
    scope::enter_as(scope.owner(), body)
}

/// Reads the innermost node, if there is one.
pub(crate) fn with_node<R>(read: impl FnOnce(&Node) -> R) -> Option<R> {
    let mut read = Some(read);
    scope::find(|owner| node_in(owner).and_then(|node| read.take().map(|read| read(node))))
}

/// Whether the running code belongs to this context or to a descendant of it, so that waiting for its
/// close would be waiting for oneself (I10). Outer code counts: it waits for the inner.
pub(crate) fn is_inside(node: &Node) -> bool {
    scope::find(|owner| is_awaited_by(owner, node).then_some(())).is_some()
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
