//! The questions: of a registry, of a context, of a task.

use crate::{
    context::{core::Node, current::node_of, handle::Context},
    dump::{
        collect,
        offload::offload,
        view::{Dump, TaskDump},
    },
    registry::handle::Registry,
    table::live::Live,
    task::handle::Task,
};
use std::{sync::Arc, time::Duration};

/// How long a dump waits for answers, unless told.
const LIMIT: Duration = Duration::from_secs(1);

impl Registry {
    /// Asks every task where it waits, and every hook that is running: the chain of `.await`s down to the line, or several
    /// where it waits for several things. Needs the feature `dump`; works on stable Rust, in debug and in release builds.
    ///
    /// Each task is woken, and polled once more with a waker that notes who clones it: see
    /// [how it works](crate::docs::dumps). It waits for answers for up to 1 s; who does not answer is named.
    /// Blocking closures cannot answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::Registry;
    /// use std::sync::Arc;
    /// use tokio::sync::Mutex;
    ///
    /// let registry = Registry::new();
    /// let ctx = registry.context("server");
    /// let lock = Arc::new(Mutex::new(()));
    /// let held = lock.clone().lock_owned().await;
    /// ctx.task("writer").cancellable().spawn(async move {
    ///     let _guard = lock.lock().await;
    /// });
    /// tokio::task::yield_now().await;
    ///
    /// let dump = registry.dump().await;
    /// let stack = &dump.find("writer").unwrap().stacks()[0];
    /// assert_eq!(stack.leaf(), Some("tokio::sync::Mutex::lock"));
    /// println!("{dump}");
    /// # drop(held);
    /// # ctx.close().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped; tasks that were asked answer to nobody.
    ///
    /// # Performance
    ///
    /// A wake and a poll for each task, and 5 to 20 µs for each stack; lines are looked up on a blocking thread, each
    /// once.
    pub async fn dump(&self) -> Dump {
        self.dump_within(LIMIT).await
    }

    /// As [`dump`](Self::dump), but waits for answers no longer than `limit`.
    pub async fn dump_within(&self, limit: Duration) -> Dump {
        dump(&self.root().node, limit, |live| live).await
    }
}

impl Context {
    /// Asks every task of this context, and of those below it, where it waits, and every hook of theirs that is running.
    /// See [`Registry::dump`].
    pub async fn dump(&self) -> Dump {
        let id = self.id();
        dump(self.node(), LIMIT, move |live| live.under(id)).await
    }
}

/// Asks the tasks of a listing, or of some part of it, and the hooks of this context and those below it.
async fn dump(
    node: &Node,
    limit: Duration,
    part: impl FnOnce(Live) -> Live + Send + 'static,
) -> Dump {
    let table = Arc::clone(&node.table);
    let live = table.live().await;
    // Sorting them takes a while.
    let tasks = offload(move || part(live).tasks().into_iter().collect()).await;
    collect::dump(table, tasks, node.running_hooks(), limit).await
}

impl<T> Task<T> {
    /// Asks this task where it waits; `None` if it has ended, or was refused. See [`Registry::dump`].
    pub async fn trace(&self) -> Option<TaskDump> {
        let table = Arc::clone(&node_of(self.entry()?.owner()?)?.table);
        let task = table.find_task(self.id())?;
        let dump = collect::dump(table, vec![task], Vec::new(), LIMIT).await;
        dump.tasks.into_iter().next()
    }
}
