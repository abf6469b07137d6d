//! Tasks in a real console. The same holds in a build with `tokio_unstable`, where the spans are tokio's.

use console::{Console, Seen};
use headcount::Registry;
use std::{thread, time::Duration};
use tokio::sync::oneshot;

/// Without `tokio_unstable` the kind is that of the task.
const OWN: bool = !cfg!(tokio_unstable);

#[tokio::test]
async fn a_console_has_each_task_once_with_its_name_kind_line_and_polls() {
    let mut console = Console::start().await;
    let registry = Registry::new();
    let ctx = registry.context("server");

    let (tell, wait) = oneshot::channel::<()>();
    let line = line!() + 1;
    let task = ctx.task("reader").kind("connection").spawn(async move {
        wait.await.ok();
        // Busy for so long at least.
        thread::sleep(Duration::from_millis(5));
    });
    let idle = console.until("reader", |seen| seen.polls() == 1).await;
    let (file, at) = idle.location.clone().expect("it has a location");
    assert!(file.ends_with("tests/tasks.rs"), "{file}");
    assert_eq!(at, line);
    let kind = if OWN { "connection" } else { "task" };
    assert_eq!(idle.fields["kind"], kind);
    if OWN {
        assert_eq!(idle.fields["task.context"], "server");
        assert_eq!(idle.fields["headcount.id"], task.id().to_string());
    }
    // Else the console would say that nothing can wake it.
    assert!(
        idle.stats.waker_clones > idle.stats.waker_drops,
        "{idle:#?}"
    );
    assert_eq!(
        (idle.stats.wakes, idle.has_ended()),
        (0, false),
        "{idle:#?}"
    );

    tell.send(()).expect("the task waits");
    task.await.expect("it returns");
    let ended = console.until("reader", Seen::has_ended).await;
    // tokio is in its own span once more, to drop the future.
    let polls = if OWN { 2 } else { 3 };
    assert_eq!((ended.polls(), ended.stats.wakes), (polls, 1), "{ended:#?}");
    assert!(ended.busy() >= Duration::from_millis(5), "{ended:#?}");
    assert!(ended.stats.scheduled_time.is_some(), "{ended:#?}");

    let blocking = ctx.task("hash").spawn_blocking(|| 7);
    assert_eq!(blocking.await.expect("it returns"), 7);
    let blocking = console.until("hash", Seen::has_ended).await;
    assert_eq!(blocking.fields["kind"], "blocking");
    ctx.close().await;
}
