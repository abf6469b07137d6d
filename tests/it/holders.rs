//! Who holds what, and how much of it is recorded.

use crate::util::{AGES_ARE_PAUSED, TIME_LIMIT, age, current_thread, settle};
use futures::FutureExt;
use headcount::{Holders, Level, Registry, State, Tracked, leaks::LeakPolicy};
use std::{
    panic::Location,
    process::Command,
    thread,
    time::{Duration, Instant},
};

fn registry(level: Level) -> Registry {
    let registry = Registry::new();
    registry.set_level(level);
    registry
}

fn lines(holders: &Holders) -> Vec<u32> {
    holders
        .iter()
        .map(|holder| holder.location().line())
        .collect()
}

#[tokio::test]
async fn every_way_to_get_a_handle_is_written_down_on_its_own_line() {
    let registry = registry(Level::Holders);
    let (ctx, opened) = (registry.context("ctx"), line!());
    let (clone, cloned) = (ctx.clone(), line!());
    let weak = ctx.downgrade();
    let (up, upgraded) = (weak.upgrade().unwrap(), line!());
    let (child, born) = (ctx.child("child"), line!());
    let (started, start) = (registry.context_builder("x").open(), line!());
    let (tried, attempt) = (ctx.child_builder("y").try_open().unwrap(), line!());
    assert_eq!(lines(&ctx.holders()), [opened, cloned, upgraded]);
    assert_eq!(lines(&weak.holders()), [opened, cloned, upgraded]);
    assert_eq!(lines(&child.holders()), [born]);
    assert_eq!(lines(&started.holders()), [start]);
    assert_eq!(lines(&tried.holders()), [attempt]);
    assert!(
        ctx.holders()
            .iter()
            .all(|holder| holder.location().file() == file!())
    );
    drop((clone, up));
    assert_eq!(lines(&ctx.holders()), [opened]);
}

#[test]
fn every_handle_of_a_value_is_written_down_on_its_own_line() {
    let registry = registry(Level::Holders);
    let (value, owned) = (registry.own("value", "kind", 1), line!());
    let (clone, cloned) = (value.clone(), line!());
    let weak = value.downgrade();
    let (up, upgraded) = (weak.upgrade().unwrap(), line!());
    assert_eq!(lines(&value.holders()), [owned, cloned, upgraded]);
    assert_eq!(lines(&weak.holders().unwrap()), [owned, cloned, upgraded]);
    drop((clone, up));
    assert_eq!(lines(&value.holders()), [owned]);
    drop(value);
    assert!(weak.holders().is_none());
}

#[tokio::test]
async fn a_context_is_the_holder_of_what_it_owns() {
    let registry = registry(Level::Holders);
    let ctx = registry.context("ctx");
    let value = ctx.own("value", "kind", 1).unwrap();
    let said = value.holders().to_string();
    assert!(said.contains("by context ctx"), "{said}");
    assert_eq!(value.holders().len(), 2);
    ctx.close().await;
    assert_eq!(value.holders().len(), 1);
}

#[tokio::test]
async fn a_handle_knows_the_task_that_took_it_and_how_that_stands() {
    let registry = registry(Level::Holders);
    let (ctx, other) = (registry.context("ctx"), registry.context("other"));
    let weak = other.downgrade();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = ctx.task("maker").spawn(async move {
        let held = weak.upgrade().unwrap();
        let _ = stopped.await;
        held
    });
    settle().await;
    let holders = other.holders();
    let holder = holders.iter().nth(1).unwrap();
    assert_eq!(holder.task(), Some(task.id()));
    assert_eq!(holder.task_name(), Some("maker"));
    assert_eq!(holder.task_state(), Some(State::Running));
    stop.send(()).unwrap();
    let held = task.await.unwrap();
    let holders = other.holders();
    let holder = holders.iter().nth(1).unwrap();
    assert_eq!(
        (holder.task_name(), holder.task_state()),
        (Some("maker"), None)
    );
    assert!(
        holder.to_string().contains("by task maker (ended)"),
        "{holder}"
    );
    drop(held);
}

#[tokio::test]
async fn a_hook_a_foreign_task_and_a_thread_are_told_apart() {
    let registry = registry(Level::Holders);
    let kept = registry.context("kept");
    let (in_hook, in_task, in_thread) = (kept.downgrade(), kept.downgrade(), kept.downgrade());
    let ctx = registry.context("ctx");
    let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
    let from_hook = give.clone();
    ctx.on_close(move || async move { drop(from_hook.send(in_hook.upgrade().unwrap())) })
        .unwrap();
    ctx.close().await;
    tokio::spawn(async move { drop(give.send(in_task.upgrade().unwrap())) })
        .await
        .unwrap();
    let of_thread = thread::Builder::new()
        .name("other thread".into())
        .spawn(move || in_thread.upgrade().unwrap())
        .unwrap()
        .join()
        .unwrap();
    let said = kept.holders().to_string();
    for by in [
        "by a hook of ctx",
        "by tokio task ",
        "by thread other thread",
    ] {
        assert!(said.contains(by), "{by}: {said}");
    }
    take.close();
    drop(of_thread);
}

#[test]
fn strong_handles_are_reconciled_with_those_that_are_written_down() {
    let registry = registry(Level::Off);
    let first = registry.own("value", "kind", ());
    registry.set_level(Level::Holders);
    let (second, third) = (first.clone(), first.clone());
    let holders = first.holders();
    assert_eq!(
        (holders.strong_count(), holders.len(), holders.untracked()),
        (3, 2, 1)
    );
    let said = holders.to_string();
    assert!(
        said.starts_with("strong 3 = 2 tracked + 1 untracked\n"),
        "{said}"
    );
    assert!(
        said.ends_with("\n  1 taken before tracking began"),
        "{said}"
    );
    drop(first);
    assert!(
        second
            .holders()
            .to_string()
            .starts_with("strong 2 = 2 tracked\n")
    );
    drop(third);
}

#[test]
fn a_handle_keeps_its_entry_when_the_level_goes_down() {
    let registry = registry(Level::Holders);
    let first = registry.own("value", "kind", ());
    registry.set_level(Level::Off);
    let second = first.clone();
    assert_eq!((first.holders().len(), first.holders().untracked()), (1, 1));
    drop(first);
    assert_eq!(
        (second.holders().len(), second.holders().untracked()),
        (0, 1)
    );
}

#[test]
fn counts_know_the_line_and_no_more() {
    let registry = registry(Level::Counts);
    let value = registry.own("value", "kind", ());
    let holders = value.holders();
    let holder = holders.iter().next().unwrap();
    assert_eq!(holder.location().file(), file!());
    assert!(holder.age().is_none() && holder.task().is_none() && holder.backtrace().is_none());
}

#[test]
fn backtraces_are_sampled_one_in_so_many() {
    let registry = registry(Level::Backtraces);
    registry.sample_backtraces(4);
    let value = registry.own("value", "kind", ());
    let _clones: Vec<_> = (0..7).map(|_| value.clone()).collect();
    let holders = value.holders();
    let traces = holders.iter().filter_map(|holder| holder.backtrace());
    let traces: Vec<_> = traces.map(ToString::to_string).collect();
    assert_eq!(traces.len(), 2);
    assert!(
        traces[0].contains("backtraces_are_sampled_one_in_so_many"),
        "{}",
        traces[0]
    );
}

#[tokio::test(start_paused = true)]
async fn ages_and_touches_follow_the_clock() {
    let registry = registry(Level::Holders);
    let ctx = registry.context("ctx");
    let second = Duration::from_secs(1);
    tokio::time::advance(3 * second).await;
    let before = ctx.holders();
    assert_eq!(before.iter().next().unwrap().last_touch(), None);
    ctx.touch();
    tokio::time::advance(second).await;
    let holders = ctx.holders();
    let holder = holders.iter().next().unwrap();
    let ages = (holder.age().unwrap(), holder.last_touch().unwrap());
    if AGES_ARE_PAUSED {
        assert_eq!(ages, (4 * second, second));
    }
    assert!(ages.0 >= ages.1, "{ages:?}");
    let said = holder.to_string();
    assert!(
        said.contains("last used ") && said.contains(age("used 1.0s ago")),
        "{said}"
    );
}

#[tokio::test]
async fn waiting_through_a_handle_is_using_it() {
    let registry = registry(Level::Holders);
    let (ctx, other) = (registry.context("ctx"), registry.context("other"));
    let captured = ctx.clone();
    other
        .task("waiter")
        .spawn(async move { captured.cancelled().await });
    settle().await;
    let said = ctx.holders().to_string();
    assert!(said.contains("by task waiter"), "{said}");
}

#[test]
fn a_handle_says_what_it_lies_in() {
    let registry = registry(Level::Holders);
    let cache = registry.own("users", "cache", ());
    let entry = registry.register("list", "list");
    let (value, other) = (
        registry.own("ada", "user", ()),
        registry.own("grace", "user", ()),
    );
    value.held_by(&(&cache, "by_name"));
    other.held_by(&entry);
    let inside = |holders: Holders| holders.iter().next().unwrap().inside();
    assert_eq!(inside(value.holders()), Some(cache.id()));
    assert_eq!(inside(other.holders()), Some(entry.id()));
    assert!(
        value.holders().to_string().contains("in users.by_name"),
        "{}",
        value.holders()
    );
}

#[test]
fn the_last_handles_that_came_and_went_are_remembered() {
    let registry = registry(Level::Holders);
    let value = registry.own("value", "kind", ());
    let mut went = Vec::new();
    for _ in 0..20 {
        drop(value.clone());
        went.push(line!() - 1);
    }
    drop(value.clone());
    let last = line!() - 1;
    let holders = value.holders();
    let recent: Vec<_> = holders.recent().map(Location::line).collect();
    assert_eq!((recent.len(), recent[0], recent[1]), (8, last, went[0]));
}

#[tokio::test]
async fn a_close_through_a_weak_handle_is_on_the_line_that_asked_for_it() {
    let registry = registry(Level::Holders);
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    weak.request_close("enough");
    let line = line!() - 1;
    let recent: Vec<_> = ctx
        .holders()
        .recent()
        .map(|at| (at.file(), at.line()))
        .collect();
    assert_eq!(recent, [(file!(), line)]);
}

#[test]
fn a_forgotten_handle_is_still_written_down() {
    let registry = registry(Level::Holders);
    let value = registry.own("value", "kind", ());
    std::mem::forget(value.clone());
    let forgotten = line!() - 1;
    let weak = value.downgrade();
    drop(value);
    assert_eq!(lines(&weak.holders().unwrap()), [forgotten]);
}

#[test]
fn handles_that_come_and_go_on_many_threads_leave_no_entry() {
    let registry = registry(Level::Holders);
    let value = registry.own("value", "kind", ());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let held = value.clone();
                    held.touch();
                    drop(held);
                }
            });
        }
    });
    let holders = value.holders();
    assert_eq!(
        (holders.len(), holders.untracked(), holders.strong_count()),
        (1, 0, 1)
    );
}

/// Each level in a process of its own: it is read once.
#[test]
fn the_environment_sets_the_level() {
    let level_with = |value: Option<&str>| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "holders::print_the_level",
            "--ignored",
            "--nocapture",
        ]);
        match value {
            Some(value) => child.env("HEADCOUNT_LEVEL", value),
            None => child.env_remove("HEADCOUNT_LEVEL"),
        };
        String::from_utf8(child.output().unwrap().stdout).unwrap()
    };
    for (value, level) in [
        ("off", "off"),
        ("COUNTS", "counts"),
        ("holders", "holders"),
        ("backtraces", "backtraces"),
    ] {
        let said = level_with(Some(value));
        assert!(said.contains(&format!("level={level};")), "{value}: {said}");
    }
    let usual = if cfg!(debug_assertions) {
        "holders"
    } else {
        "off"
    };
    assert!(level_with(None).contains(&format!("level={usual};")));
    for bad in ["lots", "backtraces/3"] {
        let said = level_with(Some(bad));
        assert!(said.contains(&format!("level={usual};")), "{said}");
        assert!(
            said.contains("WARN") && said.contains("use off, counts, holders or backtraces"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn print_the_level() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stdout)
        .with_ansi(false)
        .init();
    println!("level={};", Registry::new().level());
}

#[test]
fn a_subscriber_that_hears_of_a_bad_level_may_use_registries() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holders::ask_while_it_is_said", "--ignored"])
        .env("HEADCOUNT_LEVEL", "lots")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > TIME_LIMIT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn ask_while_it_is_said() {
    let asking = || {
        Registry::new();
        Registry::global().count();
        std::io::sink()
    };
    tracing_subscriber::fmt().with_writer(asking).init();
    assert!(Registry::global().is_empty());
}

#[test]
fn a_registry_in_a_runtime_that_is_gone_still_answers() {
    let registry = registry(Level::Holders);
    let ctx = current_thread().block_on(async { registry.context("ctx") });
    assert_eq!(ctx.holders().len(), 1);
    drop(ctx);
}

#[test]
fn a_clone_in_a_library_is_named_by_the_line_behind_it() {
    let registry = registry(Level::Holders);
    let map = std::collections::HashMap::from([(1, registry.own("value", "kind", ()))]);
    let (found, line) = (map.get(&1).cloned().unwrap(), line!());
    let said = found.holders().to_string();
    assert!(
        said.contains(&format!("taken at {}:{line}", file!())),
        "{said}"
    );
}

/// Those of one moment of the clock too, whatever places of others they got.
#[tokio::test(start_paused = true)]
async fn holders_of_one_moment_are_told_oldest_first() {
    let first = registry(Level::Holders).context("ctx");
    let gone = first.clone();
    let second = first.clone();
    drop(gone);
    let third = first.clone();
    let told = lines(&first.holders());
    assert!(told.len() == 3 && told.is_sorted(), "{told:?}");
    drop((second, third));
}

/// Where a handle lies is believed as long as that is there, and nothing else is said.
#[test]
fn a_handle_does_not_lie_in_what_is_gone() {
    let registry = registry(Level::Holders);
    let value = registry.own("ada", "user", ());
    let ctx = registry.context("ctx");
    let cache = registry.own("users", "cache", ());
    value.held_by(&(&cache, "by_name"));
    ctx.held_by(&cache);
    let inside = |holders: &Holders| holders.iter().next().unwrap().inside();
    assert_eq!(inside(&ctx.holders()), Some(cache.id()));
    ctx.held_by_none();
    assert_eq!(inside(&ctx.holders()), None);
    assert!(!ctx.holders().to_string().contains("users"));
    drop(cache);
    let holders = value.holders();
    assert_eq!(inside(&holders), None);
    assert!(
        holders
            .to_string()
            .contains("was in users.by_name, which is gone"),
        "{holders}"
    );
    value.held_by_none();
    assert!(!value.holders().to_string().contains("users"));
}

#[tokio::test]
async fn a_task_that_panicked_is_not_said_to_have_ended() {
    let registry = registry(Level::Holders);
    let kept = registry.context("kept");
    let (weak, (give, given)) = (kept.downgrade(), tokio::sync::oneshot::channel());
    let task = registry.task("import").spawn(async move {
        give.send(weak.upgrade()).unwrap();
        panic!("on purpose")
    });
    task.await.unwrap_err();
    let _taken = given.await.unwrap();
    let holders = kept.holders();
    assert!(
        holders.to_string().contains("by task import (panicked)"),
        "{holders}"
    );
    kept.close().await;
    drop(kept);
    let policy = headcount::leaks::LeakPolicy::new().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await.to_string();
    let root = "┌─ task import (panicked), or code that it was passed to";
    assert!(report.contains(root), "{report}");
}

/// A clone of a struct clones the handle in it: on the line of the derive, or of a `clone` that was written by hand.
#[test]
fn a_handle_in_a_cloned_struct_is_named_by_the_line_that_cloned_the_struct() {
    #[derive(Clone)]
    struct Shelf {
        value: Tracked<()>,
    }
    const DERIVED: u32 = line!() - 2;
    let registry = registry(Level::Backtraces);
    let shelves = vec![Shelf {
        value: registry.own("value", "kind", ()),
    }];
    let (copy, line) = (shelves.clone(), line!());
    let said = shelves[0].value.holders().to_string();
    let (cloned, derived) = (
        format!("{}:{line}", file!()),
        format!("{}:{DERIVED}", file!()),
    );
    let expected = format!("taken at {cloned} (through the `clone` at {derived})");
    assert!(said.contains(&expected), "{said}");
    drop(copy);
}

/// The code that runs the runtime has not taken it.
#[tokio::test]
async fn a_handle_that_a_librarys_task_took_is_said_to_be_on_no_line_of_ones_own() {
    let registry = registry(Level::Holders);
    let value = registry.own("value", "kind", ());
    let shared = futures::future::ready(value.clone()).shared();
    let kept = shared.clone();
    let taken = tokio::spawn(shared).await.unwrap();
    let said = value.holders().to_string();
    let expected = "(no line of yours is on the stack: taken by futures_util's `Shared`)";
    assert!(said.contains(expected), "{said}");
    drop((kept, value));
    let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await.to_string();
    assert!(
        report.contains(expected) || report.contains("`Shared`"),
        "{report}"
    );
    drop(taken);
}
