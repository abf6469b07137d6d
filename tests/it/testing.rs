//! The test kit.

use crate::util::{current_thread, in_time, multi_thread, settle};
use futures::{FutureExt, future::join_all};
use headcount::{
    Registry,
    leaks::LeakPolicy,
    testing::{self, Check, LeakGuard},
};
use std::{
    fs,
    future::pending,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

const SOON: Duration = Duration::from_millis(50);

/// What a future panics with; `None` if it does not.
async fn panic_of(future: impl Future<Output = ()>) -> Option<String> {
    let payload = AssertUnwindSafe(future).catch_unwind().await.err()?;
    Some(words(&*payload))
}

fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let owned = payload.downcast_ref::<String>().cloned();
    let literal = || payload.downcast_ref::<&str>().map(ToString::to_string);
    owned.or_else(literal).expect("it panics with words")
}

fn quick() -> Check {
    Check::new().settle(SOON)
}

#[tokio::test]
async fn a_clean_body_passes_and_its_output_is_handed_through() {
    let answer = testing::check(async |registry| {
        let ctx = registry.context("ctx");
        let answer = ctx.spawn(async { 42 }).await.unwrap();
        ctx.close().await;
        answer
    })
    .await;
    assert_eq!(answer, 42);
}

#[tokio::test]
async fn a_leak_fails_with_the_line_of_the_check_and_that_of_the_leak() {
    let mut lines = (0, 0);
    let check = {
        lines.0 = line!() + 1;
        quick().run(async |registry| {
            let ctx = registry.context("forgotten");
            lines.1 = line!() - 1;
            mem::forget(ctx);
        })
    };
    let said = panic_of(check).await.unwrap();
    let (checked, leaked) = lines;
    assert!(
        said.starts_with(&format!(
            "left behind at the end of the check at {}:{checked}:",
            file!()
        )),
        "{said}"
    );
    assert!(said.contains("1. context forgotten: still there"), "{said}");
    assert!(
        said.contains(&format!("the handle taken at {}:{leaked}", file!())),
        "{said}"
    );
}

#[tokio::test]
async fn the_registry_of_the_check_is_the_current_one() {
    testing::check(async |registry| {
        let _entry = headcount::register("entry", "kind");
        assert_eq!(registry.count(), 1);
        assert_eq!(Registry::current().count(), 1);
        headcount::spawn(async {}).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_closure_is_in_the_registry_of_the_check_before_it_returns_its_future() {
    let are_seen = testing::check(|registry: Registry| {
        let _entry = headcount::register("entry", "kind");
        std::future::ready(registry.count() == 1)
    });
    assert!(are_seen.await);
}

#[tokio::test]
async fn what_is_on_its_way_is_waited_for() {
    testing::check(async |registry| {
        let ctx = registry.context("ctx");
        ctx.task("slow")
            .spawn(async { tokio::time::sleep(SOON).await });
        ctx.request_close("enough");
        drop(ctx);
        headcount::spawn(async { tokio::time::sleep(SOON).await });
        let entry = registry.register("entry", "kind");
        std::thread::spawn(move || {
            std::thread::sleep(SOON);
            drop(entry);
        });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_works_under_paused_time() {
    testing::check(async |registry| {
        let ctx = registry.context("ctx");
        ctx.spawn(async { tokio::time::sleep(Duration::from_secs(3)).await });
        settle().await;
        ctx.request_close("enough");
    })
    .await;
    let leaks = testing::check(async |registry| {
        mem::forget(registry.context("ctx"));
    });
    let said = in_time(panic_of(leaks)).await;
    assert!(said.unwrap().contains("context ctx: still there"));
}

#[tokio::test]
async fn a_panic_of_the_body_goes_on_unchanged() {
    #[derive(Debug, PartialEq)]
    struct Payload(u32);
    let check = quick().run(async |registry| {
        mem::forget(registry.context("forgotten"));
        std::panic::panic_any(Payload(7));
    });
    let payload = AssertUnwindSafe(check).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&Payload(7)));
}

/// In a process of its own, to see what it prints.
#[test]
fn a_leak_beside_a_panic_of_the_body_is_printed() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "testing::panic_and_leak",
        "--ignored",
        "--nocapture",
    ]);
    let output = child.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the body's own panic"), "{said}");
    assert!(said.contains("context forgotten: still there"), "{said}");
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn panic_and_leak() {
    quick()
        .run(async |registry| {
            mem::forget(registry.context("forgotten"));
            // Closes in the background, because the panic unwinds: no leak.
            let _ctx = registry.context("unwound");
            panic!("the body's own panic");
        })
        .await;
}

#[tokio::test]
async fn tasks_of_bare_spawns_are_told_by_the_count_of_the_runtime() {
    let mut handles = Vec::new();
    let check = quick().run(async |_| {
        handles.extend([tokio::spawn(pending::<()>()), tokio::spawn(pending::<()>())]);
    });
    let said = panic_of(check).await.unwrap();
    assert!(said.contains("2 tasks of bare `tokio::spawn`"), "{said}");
    for handle in handles {
        handle.abort();
    }
}

#[tokio::test]
async fn bare_spawns_that_end_in_time_are_none_of_its_business() {
    let before = tokio::spawn(pending::<()>());
    testing::check(async |_| {
        drop(tokio::spawn(async { tokio::time::sleep(SOON).await }));
    })
    .await;
    before.abort();
}

#[tokio::test]
async fn what_other_tasks_of_the_runtime_spawn_is_none_of_its_business() {
    let other = tokio::spawn(async {
        settle().await;
        let _kept = tokio::spawn(pending::<()>());
        pending::<()>().await
    });
    quick().run(async |_| tokio::time::sleep(SOON).await).await;
    other.abort();
}

#[tokio::test]
async fn the_report_and_its_graph_are_written_and_it_says_where() {
    let said = panic_of(quick().run(async |registry| {
        mem::forget(registry.context("forgotten"));
    }))
    .await
    .unwrap();
    let path = |from: &str| {
        let rest = said.split(from).nth(1).unwrap_or_else(|| panic!("{said}"));
        rest.lines().next().unwrap().trim().to_owned()
    };
    let (text, graph) = (path("written to "), path("and /").replacen("", "/", 1));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    assert!(
        Path::new(&text).starts_with(target.join("headcount")),
        "{text}"
    );
    assert!(
        fs::read_to_string(text)
            .unwrap()
            .contains("context forgotten")
    );
    assert!(fs::read_to_string(graph).unwrap().starts_with("<svg"));
}

/// A hundred at once on one runtime, half of them leaking, each something of its own.
async fn a_hundred_at_once() {
    let checks = (0..100).map(|n| async move {
        let check = quick().run(async |registry| {
            let ctx = registry.context(format!("ctx-{n}-"));
            ctx.spawn(async { tokio::task::yield_now().await })
                .await
                .unwrap();
            if n % 2 == 0 {
                mem::forget(ctx.clone());
            }
            ctx.close().await;
        });
        (n, panic_of(check).await)
    });
    for (n, said) in join_all(checks).await {
        match said {
            Some(said) => {
                assert_eq!(n % 2, 0, "{said}");
                assert!(said.contains("\n1 leak ("), "{said}");
                assert!(
                    said.contains(&format!("context ctx-{n}-: closed but still held")),
                    "{said}"
                );
                assert!(!said.contains("bare `tokio::spawn`, on unknown"), "{said}");
            }
            None => assert_eq!(n % 2, 1, "{n} was not seen"),
        }
    }
}

#[test]
fn a_hundred_checks_at_once_report_their_own_leaks_and_nothing_else() {
    current_thread().block_on(a_hundred_at_once());
    multi_thread(2).block_on(a_hundred_at_once());
}

#[test]
fn a_hundred_checks_on_threads_report_their_own_leaks_and_nothing_else() {
    let threads: Vec<_> = (0..100)
        .map(|n| {
            std::thread::spawn(move || {
                let check = quick().run(async |registry| {
                    let ctx = registry.context(format!("ctx-{n}-"));
                    if n % 2 == 0 {
                        tokio::spawn(pending::<()>());
                    }
                    ctx.close().await;
                });
                (n, current_thread().block_on(panic_of(check)))
            })
        })
        .collect();
    for thread in threads {
        let (n, said) = thread.join().unwrap();
        assert_eq!(said.is_some(), n % 2 == 0, "{n}");
        assert!(said.is_none_or(|said| said.contains("1 task of bare `tokio::spawn`")));
    }
}

#[tokio::test]
async fn a_check_can_be_given_a_policy() {
    Check::new()
        .policy(LeakPolicy::nothing_left().ignore_kind("pool"))
        .settle(SOON)
        .run(async |registry| mem::forget(registry.register("users", "pool")))
        .await;
}

#[tokio::test]
async fn a_spawned_check_is_not_its_own_leak() {
    let check = tokio::spawn(async {
        testing::check(async |registry| {
            let ctx = registry.context("ctx");
            ctx.close().await;
        })
        .await;
    });
    check.await.unwrap();
}

#[tokio::test]
async fn a_guard_fails_when_it_is_finished_and_ignores_what_was_there() {
    let registry = Registry::new();
    let _pool = registry.register("users", "pool");
    LeakGuard::new(&registry).ignoring_current().finish().await;
    LeakGuard::new(&registry).ignore_kind("pool").finish().await;
    LeakGuard::new(&registry)
        .ignore_site("it/testing.rs")
        .finish()
        .await;
    let guard = LeakGuard::new(&registry).settle(SOON).ignoring_current();
    let _new = registry.register("new", "kind");
    let said = panic_of(guard.finish()).await.unwrap();
    assert!(
        said.contains("kind new: still there") && !said.contains("users"),
        "{said}"
    );
}

#[test]
fn a_guard_fails_when_it_is_dropped_and_waits_for_other_threads() {
    let registry = Registry::new();
    let entry = registry.register("entry", "kind");
    std::thread::scope(|scope| {
        let _guard = LeakGuard::new(&registry);
        scope.spawn(move || {
            std::thread::sleep(SOON);
            drop(entry);
        });
    });
    let kept = registry.register("kept", "kind");
    let guard = LeakGuard::new(&registry).settle(SOON);
    let payload = catch_unwind(AssertUnwindSafe(|| drop(guard))).unwrap_err();
    assert!(words(&*payload).contains("kind kept: still there"));
    drop(kept);
}

#[test]
fn a_guard_waits_for_a_close_and_sees_what_it_leaves() {
    let runtime = multi_thread(1);
    let _inside = runtime.enter();
    let registry = Registry::new();
    let guard = LeakGuard::new(&registry);
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    ctx.spawn(async move {
        weak.cancelled().await;
        tokio::time::sleep(SOON).await;
    });
    ctx.request_close("enough");
    let guard = guard.settle(Duration::from_secs(2));
    let payload = std::panic::catch_unwind(AssertUnwindSafe(|| drop(guard))).unwrap_err();
    let said = words(&*payload);
    assert!(
        said.contains("context ctx: closed but still held"),
        "{said}"
    );
}

#[test]
fn a_guard_does_not_panic_while_a_panic_unwinds() {
    let registry = Registry::new();
    let kept = registry.register("kept", "kind");
    let payload = catch_unwind(AssertUnwindSafe(|| {
        let _guard = LeakGuard::new(&registry);
        panic!("first");
    }))
    .unwrap_err();
    assert_eq!(words(&*payload), "first");
    drop(kept);
}

#[tokio::test]
async fn a_guard_does_not_see_what_was_dropped_open_before() {
    let registry = Registry::new();
    drop(registry.context("early"));
    LeakGuard::new(&registry).finish().await;
    let guard = LeakGuard::new(&registry).settle(SOON);
    drop(registry.context("late"));
    let said = panic_of(guard.finish()).await.unwrap();
    assert!(
        said.contains("context late: dropped while open") && !said.contains("early"),
        "{said}"
    );
}

#[tokio::test]
async fn released_waits_for_every_kind_of_weak_handle() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let value = registry.own("value", "kind", ());
    let plain = Arc::new(());
    let weak = (ctx.downgrade(), value.downgrade(), Arc::downgrade(&plain));
    let letting_go = async {
        tokio::time::sleep(SOON).await;
        ctx.close().await;
        drop((ctx, value, plain));
    };
    let waiting = async {
        testing::assert_released(weak.0).await;
        testing::assert_released(weak.1).await;
        testing::assert_released(weak.2).await;
    };
    tokio::join!(letting_go, waiting);
    testing::assert_released(std::rc::Weak::<()>::new()).await;
}

#[tokio::test(start_paused = true)]
async fn released_says_who_still_holds() {
    let registry = Registry::new();
    registry.set_level(headcount::Level::Holders);
    let (value, taken) = (registry.own("value", "kind", ()), line!());
    let weak = value.downgrade();
    let (waiting, called) = (testing::assert_released(weak), line!());
    let said = panic_of(waiting).await.unwrap();
    let file = file!();
    assert!(
        said.starts_with(&format!("not released by {file}:{called}:")),
        "{said}"
    );
    assert!(said.contains(&format!("taken at {file}:{taken}")), "{said}");
    let plain = Arc::new(());
    let said = panic_of(testing::assert_released(Arc::downgrade(&plain)))
        .await
        .unwrap();
    assert!(said.contains("1 strong; the holders of a plain"), "{said}");
}

#[tokio::test]
async fn churn_is_no_growth() {
    testing::assert_no_growth(10, async |registry| {
        let ctx = registry.context("session");
        ctx.spawn(async {}).await.unwrap();
        ctx.request_close("enough");
    })
    .await;
}

#[tokio::test]
async fn what_is_made_once_is_no_growth() {
    let pool = Mutex::new(None);
    testing::assert_no_growth(5, async |registry| {
        let mut pool = pool.lock().unwrap();
        pool.get_or_insert_with(|| registry.register("pool", "pool"));
    })
    .await;
}

#[tokio::test]
async fn growth_fails_with_the_counts_and_the_line() {
    let mut kept = Vec::new();
    let said = panic_of(testing::assert_no_growth(4, async |registry| {
        kept.push(registry.register("listener", "listener"));
    }))
    .await
    .unwrap();
    assert!(said.contains("listener: growing"), "{said}");
    assert!(said.contains(": 1, 2, 3, 4 (1.0 a sample)"), "{said}");
    assert!(said.contains(file!()), "{said}");
}

#[tokio::test]
async fn a_probe_that_grows_fails() {
    let count = Arc::new(Mutex::new(0));
    let said = panic_of(testing::assert_no_growth(4, async |registry| {
        let seen = Arc::clone(&count);
        registry.probe("listeners", move || *seen.lock().unwrap());
        *count.lock().unwrap() += 1;
    }))
    .await
    .unwrap();
    assert!(said.contains("probe listeners: "), "{said}");
}

#[tokio::test]
async fn tasks_of_bare_spawns_can_be_allowed_or_left_out() {
    let spawns = async |_: Registry| drop(tokio::spawn(pending::<()>()));
    let said = panic_of(quick().run(spawns)).await.unwrap();
    let print = said.split(['[', ']']).nth(1).unwrap();
    let known = headcount::leaks::Allow::fingerprint(print).because("a library's own");
    let policy = LeakPolicy::nothing_left().allow(known);
    Check::new().policy(policy).settle(SOON).run(spawns).await;
    let policy = LeakPolicy::nothing_left().ignore_bare_spawns();
    Check::new().policy(policy).settle(SOON).run(spawns).await;
}

#[cfg(feature = "dump")]
#[tokio::test]
async fn tasks_that_wait_for_each_other_are_told_in_the_report_of_a_check() {
    let check = quick().run(async |registry| {
        let ctx = registry.context("ctx");
        crate::deadlocks::join_each_other(&ctx, 2)();
        settle().await;
        mem::forget(ctx);
    });
    let said = panic_of(check).await.unwrap();
    assert!(
        said.contains("ctx/task-0 waits for the end of the task ctx/task-1"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_hangs_fails_at_its_limit_and_is_told_where() {
    let mut lines = (0, 0, 0);
    let limited = Check::new().limit(Duration::from_secs(5));
    let check = {
        lines.0 = line!() + 1;
        limited.run(async |registry| {
            let ctx = registry.context("server");
            lines.1 = line!() + 1;
            ctx.task("reader").spawn(pending::<()>());
            lines.2 = line!() + 1;
            ctx.closed().await;
        })
    };
    let said = panic_of(check).await.unwrap();
    let at = |line: u32| format!("tests/it/testing.rs:{line}");
    let first = format!("the body of the check at {}", at(lines.0));
    assert!(
        said.starts_with(&first) && said.contains("did not end within 5.0s"),
        "{said}"
    );
    assert!(
        said.contains("reader") && said.contains(&at(lines.1)),
        "{said}"
    );
    if cfg!(feature = "dump") {
        let body = said.split("\n\n").nth(1).unwrap();
        assert!(
            body.starts_with("the body:\n") && body.contains(&at(lines.2)),
            "{said}"
        );
        assert!(
            body.ends_with("→ a close of server, which has not begun"),
            "{said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_within_its_limit_passes_and_a_panic_goes_on() {
    let limit = Duration::from_secs(5);
    let check = Check::new().limit(limit).run(async |_| {
        tokio::time::sleep(limit / 2).await;
        42
    });
    assert_eq!(check.await, 42);
    let check = Check::new().limit(limit).run(async |_| panic!("mine"));
    assert_eq!(panic_of(check).await.as_deref(), Some("mine"));
}

/// I16: nothing may be lost in a test that passes.
#[tokio::test]
async fn an_unclean_close_fails_with_its_report() {
    let provoke = async |registry: Registry| {
        let grace = Duration::ZERO;
        let ctx = registry.context_builder("svc").grace(grace).open();
        ctx.task("hangs").spawn(pending::<()>());
        ctx.on_close(|| async { Err::<(), _>("disk full") })
            .unwrap();
        settle().await;
        ctx.close().await;
    };
    let said = panic_of(quick().run(provoke)).await.unwrap();
    let first = format!("something was lost in the check at {}:", file!());
    assert!(said.starts_with(&first), "{said}");
    assert!(
        said.contains("a close was not clean:\nclosed svc"),
        "{said}"
    );
    assert!(said.contains("disk full [svc]"), "{said}");
    quick().allow_unclean_closes().run(provoke).await;
}

/// Wherever the task is: on a context that stays open, on one that has closed, or on the registry itself.
#[tokio::test]
async fn a_panic_in_the_background_fails_unless_its_handle_is_awaited() {
    let open = panic_of(
        Check::new()
            .policy(LeakPolicy::new())
            .run(async |registry| {
                let ctx = registry.context("open");
                drop(ctx.task("worker").spawn(async { panic!("a bug") }));
                settle().await;
                mem::forget(ctx);
            }),
    );
    let said = open.await.unwrap();
    assert!(said.contains("because no handle was awaited"), "{said}");
    assert!(said.contains("panicked: a bug [open]"), "{said}");

    let free = panic_of(quick().run(async |_| drop(headcount::spawn(async { panic!("a bug") }))));
    let said = free.await.unwrap();
    assert!(said.contains("panicked: a bug [registry]"), "{said}");

    let closed = panic_of(quick().run(async |registry| {
        let ctx = registry.context("closed");
        drop(ctx.spawn(async { panic!("a bug") }));
        settle().await;
        ctx.close().await;
    }));
    let said = closed.await.unwrap();
    assert_eq!(
        said.matches("panicked: a bug [closed]").count(),
        1,
        "{said}"
    );

    quick()
        .run(async |registry| {
            let ctx = registry.context("ctx");
            assert!(ctx.spawn(async { panic!("expected") }).await.is_err());
            let free = headcount::spawn(async { panic!("expected") });
            assert!(free.await.is_err());
            ctx.close().await;
        })
        .await;
}

/// Both are in one message: the leak, and what was lost.
#[tokio::test]
async fn a_leak_and_an_unclean_close_are_reported_together() {
    let said = panic_of(quick().run(async |registry| {
        let ctx = registry.context("ctx");
        drop(ctx.spawn(async { panic!("a bug") }));
        settle().await;
        ctx.close().await;
        mem::forget(ctx);
    }));
    let said = said.await.unwrap();
    assert!(said.contains("closed but still held"), "{said}");
    assert!(said.contains("a close was not clean"), "{said}");
}

#[tokio::test]
async fn of_many_unclean_closes_a_few_are_printed_and_all_are_counted() {
    let said = panic_of(quick().run(async |registry| {
        for _ in 0..40 {
            let ctx = registry.context("ctx");
            drop(ctx.spawn(async { panic!("a bug") }));
            settle().await;
            ctx.close().await;
        }
    }));
    let said = said.await.unwrap();
    assert_eq!(said.matches("a close was not clean").count(), 8, "{said}");
    assert!(said.contains("… 32 more closes"), "{said}");
}
