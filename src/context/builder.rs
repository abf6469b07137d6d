//! Opening a context with settings.

use crate::{
    clock,
    context::{
        begin, close,
        close_reason::CloseReason,
        current, driver,
        failure::OnFailure,
        haste::Limits,
        quota::Quota,
        report::{CloseReport, CloseStatus},
        state::{ContextOptions, Core, Node},
        tally::Counts,
    },
    error::OpenError,
    events::What,
    ledger::acquirer::{Acquirer, Who},
    name::{Label, Name, label},
    panics::notify_all,
    sync::lock,
    table::record::{Facts, State},
};
use std::{
    fmt,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};

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
    max_tasks: Option<usize>,
    max_children: Option<usize>,
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
            limits: *parent.limits,
            on_failure: None,
            needs: Vec::new(),
            bad_need: None,
            closes_by_drop: false,
            max_tasks: None,
            max_children: None,
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

    /// How many tasks the context has at most at once; as many as there are otherwise. Children do not inherit this.
    ///
    /// Everything that [`Live`](crate::Live) lists as a task of this context counts: spawned and local futures, blocking closures,
    /// wrapped futures and streams, also those that wait for their [slot](crate::TaskBuilder::slot). Tasks of contexts below it do not.
    /// The room is free again when the future is dropped. Nothing waits for it: for a queue see
    /// [`Context::limit`](crate::Context::limit).
    ///
    /// A spawn beyond is refused for the reason [`Full`](crate::RefusedReason::Full). `try_spawn` hands the future back; `spawn` drops
    /// it unpolled, a warning event says so, and the handle resolves to [`TaskError::Refused`](crate::TaskError::Refused). The report
    /// counts that as [`refused`](crate::CloseReport::refused).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{RefusedReason, Registry};
    /// let registry = Registry::new();
    /// let conn = registry.context_builder("conn-1").max_tasks(2).open();
    /// for _ in 0..2 {
    ///     conn.task("request").cancellable().spawn(std::future::pending::<()>());
    /// }
    /// let refused = conn.try_spawn(async { "one more" }).unwrap_err();
    /// assert_eq!(refused.reason(), RefusedReason::Full);
    /// assert_eq!(registry.live().await.find("conn-1").unwrap().detail().unwrap(), "2 of 2 tasks");
    /// # conn.close().await;
    /// # }
    /// ```
    ///
    /// # Performance
    ///
    /// Two atomic operations and an allocation for each task of this context.
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// How many child contexts the context has at most at once, those that close included; as many as there are otherwise. Those
    /// below the children do not count, and children do not inherit this.
    ///
    /// Beyond that [`try_open`](Self::try_open) fails with [`OpenError::Full`], and [`open`](Self::open) and
    /// [`child`](crate::Context::child) return a context that is closed from the start, for the reason
    /// [`CloseReason::Full`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{OpenError, Registry};
    /// let registry = Registry::new();
    /// let server = registry.context_builder("server").max_children(1).open();
    /// let conn = server.child("conn-1");
    /// let full = server.child_builder("conn-2").try_open().unwrap_err();
    /// assert_eq!(full, OpenError::Full("server".to_owned()));
    /// conn.close().await;
    /// assert!(server.child_builder("conn-3").try_open().is_ok());
    /// # server.close().await;
    /// # }
    /// ```
    pub fn max_children(mut self, children: usize) -> Self {
        self.max_children = Some(children);
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
            max_tasks: self.max_tasks,
            max_children: self.max_children,
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
            let permit = match parent.max_children.as_ref().map(Quota::try_take) {
                Some(None) => return (full(parent, options), Err(full_error(parent))),
                permit => permit.flatten(),
            };
            let (needs, location) = (options.needs.clone(), options.facts.location);
            let core = Core::below(parent, options);
            if let Err(error) = hold_needs(&core, &needs, location) {
                close_from_the_start(&core, CloseReason::Needed);
                return (core, Err(error));
            }
            *lock(&core.quota_permit) = permit;
            // From here on it goes out when it has closed.
            std::mem::forget(entered);
            list_with_parent(parent, &core);
            list_with_needs(&core, &needs);
            (core, Ok(()))
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

/// A context that is closed from the start, because its parent is full.
#[cold]
fn full(parent: &Arc<Core>, options: ContextOptions) -> Arc<Core> {
    closed_from_the_start(parent, options, CloseReason::Full)
}

fn full_error(parent: &Core) -> OpenError {
    OpenError::Full(parent.node.meta.name.to_string())
}

/// Enters a context among those that need others, unless one of those is about to close. Holds a handle of each. None of them
/// closes before this one from here on, and none of them closes this one before it is [listed](list_with_needs): it has to have
/// all that it gives back at its end.
fn hold_needs(
    core: &Arc<Core>,
    needs: &[Arc<Core>],
    location: &'static Location<'static>,
) -> Result<(), OpenError> {
    let node = &core.node;
    for need in needs {
        let mut dependents = lock(&need.dependents);
        if !need.node.can_be_needed(current::is_inside) || !need.node.handles.try_add() {
            drop(dependents);
            close::give_back(core);
            return Err(OpenError::NeedClosed(need.node.meta.name.to_string()));
        }
        dependents.open.insert(node.meta.id, Weak::new());
        drop(dependents);
        let hold = need.node.hold(location);
        if hold.is_tracked() {
            let holder = Who::new(node.meta.id, &node.meta.name);
            need.node.ledger.pass(hold, Acquirer::Dependent(holder));
        }
        lock(&core.give_back)
            .get_mut()
            .push(driver::hold_need(node, need, hold));
    }
    Ok(())
}

/// Makes the context known to those that it needs. A close of one of them that was asked for since has found nothing to close
/// here, so it is closed now.
fn list_with_needs(core: &Arc<Core>, needs: &[Arc<Core>]) {
    for need in needs {
        let mut dependents = lock(&need.dependents);
        let entry = dependents.open.get_mut(core.node.meta.id);
        // It may have closed already, with its parent or another need.
        if let Some(entry) = entry {
            *entry = Arc::downgrade(core);
        }
        let is_awaited = dependents.is_awaited;
        drop(dependents);
        if need.node.gate.is_finishing() {
            core.node.finish(true);
            if need.node.is_unwatched() {
                core.node.stop_watching();
            }
        }
        if is_awaited {
            begin::hand_down_haste(need, core);
            driver::request(core, CloseReason::Needed);
        }
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
    let node = &child.node;
    lock(&parent.children).insert(node.meta.id, Arc::downgrade(child));
    if parent.node.gate.is_finishing() {
        node.finish(false);
        if parent.node.is_unwatched() {
            node.stop_watching();
        }
        // Until it was listed it was taken for a task.
        notify_all(&parent.node.drained);
    }
    if parent.node.close_reason().is_some() {
        begin::hand_down_haste(parent, child);
    }
    if parent.node.gate.state() != State::Open {
        let reason = parent.node.close_reason().map(CloseReason::of_parent);
        driver::request(child, reason.expect("a close that has begun has a reason"));
    }
}

/// Nothing ever gets in, and no close waits for it.
fn close_from_the_start(core: &Core, reason: CloseReason) {
    let node = &core.node;
    let _ = node.begun.set(Box::new((reason.clone(), clock::now())));
    node.gate.begin();
    let closing = node.tell(|| What::Closing(reason.clone()));
    node.cancel();
    core.lease.take();
    core.hooks.seal();
    node.gate.end();
    let why = (reason, Duration::ZERO);
    let report = CloseReport::new(
        &node.meta.name,
        CloseStatus::Closed,
        why,
        Counts::default(),
        &mut lock(&core.log).close().take(),
    );
    let closed = node.tell(|| What::Closed(report.clone()));
    let _ = node.report.set(report);
    drop(closing.and(closed));
}

impl fmt::Debug for ContextBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("limits", &self.limits)
            .field("on_failure", &self.on_failure)
            .field("closes_by_drop", &self.closes_by_drop)
            .field("max_tasks", &self.max_tasks)
            .field("max_children", &self.max_children)
            .finish_non_exhaustive()
    }
}
