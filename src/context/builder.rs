//! Opening a context with settings.

use crate::{
    clock,
    context::{
        begin, close, current, driver,
        failure::OnFailure,
        haste::Limits,
        report::{CloseReason, CloseReport, CloseStatus},
        state::{ContextOptions, Core, Node},
        tally::Counts,
    },
    error::OpenError,
    ledger::acquirer::{Acquirer, Who},
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
    needs: Vec<Arc<Core>>,
    bad_need: Option<OpenError>,
    closes_by_drop: bool,
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
            needs: Vec::new(),
            bad_need: None,
            closes_by_drop: false,
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

    /// Says that dropping the last handle is how the context closes, for one whose owner is a connection that just goes away.
    /// It closes in the background with the reason [`Dropped`](crate::CloseReason::Dropped), as every context does, but
    /// without a warning event, and [leak reports](crate::leaks) do not count it as dropped while open. Children do not
    /// inherit this.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::LeakPolicy};
    /// let registry = Registry::new();
    /// let conn = registry.context_builder("conn-1").closes_by_drop().open();
    /// conn.task("reader").cancellable().spawn(std::future::pending::<()>());
    /// drop(conn);
    /// registry.idle().await;
    /// assert!(registry.leaks(&LeakPolicy::new()).await.findings().is_empty());
    /// # }
    /// ```
    pub fn closes_by_drop(mut self) -> Self {
        self.closes_by_drop = true;
        self
    }

    /// The new context needs this one: `core` stays open, and accepts work, until the new one is closed, whatever begins the
    /// close (I17).
    pub(crate) fn needs_core(mut self, core: &Arc<Core>) -> Self {
        if self.bad_need.is_none() {
            self.bad_need = bad_need(self.parent, core);
        }
        self.needs.push(Arc::clone(core));
        self
    }

    /// Opens the context under its parent, with one handle, which was taken at the location that is returned. If that is
    /// refused the context is closed from the start.
    pub(crate) fn enter(
        mut self,
    ) -> (Arc<Core>, &'static Location<'static>, Result<(), OpenError>) {
        let location = self.location;
        if let Some(error) = self.bad_need.take() {
            self.needs.clear();
            let (parent, options) = (self.parent, self.into_options());
            let core = closed_from_the_start(parent, options, CloseReason::Needed);
            return (core, location, Err(error));
        }
        let (core, opened) = open(self.parent, self.into_options());
        (core, location, opened)
    }

    fn into_options(self) -> ContextOptions {
        let location = self.location;
        ContextOptions {
            facts: Facts {
                name: self.name,
                kind: self.kind,
                location,
            },
            limits: self.limits,
            on_failure: self.on_failure,
            needs: self.needs,
            closes_by_drop: self.closes_by_drop,
        }
    }
}

/// Why a context below `parent` cannot need this one, if it cannot.
fn bad_need(parent: &Core, need: &Core) -> Option<OpenError> {
    let name = || need.node.meta.name.to_string();
    if !Arc::ptr_eq(&parent.node.table, &need.node.table) {
        Some(OpenError::OtherRegistry(name()))
    } else if parent.node.is_inside(&need.node) {
        Some(OpenError::NeedsAncestor(name()))
    } else {
        None
    }
}

fn open(parent: &Arc<Core>, options: ContextOptions) -> (Arc<Core>, Result<(), OpenError>) {
    match parent.node.enter(current::is_inside) {
        Ok(()) => {
            let entered = Entered(&parent.node);
            let (needs, location) = (options.needs.clone(), options.facts.location);
            let core = Core::below(parent, options);
            let held = hold_needs(&core, &needs, location);
            let is_refused = held.is_err() && close_from_the_start(&core, CloseReason::Needed);
            give_back_if_closed(&core);
            if is_refused {
                return (core, held);
            }
            // From here on it goes out when it has closed: also one that is refused, if something that it needs was closing
            // meanwhile and has begun its close.
            std::mem::forget(entered);
            list_with_parent(parent, &core);
            (core, held)
        }
        Err(left) => {
            close::on_leave(&parent.node, left);
            // A parent that has no reason yet is finishing.
            let finished = CloseReason::Finished.of_parent();
            let core = closed_from_the_start(parent, options, finished);
            (core, Err(OpenError::Closed))
        }
    }
}

/// Enters a context among those that need others, unless one of those is about to close. Holds a handle of each.
fn hold_needs(
    core: &Arc<Core>,
    needs: &[Arc<Core>],
    location: &'static Location<'static>,
) -> Result<(), OpenError> {
    let node = &core.node;
    for need in needs {
        let mut dependents = lock(&need.dependents);
        if need.node.state() != State::Open
            || need.node.close_reason().is_some()
            || !need.node.handles.try_add()
        {
            return Err(OpenError::NeedClosed(need.node.meta.name.to_string()));
        }
        dependents.open.insert(node.meta.id, Arc::downgrade(core));
        drop(dependents);
        let hold = need.node.hold(location);
        if hold.is_tracked() {
            let holder = Who::new(node.meta.id, &node.meta.name);
            need.node.ledger.pass(hold, Acquirer::Dependent(holder));
        }
        lock(&core.give_back).push(driver::hold_need(node, need, hold));
    }
    Ok(())
}

/// What it needs may have closed it before it had all of them; its close did not know of the later ones then.
fn give_back_if_closed(core: &Core) {
    if core.node.gate.state() == State::Closed {
        close::give_back(core);
    }
}

/// A context that is closed from the start: because its parent is, else for this reason.
fn closed_from_the_start(
    parent: &Arc<Core>,
    options: ContextOptions,
    otherwise: CloseReason,
) -> Arc<Core> {
    let core = Core::below(parent, options);
    let reason = parent.node.close_reason().map(CloseReason::of_parent);
    close_from_the_start(&core, reason.unwrap_or(otherwise));
    core
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
/// and then reads the gate, so one sees the other. The same goes for a parent that finishes, and for one that is not watched any
/// more.
fn list_with_parent(parent: &Core, child: &Arc<Core>) {
    let (node, id) = (&child.node, child.node.meta.id);
    lock(&parent.children).insert(id, Arc::downgrade(child));
    if node.gate.state() == State::Closed {
        // Something that it needs has closed it before it was listed.
        lock(&parent.children).remove(&id);
    }
    if parent.node.gate.is_finishing() {
        node.finish(false);
        if parent.node.is_unwatched() {
            node.stop_watching();
        }
    }
    if parent.node.gate.state() != State::Open {
        let reason = parent.node.close_reason().map(CloseReason::of_parent);
        begin::hand_down_haste(parent, child);
        driver::request(child, reason.expect("a close that has begun has a reason"));
    }
}

/// Nothing ever gets in, and no close waits for it. False if its close has begun before.
fn close_from_the_start(core: &Core, reason: CloseReason) -> bool {
    let node = &core.node;
    let _ = node.begun.set((reason.clone(), clock::now()));
    if node.gate.begin() != State::Open {
        return false;
    }
    node.token.cancel();
    core.lease.take();
    core.hooks.seal();
    node.gate.end();
    let why = (reason, Duration::ZERO);
    let report = CloseReport::new(
        &node.meta.name,
        CloseStatus::Closed,
        why,
        Counts::default(),
        &mut lock(&core.log).close(),
    );
    let _ = node.report.set(report);
    true
}

impl fmt::Debug for ContextBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("limits", &self.limits)
            .field("on_failure", &self.on_failure)
            .field("closes_by_drop", &self.closes_by_drop)
            .finish_non_exhaustive()
    }
}
