//! Leak reports: what counts, who is to blame, and what is said.

use crate::util::{AGES_ARE_PAUSED, Counter, TIME_LIMIT, in_time, multi_thread, settle};
use headcount::{
    Context, Level, Registry, Tracked,
    leaks::{Allow, Finding, LeakKind, LeakPolicy, LeakReport},
};
use std::{
    future::pending,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

/// For a program that runs.
fn running() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

/// For the end of one.
fn over() -> LeakPolicy {
    LeakPolicy::nothing_left().settle(Duration::from_millis(20))
}

fn kinds(report: &LeakReport) -> Vec<(LeakKind, &str)> {
    let findings = report.findings().iter();
    findings
        .map(|finding| (finding.kind(), finding.name()))
        .collect()
}

fn only(report: &LeakReport) -> &Finding {
    assert_eq!(report.findings().len(), 1, "{report}");
    &report.findings()[0]
}

fn victims(finding: &Finding) -> Vec<&str> {
    finding.victims().map(headcount::Resource::name).collect()
}

fn here(line: u32) -> String {
    format!("{}:{line}", file!())
}

/// All of these are said, one after the other.
#[track_caller]
fn assert_in_order(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("no {part} in its place in {said}");
        };
        rest = after;
    }
}

/// What code makes that runs in a context.
async fn made_in<T: Send + 'static>(
    ctx: &Context,
    make: impl FnOnce(&Registry) -> T + Send + 'static,
) -> T {
    let make = async move { make(&Registry::current()) };
    ctx.spawn(make).await.unwrap()
}

#[tokio::test]
async fn nothing_is_no_leak() {
    let registry = registry();
    for policy in [running(), over()] {
        let report = registry.leaks(&policy).await;
        assert!(report.is_clean());
        assert_eq!(report.to_string(), "no leaks");
    }
}

#[tokio::test]
async fn what_works_is_no_leak_in_a_program_that_runs() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let _clone = ctx.clone();
    ctx.task("worker").cancellable().spawn(pending::<()>());
    let _value = ctx.own("value", "kind", ()).unwrap();
    let _entry = registry.register("entry", "kind");
    settle().await;
    let report = registry.leaks(&running()).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.alive(), 4);
}

#[tokio::test]
async fn a_context_that_is_closed_but_held_is_a_leak_with_the_line_of_the_handle() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let (held, line) = (ctx.clone(), line!());
    let (close, closed) = (ctx.close(), line!());
    close.await;
    drop(ctx);
    let report = registry.leaks(&running()).await;
    let finding = only(&report);
    assert_eq!(
        (finding.kind(), finding.name()),
        (LeakKind::ClosedButHeld, "ctx")
    );
    let said = format!("closed        {}, requested: close", here(closed));
    assert!(report.to_string().contains(&said), "{report}");
    assert!(finding.advice().contains(&here(line)), "{report}");
    drop(held);
    assert!(registry.leaks(&running()).await.is_clean());
    assert_eq!(finding.resource().unwrap().name(), "ctx");
}

#[tokio::test]
async fn an_owned_value_that_is_held_after_the_close_is_a_leak() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let (held, line) = (ctx.own("log", "file", ()).unwrap(), line!());
    ctx.close().await;
    drop(ctx);
    let report = registry.leaks(&running()).await;
    assert_eq!(kinds(&report), [(LeakKind::ClosedButHeld, "log")]);
    assert!(only(&report).advice().contains(&here(line)), "{report}");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlives_its_grace_is_a_leak_and_one_within_it_is_none() {
    let registry = registry();
    let ctx = registry
        .context_builder("ctx")
        .grace(Duration::from_millis(10))
        .open();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    // Without it the closure may still be queued when the grace period ends, and a queued one is aborted.
    let closure = move || started.send(()).map(|()| stopped.recv());
    ctx.spawn_blocking(closure);
    let line = line!() - 1;
    has_started.await.unwrap();
    ctx.request_close("enough");
    assert!(registry.leaks(&running()).await.is_clean());
    tokio::time::advance(Duration::from_millis(30)).await;
    let report = registry.leaks(&running()).await;
    let finding = only(&report);
    assert_eq!(
        (finding.kind(), finding.resource_kind()),
        (LeakKind::StillRunning, "blocking")
    );
    assert!(finding.advice().contains(&here(line)), "{report}");
    stop.send(()).unwrap();
    ctx.close().await;
}

#[tokio::test]
async fn a_context_that_was_dropped_open_is_remembered_when_it_is_gone() {
    let registry = registry();
    let (ctx, line) = (registry.context("ctx"), line!());
    drop(ctx);
    registry.idle().await;
    settle().await;
    assert!(registry.is_empty());
    let report = registry.leaks(&running()).await;
    assert_eq!(kinds(&report), [(LeakKind::DroppedOpen, "ctx")]);
    assert!(
        report
            .to_string()
            .contains(&format!("taken at {}", here(line))),
        "{report}"
    );
    assert!(registry.leaks(&running().ignore_dropped()).await.is_clean());
}

#[tokio::test]
async fn the_last_handle_of_what_was_dropped_open_is_not_taken_for_another_one() {
    let registry = registry();
    registry.set_level(Level::Off);
    let ctx = registry.context("ctx");
    registry.set_level(Level::Holders);
    drop(ctx.clone());
    drop(ctx);
    let report = registry.leaks(&running()).await.to_string();
    assert!(
        report.contains("context ctx: dropped while open"),
        "{report}"
    );
    assert!(!report.contains("taken at"), "{report}");
}

#[tokio::test]
async fn a_child_that_is_dropped_while_its_parent_closes_is_no_leak() {
    let registry = registry();
    let parent = registry.context("parent");
    let child = parent.child("child");
    parent.request_close("enough");
    drop(child);
    parent.close().await;
    drop(parent);
    let report = registry.leaks(&running()).await;
    assert!(report.is_clean(), "{report}");
}

/// I3: the cycle that it exists to prevent.
#[tokio::test]
async fn a_context_that_only_its_own_task_holds_is_a_leak() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let line = line!() + 2;
    ctx.task("pinner").cancellable().spawn(async move {
        let _pinned = weak.upgrade();
        pending::<()>().await;
    });
    settle().await;
    // As long as another holder has it, it can be closed.
    assert!(registry.leaks(&running()).await.is_clean());
    drop(ctx);
    let report = registry.leaks(&running()).await;
    let finding = only(&report);
    assert_eq!(
        (finding.kind(), finding.name()),
        (LeakKind::PinsItself, "ctx")
    );
    assert!(finding.advice().contains(&here(line)), "{report}");
    registry.close().await;
}

/// A context that one of its tasks made available to a holder outside.
async fn handed_out(registry: &Registry) -> Context {
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let (give, given) = tokio::sync::oneshot::channel();
    ctx.spawn(async move {
        give.send(weak.upgrade().unwrap()).ok();
        pending::<()>().await
    });
    given.await.unwrap()
}

#[tokio::test]
async fn a_handle_that_its_task_handed_out_pins_nothing_once_that_is_known() {
    let registry = registry();
    let ctx = handed_out(&registry).await;
    let report = registry.leaks(&running()).await;
    assert_eq!(kinds(&report), [(LeakKind::PinsItself, "ctx")]);
    ctx.touch();
    assert!(registry.leaks(&running()).await.is_clean());

    let board = registry.register("board", "board");
    let other = handed_out(&registry).await;
    other.held_by(&board);
    assert!(registry.leaks(&running()).await.is_clean());
}

/// A handle was taken while nothing was recorded, and its holder may close the context.
#[tokio::test]
async fn a_context_with_an_unknown_holder_is_not_said_to_be_held_by_its_own_task_alone() {
    let registry = registry();
    registry.set_level(Level::Off);
    let unknown = registry.context("ctx");
    registry.set_level(Level::Holders);
    let weak = unknown.downgrade();
    unknown.task("pinner").cancellable().spawn(async move {
        let _pinned = weak.upgrade();
        pending::<()>().await;
    });
    settle().await;
    assert_eq!(
        (unknown.holders().len(), unknown.holders().untracked()),
        (1, 1)
    );
    let report = registry.leaks(&running()).await;
    assert!(report.is_clean(), "{report}");
    registry.close().await;
}

/// What the root of a chain is called, by what is recorded of the handle.
#[tokio::test]
async fn the_root_of_a_chain_is_what_may_have_the_handle() {
    for (level, root) in [
        (
            Level::Holders,
            "task maker (ended), or code that it was passed to",
        ),
        (Level::Counts, "an unknown holder"),
        (Level::Off, "1 untracked"),
    ] {
        let registry = registry();
        let ctx = registry.context("ctx");
        registry.set_level(level);
        let weak = ctx.downgrade();
        let maker = registry.context("makers");
        let taken = maker.task("maker").spawn(async move { weak.upgrade() });
        let taken = taken.await.unwrap();
        registry.set_level(Level::Holders);
        maker.close().await;
        ctx.close().await;
        drop((ctx, maker));
        let report = registry.leaks(&running()).await;
        let said = report.to_string();
        let first = said.lines().find(|line| line.contains("┌─")).unwrap();
        assert_eq!(first.trim(), format!("┌─ {root}"), "{level}: {report}");
        drop(taken);
    }
}

/// Blocks while it is dropped, until it is told to go on.
struct Blocks(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);

impl Drop for Blocks {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
        let _ = self.1.recv();
    }
}

/// A close that waits for nothing that is listed is its own reason.
#[test]
fn a_context_whose_owned_value_is_being_dropped_is_closing() {
    multi_thread(2).block_on(async {
        let registry = registry();
        let ctx = registry.context("ctx");
        let (blocked, is_blocked) = std::sync::mpsc::channel();
        let (go, going) = std::sync::mpsc::channel();
        drop(ctx.own("value", "value", Mutex::new(Blocks(blocked, going))));
        ctx.request_close("enough");
        tokio::task::block_in_place(|| is_blocked.recv().unwrap());
        let report = registry.leaks(&over()).await;
        let finding = report.findings().iter().find(|leak| leak.name() == "ctx");
        let said = finding.unwrap_or_else(|| panic!("{report}")).to_string();
        assert!(said.contains("its close is under way"), "{report}");
        drop(go);
        ctx.close().await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_task_that_upgrades_for_a_moment_pins_nothing() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    ctx.task("upgrades").cancellable().spawn(async move {
        loop {
            let held = weak.upgrade();
            tokio::task::yield_now().await;
            drop(held);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let policy = LeakPolicy::new().settle(Duration::from_millis(50));
    for _ in 0..5 {
        let report = registry.leaks(&policy).await;
        assert!(report.is_clean(), "{report}");
    }
    ctx.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_allowed_for_its_kind_is_a_leak() {
    let registry = registry();
    let _old = registry.register("old", "request");
    let _other = registry.register("other", "pool");
    tokio::time::advance(Duration::from_secs(61)).await;
    let limit = if AGES_ARE_PAUSED {
        Duration::from_secs(60)
    } else {
        // Until the coarse clock ticks.
        while registry.live().await.find("old").unwrap().age().is_zero() {
            std::thread::yield_now();
        }
        Duration::ZERO
    };
    let _new = registry.register("new", if AGES_ARE_PAUSED { "request" } else { "new" });
    let policy = running().max_age("request", limit);
    assert_eq!(
        kinds(&registry.leaks(&policy).await),
        [(LeakKind::TooOld, "old")]
    );
}

#[tokio::test]
async fn more_than_allowed_of_a_kind_is_one_leak_that_names_the_lines() {
    let registry = registry();
    let register = |n| registry.register(format!("{n}"), "conn");
    let line = line!() - 1;
    let _conns: Vec<_> = (0..4).map(register).collect();
    assert!(
        registry
            .leaks(&running().max_count("conn", 4))
            .await
            .is_clean()
    );
    let report = registry.leaks(&running().max_count("conn", 3)).await;
    assert_eq!(kinds(&report), [(LeakKind::TooMany, "")]);
    assert!(
        report.to_string().contains(&format!("{} (4)", here(line))),
        "{report}"
    );
}

#[tokio::test]
async fn what_rises_over_several_cycles_is_a_leak_with_its_rate() {
    let registry = registry();
    let mut growth = registry.growth().await;
    let (mut kept, mut first_use) = (Vec::new(), None);
    for _ in 0..6 {
        let entry = registry.register("entry", "entry");
        kept.extend([
            registry.register("leak", "listener"),
            registry.register("leak", "listener"),
        ]);
        first_use.get_or_insert_with(|| registry.register("pool", "pool"));
        drop(entry);
        growth.sample().await;
    }
    assert_eq!(growth.rising().len(), 2, "{growth}");
    assert!(growth.rising().iter().all(|rise| rise.name() == "listener"));
    assert!((growth.rising()[0].rate() - 1.0).abs() < f64::EPSILON);
    let report = registry.leaks(&running().growth(&growth)).await;
    assert_eq!(report.of_kind(LeakKind::Growing).count(), 2, "{report}");
    assert_eq!(report.findings()[0].location().unwrap().file(), file!());
}

#[tokio::test]
async fn a_probe_takes_part_and_one_that_panics_does_not_matter() {
    let registry = registry();
    let count = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&count);
    registry.probe("subscribers", move || *seen.lock().unwrap());
    registry.probe("broken", || panic!("no"));
    let mut growth = registry.growth().await;
    for _ in 0..4 {
        *count.lock().unwrap() += 3;
        growth.sample().await;
    }
    let rising = growth.rising();
    assert_eq!(
        (rising.len(), rising[0].name(), rising[0].is_probe()),
        (1, "subscribers", true)
    );
    assert!(registry.remove_probe("subscribers") && !registry.remove_probe("subscribers"));
    assert_eq!(Arc::strong_count(&count), 1);
}

#[tokio::test]
async fn what_falls_again_does_not_grow() {
    let registry = registry();
    let mut growth = registry.growth().await;
    let mut kept = Vec::new();
    for round in 0..8 {
        if round == 5 {
            kept.clear();
        }
        kept.push(registry.register("entry", "entry"));
        growth.sample_now();
    }
    assert!(growth.rising().is_empty(), "{growth}");
    assert_eq!(growth.changes()[0].more(), 3);
}

#[tokio::test]
async fn at_the_end_everything_is_a_leak_and_victims_are_told_from_culprits() {
    let registry = registry();
    let ctx = registry.context("ctx");
    ctx.task("worker").cancellable().spawn(pending::<()>());
    let child = ctx.child("child");
    child.held_by(&ctx);
    child.task("reader").cancellable().spawn(pending::<()>());
    drop(ctx.own("value", "kind", ()).unwrap());
    settle().await;
    let report = registry.leaks(&over()).await;
    let finding = only(&report);
    assert_eq!(
        (finding.kind(), finding.name()),
        (LeakKind::StillThere, "ctx"),
        "{report}"
    );
    assert_eq!(
        victims(finding),
        ["worker", "child", "value", "reader"],
        "{report}"
    );
    registry.close().await;
}

#[tokio::test]
async fn a_victim_with_a_reason_of_its_own_is_a_culprit() {
    let registry = registry();
    let first = registry.own("first", "kind", ());
    let second = registry.own("second", "kind", ());
    let inner = second.clone();
    inner.held_by(&first);
    let report = registry.leaks(&over()).await;
    assert_eq!(report.findings().len(), 2, "{report}");
    drop(second);
    let report = registry.leaks(&over()).await;
    assert_eq!(only(&report).name(), "first", "{report}");
    assert_eq!(only(&report).victims().len(), 1);
}

#[tokio::test]
async fn a_close_does_not_wait_for_a_child_that_has_closed() {
    let registry = registry();
    let parent = registry
        .context_builder("parent")
        .grace(Duration::ZERO)
        .open();
    let held = parent.child("held");
    held.close().await;
    let stuck = parent.wrap(pending::<()>());
    parent.request_close("enough");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let report = registry.leaks(&over()).await;
    let victims = |kind| victims(report.of_kind(kind).next().unwrap());
    assert_eq!(victims(LeakKind::StillRunning), ["parent"], "{report}");
    assert!(victims(LeakKind::ClosedButHeld).is_empty(), "{report}");
    drop(stuck);
}

#[tokio::test]
async fn a_cycle_of_two_is_one_culprit() {
    let registry = registry();
    let (first, second) = (
        registry.own("first", "kind", ()),
        registry.own("second", "kind", ()),
    );
    let third = registry.own("third", "kind", ());
    first.held_by(&second);
    second.held_by(&first);
    third.held_by(&second);
    let report = registry.leaks(&over()).await;
    let finding = only(&report);
    assert_eq!(finding.name(), "first", "{report}");
    assert_eq!(victims(finding), ["third"], "{report}");
    let round = ["in a cycle    1\n", "kind second: ", "keeps alive"];
    assert_in_order(&report.to_string(), &round);
}

#[tokio::test]
async fn the_chain_of_a_cycle_leads_once_round_it() {
    let registry = registry();
    let [first, second, third] =
        ["first", "second", "third"].map(|name| registry.own(name, "kind", ()));
    second.held_by(&(&first, "next"));
    third.held_by(&(&second, "next"));
    first.held_by(&(&third, "next"));
    let way = [
        "┌─ kind first",
        "│ ↓ in first.next, taken at",
        "├─ kind second",
        "│ ↓ in second.next, taken at",
        "├─ kind third",
        "┆ ⇣ in third.next, taken at",
        "← suspect",
        "└─ kind first",
    ];
    let report = registry.leaks(&over()).await;
    assert_in_order(&only(&report).to_string(), &way);
}

#[tokio::test]
async fn the_chain_of_what_a_cycle_keeps_begins_with_what_keeps_the_cycle() {
    let registry = registry();
    let [one, other] = ["one", "other"].map(|name| registry.own(name, "value", ()));
    one.held_by(&other);
    other.held_by(&one);
    let ctx = registry.context("ctx");
    ctx.held_by(&(&one, "conn"));
    ctx.close().await;
    let report = registry.leaks(&running()).await;
    let way = ["┌─ value one", "┆ ⇣ in one.conn", "└─ context ctx"];
    assert_in_order(&only(&report).to_string(), &way);
}

/// It is told from the context of the cycle that was made first.
#[tokio::test]
async fn the_chains_of_what_one_cycle_keeps_begin_with_one_of_its_leaks() {
    let registry = registry();
    let hub = registry.own("hub", "value", ());
    let [first, second] = ["first", "second"].map(|name| registry.context(name));
    let other = hub.clone();
    first.held_by(&hub);
    second.held_by(&hub);
    hub.held_by(&first);
    other.held_by(&second);
    first.close().await;
    second.close().await;
    let report = registry.leaks(&running()).await;
    let [round, down] = report.findings() else {
        panic!("{report}");
    };
    let way = ["┌─ context first", "├─ value hub", "└─ context first"];
    assert_in_order(&round.to_string(), &way);
    let way = ["┌─ context first", "├─ value hub", "└─ context second"];
    assert_in_order(&down.to_string(), &way);
}

#[tokio::test]
async fn a_chain_is_the_shortest_one() {
    let registry = registry();
    let [near, middle, far] = ["near", "middle", "far"].map(|name| registry.own(name, "value", ()));
    far.held_by(&middle);
    let ctx = registry.context("ctx");
    let other = ctx.clone();
    ctx.held_by(&far);
    other.held_by(&near);
    ctx.close().await;
    let report = registry.leaks(&running()).await;
    let said = only(&report).to_string();
    assert_in_order(&said, &["┌─ thread", "├─ value near", "└─ context ctx"]);
}

#[tokio::test]
async fn what_something_that_is_no_leak_keeps_as_well_is_a_culprit() {
    let registry = registry();
    let board = registry.own("board", "board", ());
    let [outer, inner] = ["outer", "inner"].map(|name| registry.context(name));
    let other = inner.clone();
    inner.held_by(&outer);
    other.held_by(&board);
    outer.close().await;
    inner.close().await;
    let report = registry.leaks(&running()).await;
    let closed = |name| (LeakKind::ClosedButHeld, name);
    assert_eq!(kinds(&report), [closed("outer"), closed("inner")]);
    drop(other);
    let report = registry.leaks(&running()).await;
    assert_eq!(victims(only(&report)), ["inner"], "{report}");
}

#[tokio::test]
async fn what_belongs_to_a_context_and_lies_elsewhere_is_kept_from_there() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let board = registry.own("board", "board", ());
    let value = made_in(&ctx, |registry| registry.own("value", "kind", ())).await;
    value.held_by(&board);
    let report = registry.leaks(&over()).await;
    let [of_ctx, of_board] = report.findings() else {
        panic!("{report}");
    };
    assert_eq!((of_ctx.name(), of_board.name()), ("ctx", "board"));
    assert!(victims(of_ctx).is_empty(), "{report}");
    assert_eq!(victims(of_board), ["value"], "{report}");
    ctx.close().await;
}

#[tokio::test]
async fn a_place_that_is_no_leak_is_no_reason_to_live() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let policy = over().ignore(&registry.live().await);
    let [board, first, second] = made_in(&ctx, |registry| {
        ["board", "first", "second"].map(|name| registry.own(name, "kind", ()))
    })
    .await;
    first.held_by(&board);
    let report = registry.leaks(&policy).await;
    assert_eq!(report.findings().len(), 2, "{report}");
    assert_eq!(victims(&report.findings()[0]), ["first"], "{report}");
    first.held_by(&second);
    second.held_by(&first);
    drop(board);
    let report = registry.leaks(&policy).await;
    let way = [
        "┌─ kind ctx/first",
        "├─ kind ctx/second",
        "└─ kind ctx/first",
    ];
    assert_in_order(&only(&report).to_string(), &way);
    ctx.close().await;
}

#[tokio::test]
async fn what_has_no_handles_is_kept_by_the_open_context_it_belongs_to() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let entry = made_in(&ctx, |registry| registry.register("entry", "kind")).await;
    let report = registry.leaks(&over()).await;
    let finding = only(&report);
    assert_eq!((finding.name(), victims(finding)), ("ctx", vec!["entry"]));
    let edge = r#" -.->|"belongs to it"| "#;
    let drawn = report.graph().mermaid();
    assert!(drawn.contains(edge), "{drawn}");
    #[cfg(feature = "serde")]
    {
        let edge = r#""label": "belongs to it", "strength": "weak""#;
        let drawn = report.graph().json();
        assert!(drawn.contains(edge), "{drawn}");
    }
    // Once it is closed, there is nothing left in it that could.
    ctx.close().await;
    let held = (LeakKind::ClosedButHeld, "ctx");
    let left = (LeakKind::StillThere, "entry");
    assert_eq!(kinds(&registry.leaks(&over()).await), [held, left]);
    drop((ctx, entry));
}

#[tokio::test]
async fn a_chain_leads_from_the_root_down_and_marks_the_suspect() {
    let registry = registry();
    let board = registry.own("board", "board", ());
    let room = registry.context("room");
    let conn = room.child("conn");
    room.held_by(&board);
    let held = conn.clone();
    held.held_by(&(&room, "members"));
    conn.close().await;
    drop(conn);
    let report = registry.leaks(&running()).await;
    let printed = report.to_string();
    let way = [
        "┌─ thread",
        "├─ board board",
        "├─ context room",
        "┆ ⇣ in room.members",
        "← suspect",
        "└─ context room/conn",
    ];
    assert_in_order(&printed, &way);
    drop(held);
    room.close().await;
}

#[tokio::test]
async fn a_plain_arc_is_said_to_be_held_by_nobody_knows_whom() {
    let registry = registry();
    let plain = Arc::new(());
    registry.track(&plain, "plain", "arc");
    let line = line!() - 1;
    let report = registry.leaks(&over()).await;
    let printed = report.to_string();
    assert!(
        printed.contains("1 untracked: handles of a plain `Arc`"),
        "{printed}"
    );
    assert!(
        printed.contains("strong 1 = 0 tracked + 1 untracked"),
        "{printed}"
    );
    assert!(only(&report).advice().contains(&here(line)), "{printed}");
}

/// I16: never a wrong line.
#[tokio::test]
async fn a_container_in_another_registry_is_not_said_to_be_gone() {
    let registry = registry();
    let board = Registry::new().own("board", "board", ());
    let value = registry.own("value", "kind", ());
    value.held_by(&board);
    let report = registry.leaks(&over()).await.to_string();
    assert!(
        report.contains("board, which another registry lists"),
        "{report}"
    );
    let board = registry.own("board", "board", ());
    value.held_by(&board);
    drop(board);
    let report = registry.leaks(&over()).await.to_string();
    assert!(report.contains("board, which is gone"), "{report}");
}

#[tokio::test]
async fn a_handle_from_before_tracking_is_said_to_be_unknown() {
    let registry = registry();
    registry.set_level(Level::Off);
    let ctx = registry.context("ctx");
    let held = ctx.clone();
    registry.set_level(Level::Holders);
    ctx.close().await;
    drop(ctx);
    let report = registry.leaks(&running()).await;
    assert!(
        report
            .to_string()
            .contains("1 untracked: taken before tracking began"),
        "{report}"
    );
    assert!(
        only(&report).advice().contains("HEADCOUNT_LEVEL=holders"),
        "{report}"
    );
    drop(held);
}

#[tokio::test]
async fn fingerprints_are_the_same_for_equal_leaks_and_differ_for_others() {
    async fn leak(registry: &Registry, name: &str, twice: bool) -> Context {
        let ctx = registry.context(name.to_owned());
        let held = if twice {
            ctx.clone()
        } else {
            ctx.child("child")
        };
        ctx.close().await;
        held
    }
    let print = async |name: &str, twice| {
        let registry = registry();
        let held = leak(&registry, name, twice).await;
        let report = registry.leaks(&running()).await;
        drop(held);
        only(&report).fingerprint().to_owned()
    };
    let first = print("one", true).await;
    assert_eq!(first.len(), 16);
    assert_eq!(first, print("two", true).await);
    assert_ne!(first, print("one", false).await);
}

#[tokio::test]
async fn equal_leaks_are_printed_once_and_counted() {
    let registry = registry();
    let mut held = Vec::new();
    for n in 0..100 {
        let ctx = registry.context(format!("conn-{n}"));
        held.push(ctx.clone());
        ctx.close().await;
    }
    let report = registry.leaks(&running()).await;
    assert_eq!(report.findings().len(), 100);
    let printed = report.to_string();
    assert!(
        printed.starts_with("100 leaks (100 things alive in all)"),
        "{printed}"
    );
    assert!(
        printed.contains("others alike  99") && printed.contains("… 94 more"),
        "{printed}"
    );
    assert!(printed.lines().count() < 25, "{printed}");
}

#[tokio::test]
async fn what_is_cut_is_said() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let _held: Vec<_> = (0..30).map(|_| ctx.clone()).collect();
    let _others = [
        ctx.clone(),
        ctx.clone(),
        ctx.clone(),
        ctx.clone(),
        ctx.clone(),
    ];
    let _kinds: Vec<_> = (0..30)
        .map(|n| registry.own("value", format!("kind-{n}"), ()))
        .collect();
    ctx.close().await;
    let printed = registry.leaks(&over()).await.to_string();
    assert!(printed.contains("30 × taken at "), "{printed}");
    assert!(printed.contains("… 2 more\n"), "{printed}");
    assert!(
        printed.contains("… 11 more leaks in 11 other groups are not printed"),
        "{printed}"
    );
}

#[tokio::test]
async fn contexts_that_were_dropped_open_and_are_forgotten_are_counted() {
    let registry = registry();
    (0..100).for_each(|_| drop(registry.context("ctx")));
    let report = registry.leaks(&running()).await;
    assert_eq!(report.findings().len(), 64);
    assert!(
        report
            .to_string()
            .contains("36 more contexts were dropped while open"),
        "{report}"
    );
}

/// Ages follow the paused clock only with the feature `testing`.
#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn what_was_dropped_open_is_a_finding_for_an_hour() {
    let (registry, minutes) = (registry(), |n: u64| Duration::from_secs(60 * n));
    (0..100).for_each(|_| drop(registry.context("early")));
    tokio::time::advance(minutes(50)).await;
    drop(registry.context("late"));
    let counted = async |findings: usize, forgotten: Option<&str>| {
        let report = registry.leaks(&running()).await;
        assert_eq!(report.findings().len(), findings);
        let said = report.to_string();
        assert_eq!(
            said.contains("more contexts were dropped"),
            forgotten.is_some()
        );
        assert!(said.contains(forgotten.unwrap_or_default()), "{said}");
    };
    counted(64, Some("37 more contexts were dropped while open")).await;
    tokio::time::advance(minutes(11)).await;
    counted(1, None).await;
    tokio::time::advance(minutes(50)).await;
    counted(0, None).await;
}

#[tokio::test]
async fn a_long_chain_is_cut_in_the_middle_and_says_so() {
    let registry = registry();
    let values: Vec<_> = (0..20_000)
        .map(|n| registry.own(format!("value-{n}."), "value", ()))
        .collect();
    for pair in values.windows(2) {
        pair[1].held_by(&pair[0]);
    }
    let ctx = registry.context("ctx");
    ctx.held_by(&values[19_999]);
    ctx.close().await;
    let said = registry.leaks(&running()).await.to_string();
    assert!(said.lines().count() < 100, "{}", said.lines().count());
    for shown in ["thread ", "… 19981 more steps", "value-19999."] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
}

#[tokio::test]
async fn known_leaks_are_listed_apart_with_their_reason() {
    let registry = registry();
    let _pool = registry.own("users", "pool", ());
    let policy = over().allow(
        Allow::kind("pool")
            .because("it lives for ever")
            .until(SystemTime::now() + Duration::from_secs(86_430)),
    );
    let report = registry.leaks(&policy).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.allowed().len(), 1);
    let printed = report.to_string();
    assert!(
        printed.contains("allowed: pool users")
            && printed.contains("(kind pool, for another 1d 0h: it lives for ever)"),
        "{printed}"
    );
    let print = report.allowed()[0].fingerprint().to_owned();
    assert!(
        registry
            .leaks(&over().allow(Allow::fingerprint(print)))
            .await
            .is_clean()
    );
}

#[tokio::test]
async fn an_expired_entry_allows_nothing_and_is_named() {
    let registry = registry();
    let _pool = registry.own("users", "pool", ());
    let policy = over().allow(
        Allow::kind("pool")
            .because("until the rewrite")
            .until(SystemTime::now() - Duration::from_secs(86_400)),
    );
    let report = registry.leaks(&policy).await;
    assert_eq!(report.findings().len(), 1);
    let printed = report.to_string();
    assert!(
        printed.contains("was allowed   kind pool, expired 1d 0h ago: until the rewrite"),
        "{printed}"
    );
}

#[tokio::test]
async fn an_entry_accepts_as_many_as_it_says_or_none() {
    let registry = registry();
    let idle = Allow::kind("conn").at_most(2).because("the pool keeps two");
    let mut kept = vec![
        registry.own("one", "conn", ()),
        registry.own("two", "conn", ()),
    ];
    let report = registry.leaks(&over().allow(idle.clone())).await;
    assert!(report.is_clean(), "{report}");
    assert!(
        report
            .to_string()
            .contains("(kind conn, at most 2: the pool"),
        "{report}"
    );

    kept.push(registry.own("three", "conn", ()));
    let report = registry.leaks(&over().allow(idle.clone())).await;
    assert_eq!(
        (3, 0),
        (report.findings().len(), report.allowed().len()),
        "{report}"
    );
    assert!(
        report
            .to_string()
            .contains("covers 3, and accepts none therefore: kind conn, at most 2"),
        "{report}"
    );

    // Another entry that covers one of them leaves two.
    let one = Allow::name("three").because("known");
    for both in [[one.clone(), idle.clone()], [idle, one]] {
        let report = registry.leaks(&over().allow(both)).await;
        assert!(report.is_clean(), "{report}");
    }
    let none = Allow::kind("conn").at_most(0);
    assert_eq!(
        3,
        registry.leaks(&over().allow(none)).await.findings().len()
    );
}

#[tokio::test]
async fn an_entry_that_holds_beats_those_that_have_ended() {
    let registry = registry();
    let _pool = registry.own("users", "pool", ());
    let now = SystemTime::now();
    let ended = |days: u64| {
        let end = now - Duration::from_secs(days * 86_400);
        Allow::kind("pool")
            .until(end)
            .because(format!("{days} days"))
    };
    let expired = [ended(3), ended(1), ended(2)];
    let report = registry.leaks(&over().allow(expired.clone())).await;
    assert!(report.to_string().contains("ago: 1 days"), "{report}");
    let holds = Allow::name_prefix("us").because("it holds");
    let report = registry.leaks(&over().allow(expired).allow(holds)).await;
    assert!(report.is_clean(), "{report}");
    assert!(
        report.to_string().contains("(name us*: it holds)"),
        "{report}"
    );
}

#[tokio::test]
async fn what_is_ignored_is_left_out_with_what_only_it_keeps() {
    let registry = registry();
    let ctx = registry.context_builder("ctx").kind("telemetry").open();
    ctx.task("exporter").cancellable().spawn(pending::<()>());
    let entry = registry.register("entry", "kind");
    settle().await;
    let report = registry.leaks(&over().ignore_kind("telemetry")).await;
    assert_eq!(only(&report).name(), "entry", "{report}");
    let report = registry.leaks(&over().ignore_site("it/leaks.rs")).await;
    assert!(report.is_clean(), "{report}");
    drop(entry);
    registry.close().await;
}

#[tokio::test]
async fn what_is_kept_by_something_else_as_well_is_not_left_out() {
    let registry = registry();
    let ignored = registry.own("ignored", "pool", ());
    let culprit = registry.own("culprit", "cache", ());
    let shared = registry.own("shared", "value", ());
    shared.held_by(&ignored);
    let other = shared.clone();
    other.held_by(&culprit);
    let report = registry.leaks(&over().ignore_kind("pool")).await;
    let finding = only(&report);
    assert_eq!(finding.name(), "culprit");
    assert_eq!(victims(finding), ["shared"], "{report}");
}

#[tokio::test]
async fn what_is_in_a_cycle_with_something_left_out_is_left_out_whichever_came_first() {
    for kinds in [["pool", "value"], ["value", "pool"]] {
        let registry = registry();
        let [one, other] = kinds.map(|kind| registry.own(kind, kind, ()));
        one.held_by(&other);
        other.held_by(&one);
        let report = registry.leaks(&over().ignore_kind("pool")).await;
        assert!(report.is_clean(), "{report}");
    }
}

#[tokio::test]
async fn what_was_there_before_can_be_left_out() {
    let registry = registry();
    let ctx = registry.context("before");
    let policy = over().ignore(&registry.live().await);
    assert!(registry.leaks(&policy).await.is_clean());
    ctx.task("new").cancellable().spawn(pending::<()>());
    settle().await;
    assert_eq!(only(&registry.leaks(&policy).await).name(), "new");
    ctx.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_report_waits_for_what_is_about_to_end_and_no_longer() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let held = ctx.clone();
    ctx.close().await;
    drop(ctx);
    let policy = LeakPolicy::new().settle(Duration::from_secs(60));
    let (started, soon) = (tokio::time::Instant::now(), Duration::from_millis(30));
    let later = tokio::spawn(async move {
        tokio::time::sleep(soon).await;
        drop(held);
    });
    let report = registry.leaks(&policy).await;
    assert!(report.is_clean(), "{report}");
    let took = started.elapsed();
    assert!((soon..2 * soon).contains(&took), "{took:?}");
    later.await.unwrap();
}

/// There is always one that has closed and is about to be let go of, and never the same.
#[tokio::test(start_paused = true)]
async fn what_is_let_go_of_a_moment_after_its_close_is_no_leak_however_many_do_so() {
    let registry = registry();
    let jobs = (0..10).map(|n| {
        let registry = registry.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(3 * n)).await;
            loop {
                let ctx = registry.context("passing");
                let _log = ctx.own("log", "file", ()).unwrap();
                ctx.close().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        })
    });
    let jobs: Vec<_> = jobs.collect();
    settle().await;
    let policy = LeakPolicy::new().settle(Duration::from_millis(100));
    let report = registry.leaks(&policy).await;
    assert!(report.is_clean(), "{report}");

    let held = registry.context("held");
    held.close().await;
    let report = registry.leaks(&policy).await;
    assert_eq!(kinds(&report), [(LeakKind::ClosedButHeld, "held")]);
    jobs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn contexts_that_close_under_load_are_no_leaks() {
    let registry = registry();
    let is_over = Arc::new(AtomicBool::new(false));
    let runtime = multi_thread(4);
    runtime.block_on(async {
        let jobs = (0..200).map(|_| {
            let (registry, is_over) = (registry.clone(), is_over.clone());
            tokio::spawn(async move {
                while !is_over.load(SeqCst) {
                    let ctx = registry.context("ctx");
                    let child = ctx.child("child");
                    drop(ctx.own("value", "kind", ()).unwrap());
                    ctx.task("task").cancellable().spawn(pending::<()>());
                    tokio::task::yield_now().await;
                    child.close().await;
                    ctx.close().await;
                }
            })
        });
        let jobs: Vec<_> = jobs.collect();
        // A look ends when nothing seems to leak any more, so the limit is for a machine that has much else to do.
        let policy = LeakPolicy::new().settle(TIME_LIMIT);
        for _ in 0..100 {
            let report = registry.leaks(&policy).await;
            assert!(report.is_clean(), "{report}");
        }
        is_over.store(true, SeqCst);
        for job in jobs {
            job.await.unwrap();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn with_paused_time_the_wait_passes_at_once() {
    let registry = registry();
    let _held = registry.own("held", "kind", ());
    let policy = LeakPolicy::nothing_left().settle(Duration::from_secs(600));
    assert!(!in_time(registry.leaks(&policy)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_close_within_its_grace_period_is_waited_for() {
    let registry = registry();
    let ctx = registry
        .context_builder("ctx")
        .grace(Duration::from_millis(200))
        .open();
    ctx.spawn(pending::<()>());
    settle().await;
    ctx.request_close("enough");
    drop(ctx);
    let report = registry
        .leaks(&LeakPolicy::nothing_left().settle(Duration::ZERO))
        .await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_task_within_a_long_grace_period_is_no_leak() {
    let registry = registry();
    for grace in [Duration::from_secs(600), Duration::MAX] {
        let ctx = registry.context_builder("ctx").grace(grace).open();
        let task = ctx.task("task").spawn(pending::<()>());
        ctx.request_close("enough");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let report = registry.leaks(&running()).await;
        assert!(report.is_clean(), "{report}");
        task.abort();
        ctx.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_is_waited_for_whatever_the_time_to_settle() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    ctx.spawn(async move {
        weak.cancelled().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    ctx.request_close("enough");
    drop(ctx);
    let policy = LeakPolicy::nothing_left().settle(Duration::MAX);
    let report = registry.leaks(&policy).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn closes_that_never_cease_are_not_waited_for_for_ever() {
    let registry = registry();
    let jobs = [0, 25].map(|late| {
        let registry = registry.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(late)).await;
            loop {
                let ctx = registry.context("ctx");
                let weak = ctx.downgrade();
                ctx.spawn(async move {
                    weak.cancelled().await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                });
                ctx.close().await;
            }
        })
    });
    settle().await;
    let an_hour = Duration::from_secs(3_600);
    let policy = LeakPolicy::nothing_left();
    let looked = tokio::time::timeout(an_hour, registry.leaks(&policy)).await;
    assert!(looked.is_ok());
    jobs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn a_report_can_be_asked_for_where_there_is_no_runtime() {
    let registry = registry();
    let held = registry.own("held", "kind", ());
    assert_eq!(only(&registry.leaks_now(&over())).name(), "held");
    // It waits for things to settle by timers of its own.
    let policy = LeakPolicy::nothing_left().settle(Duration::from_millis(20));
    let report = futures::executor::block_on(registry.leaks(&policy));
    assert_eq!(only(&report).name(), "held");
    assert!(
        report.to_string().contains("for things to settle"),
        "{report}"
    );
    drop(held);
}

#[tokio::test]
async fn a_report_outlives_its_registry() {
    let registry = registry();
    let held = registry.own("held", "kind", ());
    let report = registry.leaks(&over()).await;
    drop(registry);
    drop(held);
    assert!(report.to_string().contains("held"), "{report}");
    assert!(report.graph().mermaid().contains("held"));
    #[cfg(feature = "testing")]
    assert!(report.graph().svg().contains("held"));
}

#[tokio::test]
async fn a_report_may_be_asked_for_in_a_hook_and_in_a_task() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let said = Arc::new(Mutex::new(Vec::new()));
    let (ask, note) = (registry.clone(), Arc::clone(&said));
    ctx.on_close(move || async move {
        let report = ask.leaks(&over()).await;
        note.lock().unwrap().push(report.to_string());
    })
    .unwrap();
    let (ask, note) = (registry.clone(), Arc::clone(&said));
    ctx.spawn(async move {
        let report = ask.leaks(&over()).await;
        note.lock().unwrap().push(report.to_string());
    })
    .await
    .unwrap();
    ctx.close().await;
    let said = said.lock().unwrap().clone();
    assert_eq!(said.len(), 2);
    for report in said {
        assert!(
            report.starts_with("no leaks\n· not counted: the task that made this report"),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_report_may_be_asked_for_in_a_destructor() {
    struct Asks(Registry, Arc<Mutex<String>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = self.0.leaks_now(&over()).to_string();
        }
    }
    let registry = registry();
    let said = Arc::new(Mutex::new(String::new()));
    drop(registry.own("asks", "kind", Asks(registry.clone(), Arc::clone(&said))));
    assert_eq!(*said.lock().unwrap(), "no leaks");
    let ctx = registry.context("ctx");
    drop(
        ctx.own("asks", "kind", Asks(registry.clone(), Arc::clone(&said)))
            .unwrap(),
    );
    ctx.close().await;
    assert!(said.lock().unwrap().starts_with("no leaks"), "{said:?}");
}

/// I5: at every level, a report neither keeps a value alive nor runs its destructor.
#[tokio::test]
async fn the_detector_neither_keeps_nor_drops_what_it_watches() {
    struct Witness(Arc<Mutex<Vec<String>>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            let thread = std::thread::current();
            self.0
                .lock()
                .unwrap()
                .push(thread.name().unwrap_or_default().to_owned());
        }
    }
    let dropped_by = |dropper: &str, drop_it: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new()
            .name(dropper.to_owned())
            .spawn(drop_it)
            .unwrap()
            .join()
            .unwrap();
    };
    for level in [Level::Off, Level::Counts, Level::Holders, Level::Backtraces] {
        let registry = registry();
        registry.set_level(level);
        let log = Arc::new(Mutex::new(Vec::new()));
        let value: Tracked<Witness> = registry.own("value", "kind", Witness(Arc::clone(&log)));
        let plain = Arc::new(Witness(Arc::clone(&log)));
        registry.track(&plain, "plain", "kind");
        let other = value.clone();
        other.held_by(&registry.register("gone", "kind"));
        let mut growth = registry.growth().await;
        let report = registry.leaks(&over()).await;
        let (now, graph) = (registry.leaks_now(&over()), report.graph());
        let (holders, live) = (value.holders(), registry.live().await);
        growth.sample().await;
        let text = format!("{report} {now} {holders} {live}");
        drop(other);
        assert!(log.lock().unwrap().is_empty(), "{level}");
        // Everything that looked is still there when the last handles go, elsewhere.
        dropped_by("dropper", Box::new(move || drop((value, plain))));
        assert_eq!(*log.lock().unwrap(), ["dropper", "dropper"], "{level}");
        drop((report, now, graph, holders, live, growth, text));
        assert_eq!(log.lock().unwrap().len(), 2, "{level}");
        assert!(registry.is_empty());
    }
}

/// A registry with a task of its own, which lives as long as the registry does.
async fn with_a_free_task(lives: &Counter) -> Registry {
    let registry = registry();
    let life = lives.guard();
    let task = async {
        drop(headcount::spawn(async move {
            let _life = life;
            pending::<()>().await
        }))
    };
    registry.scope(task).await;
    settle().await;
    registry
}

#[tokio::test(start_paused = true)]
async fn a_watch_does_not_keep_the_registry_while_things_settle() {
    let lives = Counter::default();
    let registry = with_a_free_task(&lives).await;
    registry.context("ctx").close().await;
    let policy = LeakPolicy::nothing_left().settle(Duration::from_secs(3_600));
    let _watch = registry.watch_leaks(policy, Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lives.alive(), 1);
    drop(registry);
    settle().await;
    assert_eq!(lives.alive(), 0);
}

#[tokio::test]
async fn growth_does_not_keep_the_registry() {
    let lives = Counter::default();
    let registry = with_a_free_task(&lives).await;
    let mut growth = registry.growth().await;
    drop(registry);
    settle().await;
    assert_eq!(lives.alive(), 0);
    growth.sample().await;
    assert!(growth.changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_always_looks_does_not_hold_up_the_time() {
    let _watch = registry().watch_leaks(LeakPolicy::new(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let registry = registry();
    let _watch = registry.watch_leaks(LeakPolicy::new(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn hostile_names_stay_on_their_line_and_colours_are_only_where_they_are_asked_for() {
    let registry = registry();
    let _held = registry.own("a\nb\u{1b}[31m\u{202e}", "k\ni", ());
    let report = registry.leaks(&over()).await;
    let printed = report.to_string();
    assert!(
        !printed.contains('\u{1b}') && !printed.contains('\u{202e}'),
        "{printed}"
    );
    assert!(printed.contains("a\\nb"), "{printed}");
    let coloured = report.in_colour().to_string();
    assert!(
        coloured.contains("\u{1b}[1;31m") && !coloured.contains('\u{202e}'),
        "{coloured}"
    );
}

#[tokio::test]
async fn ten_thousand_leaks_are_told_by_their_two_culprits() {
    let registry = registry();
    let ctx = registry.context("ctx");
    for _ in 0..5_000 {
        ctx.task("task").cancellable().spawn(pending::<()>());
    }
    let mut chain = vec![registry.own("0", "link", ())];
    for n in 1..5_000 {
        let link = registry.own(format!("{n}"), "link", ());
        link.held_by(&chain[n - 1]);
        chain.push(link);
    }
    let report = registry.leaks_now(&over());
    assert_eq!(report.findings().len(), 2);
    assert_eq!(
        report
            .findings()
            .iter()
            .map(|finding| finding.victims().len())
            .sum::<usize>(),
        9_999
    );
    let printed = report.to_string();
    assert!(printed.contains("… 4994 more"), "{printed}");
    mem::drop(chain);
    registry.close().await;
}

#[tokio::test]
async fn leaks_on_different_lines_are_not_printed_as_one() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let (_one, first) = (ctx.clone(), line!());
    ctx.close().await;
    drop(ctx);
    let ctx = registry.context("ctx");
    let (_two, second) = (ctx.clone(), line!());
    ctx.close().await;
    drop(ctx);
    let printed = registry.leaks(&running()).await.to_string();
    for line in [first, second] {
        assert!(
            printed.contains(&format!("drop the handle taken at {}", here(line))),
            "{printed}"
        );
    }
}

/// The chain of both is the same; one has a second holder.
#[tokio::test]
async fn a_leak_with_another_holder_is_not_printed_with_those_that_have_none() {
    let registry = registry();
    let (mut held, mut second) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let ctx = registry.context("ctx");
        ctx.close().await;
        if n == 1 {
            second.push(ctx.clone());
        }
        held.push(ctx);
    }
    let line = line!() - 4;
    let report = registry.leaks(&running()).await.to_string();
    assert!(report.contains(&here(line)), "{report}");
    assert!(report.contains("others alike  1"), "{report}");
}

#[tokio::test]
async fn entries_of_the_allow_list_that_cover_nothing_are_named() {
    let registry = registry();
    let _pool = registry.own("users", "pool", ());
    let known = ["pool", "pol"].map(Allow::kind);
    let report = registry.leaks(&over().allow(known)).await;
    let note = "these entries of the allow list cover nothing: kind pol";
    assert!(
        report.is_clean() && report.to_string().contains(note),
        "{report}"
    );
}

#[tokio::test]
async fn a_hundred_equal_leaks_are_one_box() {
    let registry = registry();
    let mut held = Vec::new();
    for n in 0..100 {
        let conn = registry.context(format!("conn-{n}"));
        let buffer = conn.child("buffer");
        conn.close().await;
        held.push((conn, buffer));
    }
    let other = registry.own("other", "kind", ());
    let drawn = registry.leaks(&over()).await.graph().mermaid();
    assert_eq!(drawn.matches("culprit ·").count(), 3, "{drawn}");
    assert_eq!(drawn.matches("and 99 alike").count(), 2, "{drawn}");
    assert!(drawn.contains("201 culprits"), "{drawn}");
    drop((held, other));
}

#[tokio::test]
#[should_panic(expected = "kind held: still there")]
async fn a_report_fails_a_test_at_its_own_line() {
    let registry = registry();
    let _held = registry.own("held", "kind", ());
    registry.leaks(&over()).await.assert_clean();
}
