//! Who holds a context.

use crate::{
    context::{handle::Context, weak::WeakContext},
    holders::{
        inside::{self, Container},
        view::Holders,
    },
    poll::scope,
};

impl Context {
    /// Who holds this context open: every handle that is written down, reconciled with the real number.
    ///
    /// Looks at each handle, and takes a lock that handles of this context take as well.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Level, Registry};
    /// let registry = Registry::new();
    /// registry.set_level(Level::Holders);
    /// let ctx = registry.context("ctx");
    /// let weak = ctx.downgrade();
    /// ctx.task("pinner").spawn(async move {
    ///     let _pinned = weak.upgrade();
    ///     std::future::pending::<()>().await
    /// });
    /// tokio::task::yield_now().await;
    ///
    /// let holders = ctx.holders();
    /// assert_eq!(holders.strong_count(), 2);
    /// assert_eq!(holders.iter().nth(1).unwrap().task_name(), Some("pinner"));
    /// # }
    /// ```
    pub fn holders(&self) -> Holders {
        Holders::of(&**self.node(), self.node().table.table_ref())
    }

    /// Declares that this handle lies inside another thing that is listed, so that a leak report can follow
    /// the chain. Does nothing for a handle that is not written down.
    pub fn held_by(&self, keeper: &(impl Container + ?Sized)) {
        if self.hold().is_tracked() {
            self.node().ledger.put(self.hold(), inside::inside(keeper));
        }
    }

    /// Notes that this handle is in use, now and by the running task, for
    /// [`Holder::last_touch`](crate::Holder::last_touch) (about 50 ns if it is written down, else a branch).
    /// Waiting through it, as with [`cancelled`](Self::cancelled), notes the same.
    #[inline]
    pub fn touch(&self) {
        if self.hold().is_tracked() {
            self.node().ledger.touch(self.hold(), scope::acquirer);
        }
    }

    /// Crosses the handle out, if it is written down; says under which number.
    #[inline]
    pub(crate) fn cross_out(&self) -> Option<usize> {
        let is_tracked = self.hold().is_tracked();
        is_tracked.then(|| self.node().ledger.remove(self.hold()))?
    }
}

inside::keepers!(Context, WeakContext);
