//! What a listing tells, and how it prints (L5, I16).

use crate::util::{AGES_ARE_PAUSED, in_time, settle};
use headcount::{Registry, Resource};
use std::time::Duration;

/// L5
#[tokio::test(start_paused = true)]
async fn a_listing_groups_by_kind_and_knows_ages() {
    let registry = Registry::new();
    let _old: Vec<_> = (0..2)
        .map(|n| registry.register(format!("db-{n}"), "database"))
        .collect();
    tokio::time::advance(Duration::from_secs(90)).await;
    let _young = registry.register("cache", "cache");
    tokio::time::advance(Duration::from_secs(30)).await;
    let live = registry.live().await;
    let by_kind = live.by_kind();
    assert_eq!(by_kind.keys().collect::<Vec<_>>(), ["cache", "database"]);
    assert_eq!((by_kind["cache"].len(), by_kind["database"].len()), (1, 2));
    if !AGES_ARE_PAUSED {
        return;
    }
    assert_eq!(
        live.kind("database")
            .older_than(Duration::from_secs(100))
            .len(),
        2
    );
    assert_eq!(
        live.older_than(Duration::from_secs(30)).len(),
        2,
        "older than, not as old as"
    );
    assert_eq!(live.older_than(Duration::from_secs(29)).len(), 3);
    assert_eq!(live.find("cache").unwrap().age(), Duration::from_secs(30));
    let created = |name: &str| live.find(name).unwrap().created_at();
    let apart = created("cache").duration_since(created("db-0")).unwrap();
    assert_eq!(apart, Duration::from_secs(90));
}

#[tokio::test]
async fn a_listing_tells_tasks_contexts_and_resources_apart() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let _entry = registry.register("entry", "task");
    let _task = ctx
        .task("job")
        .kind("context")
        .spawn(std::future::pending::<()>());
    let live = registry.live().await;
    let names = |live: headcount::Live| {
        live.into_iter()
            .map(|r| r.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(live.contexts()), ["ctx"]);
    assert_eq!(names(live.tasks()), ["job"]);
    assert_eq!(names(live.resources()), ["entry"]);
    assert_eq!(names(live.clone()), ["ctx", "entry", "job"]);
    assert!(live.find("nobody").is_none() && !live.is_empty());
}

/// Resources registered by a task hang under its context.
#[tokio::test]
async fn a_resource_belongs_to_the_context_whose_task_registered_it() {
    let (registry, other) = (Registry::new(), Registry::new());
    let parent = registry.context("ctx");
    let ctx = parent.child("child");
    let task = ctx.task("job").spawn({
        let (registry, other) = (registry.clone(), other.clone());
        async move {
            let ours = (
                registry.register("ours", "kind"),
                headcount::register("current", "kind"),
            );
            let theirs = other.register("theirs", "kind");
            std::future::pending::<()>().await;
            drop((ours, theirs));
        }
    });
    settle().await;
    let live = registry.live().await;
    for name in ["ours", "current"] {
        assert_eq!(live.find(name).unwrap().parent(), Some(ctx.id()));
        assert_eq!(live.find(name).unwrap().path(), format!("ctx/child/{name}"));
    }
    assert_eq!(other.live().await.find("theirs").unwrap().parent(), None);
    assert_eq!(live.find("job").unwrap().path(), "ctx/child/job");
    task.abort();
}

#[tokio::test]
async fn a_context_lists_its_subtree() {
    let registry = Registry::new();
    let (one, two) = (registry.context("one"), registry.context("two"));
    let child = one.child("child");
    let grandchild = child.child("grandchild");
    for ctx in [&one, &two, &child, &grandchild] {
        ctx.task(format!("task of {}", ctx.name()))
            .spawn(std::future::pending::<()>());
    }
    let names: Vec<_> = child
        .live()
        .await
        .iter()
        .map(|r| r.name().to_owned())
        .collect();
    assert_eq!(
        names,
        ["child", "grandchild", "task of child", "task of grandchild"]
    );
    assert_eq!(one.live().await.len(), 6);
    for ctx in [one, two, child, grandchild] {
        assert_eq!(
            ctx.live().await.contexts().find(ctx.name()).unwrap().id(),
            ctx.id()
        );
        drop(ctx);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_prints_as_a_tree() {
    let registry = Registry::new();
    assert_eq!(registry.live().await.to_string(), "nothing is live");
    let server = registry.context_builder("server").kind("service").open();
    let room = server.child("room");
    let _accept = server.task("accept").spawn(std::future::pending::<()>());
    let _conns: Vec<_> = (0..3)
        .map(|n| {
            room.task(format!("conn-{n}"))
                .spawn(std::future::pending::<()>())
        })
        .collect();
    let _pool = registry.register("pool", "pool");
    settle().await;
    tokio::time::advance(Duration::from_secs(65)).await;
    let live = registry.live().await;
    let plain = |text: String| {
        let is_age =
            |part: &&str| part.starts_with(|c: char| c.is_ascii_digit()) && part.ends_with("ms");
        let line = |line: &str| {
            let line = line.rsplit_once(" · ").map_or(line, |(before, _)| before);
            let age = line.split(" · ").find(is_age).filter(|_| !AGES_ARE_PAUSED);
            age.map_or(line.to_owned(), |age| {
                line.replace(&format!(" · {age}"), " · 1m 05s")
            })
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        plain(live.to_string()),
        [
            "2 contexts, 4 tasks, 1 resource",
            "server  service · open · 1m 05s · 1 strong",
            "├─ room  context · open · 1m 05s · 1 strong",
            "│  ├─ conn-0  task · running · 1m 05s",
            "│  ├─ conn-1  task · running · 1m 05s",
            "│  └─ conn-2  task · running · 1m 05s",
            "└─ accept  task · running · 1m 05s",
            "pool  pool · 1m 05s",
        ]
    );
    assert!(
        live.to_string()
            .lines()
            .skip(1)
            .all(|line| line.contains("tests/it/listing.rs:"))
    );
    assert_eq!(
        plain(live.trimmed(1).to_string())[1..],
        [
            "server  service · open · 1m 05s · 1 strong",
            "├─ room  context · open · 1m 05s · 1 strong",
            "│  ├─ conn-0  task · running · 1m 05s",
            "│  └─ … 2 more",
            "└─ … 1 more",
            "… 1 more",
        ]
    );
    // What is listed without its parent stands at the root.
    assert!(plain(live.tasks().to_string())[1].starts_with("accept  task"));
}

/// I13: printing does not recurse, and does not grow with the square of the depth.
#[tokio::test]
async fn a_deep_tree_prints() {
    let registry = Registry::new();
    let mut chain = vec![registry.context("0")];
    for n in 1..2_000 {
        chain.push(chain[n - 1].child(n.to_string()));
    }
    let printed = registry.live().await.to_string();
    assert_eq!(printed.lines().count(), 2_001);
    assert!(
        printed.contains("⋮ depth 1999: 1999  context"),
        "{}",
        &printed[printed.len() - 100..]
    );
    assert!(printed.len() < 2_000 * 200);
    assert_eq!(chain[3].path(), "0/1/2/3");
    in_time(registry.close()).await;
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_listing_and_a_report_serialize() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let _task = ctx.task("job").spawn(std::future::pending::<()>());
    tokio::time::advance(Duration::from_millis(1500)).await;
    let live = serde_json::to_value(registry.live().await).unwrap();
    assert_eq!(live.as_array().unwrap().len(), 2);
    let job = &live[1];
    assert_eq!(
        (&job["name"], &job["kind"], &job["state"]),
        (&"job".into(), &"task".into(), &"running".into())
    );
    assert_eq!(
        (&job["path"], &job["age_secs"]),
        (&"ctx/job".into(), &1.5.into())
    );
    assert_eq!(
        (&job["parent"], &live[0]["strong_count"]),
        (&live[0]["id"], &1.into())
    );
    let report = serde_json::to_value(in_time(ctx.close()).await).unwrap();
    assert_eq!(
        (&report["name"], &report["counts"]["aborted"]),
        (&"ctx".into(), &1.into())
    );
    assert_eq!(
        (&report["status"], &report["reason"]["requested"]),
        (&"closed".into(), &"close".into())
    );
}

/// The iterator knows its length, from both ends.
#[test]
fn a_listing_is_counted_without_being_walked() {
    let registry = Registry::new();
    let held: Vec<_> = (0..5)
        .map(|n| registry.register(format!("{n}"), "entry"))
        .collect();
    let live = registry.live_now();
    let mut iter = live.iter();
    assert_eq!((iter.len(), iter.size_hint()), (5, (5, Some(5))));
    assert_eq!(iter.next().map(Resource::name), Some("0"));
    assert_eq!(iter.next_back().map(Resource::name), Some("4"));
    assert_eq!(iter.len(), 3);
    drop(held);
}

/// Whatever the clock can tell apart: the threads are new, and have made nothing.
#[tokio::test]
async fn a_child_is_listed_after_its_parent_whichever_thread_opened_it() {
    let registry = Registry::new();
    for _ in 0..100 {
        drop(registry.register("before", "entry"));
    }
    for _ in 0..20 {
        let parent = registry.context("parent");
        let open = parent.clone();
        let child = std::thread::spawn(move || open.child("child")).join();
        let live = registry.live().await;
        let names: Vec<_> = live.iter().map(Resource::name).collect();
        assert_eq!(names, ["parent", "child"]);
        drop(child.unwrap());
        in_time(parent.close()).await;
        drop(parent);
        in_time(registry.idle()).await;
    }
}
