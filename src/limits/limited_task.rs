//! [`LimitedTask`]: starting a task with settings, within a limit.

use crate::{
    error::RefusedError,
    limits::limit::Limit,
    task::{
        builder::TaskBuilder,
        end_check::{CheckKind, EndCheck, Unchecked},
        handle::Task,
        spawn::TaskOrigin,
    },
};
use std::fmt;

impl<'a, C: CheckKind> TaskBuilder<'a, C> {
    /// Starts the task within a [`Limit`], with all the settings that were made. It has a place of that until its future is dropped.
    ///
    /// The limit may be one of another context, such as one of the server for the tasks of its connections. Either of them ends
    /// the waiting when it begins to close.
    ///
    /// A task that waits for its [`slot`](Self::slot) has its place meanwhile.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = headcount::Registry::new().context("server");
    /// let queries = server.limit("queries", 8);
    /// let conn = server.child("conn-1");
    /// let query = conn.task("query").kind("db").within(&queries).spawn(async { 42 });
    /// assert_eq!(query.await.unwrap().await.unwrap(), 42);
    /// # server.close().await;
    /// # }
    /// ```
    pub fn within(self, limit: &Limit) -> LimitedTask<'a, C> {
        LimitedTask {
            builder: self,
            limit: limit.clone(),
        }
    }
}

/// Starts a task within a [`Limit`]. Made by [`TaskBuilder::within`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::RefusedReason;
/// let ctx = headcount::Registry::new().context("ctx");
/// let hashes = ctx.limit("hashes", 1);
/// let hash = ctx.task("hash").within(&hashes).spawn_blocking(|| 42).await.unwrap();
/// assert_eq!(hash.await.unwrap(), 42);
/// hashes.set(0);
/// let refused = ctx.task("hash").within(&hashes).try_spawn_blocking(|| 42).unwrap_err();
/// assert_eq!(refused.reason(), RefusedReason::Full);
/// # ctx.close().await;
/// # }
/// ```
#[must_use = "a builder starts nothing until one of its `spawn` methods"]
pub struct LimitedTask<'a, C = Unchecked> {
    builder: TaskBuilder<'a, C>,
    limit: Limit,
}

impl<'a, C: CheckKind> LimitedTask<'a, C> {
    /// Waits for a place, then spawns a future. See [`Limit::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Limit::spawn`].
    ///
    /// # Cancel safety
    ///
    /// As [`Limit::spawn`].
    #[track_caller]
    pub fn spawn<F>(
        self,
        future: F,
    ) -> impl Future<Output = Result<Task<F::Output>, RefusedError<F>>> + use<'a, F, C>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        async move {
            let Self { builder, limit } = self;
            match limit.take_for(builder.node(), origin.location).await {
                Ok(permit) => builder.holding(permit).try_spawn_as(origin, future),
                Err(reason) => Err(RefusedError::new(future, reason)),
            }
        }
    }

    /// Spawns a future if a place is free, or hands it back.
    ///
    /// # Errors
    ///
    /// As [`Limit::try_spawn`].
    #[track_caller]
    pub fn try_spawn<F>(self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        let Self { builder, limit } = self;
        match limit.try_acquire() {
            Ok(permit) => builder.holding(permit).try_spawn_as(origin, future),
            Err(error) => Err(RefusedError::new(future, error.into())),
        }
    }

    /// Waits for a place, then runs a closure on the runtime's blocking threads. It has the place until it has returned, or is dropped
    /// because it never ran.
    ///
    /// # Errors
    ///
    /// As [`Limit::spawn`].
    ///
    /// # Cancel safety
    ///
    /// As [`Limit::spawn`].
    #[track_caller]
    pub fn spawn_blocking<F, T>(
        self,
        closure: F,
    ) -> impl Future<Output = Result<Task<T>, RefusedError<F>>> + use<'a, F, T, C>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: EndCheck<T>,
    {
        let origin = TaskOrigin::of::<F>("blocking");
        async move {
            let Self { builder, limit } = self;
            match limit.take_for(builder.node(), origin.location).await {
                Ok(permit) => builder
                    .holding(permit)
                    .try_spawn_blocking_as(origin, closure),
                Err(reason) => Err(RefusedError::new(closure, reason)),
            }
        }
    }

    /// Runs a closure on the runtime's blocking threads if a place is free, or hands it back.
    ///
    /// # Errors
    ///
    /// As [`Limit::try_spawn`].
    #[track_caller]
    pub fn try_spawn_blocking<F, T>(self, closure: F) -> Result<Task<T>, RefusedError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: EndCheck<T>,
    {
        let origin = TaskOrigin::of::<F>("blocking");
        let Self { builder, limit } = self;
        match limit.try_acquire() {
            Ok(permit) => builder
                .holding(permit)
                .try_spawn_blocking_as(origin, closure),
            Err(error) => Err(RefusedError::new(closure, error.into())),
        }
    }

    /// Waits for a place, then spawns a future that may not leave this thread. See
    /// [`Context::spawn_local`](crate::Context::spawn_local).
    ///
    /// # Errors
    ///
    /// As [`Limit::spawn`].
    ///
    /// # Cancel safety
    ///
    /// As [`Limit::spawn`].
    ///
    /// # Panics
    ///
    /// When it has a place, outside a [`LocalSet`](tokio::task::LocalSet) and a [`LocalRuntime`](tokio::runtime::LocalRuntime). The
    /// place is free again then.
    #[track_caller]
    pub fn spawn_local<F>(
        self,
        future: F,
    ) -> impl Future<Output = Result<Task<F::Output>, RefusedError<F>>> + use<'a, F, C>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        async move {
            let Self { builder, limit } = self;
            match limit.take_for(builder.node(), origin.location).await {
                Ok(permit) => builder.holding(permit).try_spawn_local_as(origin, future),
                Err(reason) => Err(RefusedError::new(future, reason)),
            }
        }
    }

    /// Spawns a future that may not leave this thread if a place is free, or hands it back.
    ///
    /// # Errors
    ///
    /// As [`Limit::try_spawn`].
    ///
    /// # Panics
    ///
    /// As [`spawn_local`](Self::spawn_local).
    #[track_caller]
    pub fn try_spawn_local<F>(self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        let Self { builder, limit } = self;
        match limit.try_acquire() {
            Ok(permit) => builder.holding(permit).try_spawn_local_as(origin, future),
            Err(error) => Err(RefusedError::new(future, error.into())),
        }
    }
}

impl<C> fmt::Debug for LimitedTask<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedTask")
            .field("task", &self.builder)
            .field("limit", &self.limit)
            .finish()
    }
}
