//! What does a context weigh, and what does it cost to open and close one?
//!
//! Bytes as asked of the allocator, of an open and empty child, its place in the lists of its parent and of the registry included.
//! The peer of opening and closing is what one would use in its place for a group of tasks: a `JoinSet` and a child token.

use crate::common::{Bar, Contest, Form, current_thread, heap, per};
use headcount::{Context, Level, Registry};
use std::time::Instant;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Bytes and allocations of each of so many contexts.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn weight(runtime: &Runtime, level: Level, contexts: usize) -> f64 {
    runtime.block_on(async {
        let registry = Registry::new();
        registry.set_level(level);
        let parent = registry.context("parent");
        let open = || parent.child("child");
        // What the first ones make for all of them.
        drop((0..contexts).map(|_| open()).collect::<Vec<Context>>());
        registry.live().await;
        let mut all = Vec::with_capacity(contexts);
        heap::start();
        all.extend((0..contexts).map(|_| open()));
        let (bytes, allocations) = heap::read();
        heap::stop();
        let each = |count: isize| count as f64 / contexts as f64;
        println!(
            "#   {:<24} {:>10.1} bytes {:>6.2} allocations",
            format!("level {level:?}"),
            each(bytes),
            each(allocations)
        );
        parent.close().await;
        each(bytes)
    })
}

/// What is left of each of so many closed contexts, with what is kept of it.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn closed<T>(runtime: &Runtime, contexts: usize, name: &str, keep: impl Fn(Context) -> T) {
    runtime.block_on(async {
        let parent = Registry::new().context("parent");
        let kept = |context: Context| async {
            drop(context.close().await);
            keep(context)
        };
        for _ in 0..contexts {
            drop(kept(parent.child("child")).await);
        }
        let mut all = Vec::with_capacity(contexts);
        heap::start();
        for _ in 0..contexts {
            all.push(kept(parent.child("child")).await);
        }
        let (bytes, _) = heap::read();
        heap::stop();
        let each = bytes as f64 / contexts as f64;
        println!("#   {name:<24} {each:>10.1} bytes");
    });
}

fn headcount(runtime: &Runtime, contexts: usize) -> f64 {
    runtime.block_on(async {
        let parent = Registry::new().context("parent");
        let start = Instant::now();
        for _ in 0..contexts {
            drop(parent.child("child").close().await);
        }
        per(start, contexts)
    })
}

fn by_hand(runtime: &Runtime, contexts: usize) -> f64 {
    runtime.block_on(async {
        let parent = CancellationToken::new();
        let start = Instant::now();
        for _ in 0..contexts {
            let (token, mut set) = (parent.child_token(), JoinSet::<()>::new());
            token.cancel();
            while set.join_next().await.is_some() {}
        }
        per(start, contexts)
    })
}

/// With a task each, that waits for the end.
fn headcount_with_a_task(runtime: &Runtime, contexts: usize) -> f64 {
    runtime.block_on(async {
        let parent = Registry::new().context("parent");
        let start = Instant::now();
        for _ in 0..contexts {
            let child = parent.child("child");
            let own = child.downgrade();
            drop(child.spawn(async move { own.cancelled().await }));
            drop(child.close().await);
        }
        per(start, contexts)
    })
}

fn by_hand_with_a_task(runtime: &Runtime, contexts: usize) -> f64 {
    runtime.block_on(async {
        let parent = CancellationToken::new();
        let start = Instant::now();
        for _ in 0..contexts {
            let (token, mut set) = (parent.child_token(), JoinSet::<()>::new());
            let own = token.clone();
            set.spawn(async move { own.cancelled().await });
            token.cancel();
            while set.join_next().await.is_some() {}
        }
        per(start, contexts)
    })
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let (runtime, contexts) = (current_thread(), form.size(20_000));
    println!("# an open, empty context, of {contexts}");
    let [off, held] = [Level::Off, Level::Holders].map(|level| weight(&runtime, level, contexts));
    println!("# a context that has closed");
    closed(&runtime, contexts, "strong handle", |context| context);
    closed(&runtime, contexts, "weak handle", |context| {
        context.downgrade()
    });
    let (contexts, rounds) = (form.size(10_000), form.rounds(15));
    let empty = Contest::new("an empty context, opened and closed", "ns")
        .side("headcount", || headcount(&runtime, contexts))
        .side("JoinSet + child token", || by_hand(&runtime, contexts))
        .run(rounds);
    Contest::new("the same with a task that waits for the end", "ns")
        .side("headcount", || headcount_with_a_task(&runtime, contexts))
        .side("JoinSet + child token", || {
            by_hand_with_a_task(&runtime, contexts)
        })
        .run(rounds);
    vec![
        Bar::new("context_bytes", off, 900.0, 500.0),
        Bar::new("context_bytes_holders", held, 1_300.0, 700.0),
        Bar::new(
            "context_open_close",
            empty.ratio_to("JoinSet + child token"),
            3.0,
            1.5,
        ),
    ]
}
