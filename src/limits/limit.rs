//! [`Limit`]: the handle.

use crate::{
    context::{context::Context, state::Node},
    error::{RefusedError, RefusedReason},
    id::ResourceId,
    limits::{
        error::AcquireError, permit::Permit, places::Taking, shared::Shared, usage::LimitUsage,
    },
    name::Name,
    table::record::{Facts, State},
    task::{builder::TaskBuilder, handle::Task, spawn::TaskOrigin},
};
use futures::future::{Either, select};
use std::{fmt, panic::Location, pin::pin, sync::Arc};

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
        Limit {
            shared: Shared::new(self.core(), facts, places),
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
    pub fn acquire(&self) -> impl Future<Output = Result<Permit, AcquireError>> + use<> {
        let limit = self.clone();
        async move { limit.take().await }
    }

    /// Takes a place if one is free, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Full`], whether any code waits or not; [`AcquireError::Closed`].
    pub fn try_acquire(&self) -> Result<Permit, AcquireError> {
        let place = self.shared.places.try_take()?;
        Ok(Permit::new(place, &self.shared))
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
            match limit.take().await {
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

    fn builder(&self) -> TaskBuilder<'_> {
        TaskBuilder::weak(&self.shared.node, None)
    }

    async fn take(&self) -> Result<Permit, AcquireError> {
        let place = self.taking().await?;
        Ok(Permit::new(place, &self.shared))
    }

    fn taking(&self) -> Taking {
        self.shared.places.take()
    }

    /// Takes a place for a task of a context, and waits for one, as long as that is open.
    pub(crate) async fn take_for(&self, node: &Node) -> Result<Permit, RefusedReason> {
        if node.meta.id == self.shared.node.meta.id {
            return Ok(self.take().await?);
        }
        if node.gate.state() != State::Open {
            return Err(RefusedReason::Closed);
        }
        match select(pin!(self.take()), pin!(node.token.cancelled())).await {
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
