//! Opening a context with settings.

use crate::{
    context::{
        close, driver,
        failure::OnFailure,
        report::{CloseReason, CloseReport, CloseStatus},
        state::{ContextOptions, Core, Limits, Node},
        tally::Counts,
    },
    name::{Label, Name, label},
    sync::lock,
    table::record::{Facts, State},
};
use std::{fmt, panic::Location, sync::Arc, time::Duration};

/// Opens a context with settings of its own. Made by [`Context::child_builder`](crate::Context::child_builder) and
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
    on_failure: Option<OnFailure>,
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
            on_failure: None,
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

    /// What the context does when a task fails, in it or in a context below that does not set this itself: see [`OnFailure`].
    /// Unless it is set, the contexts above decide, then the registry, whose default is to report.
    ///
    /// A task fails by a panic, by an error if it is [fallible](crate::TaskBuilder::fallible), and by its end if it is
    /// [essential](crate::TaskBuilder::essential) (I12).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{OnFailure, Registry};
    /// let registry = Registry::new();
    /// let job = registry.context_builder("job").on_failure(OnFailure::Close).open();
    /// job.task("step").fallible().spawn(async { "x".parse::<u8>() });
    /// let report = job.closed().await;
    /// assert_eq!(report.failed(), 1);
    /// assert!(report.reason().to_string().contains("invalid digit"));
    /// # }
    /// ```
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = Some(on_failure);
        self
    }

    /// Opens the context under its parent, with one handle, which was taken at the location that is returned. If the
    /// parent is closing the context is closed from the start, and the last answer is false.
    pub(crate) fn enter(self) -> (Arc<Core>, &'static Location<'static>, bool) {
        let location = self.location;
        let options = ContextOptions {
            facts: Facts {
                name: self.name,
                kind: self.kind,
                location,
            },
            limits: self.limits,
            on_failure: self.on_failure,
        };
        let (core, accepted) = open(self.parent, options);
        (core, location, accepted)
    }
}

fn open(parent: &Arc<Core>, options: ContextOptions) -> (Arc<Core>, bool) {
    match parent.node.gate.enter() {
        Ok(()) => {
            let entered = Entered(&parent.node);
            let core = Core::below(parent, options);
            // From here on it goes out when it has closed.
            std::mem::forget(entered);
            list_with_parent(parent, &core);
            (core, true)
        }
        Err(left) => {
            close::on_leave(&parent.node, left);
            let core = Core::below(parent, options);
            close_from_the_start(&core);
            (core, false)
        }
    }
}

/// One that came in through a gate and goes out when this is dropped.
struct Entered<'a>(&'a Node);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        close::on_leave(self.0, self.0.gate.leave());
    }
}

/// Makes the child known to its parent. A close of the parent that began since the child entered may
/// have walked past it, so the child looks again: the close first closes the gate and then walks, the child is first listed
/// and then reads the gate, so one sees the other.
fn list_with_parent(parent: &Core, child: &Arc<Core>) {
    lock(&parent.children).insert(child.node.meta.id, Arc::downgrade(child));
    if parent.node.gate.state() != State::Open {
        driver::request(child, CloseReason::Parent);
    }
}

/// Nothing ever gets in, and no close waits for it.
fn close_from_the_start(core: &Core) {
    let node = &core.node;
    node.token.cancel();
    close::begin(core, CloseReason::Parent);
    core.lease.take();
    core.hooks.seal();
    node.gate.end();
    let why = (CloseReason::Parent, Duration::ZERO);
    let report = CloseReport::new(
        &node.meta.name,
        CloseStatus::Closed,
        why,
        Counts::default(),
        &mut lock(&core.log).close(),
    );
    let _ = node.report.set(report);
}

impl fmt::Debug for ContextBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("limits", &self.limits)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}
