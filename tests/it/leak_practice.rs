//! How leaks are hunted in the system that this crate grew from, step by step, with what there is here instead (S20, S22–S24).

use crate::util::caught;
use headcount::{Context, Level, Registry, WeakContext, WeakTracked, leaks::LeakPolicy, testing};
use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::{task::yield_now, time::Instant};

/// A session with a value, a plain `Arc` and a task, closed as it goes; only weak handles come back.
fn session(
    registry: &Registry,
    kept: &Mutex<Vec<Context>>,
) -> (WeakContext, WeakTracked<&'static str>, Weak<()>) {
    let ctx = registry.context("session");
    let shell = ctx.own("shell", "shell", "a shell").unwrap();
    let kernel = Arc::new(());
    let task = Arc::clone(&kernel);
    ctx.spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(task);
    });
    let weak = (ctx.downgrade(), shell.downgrade(), Arc::downgrade(&kernel));
    kept.lock().unwrap().push(ctx.clone());
    ctx.request_close("the page has gone");
    weak
}

/// S20: a scoped helper returns weak handles only, the test waits until the close has ended, and then until they are released. The
/// wait ends with the last handle, not with its limit.
#[tokio::test(start_paused = true)]
async fn what_a_scoped_helper_makes_is_released_as_soon_as_it_is_closed() {
    let registry = Registry::new();
    let kept = Mutex::default();
    let (ctx, shell, kernel) = session(&registry, &kept);
    ctx.closed().await;
    kept.lock().unwrap().clear();
    let began = Instant::now();
    testing::assert_released(&ctx).await;
    testing::assert_released(&shell).await;
    testing::assert_released(&kernel).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// S20, S23: on failure the report shows what leads to the leak from the root down, and a picture of it is in a file.
#[test]
fn a_leak_test_that_fails_shows_the_chain_and_writes_a_picture() {
    let history = Mutex::default();
    let said = caught(|| {
        crate::util::paused().block_on(testing::check(async |registry| {
            let (ctx, ..) = session(&registry, &history);
            ctx.closed().await;
        }));
    });
    let said = said.unwrap();
    let mut rest = &*said;
    for part in ["┌─ thread", "⇣ taken at", "← suspect", "└─ context session"] {
        let at = rest.find(part);
        rest = &rest[at.unwrap_or_else(|| panic!("no {part} in its place in:\n{said}"))..];
    }
    let picture = said.rsplit("and /").next().unwrap().trim();
    let picture = std::fs::read_to_string(format!("/{picture}")).unwrap();
    assert!(
        picture.starts_with("<svg") && picture.contains("session"),
        "{picture}"
    );
    drop(history);
}

/// What a render subscribes to, and whether it unsubscribes.
async fn render(page: &Context, subscribers: &Mutex<Vec<WeakContext>>, unsubscribes: bool) {
    page.with_child("render", async |render| {
        subscribers.lock().unwrap().push(render.downgrade());
        render.spawn(yield_now()).await.unwrap();
        if unsubscribes {
            subscribers.lock().unwrap().pop();
        }
    })
    .await;
}

/// S22: ten cycles are compared; churn inside a session that lives on is no growth, and a counter of subscriptions that is back
/// where it was after each cycle is none. One that is not fails.
#[test]
fn churn_in_a_live_session_is_no_growth_and_a_subscription_that_stays_is() {
    let run = |unsubscribes| {
        let live = Mutex::new(None);
        crate::util::paused().block_on(testing::assert_no_growth(10, async |registry| {
            let (page, subscribers) = live
                .lock()
                .unwrap()
                .get_or_insert_with(|| {
                    let subscribers = Arc::<Mutex<Vec<WeakContext>>>::default();
                    let weak = Arc::downgrade(&subscribers);
                    let count = move || weak.upgrade().map_or(0, |all| all.lock().unwrap().len());
                    registry.probe("subscriptions", count);
                    (registry.context("page"), subscribers)
                })
                .clone();
            for _ in 0..3 {
                render(&page, &subscribers, unsubscribes).await;
            }
        }));
    };
    run(true);
    let said = caught(|| run(false)).unwrap();
    assert!(said.contains("grew over 10 cycles"), "{said}");
    assert!(said.contains("subscriptions: growing"), "{said}");
}

/// S23: of two ways from a root to what is leaked, the report shows the shorter one.
#[tokio::test]
async fn the_shortest_way_to_a_leak_is_shown() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let [near, between, far] =
        ["near", "between", "far"].map(|name| registry.own(name, "list", ()));
    far.held_by(&between);
    let ctx = registry.context("ctx");
    let (one, two) = (ctx.clone(), ctx.clone());
    one.held_by(&far);
    two.held_by(&near);
    ctx.close().await;
    drop(ctx);
    let report = registry
        .leaks(&LeakPolicy::new().settle(Duration::ZERO))
        .await;
    let said = report.to_string();
    assert!(
        said.contains("├─ list near") && !said.contains("├─ list far"),
        "{said}"
    );
    drop((one, two));
}

/// S24: what holds what as a picture in each notation, how many there are of a kind, and how many handles.
#[tokio::test]
async fn references_are_drawn_and_kinds_and_handles_are_counted() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let board = registry.own("board", "board", ());
    let other = board.clone();
    let ctx = registry.context("session");
    let held = ctx.clone();
    held.held_by(&board);
    ctx.close().await;
    drop(ctx);

    let live = registry.live().await;
    assert_eq!(live.by_kind().into_iter().collect::<Vec<_>>().len(), 2);
    assert_eq!(live.kind("board").len(), 1);
    assert_eq!(live.find("board").unwrap().strong_count(), Some(2));
    assert_eq!(
        (board.strong_count(), held.holders().strong_count()),
        (2, 1)
    );

    let graph = registry
        .leaks(&LeakPolicy::new().settle(Duration::ZERO))
        .await
        .graph();
    let (dot, mermaid, svg) = (graph.dot(), graph.mermaid(), graph.svg());
    assert!(dot.starts_with("digraph") && dot.contains("->"), "{dot}");
    assert!(
        mermaid.starts_with("flowchart") || mermaid.starts_with("graph"),
        "{mermaid}"
    );
    assert!(svg.starts_with("<svg"), "{svg}");
    let mut all = vec![dot, mermaid, svg];
    #[cfg(feature = "serde")]
    {
        let json = graph.json();
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(parsed.is_object(), "{json}");
        all.push(json);
    }
    for drawn in all {
        assert!(
            drawn.contains("session") && drawn.contains("board"),
            "{drawn}"
        );
    }
    drop((other, held));
}
