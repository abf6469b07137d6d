//! What happens again and again on one line is told the first time, the tenth, the hundredth and so on (I19).

use crate::{
    events::{said, said_by},
    util::{current_thread, in_time, settle},
};
use headcount::{Context, Registry};
use std::future::pending;

const TIMES: usize = 100;

/// Each of them is told three times of a hundred, with the number.
fn assert_counted(said: &[String], text: &str) {
    let told: Vec<_> = said.iter().filter(|line| line.contains(text)).collect();
    assert_eq!(told.len(), 3, "{text}: {said:#?}");
    assert!(!told[0].contains("so far"), "{told:#?}");
    assert!(told[1].contains(", 10 times so far"), "{told:#?}");
    assert!(told[2].contains(", 100 times so far"), "{told:#?}");
    assert_eq!(said.len(), 3, "{said:#?}");
}

fn sessions(registry: &Registry) -> impl Iterator<Item = Context> {
    (0..TIMES).map(|n| registry.context(format!("session-{n}")))
}

#[test]
fn contexts_that_are_dropped_open_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        sessions(&registry).for_each(drop);
        settle().await;
    });
    assert_counted(&said, "the last handle of an open context was dropped");
}

#[test]
fn tasks_that_fail_are_counted_by_what_they_say() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        for n in 0..TIMES {
            drop(ctx.spawn(async move { panic!("no row {n}") }));
        }
        settle().await;
        in_time(ctx.close()).await;
    });
    assert_counted(&said, "panicked: no row");
}

/// They are on one line, and each is news.
#[test]
fn tasks_that_fail_in_different_ways_are_told_each() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        for what in ["disk full", "no route", "disk full"] {
            drop(ctx.spawn(async move { panic!("{what}") }));
        }
        settle().await;
        in_time(ctx.close()).await;
    });
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("disk full") && said[1].contains("no route"));
}

#[test]
fn hooks_that_fail_one_after_the_other_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        for session in sessions(&registry) {
            session
                .on_close(async || Err::<(), _>("disk full"))
                .unwrap();
            in_time(session.close()).await;
        }
    });
    assert_counted(&said, "disk full");
}

#[test]
fn hooks_that_cannot_run_are_counted() {
    let said = said_by(|_| {
        let runtime = current_thread();
        let registry = Registry::new();
        let sessions: Vec<_> = runtime.block_on(async { sessions(&registry).collect() });
        for session in &sessions {
            session.on_close(async || {}).unwrap();
            session.request_close("stop");
        }
        drop(runtime);
        drop(sessions);
    });
    assert_counted(&said, "could not run to its end");
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn destructors_that_panic_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        for session in sessions(&registry) {
            drop(session.own("pool", "connections", Panics).unwrap());
            in_time(session.close()).await;
        }
    });
    assert_counted(&said, "panicked while it was dropped");
}

#[test]
fn late_results_are_counted() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        for _ in 0..TIMES {
            let own = ctx.downgrade();
            drop(ctx.spawn(async move {
                own.cancelled().await;
                1
            }));
        }
        settle().await;
        in_time(ctx.close()).await;
    });
    assert_counted(&said, "a late result was dropped");
}

#[test]
fn contexts_that_outlive_their_runtime_are_counted() {
    let said = said_by(|_| {
        let registry = Registry::new();
        let first = current_thread();
        let sessions: Vec<_> = first.block_on(async { sessions(&registry).collect() });
        drop(first);
        current_thread().block_on(async {
            for session in sessions {
                session.spawn(async {}).await.unwrap();
                in_time(session.close()).await;
            }
        });
    });
    assert_counted(&said, "the runtime of the context has ended");
}

#[test]
fn probes_that_panic_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        registry.probe("rows", || panic!("on purpose"));
        for _ in 0..TIMES {
            drop(registry.growth().await);
        }
    });
    assert_counted(&said, "a probe panicked");
}

/// Pairs of tasks that wait for each other, all of one kind.
#[cfg(feature = "dump")]
#[test]
fn deadlocks_that_are_alike_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        for n in 0..12 {
            let pair = ["a", "b"].map(|name| registry.context(format!("{name}-{n}")));
            for (n, own) in pair.iter().enumerate() {
                let other = pair[1 - n].clone();
                own.task("waits").spawn(async move {
                    let _ = other.close().await;
                });
            }
            settle().await;
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        }
        registry.close_now().await;
    });
    let told = said.iter().filter(|line| line.contains("deadlock: "));
    assert_eq!(told.count(), 2, "{said:#?}");
}

/// A close whose tasks do not end is told each time that its wait has doubled, but not if it is one of many.
#[test]
fn what_is_still_closing_is_counted_by_closes() {
    let said = said(|| async {
        let registry = Registry::new();
        let mut kept = Vec::new();
        for session in sessions(&registry).take(12) {
            kept.push(session.task("kept").wrap(pending::<()>()));
            let limit = std::time::Duration::from_secs(40);
            assert!(session.close_within(limit).await.is_err());
        }
        drop(kept);
        in_time(registry.close()).await;
    });
    let told = |text| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("aborting these tasks"), 2, "{said:#?}");
    // The first one goes on to be told while the others hang: after 15, 35, 75, 155, 315 seconds; so does the tenth.
    let of = |name: &str| {
        let is_of = |line: &&String| line.contains(name) && line.contains("still closing");
        said.iter().filter(is_of).count()
    };
    assert_eq!(
        (of("context=session-0 "), of("context=session-9 ")),
        (5, 3),
        "{said:#?}"
    );
    assert_eq!(told("still closing"), 8, "{said:#?}");
}
