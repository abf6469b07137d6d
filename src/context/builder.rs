//! Opening a context with settings.

use crate::{
    context::{
        core::{Core, Limits},
        handle::Context,
        tree::{self, Spec},
    },
    error::ClosedError,
    name::{Label, Name, label},
    table::record::Facts,
};
use std::{fmt, panic::Location, sync::Arc, time::Duration};

/// Opens a context with settings of its own. Made by [`Context::child_builder`] and
/// [`Registry::context_builder`](crate::Registry::context_builder).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// let registry = headcount::Registry::new();
/// let db = registry.context_builder("db").kind("pool").grace(Duration::from_secs(30)).open();
/// assert_eq!(registry.live().await.find("db").unwrap().kind(), "pool");
/// db.close().await;
/// # }
/// ```
#[must_use = "a builder opens nothing until `open`"]
pub struct ContextBuilder<'a> {
    parent: &'a Arc<Core>,
    name: Label,
    kind: Label,
    location: &'static Location<'static>,
    limits: Limits,
    close_on_panic: bool,
}

impl<'a> ContextBuilder<'a> {
    pub(crate) fn new(
        parent: &'a Arc<Core>,
        name: Label,
        location: &'static Location<'static>,
    ) -> Self {
        let kind = Label::borrowed("context");
        Self {
            parent,
            name,
            kind,
            location,
            limits: parent.limits,
            close_on_panic: false,
        }
    }

    /// The kind it is listed under; `context` otherwise.
    pub fn kind(mut self, kind: impl Into<Name>) -> Self {
        self.kind = label(kind.into());
        self
    }

    /// How long a close waits for tasks that were cancelled before it aborts them; inherited, 5 s at
    /// the outermost. Zero aborts at once, [`Duration::MAX`] never.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits.grace = grace;
        self
    }

    /// How long each hook may run before it is dropped; inherited, 5 s at the outermost. Zero lets a
    /// hook run to its first wait, [`Duration::MAX`] for ever.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.limits.hook = limit;
        self
    }

    /// Closes the context, with the reason [`Panic`](crate::CloseReason::Panic), as soon as one of its
    /// tasks panics. Otherwise a panic is the business of the task's handle alone (I12).
    pub fn close_on_panic(mut self, close: bool) -> Self {
        self.close_on_panic = close;
        self
    }

    /// Opens the context. If the parent is closing or closed it is closed from the start.
    #[must_use = "a context closes when its last handle is dropped"]
    pub fn open(self) -> Context {
        let location = self.location;
        Context::counted(self.enter().0, location)
    }

    /// Opens the context, unless the parent is closing or closed.
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is.
    pub fn try_open(self) -> Result<Context, ClosedError<()>> {
        let location = self.location;
        let (core, accepted) = self.enter();
        let context = Context::counted(core, location);
        if accepted {
            Ok(context)
        } else {
            Err(ClosedError(()))
        }
    }

    /// Into the tree; says whether the parent accepted it.
    fn enter(self) -> (Arc<Core>, bool) {
        let facts = Facts {
            name: self.name,
            kind: self.kind,
            location: self.location,
        };
        let spec = Spec {
            facts,
            limits: self.limits,
            close_on_panic: self.close_on_panic,
        };
        tree::open(self.parent, spec)
    }
}

impl Context {
    /// Opens a child context.
    ///
    /// It lives as long as somebody holds a handle to it: the parent closes it, but does not hold it
    /// open. If this context is closing or closed, the child is closed from the start; see
    /// [`try_child`](Self::try_child).
    #[must_use = "a child closes when its last handle is dropped"]
    #[track_caller]
    pub fn child(&self, name: impl Into<Name>) -> Context {
        self.child_builder(name).open()
    }

    /// Opens a child context, unless this one is closing or closed.
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is.
    #[track_caller]
    pub fn try_child(&self, name: impl Into<Name>) -> Result<Context, ClosedError<()>> {
        self.child_builder(name).try_open()
    }

    /// Opens a child context with settings of its own; unset ones are inherited.
    #[must_use = "a builder opens nothing until `open`"]
    #[track_caller]
    pub fn child_builder(&self, name: impl Into<Name>) -> ContextBuilder<'_> {
        ContextBuilder::new(self.core(), label(name.into()), Location::caller())
    }
}

impl fmt::Debug for ContextBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("limits", &self.limits)
            .field("close_on_panic", &self.close_on_panic)
            .finish_non_exhaustive()
    }
}
