//! [`WeakContext`]: the handle that holds nothing open.

use crate::{
    context::{current, state::Node},
    holders::view::Holders,
    id::ResourceId,
    panics,
    poll::waiting::{For, waiting},
    table::{record::State, resource},
};
use futures::{FutureExt, future::Fuse};
use std::{fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll};

/// A handle to a context that does not keep it open, for tasks and for code that only wants to know.
///
/// Name, path and state stay readable after the context is gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, State};
/// let ctx = Registry::new().context("ctx");
/// let weak = ctx.downgrade();
/// assert!(weak.upgrade().is_some());
/// ctx.close().await;
/// drop(ctx);
/// assert!(weak.upgrade().is_none());
/// assert_eq!((weak.name(), weak.state()), ("ctx", State::Closed));
/// # }
/// ```
#[derive(Clone)]
pub struct WeakContext {
    node: Arc<Node>,
}

impl WeakContext {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The id of the context.
    pub fn id(&self) -> ResourceId {
        self.node.meta.id
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.node.meta.name
    }

    /// Names from the outermost context down to this one, joined by `/`.
    pub fn path(&self) -> String {
        resource::path(&*self.node)
    }

    /// `Open`, `Closing` or `Closed`. Two atomic loads.
    pub fn state(&self) -> State {
        self.node.state()
    }

    /// Whether the close has begun. Two atomic loads, no lock.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Waits until the context is closed, without holding it open meanwhile. From inside it
    /// waits until the close has begun.
    ///
    /// Unlike [`Context::closed`](crate::Context::closed) it brings no runtime to a close that lost its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn closed(&self) {
        let node = &self.node;
        let mut outside = pin!(self.closed_outside().fuse());
        let closed = poll_fn(|cx| {
            // Asked at each poll: what was begun outside may be awaited inside.
            if node.is_cancelled() && current::is_inside(node) {
                // The waker that it was polled with outside goes with it, and may panic.
                panics::contain(|| outside.set(Fuse::terminated()));
                return Poll::Ready(());
            }
            outside.as_mut().poll(cx)
        });
        closed.await;
    }

    async fn closed_outside(&self) {
        loop {
            let mut changed = pin!(self.node.changed.notified());
            changed.as_mut().enable();
            if self.node.report.get().is_some() {
                return;
            }
            let what = For::Close(&*self.node, self.node.is_cancelled());
            poll_fn(|cx| waiting(cx, what, |cx| changed.as_mut().poll(cx))).await;
        }
    }

    /// Who holds this context open; see [`Context::holders`](crate::Context::holders).
    pub fn holders(&self) -> Holders {
        Holders::of(&*self.node, self.node.table.table_ref())
    }

    /// Runs a future until it ends or the token is cancelled, whichever comes first; `None` if the
    /// token was. The future is dropped then.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        self.node.token.run_until_cancelled(future).await
    }

    /// Waits until the context's token is cancelled, which it is at the latest when it is closed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) {
        self.node.token.cancelled().await;
    }

    /// As [`cancelled`](Self::cancelled), as a future that borrows nothing.
    pub fn cancelled_owned(&self) -> impl Future<Output = ()> + use<> {
        self.node.token.clone().cancelled_owned()
    }
}

impl fmt::Debug for WeakContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakContext")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
