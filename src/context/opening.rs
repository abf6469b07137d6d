//! What makes a first handle: opening a context, and upgrading a weak handle.

use crate::{
    context::{
        builder::ContextBuilder, close_reason::CloseReason, context::Context, weak::WeakContext,
    },
    error::{ClosedError, OpenError},
    name::{Name, label},
};
use std::panic::Location;

/// What opens a context. The settings are in the file of the builder.
impl ContextBuilder<'_> {
    /// Opens the context. Where [`try_open`](Self::try_open) fails it is closed from the start.
    #[must_use = "a context closes when its last handle is dropped"]
    pub fn open(self) -> Context {
        let (core, location, _) = self.enter();
        Context::counted(core, location)
    }

    /// Opens the context, unless the parent is closing or closed, or [full](Self::max_children).
    ///
    /// # Errors
    ///
    /// [`OpenError`], if it is, or if it cannot [need](Self::needs) what it is to need.
    pub fn try_open(self) -> Result<Context, OpenError> {
        let (core, location, opened) = self.enter();
        let context = Context::counted(core, location);
        opened.map(|()| context)
    }

    /// The new context needs this one: that stays open, and accepts work, until the new one is closed, whatever begins
    /// the close: its own, its parent's, the registry's, or the drop of the last handle (I17).
    ///
    /// The new context holds a handle to what it needs, listed as "needed by", and gives it back when it is closed. Closing
    /// what is needed closes those that need it first, with the reason [`Needed`](CloseReason::Needed).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::Registry;
    /// let registry = Registry::new();
    /// let db = registry.context("db");
    /// let jobs = registry.context_builder("jobs").needs(&db).open();
    /// let save = db.downgrade();
    /// let job = jobs.spawn(async move {
    ///     headcount::Context::current().unwrap().cancelled().await;
    ///     save.upgrade().unwrap().spawn(async { "saved" }).await.unwrap()
    /// });
    /// assert!(registry.close().await.is_clean());
    /// assert_eq!(job.await.unwrap(), "saved");
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`try_open`](Self::try_open): [`OpenError::NeedClosed`] if it is closing or closed, or is to close;
    /// [`OpenError::NeedsAncestor`] and [`OpenError::OtherRegistry`]. With [`open`](Self::open) the new context is closed from
    /// the start then.
    pub fn needs(self, context: &Context) -> Self {
        self.needs_core(context.core())
    }
}

/// What needs a strong handle. The rest is in the file of the weak one.
impl WeakContext {
    /// A strong handle, unless the last one is gone. Once that is so, it stays so, also while the
    /// close that follows is still running (I3).
    #[track_caller]
    pub fn upgrade(&self) -> Option<Context> {
        let location = Location::caller();
        // The core first: a counted handle without its core would be a handle to nothing.
        let core = self.node().core.upgrade()?;
        let is_ours = self.node().handles.try_add();
        is_ours.then(|| Context::counted(core, location))
    }

    /// Opens a child context, unless this one is closing, closed or gone. As [`Context::try_child`]; a close that begins
    /// meanwhile closes the child as well.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("server");
    /// let weak = ctx.downgrade();
    /// let conn = weak.try_child("conn-1").unwrap();
    /// assert_eq!(conn.path(), "server/conn-1");
    /// ctx.close().await;
    /// assert!(weak.try_child("conn-2").is_err());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is.
    #[track_caller]
    pub fn try_child(&self, name: impl Into<Name>) -> Result<Context, ClosedError<()>> {
        let location = Location::caller();
        let core = self.node().core.upgrade().ok_or(ClosedError(()))?;
        ContextBuilder::new(&core, label(name.into()), location)
            .try_open()
            .map_err(|_| ClosedError(()))
    }

    /// Begins the close in the background, as [`Context::request_close`]; does nothing if the context
    /// is gone.
    #[track_caller]
    pub fn request_close(&self, reason: impl Into<CloseReason>) {
        if let Some(context) = self.upgrade() {
            context.request_close(reason);
        }
    }
}
