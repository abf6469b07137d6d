//! [`Stats`]: the sums of a report, of a context that lives.

use crate::{
    context::{
        state::{Core, Node},
        tally::Counts,
    },
    sync::lock,
};
use std::sync::Arc;

/// What became of the tasks of a context, and of those below it, so far. Made by [`Context::stats`](crate::Context::stats) and
/// [`Registry::stats`](crate::Registry::stats).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("server");
/// ctx.spawn(async {}).await.unwrap();
/// ctx.spawn(async { panic!("on purpose") }).await.unwrap_err();
/// let runs = ctx.spawn(std::future::pending::<()>());
///
/// let stats = ctx.stats();
/// assert_eq!((stats.spawned, stats.running), (3, 1));
/// assert_eq!((stats.finished, stats.panicked), (1, 1));
/// # drop(runs);
/// # }
/// ```
///
/// The sums cover the whole life of the context, descendants that have closed included, and are those that its
/// [`CloseReport`](crate::CloseReport) will have. They only grow from one call to the next; they are read one after the other, so what
/// ends meanwhile may be in one of them and not yet in the other. When nothing runs they are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Tasks and wrapped futures that were accepted: those that have ended, and those that run.
    pub spawned: u64,
    /// Those that run, or wait to be polled for the first time. For a moment one too many, while one is being refused or is just
    /// leaving, or a child is being opened or has just closed.
    pub running: u64,
    /// Those whose future returned.
    pub finished: u64,
    /// Those that ended before they returned as their spawner had planned: see [`CloseReport::cancelled`](crate::CloseReport::cancelled).
    pub cancelled: u64,
    /// Those that were dropped before they returned.
    pub aborted: u64,
    /// Those of the aborted ones that a close ended by force.
    pub forced: u64,
    /// Those of the aborted ones that ended with their runtime.
    pub runtime_ended: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// Those that returned an error that was to be reported, or were essential and ended. They are in one of the others as well.
    pub failed: u64,
    /// Attempts of supervised tasks after which another one was to follow. They are in one of the others as well.
    pub restarted: u64,
    /// Those that were refused and dropped. They are in none of the others.
    pub refused: u64,
    /// Contexts below this one that are open or closing.
    pub contexts: u64,
    /// Contexts below this one that have closed.
    pub closed: u64,
}

impl Stats {
    /// Those that have ended, in whatever way.
    pub fn ended(&self) -> u64 {
        self.finished + self.cancelled + self.aborted + self.panicked
    }

    /// Adds up a context and those below it, in a loop: they may be 50,000 deep (I13).
    ///
    /// A context is read in one step with the list of its children, and a child that closes goes from that list to the sums of its
    /// parent in one step: so each is counted once, and a later call counts no less.
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        let (mut sums, mut running, mut contexts) = (Counts::default(), 0, 0);
        let mut next = vec![Arc::clone(core)];
        while let Some(core) = next.pop() {
            let before = next.len();
            let own = read(&core, &mut next);
            sums = sums.and(own.0);
            running += own.1;
            contexts += (next.len() - before) as u64;
        }
        Self {
            running,
            contexts,
            spawned: sums.tasks() + running,
            finished: sums.finished,
            cancelled: sums.cancelled,
            aborted: sums.aborted,
            forced: sums.forced,
            runtime_ended: sums.runtime_ended,
            panicked: sums.panicked,
            failed: sums.failed,
            restarted: sums.restarted,
            refused: sums.refused,
            closed: sums.children,
        }
    }
}

/// The sums of a context and of its closed children, and how many tasks of its own run; adds the other children to `next`.
fn read(core: &Core, next: &mut Vec<Arc<Core>>) -> (Counts, u64) {
    let node: &Node = &core.node;
    let children = lock(&core.children);
    next.extend(children.all());
    // All that are listed went in through the gate, and come out of it after they have left the list.
    let listed = children.len() as u64;
    let tally = node.tally.counts();
    let (finished, inside) = node.gate.counts();
    let tally = Counts {
        finished: tally.finished + finished,
        ..tally
    };
    let counts = lock(&core.log).counts(tally);
    drop(children);
    (counts, inside.saturating_sub(listed))
}
