//! `headcount::metrics`: what a scrape gets.

use crate::util::{current_thread, in_time, multi_thread, settle};
use headcount::{Registry, leaks::LeakPolicy, metrics::publish};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{collections::BTreeSet, fs, future::pending, path::Path, time::Duration};

/// Runs with a recorder of its own, on one thread.
fn recorded<R>(body: impl AsyncFnOnce(PrometheusHandle) -> R) -> R {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || current_thread().block_on(body(handle)))
}

/// The value of one series.
fn value(page: &str, series: &str) -> Option<u64> {
    let mut lines = page.lines();
    let rest = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(rest.parse().unwrap())
}

#[test]
fn a_scrape_has_the_figures_of_the_registry() {
    recorded(async |handle| {
        let registry = Registry::new();
        let figures = publish(&registry);
        let ctx = registry.context("ctx");
        ctx.spawn(async {}).await.unwrap();
        ctx.spawn(async {}).await.unwrap();
        ctx.spawn(async { panic!("on purpose") }).await.unwrap_err();
        let runs = ctx.task("runs").kind("worker").spawn(pending::<()>());
        settle().await;
        assert!(in_time(figures.update()).await);
        let page = handle.render();
        let said = |series: &str| value(&page, series);
        assert_eq!(
            said("headcount_tasks_ended_total{outcome=\"finished\"}"),
            Some(2),
            "{page}"
        );
        assert_eq!(
            said("headcount_tasks_ended_total{outcome=\"panicked\"}"),
            Some(1)
        );
        assert_eq!(said("headcount_tasks_running"), Some(1));
        assert_eq!(
            said("headcount_entries{kind=\"worker\",state=\"running\"}"),
            Some(1)
        );
        assert_eq!(
            said("headcount_entries{kind=\"context\",state=\"open\"}"),
            Some(1)
        );
        assert_eq!(said("headcount_contexts_open"), Some(1));
        assert!(said("headcount_runtime_workers").is_some_and(|workers| workers > 0));

        drop(runs);
        in_time(ctx.close_now()).await;
        drop(ctx.spawn(async {}));
        in_time(figures.update()).await;
        let page = handle.render();
        let said = |series: &str| value(&page, series);
        assert_eq!(
            said("headcount_entries{kind=\"worker\",state=\"running\"}"),
            Some(0),
            "{page}"
        );
        assert_eq!(
            said("headcount_entries{kind=\"context\",state=\"closed\"}"),
            Some(1)
        );
        assert_eq!(
            said("headcount_tasks_ended_total{outcome=\"forced\"}"),
            Some(1)
        );
        assert_eq!(
            said("headcount_tasks_ended_total{outcome=\"aborted\"}"),
            Some(0)
        );
        assert_eq!(
            said("headcount_tasks_refused_total{reason=\"closed\"}"),
            Some(1)
        );
        assert_eq!(
            said("headcount_contexts_closed_total{reason=\"requested\"}"),
            Some(1)
        );
        assert_eq!(said("headcount_closes_unclean_total"), Some(1));
    });
}

/// A rate over a counter that is absent until its first occurrence misses that one.
#[test]
fn what_may_come_is_there_before_it_comes() {
    recorded(async |handle| {
        let registry = Registry::new();
        in_time(publish(&registry).update()).await;
        let page = handle.render();
        for series in [
            "headcount_tasks_refused_total{reason=\"closed\"}",
            "headcount_tasks_refused_total{reason=\"full\"}",
            "headcount_contexts_closed_total{reason=\"failed\"}",
            "headcount_contexts_closed_total{reason=\"dropped\"}",
            "headcount_close_seconds_bucket{le=\"0.001\"}",
            "headcount_close_seconds_bucket{le=\"+Inf\"}",
            "headcount_tasks_restarted_total",
        ] {
            assert_eq!(value(&page, series), Some(0), "{series}: {page}");
        }
        assert_eq!(value(&page, "headcount_leaks"), None, "{page}");
    });
}

#[test]
fn closes_are_counted_by_how_long_they_took() {
    let page = crate::util::paused().block_on(async {
        let recorder = PrometheusBuilder::new().build_recorder();
        let registry = Registry::new();
        let ctx = registry.context("quick");
        in_time(ctx.close()).await;
        let slow = registry.context("slow");
        drop(slow.on_close(|| tokio::time::sleep(Duration::from_secs(3))));
        in_time(slow.close()).await;
        let figures = publish(&registry);
        // The other figures of the update go to whatever recorder there is.
        let guard = metrics::set_default_local_recorder(&recorder);
        in_time(figures.update()).await;
        drop(guard);
        recorder.handle().render()
    });
    let within = |bound: &str| {
        let series = format!("headcount_close_seconds_bucket{{le=\"{bound}\"}}");
        value(&page, &series).unwrap_or_else(|| panic!("{series}: {page}"))
    };
    assert_eq!(["1", "5", "+Inf"].map(within), [1, 2, 2]);
    let requested = "headcount_contexts_closed_total{reason=\"requested\"}";
    assert_eq!(value(&page, requested), Some(2));
}

#[test]
fn a_leak_watch_has_its_figure() {
    recorded(async |handle| {
        let registry = Registry::new();
        let policy = LeakPolicy::new().settle(Duration::ZERO);
        let _watch = registry.watch_leaks(policy, Duration::from_millis(1));
        let figures = publish(&registry);
        let held = registry.context("held");
        in_time(held.close()).await;
        let reaches = async |number| {
            let said = async {
                loop {
                    figures.update().await;
                    if value(&handle.render(), "headcount_leaks") == Some(number) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            in_time(said).await;
        };
        reaches(1).await;
        drop(held);
        in_time(registry.context("another").close()).await;
        reaches(0).await;
    });
}

/// A kind that a program makes of a user's input does not fill the server that scrapes.
#[test]
fn more_kinds_than_a_hundred_are_one() {
    recorded(async |handle| {
        let registry = Registry::new();
        let figures = publish(&registry);
        let all: Vec<_> = (0..1_000)
            .map(|n| registry.register("entry", format!("kind-{n}\n{}", "x".repeat(1_000))))
            .collect();
        in_time(figures.update()).await;
        drop(all);
        let _others: Vec<_> = (0..50)
            .map(|n| registry.register("entry", format!("other-{n}")))
            .collect();
        in_time(figures.update()).await;
        let page = handle.render();
        let series: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("headcount_entries{"))
            .collect();
        assert_eq!(series.len(), 101, "{page}");
        let other = "headcount_entries{kind=\"other\",state=\"live\"}";
        assert_eq!(value(&page, other), Some(50));
        assert!(series.iter().all(|line| line.len() < 300));
    });
}

/// Neither names nor ids.
#[test]
fn names_are_no_labels() {
    recorded(async |handle| {
        let registry = Registry::new();
        let figures = publish(&registry);
        let ctx = registry.context("a secret");
        let _task = ctx.task("another secret").spawn(pending::<()>());
        in_time(figures.update()).await;
        let page = handle.render();
        assert!(!page.contains("secret"), "{page}");
    });
}

#[test]
fn figures_do_not_keep_the_registry() {
    recorded(async |_| {
        let registry = Registry::new();
        let figures = publish(&registry);
        let guard = figures.every(Duration::from_millis(10));
        drop(registry);
        assert!(!in_time(figures.update()).await);
        in_time(async {
            while !format!("{guard:?}").contains("has_ended: true") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    });
}

/// Counters go to the same recorder again and again, from several threads, while tasks come and go.
#[test]
fn counters_never_go_down() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = multi_thread(2);
    let registry = Registry::new();
    let busy = runtime.spawn({
        let registry = registry.clone();
        async move {
            for _ in 0..300 {
                let ctx = registry.context("ctx");
                drop(ctx.spawn(async {}));
                ctx.spawn(pending::<()>()).abort();
                in_time(ctx.close()).await;
            }
        }
    });
    metrics::with_local_recorder(&recorder, || {
        current_thread().block_on(async {
            let figures = publish(&registry);
            let mut before = [0; 3];
            loop {
                let is_last = busy.is_finished();
                in_time(figures.update()).await;
                let page = handle.render();
                let said = |series: &str| value(&page, series).unwrap_or(0);
                let now = [
                    said("headcount_tasks_ended_total{outcome=\"finished\"}"),
                    said("headcount_tasks_ended_total{outcome=\"aborted\"}"),
                    said("headcount_contexts_closed_total{reason=\"requested\"}"),
                ];
                assert!(now.iter().zip(before).all(|(now, before)| *now >= before));
                before = now;
                if is_last {
                    break;
                }
            }
            assert_eq!(before, [300; 3]);
        });
    });
}

/// The table in the docs of the module.
#[test]
fn the_table_has_every_figure() {
    let page = recorded(async |handle| {
        let registry = Registry::new();
        let figures = publish(&registry);
        let policy = LeakPolicy::new().settle(Duration::ZERO);
        let _watch = registry.watch_leaks(policy, Duration::from_millis(1));
        let ctx = registry.context("ctx");
        in_time(ctx.close()).await;
        in_time(async {
            while value(&handle.render(), "headcount_leaks").is_none() {
                figures.update().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        handle.render()
    });
    let emitted: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE headcount"))
        .map(|rest| format!("headcount{rest}"))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/mod.rs");
    let text = fs::read_to_string(file).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let documented: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            format!("{name} {}", cells.next().unwrap())
        })
        .collect();
    assert_eq!(emitted, documented);
    // Each has a line that says what it is.
    for name in &documented {
        let name = name.split(' ').next().unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name}");
    }
}
