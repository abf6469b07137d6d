//! [`StillClosing`]: what is in the way of a close when the time of the code that waits for it is up.

use crate::{
    clock,
    context::{
        alike::{Alike, NAMED},
        failure::{Failure, LISTED},
        refusal::{Refusal, Refusals, Repeated},
        state::Core,
        tally::Counts,
    },
    name::{Printed, Quoted},
    plural::plural,
    sync::lock,
    table::{live::Live, resource},
};
#[cfg(feature = "dump")]
use crate::{
    context::{deadlocks, state::Node},
    dump::{collect, print},
    registry::state::KnownDeadlock,
    table::resource::Resource,
};
#[cfg(feature = "dump")]
use std::collections::HashSet;
use std::{fmt, sync::Arc, time::Duration};

/// How many tasks, and how many hooks, are asked where they are.
#[cfg(feature = "dump")]
const ASKED: usize = 64;

/// The answer of `close_within` when the limit came first: what is still in the way.
///
/// The close itself goes on; [`close`](crate::Context::close) or [`closed`](crate::Context::closed)
/// joins it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// let ctx = headcount::Registry::new().context("server");
/// let (end, ended) = tokio::sync::oneshot::channel::<()>();
/// ctx.task("upload").spawn(ended);
///
/// let still = ctx.close_within(Duration::from_secs(1)).await.unwrap_err();
/// assert_eq!(still.remaining().tasks().len(), 1);
/// assert!(still.to_string().contains("upload"), "{still}");
/// end.send(()).unwrap();
/// assert!(ctx.closed().await.is_clean());
/// # }
/// ```
#[derive(Clone)]
pub struct StillClosing {
    name: String,
    limit: Duration,
    remaining: Live,
    hooks: Vec<String>,
    refusals: Refusals,
    failures: Vec<Failure>,
    counts: Counts,
    /// Where the tasks are, and which of them wait for each other; only with the feature `dump`.
    stuck: Vec<Arc<str>>,
    deadlocks: Vec<Arc<str>>,
}

/// Where tasks are, each on lines of its own.
pub(crate) struct Stuck<'a>(pub(crate) &'a [Arc<str>]);

impl fmt::Display for Stuck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in self.0 {
            write!(f, "\n{text}")?;
        }
        Ok(())
    }
}

impl StillClosing {
    /// What the close of this context is waiting for.
    pub(crate) async fn of(core: &Arc<Core>, limit: Duration) -> Self {
        let node = &core.node;
        let live = node.table.live().await;
        let live = if node.is_root() {
            live
        } else {
            live.under(node.meta.id)
        };
        let name = node.meta.name.to_string();
        let remaining = live.unfinished();
        let Subtree {
            hooks,
            refusals,
            failures,
            counts,
        } = Subtree::of(core);
        Self {
            name,
            limit,
            stuck: stuck(node, &remaining).await,
            deadlocks: deadlocked(core, &remaining).await,
            remaining,
            hooks,
            refusals,
            failures,
            counts,
        }
    }

    /// What has gone wrong so far in tasks, hooks and destructors, in the context and below it. At most 32; the counters have
    /// them all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::{future::pending, time::Duration};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.spawn(pending::<()>());
    /// let _ = ctx.task("parser").spawn(async { panic!("bad input") }).await;
    /// let still = ctx.close_within(Duration::from_millis(10)).await.unwrap_err();
    /// assert_eq!((still.panicked(), still.failures()[0].what()), (1, "parser"));
    /// # }
    /// ```
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Tasks whose future has returned, in the context and below it, over its whole life.
    pub fn finished(&self) -> u64 {
        self.counts.finished
    }

    /// Cancellable tasks that were dropped because the token was cancelled.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled
    }

    /// Tasks that were dropped before they returned.
    pub fn aborted(&self) -> u64 {
        self.counts.aborted
    }

    /// Tasks that panicked.
    pub fn panicked(&self) -> u64 {
        self.counts.panicked
    }

    /// Spawns and wraps that came too late, and were dropped.
    pub fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// Which lines kept spawning on the closing context and those below it, and were refused: at most 32.
    pub fn refusals(&self) -> &[Refusal] {
        self.refusals.as_slice()
    }

    /// The tasks and contexts that the close was waiting for when the limit came.
    pub fn remaining(&self) -> &Live {
        &self.remaining
    }

    /// Where the tasks and hooks in the way were stuck: a text for each line that some of them wait at, with the chain of
    /// `.await`s. The oldest 64 of each are asked.
    #[cfg(feature = "dump")]
    pub fn stuck(&self) -> Vec<String> {
        self.stuck.iter().map(ToString::to_string).collect()
    }

    /// Tasks and hooks that wait for each other, in this context or below it: see
    /// [`Dump::deadlocks`](crate::dump::Dump::deadlocks).
    #[cfg(feature = "dump")]
    pub fn deadlocks(&self) -> Vec<String> {
        self.deadlocks.iter().map(ToString::to_string).collect()
    }

    /// The hooks that were running when the limit came: path of the context, function, and line.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
    }
}

/// Asks the oldest of these tasks where they are, and of the hooks. Those that wait at the same line are one text.
#[cfg(feature = "dump")]
async fn stuck(node: &Arc<Node>, remaining: &Live) -> Vec<Arc<str>> {
    let tasks = remaining.tasks().into_iter().take(ASKED).collect();
    let mut hooks = node.running_hooks();
    hooks.truncate(ASKED);
    let dump = collect::in_the_way(&node.table, tasks, hooks).await;
    let texts = print::group_texts(dump.tasks(), NAMED).into_iter();
    let hooks = print::group_texts(dump.hooks(), NAMED);
    texts.chain(hooks).map(Arc::from).collect()
}

#[cfg(not(feature = "dump"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
async fn stuck(_node: &Arc<crate::context::state::Node>, _remaining: &Live) -> Vec<Arc<str>> {
    Vec::new()
}

/// Those of these tasks, and of the hooks, that wait for each other.
#[cfg(feature = "dump")]
async fn deadlocked(core: &Arc<Core>, remaining: &Live) -> Vec<Arc<str>> {
    let found = deadlocks::check(core).await;
    if found.is_empty() {
        return Vec::new();
    }
    let hooks = core.node.running_hooks().into_iter().map(|hook| hook.id);
    let remaining: HashSet<_> = remaining.iter().map(Resource::id).chain(hooks).collect();
    let is_here = |known: &KnownDeadlock| known.members.iter().any(|id| remaining.contains(id));
    let here = found.iter().filter(|known| is_here(known)).take(NAMED);
    here.map(|known| Arc::clone(&known.text)).collect()
}

#[cfg(not(feature = "dump"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
async fn deadlocked(_core: &Arc<Core>, _remaining: &Live) -> Vec<Arc<str>> {
    Vec::new()
}

/// What has happened in a context and in those below it.
#[derive(Default)]
struct Subtree {
    /// The hooks that are running.
    hooks: Vec<String>,
    refusals: Refusals,
    failures: Vec<Failure>,
    counts: Counts,
}

impl Subtree {
    fn of(core: &Arc<Core>) -> Self {
        let mut all = Self::default();
        let mut stack = vec![Arc::clone(core)];
        while let Some(core) = stack.pop() {
            all.add(&core);
            stack.extend(core.children());
        }
        all
    }

    fn add(&mut self, core: &Core) {
        let mut log = lock(&core.log);
        log.look(|notes| {
            let room = LISTED - self.failures.len();
            self.failures
                .extend(notes.failures().iter().take(room).cloned());
            self.refusals.child(&notes.refusals);
        });
        self.counts = self.counts.and(log.counts(core.node.counts()));
        drop(log);
        let running = core.hooks.running();
        let path = resource::short_path(&*core.node);
        let hooks = running.into_iter();
        self.hooks
            .extend(hooks.map(|origin| format!("{path}: {origin}")));
    }
}

impl fmt::Display for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.remaining.tasks();
        write!(
            f,
            "{} is still closing after {}",
            Printed(&self.name),
            clock::human(self.limit)
        )?;
        if tasks.is_empty() && self.hooks.is_empty() {
            return f.write_str(": nothing is left but owned values that are being dropped");
        }
        if !tasks.is_empty() {
            write!(
                f,
                ", waiting for {}: {}",
                plural(tasks.len(), "task"),
                Alike::of(tasks.iter())
            )?;
        }
        for hook in self.hooks.iter().take(NAMED) {
            write!(f, ", waiting for a hook: {}", Quoted(hook))?;
        }
        let refusals = Repeated(&self.refusals);
        write!(
            f,
            "{refusals}{}{}",
            Stuck(&self.deadlocks),
            Stuck(&self.stuck)
        )
    }
}

impl fmt::Debug for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StillClosing")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("remaining", &self.remaining)
            .field("hooks", &self.hooks)
            .field("refusals", &self.refusals)
            .field("failures", &self.failures)
            .field("counts", &self.counts)
            .field("stuck", &self.stuck.len())
            .field("deadlocks", &self.deadlocks)
            .finish()
    }
}

impl std::error::Error for StillClosing {}
