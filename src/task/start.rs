//! Tasks that say when they are ready: what [`TaskBuilder::start`](crate::TaskBuilder::start) needs.

use crate::{
    error::TaskError,
    task::handle::{AbortOnDrop, Task},
};
use futures::future::{Either, select};
use std::{error::Error, fmt, pin::pin};
use tokio::sync::oneshot;

/// Says that a task is ready. Handed to a task that was started by [`TaskBuilder::start`](crate::TaskBuilder::start).
///
/// Dropping it says nothing: the caller goes on waiting until the task ends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let (counter, sender) = ctx
///     .task("counter")
///     .start(|ready| async move {
///         let (sender, mut numbers) = tokio::sync::mpsc::channel(8);
///         ready.set(sender); // from here on it takes numbers
///         let mut sum = 0;
///         while let Some(number) = numbers.recv().await {
///             sum += number;
///         }
///         sum
///     })
///     .await
///     .unwrap();
/// sender.send(42).await.unwrap();
/// drop(sender);
/// assert_eq!(counter.await.unwrap(), 42);
/// # }
/// ```
#[must_use = "the code that started the task waits until `set` is called"]
pub struct ReadySender<V>(oneshot::Sender<V>);

impl<V> ReadySender<V> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<V>) {
        let (sender, ready) = oneshot::channel();
        (Self(sender), ready)
    }

    /// Says that the task is ready, and hands a value to the code that started it. If that does not wait any more the value
    /// is dropped, and the task is being aborted.
    pub fn set(self, value: V) {
        drop(self.0.send(value));
    }
}

impl<V> fmt::Debug for ReadySender<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadySender(..)")
    }
}

/// Why a task did not become ready.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{ReadySender, Registry, StartError};
/// let ctx = Registry::new().context("ctx");
/// let started = ctx.task("server").start(|ready: ReadySender<u16>| async move {
///     let port = "http".parse().map_err(|_| "the port is not a number")?;
///     ready.set(port);
///     Ok(())
/// });
/// match started.await.unwrap_err() {
///     StartError::Ended(output) => assert_eq!(output, Err("the port is not a number")),
///     other => panic!("{other}"),
/// }
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum StartError<T> {
    /// It returned before it said that it was ready. This is its output.
    Ended(T),
    /// It was refused, or ended without an output.
    Failed(TaskError),
}

impl<T> fmt::Display for StartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(_) => f.write_str("the task returned before it was ready"),
            Self::Failed(error) => write!(f, "the task did not become ready: {error}"),
        }
    }
}

/// Does not print the output.
impl<T> fmt::Debug for StartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(_) => f.write_str("Ended(..)"),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<T> Error for StartError<T> {}

/// The task and what it handed over.
pub(crate) type Started<T, V> = Result<(Task<T>, V), StartError<T>>;

/// Waits until the task is ready, or has ended before.
pub(crate) async fn until_ready<T, V>(
    task: AbortOnDrop<T>,
    ready: oneshot::Receiver<V>,
) -> Started<T, V> {
    let value = match select(ready, pin!(task.finished())).await {
        Either::Left((Ok(value), _)) => Some(value),
        // The sender was dropped, with the task or by it.
        Either::Left((Err(_), finished)) => {
            finished.await;
            None
        }
        // Another task may have the sender; what it has said by now counts.
        Either::Right(((), mut ready)) => ready.try_recv().ok(),
    };
    match value {
        Some(value) => Ok((task.detach(), value)),
        None => Err(task
            .await
            .map_or_else(StartError::Failed, StartError::Ended)),
    }
}
