//! The number of one line begins as that of another one.
pub(crate) const TAKE: fn(&WeakContext) -> Option<Context> = |conn| conn.upgrade();
const TAKEN: u32 = line!() - 1;

use crate::world::{World, culprit};
use headcount::{Context, WeakContext, leaks::LeakPolicy};
use std::future::pending;
use tokio::sync::oneshot;

/// A task took a handle on line 2, and one outside was taken on line 20: the chain leads to that one, and so
/// must the advice.
pub(crate) async fn alike(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    let (taken, is_taken) = oneshot::channel();
    let weak = conn.downgrade();
    let task = server.task("task").cancellable();
    task.spawn(async move { (TAKE(&weak), taken.send(()), pending::<()>().await) });
    is_taken.await.unwrap();
    let outside = culprit!(world, conn.clone());
    let line = world.culprit().unwrap().line;
    assert_eq!(line / 10, TAKEN, "it begins alike");
    conn.close().await;
    (server, outside)
}

pub(crate) async fn alike_fixed(world: World) -> (Context, WeakContext) {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    let (taken, is_taken) = oneshot::channel();
    let weak = conn.downgrade();
    let task = server.task("task").cancellable();
    task.spawn(async move {
        drop(TAKE(&weak));
        (taken.send(()), pending::<()>().await)
    });
    is_taken.await.unwrap();
    conn.close().await;
    (server, conn.downgrade())
}
