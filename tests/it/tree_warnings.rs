//! One close is told in one event, however many contexts below it hang (I19).

use crate::{
    events::said,
    util::{age, in_time, settle},
};
use headcount::{Context, Registry};
use std::{future::pending, time::Duration};

/// So many connections of a server, each with a handler that does not end.
fn hanging(server: &Context, count: usize) -> Vec<Context> {
    let one = |n| {
        let conn = server.child(format!("conn-{n}"));
        drop(conn.task("handler").spawn(pending::<()>()));
        conn
    };
    (0..count).map(one).collect()
}

fn that_say<'a>(said: &'a [String], text: &str) -> Vec<&'a String> {
    said.iter().filter(|line| line.contains(text)).collect()
}

#[test]
fn fifty_connections_that_hang_are_one_warning() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let conns = hanging(&server, 50);
        settle().await;
        let report = in_time(server.close()).await;
        assert_eq!(report.forced(), 50);
        drop(conns);
    });
    let told = that_say(&said, "aborting");
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(
        told[0].contains("the grace period is over, aborting these tasks (5.0s after the close began): server/conn-*/handler (50 × task running for ")
            && told[0].contains(age("for 5.0s, spawned at tests/it/tree_warnings.rs:"))
            && told[0].contains("context=server ")
            && told[0].contains("contexts=50 tasks=50"),
        "{told:#?}"
    );
}

/// Each stack is told once.
#[cfg(feature = "dump")]
#[test]
fn equal_stacks_of_several_contexts_are_told_once() {
    let said = crate::events::lines_said(|| async {
        let server = Registry::new().context("server");
        let conns = hanging(&server, 50);
        for conn in &conns {
            conn.task("writer").spawn(async {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            });
        }
        settle().await;
        in_time(server.close()).await;
        drop(conns);
    });
    let stacks = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(stacks("::tree_warnings::equal_stacks"), 1, "{said}");
    assert!(said.contains("50 tasks:"), "{said}");
    // Three are named of each group.
    assert_eq!(stacks("/writer: parked"), 3, "{said}");
}

#[test]
fn the_text_for_a_thousand_connections_is_bounded() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let conns = hanging(&server, 1_000);
        // As many lines as names.
        for (n, conn) in conns.iter().enumerate() {
            let name = "abcdefghijklmnopqrstuvwxyz".split_at(n % 26).1;
            conn.task(format!("{name}-{}", n % 26))
                .spawn(pending::<()>());
        }
        settle().await;
        in_time(server.close()).await;
        drop(conns);
    });
    let told = that_say(&said, "aborting");
    assert_eq!(told.len(), 1, "{}", said.len());
    assert!(told[0].contains("tasks=2000"), "{}", told[0]);
    assert!(told[0].contains("1000 × task running"), "{}", told[0]);
    let message = told[0].split(" stacks=").next().unwrap();
    assert!(message.len() < 2_000, "{message}");
}

/// The parent is open: nothing else would tell of it.
#[test]
fn a_child_that_hangs_under_an_open_parent_is_told_by_itself() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let conns = hanging(&server, 2);
        settle().await;
        in_time(conns[0].close()).await;
        assert!(!server.is_cancelled());
        drop(that_is_open(conns));
        in_time(server.close_now()).await;
    });
    let told = that_say(&said, "the grace period is over");
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(
        told[0].contains("context=conn-0 ")
            && told[0].contains("server/conn-0/handler (task running"),
        "{told:#?}"
    );
}

fn that_is_open(conns: Vec<Context>) -> Vec<Context> {
    conns
}

/// Those that end at the same moment are one event.
#[test]
fn a_child_with_a_shorter_grace_is_told_when_that_ends() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let conns = hanging(&server, 3);
        let hasty: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| {
                let grace = Duration::from_secs(1);
                let ctx = server.child_builder(name).grace(grace).open();
                drop(ctx.task("hasty").spawn(pending::<()>()));
                ctx
            })
            .collect();
        settle().await;
        in_time(server.close()).await;
        drop((conns, hasty));
    });
    let told = that_say(&said, "aborting");
    assert_eq!(told.len(), 2, "{said:#?}");
    assert!(
        told[0].contains("(1.0s after the close began): server/*/hasty (2 × task running for ")
            && told[0].contains(age("for 1.0s, spawned at")),
        "{told:#?}"
    );
    assert!(
        told[1].contains("(5.0s after the close began): server/conn-*/handler (3 × task"),
        "{told:#?}"
    );
}

#[test]
fn what_is_told_again_is_told_once_for_all() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let (conns, kept): (Vec<_>, Vec<_>) = (0..50)
            .map(|n| {
                let conn = server.child(format!("conn-{n}"));
                let kept = conn.task("kept").wrap(pending::<()>());
                (conn, kept)
            })
            .unzip();
        let still = server.close_within(Duration::from_secs(40)).await;
        let still = still.unwrap_err().to_string();
        assert!(
            still.contains("waiting for 50 tasks: server/conn-*/kept (50 × wrapped "),
            "{still}"
        );
        drop((kept, conns));
        in_time(server.closed()).await;
    });
    let told = that_say(&said, "after");
    assert_eq!(told.len(), 3, "after 5, 15 and 35 seconds: {said:#?}");
    assert!(
        told[1].contains("still closing, because these tasks did not end when they were aborted (15.0s after the close began): server/conn-*/kept (50 × wrapped"),
        "{told:#?}"
    );
}

#[test]
fn hooks_that_time_out_together_are_told_together() {
    let said = said(|| async {
        let server = Registry::new().context("server");
        let conns: Vec<_> = (0..50)
            .map(|n| {
                let conn = server.child(format!("conn-{n}"));
                conn.on_close(pending::<()>).unwrap();
                conn.on_close(async move || Err::<(), _>(format!("disk {n} full")))
                    .unwrap();
                conn
            })
            .collect();
        let report = in_time(server.close()).await;
        assert_eq!((report.hooks().timed_out, report.hooks().failed), (50, 50));
        drop(conns);
    });
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].contains(" full; 49 more like it, in server/conn-*"),
        "{said:#?}"
    );
    assert!(
        said[1].contains("timed out; 49 more like it, in server/conn-*")
            && said[1].contains("context=server"),
        "{said:#?}"
    );
}

/// Those of a line are told the first time, the tenth, the hundredth and so on; not all of them, and not never.
#[test]
fn sessions_that_hang_one_after_the_other_are_counted() {
    let said = said(|| async {
        let registry = Registry::new();
        let server = registry.context("server");
        for n in 0..25 {
            let session = server.child(format!("session-{n}"));
            session.task("reader").spawn(pending::<()>());
            settle().await;
            in_time(session.close()).await;
        }
        // It hangs in the same line, but it is not one of those.
        let reader = server.task("reader");
        reader.spawn(pending::<()>());
        settle().await;
        in_time(server.close()).await;
    });
    let told = that_say(&said, "aborting");
    assert_eq!(told.len(), 3, "{said:#?}");
    assert!(told[0].contains("server/session-0/reader") && !told[0].contains("so far"));
    assert!(
        told[1].contains("server/session-9/reader") && told[1].contains("10 times so far"),
        "{told:#?}"
    );
    assert!(told[2].contains("context=server "), "{told:#?}");
}

/// The limit of a wait says what a dump says, and in the same way.
#[cfg(feature = "dump")]
#[tokio::test(start_paused = true)]
async fn equal_stacks_are_grouped_in_what_is_still_closing() {
    let server = Registry::new().context("server");
    let conns = hanging(&server, 12);
    settle().await;
    let still = server
        .close_within(Duration::from_secs(1))
        .await
        .unwrap_err();
    let text = still.to_string();
    assert!(text.contains("12 tasks:"), "{text}");
    assert_eq!(text.matches("/handler: parked").count(), 3, "{text}");
    assert_eq!(still.stuck().len(), 1, "{text}");
    in_time(server.close_now()).await;
    drop(conns);
}

/// Its list has each of them; what is printed has each stack once.
#[cfg(feature = "dump")]
#[tokio::test(start_paused = true)]
async fn equal_stacks_are_printed_once_in_a_report() {
    let server = Registry::new().context("server");
    let conns = hanging(&server, 12);
    settle().await;
    let report = in_time(server.close()).await;
    assert_eq!(report.stuck().len(), 12);
    let text = report.to_string();
    assert_eq!(text.matches("did not end in time").count(), 1, "{text}");
    assert!(text.contains("and 11 more, at the same place"), "{text}");
    drop(conns);
}
