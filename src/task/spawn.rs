//! Spawning on a context.

use crate::{
    context::handle::Context,
    error::RefusedError,
    name::{Name, label},
    task::{builder::TaskBuilder, handle::Task},
};

impl Context {
    /// Spawns a future on the context. It is counted from here on until its future is dropped, and a
    /// close awaits it (I2).
    ///
    /// The task does not keep the context open (I3), is listed under the type path of its future (give
    /// it a name with [`task`](Self::task)), and runs on the runtime that the context remembers. A
    /// panic reaches the handle and the close report, and nobody else (I12).
    ///
    /// If the context is closing or closed the future is dropped unpolled, a warning event names the
    /// line, and the handle resolves to [`TaskError::Refused`](crate::TaskError::Refused); use
    /// [`try_spawn`](Self::try_spawn) to keep the future.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: the context remembers none and none is on this thread.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self.core(), None).spawn(future)
    }

    /// Spawns a future, or hands it back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.close().await;
    /// let refused = ctx.try_spawn(async { 42 }).unwrap_err();
    /// assert_eq!(refused.into_inner().await, 42);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing or closed, or there is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self.core(), None).try_spawn(future)
    }

    /// Runs a closure on the runtime's blocking threads. It is counted, and a close awaits it.
    ///
    /// [`Context::current`] works in it. Once it has started nothing can abort it: it has to look
    /// at [`WeakContext::is_cancelled`](crate::WeakContext::is_cancelled) itself, and a close that
    /// waits for it says so. One that has not started when the close aborts is dropped.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TaskBuilder::new(self.core(), None).spawn_blocking(closure)
    }

    /// Spawns a future that may not leave this thread, on the current
    /// [`LocalSet`](tokio::task::LocalSet). It is counted, and a close awaits it.
    ///
    /// Local tasks move only while their `LocalSet` is polled: a close that is awaited outside it can
    /// not end before somebody polls or drops it.
    ///
    /// # Panics
    ///
    /// Outside a `LocalSet`.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        TaskBuilder::new(self.core(), None).spawn_local(future)
    }

    /// Starts a task with a name and settings.
    #[must_use = "a builder starts nothing until one of its `spawn` methods"]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::new(self.core(), Some(label(name.into())))
    }
}
