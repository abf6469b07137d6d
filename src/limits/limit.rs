//! [`Limit`]: the handle.

use crate::{
    context::{context::Context, state::Node, weak::WeakContext},
    error::{RefusedError, RefusedReason},
    id::ResourceId,
    limits::{error::AcquireError, permit::Permit, shared::Shared, usage::LimitUsage},
    name::Name,
    poll::capture,
    table::record::{Facts, State},
    task::{builder::TaskBuilder, handle::Task, spawn::TaskOrigin},
};
use futures::future::{Either, select};
use std::{fmt, future::poll_fn, panic::Location, pin::pin, sync::Arc, task};

impl Context {
    /// A limit of this context: so many may be inside at once, and a bounded queue of others waits. See [`Limit`].
    ///
    /// Each call makes a new one, whatever the names are. Clones of it share its places.
    ///
    /// More than [`Semaphore::MAX_PERMITS`](tokio::sync::Semaphore::MAX_PERMITS) places are as many as that. With 0 places nothing gets
    /// in before [`set`](Limit::set) makes some. If the context is closing or closed, the limit is closed from the start.
    #[track_caller]
    pub fn limit(&self, name: impl Into<Name>, places: usize) -> Limit {
        let facts = Facts::new(name.into(), Name::Borrowed("limit"), Location::caller());
        let core = self.core();
        Limit {
            shared: Shared::new(&core.node, Some(core), facts, places),
        }
    }
}

impl WeakContext {
    /// A limit of this context, as [`Context::limit`] makes it. If the context is closing, closed or gone, the limit is closed from
    /// the start.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = headcount::Registry::new().context("server");
    /// let pages = server.sessions::<u64>("pages").open();
    /// let page = pages.attach(7, "alice").await.unwrap();
    /// // As a session has its context.
    /// let uploads = page.context().limit("uploads", 2);
    /// assert!(uploads.try_acquire().is_ok());
    /// # server.close().await;
    /// # }
    /// ```
    #[track_caller]
    pub fn limit(&self, name: impl Into<Name>, places: usize) -> Limit {
        let facts = Facts::new(name.into(), Name::Borrowed("limit"), Location::caller());
        let node = self.node();
        let core = node.core.upgrade();
        Limit {
            shared: Shared::new(node, core.as_ref(), facts, places),
        }
    }
}

/// How many may be inside at once. The rest wait in a bounded queue, first come, first served.
///
/// Made by [`Context::limit`]; it belongs to that context, and is listed in it, as `8 of 8 used, 3 waiting`. Clones are cheap, and are
/// handles to the same limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{RefusedReason, Registry};
/// use std::future::{pending, ready};
/// let registry = Registry::new();
/// let server = registry.context("server");
/// let uploads = server.limit("uploads", 2).queue(100);
///
/// // Waits for a place before it spawns: the caller feels the back pressure.
/// let first = uploads.spawn(ready("a")).await.unwrap();
/// assert_eq!(first.await.unwrap(), "a");
///
/// // A task with a name and settings.
/// for _ in 0..2 {
///     let upload = server.task("upload").cancellable().within(&uploads);
///     upload.spawn(pending::<()>()).await.unwrap();
/// }
/// let full = uploads.try_spawn(ready("b")).unwrap_err();
/// assert_eq!(full.reason(), RefusedReason::Full);
/// assert_eq!(full.into_inner().await, "b");
/// assert_eq!(registry.live().await.find("uploads").unwrap().detail().unwrap(), "2 of 2 used");
/// server.close().await;
/// # }
/// ```
///
/// # Places
///
/// A task has its place until its future is dropped, however that happens: it returns, panics, is aborted, or its runtime ends. It is
/// free by the time that the task's handle gives the output. A [`Permit`] is a place without a task.
///
/// # The queue
///
/// Code that waits comes into the queue when its future is first polled, and leaves it when that is dropped. So many wait at most:
/// 1,024, unless [`queue`](Self::queue) says otherwise. Beyond that the answer is `Full`, at once.
///
/// A place that was given to code that waits, and is not polled, is used: in a `select!`, poll it on or drop it.
///
/// # The close
///
/// When the context begins to close, all that wait get `Closed`, with what they would have spawned, and nothing comes in any more. The
/// close waits for the tasks, as ever, and not for permits. A handle keeps nothing open, and works no more once the context is closed.
///
/// # Performance
///
/// A lock of the limit for each place that is taken, and for each that is given back; no code of users runs under it. Code that has to
/// wait takes two allocations.
///
/// [`docs::limits`](crate::docs::limits) says what is refused when, and what is not promised.
#[derive(Clone)]
pub struct Limit {
    shared: Arc<Shared>,
}

impl Limit {
    /// The id of its entry in the registry.
    pub fn id(&self) -> ResourceId {
        self.shared.meta().id
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// How many may wait for a place, for all handles; 1,024 otherwise. With 0 nothing waits: what finds no place gets
    /// `Full` at once. Those that wait already go on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{AcquireError, Registry};
    /// let ctx = Registry::new().context("ctx");
    /// let limit = ctx.limit("lookups", 1).queue(0);
    /// let permit = limit.acquire().await.unwrap();
    /// assert_eq!(limit.acquire().await.unwrap_err(), AcquireError::Full);
    /// # drop(permit);
    /// # }
    /// ```
    #[must_use = "it returns the handle that it was called on"]
    pub fn queue(self, max: usize) -> Self {
        self.shared.places.set_queue(max);
        self
    }

    /// Changes how many places there are. More than [`Semaphore::MAX_PERMITS`](tokio::sync::Semaphore::MAX_PERMITS) are as many as that.
    ///
    /// Places that are added go to those that wait, in order. Below what is used it takes effect as places become free: nothing
    /// is thrown out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let limit = ctx.limit("lookups", 2);
    /// let permits = [limit.acquire().await.unwrap(), limit.acquire().await.unwrap()];
    /// limit.set(1);
    /// assert_eq!((limit.usage().used, limit.usage().max), (2, 1));
    /// drop(permits);
    /// assert_eq!(limit.usage().used, 0);
    /// # }
    /// ```
    pub fn set(&self, places: usize) {
        self.shared.places.set(places);
    }

    /// How full it is at this moment.
    pub fn usage(&self) -> LimitUsage {
        self.shared.places.usage()
    }

    /// Takes a place, and waits for one if need be.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let lookups = ctx.limit("lookups", 8);
    /// let permit = lookups.acquire().await.unwrap();
    /// // It is 'static, and may go anywhere.
    /// let lookup = tokio::spawn(async move {
    ///     let _permit = permit;
    ///     42
    /// });
    /// assert_eq!(lookup.await.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::Full`] at once if the queue is full; [`AcquireError::Closed`] when the context begins to close.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue. Calling it again joins it at its end. It needs no runtime.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Permit, AcquireError>> + use<> {
        let (limit, location) = (self.clone(), Location::caller());
        async move { limit.take(location).await }
    }

    /// Takes a place if one is free, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Full`], whether any code waits or not; [`AcquireError::Closed`].
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Permit, AcquireError> {
        let place = self.shared.places.try_take()?;
        let request = self.shared.request(Location::caller());
        Ok(Permit::new(place, &self.shared, request.number_held()))
    }

    /// Waits for a place, then spawns a future on the context of the limit, as [`Context::spawn`] does. The task has the place
    /// until its future is dropped.
    ///
    /// For a task with a name and settings, or on another context, see [`TaskBuilder::within`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("crawler");
    /// let fetches = ctx.limit("fetches", 2);
    /// for page in 0..10 {
    ///     // Waits while two are under way.
    ///     fetches.spawn(async move { drop(page) }).await.unwrap();
    /// }
    /// ctx.idle().await;
    /// assert_eq!(ctx.close().await.finished(), 10);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, unpolled: [`Full`](RefusedReason::Full) at once if the queue is full;
    /// [`Closed`](RefusedReason::Closed) when the context begins to close; and those of [`Context::try_spawn`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is spawned before this is ready. Dropping it while it waits leaves the queue, and drops the future.
    #[track_caller]
    pub fn spawn<F>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<Task<F::Output>, RefusedError<F>>> + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (limit, origin) = (self.clone(), TaskOrigin::of::<F>("task"));
        async move {
            match limit.take(origin.location).await {
                Ok(permit) => limit.builder().holding(permit).try_spawn_as(origin, future),
                Err(error) => Err(RefusedError::new(future, error.into())),
            }
        }
    }

    /// Spawns a future on the context of the limit if a place is free, or hands it back.
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, unpolled: [`Full`](RefusedReason::Full), and those of [`Context::try_spawn`].
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let origin = TaskOrigin::of::<F>("task");
        match self.try_acquire() {
            Ok(permit) => self.builder().holding(permit).try_spawn_as(origin, future),
            Err(error) => Err(RefusedError::new(future, error.into())),
        }
    }

    /// Waits for a place, then spawns a future that may not leave this thread on the context of the limit, as
    /// [`Context::spawn_local`] does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::rc::Rc;
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let pages = ctx.limit("pages", 1);
    /// let local = tokio::task::LocalSet::new();
    /// local.run_until(async {
    ///     let page = Rc::new(42);
    ///     let render = pages.spawn_local(async move { *page }).await.unwrap();
    ///     assert_eq!(render.await.unwrap(), 42);
    /// }).await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// As [`LimitedTask::spawn_local`](crate::LimitedTask::spawn_local).
    #[track_caller]
    pub fn spawn_local<F>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<Task<F::Output>, RefusedError<F>>> + use<F>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (limit, origin) = (self.clone(), TaskOrigin::of::<F>("task"));
        async move {
            match limit.take(origin.location).await {
                Ok(permit) => {
                    let builder = limit.builder().holding(permit);
                    builder.try_spawn_local_as(origin, future)
                }
                Err(error) => Err(RefusedError::new(future, error.into())),
            }
        }
    }

    fn builder(&self) -> TaskBuilder<'_> {
        TaskBuilder::weak(&self.shared.node, None)
    }

    /// Takes a place for the code on this line, and waits for one.
    async fn take(&self, location: &'static Location<'static>) -> Result<Permit, AcquireError> {
        let (shared, request) = (&self.shared, self.shared.request(location));
        let held = |place| Permit::new(place, shared, request.number_held());
        request.wait_as(shared.places.take(), held).await
    }

    /// Takes a place for a task of a context, and waits for one, as long as that is open.
    pub(crate) async fn take_for(
        &self,
        node: &Node,
        location: &'static Location<'static>,
    ) -> Result<Permit, RefusedReason> {
        if node.meta.id == self.shared.node.meta.id {
            return Ok(self.take(location).await?);
        }
        if node.gate.state() != State::Open {
            return Err(RefusedReason::Closed);
        }
        let mut cancelled = pin!(node.token().cancelled());
        let cancelled = poll_fn(|cx| {
            // What it waits for is the place: a dump is not answered with this.
            let mut unasked = task::Context::from_waker(capture::original(cx.waker()));
            cancelled.as_mut().poll(&mut unasked)
        });
        match select(pin!(self.take(location)), cancelled).await {
            Either::Left((taken, _)) => Ok(taken?),
            Either::Right(_) => Err(RefusedReason::Closed),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}
