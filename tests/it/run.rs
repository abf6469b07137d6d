//! `headcount::run`: what the body can do, and what ends it. Signals are in `tests/processes.rs`.

use crate::util::paused;
use headcount::{App, AppBuilder, CloseReason, Context, OnFailure, Readiness, Registry, TaskError};
use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3_600);

type Ended = Result<(), TaskError>;

/// A service with a registry of its own, in paused time.
fn service(registry: &Registry) -> AppBuilder {
    let paused = || Ok(paused());
    App::builder("api").registry(registry).runtime(paused)
}

fn code(code: u8) -> ExitCode {
    ExitCode::from(code)
}

#[test]
fn the_end_of_the_body_closes_and_the_code_is_0() {
    let registry = Registry::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let ended = service(&registry).run(async move |app: App| {
        let ctx = app.context().downgrade();
        let (in_task, in_hook) = (noted.clone(), noted.clone());
        app.context()
            .on_close(async move || in_hook.lock().unwrap().push("hook".to_owned()))
            .unwrap();
        app.context().spawn(async move {
            let reason = ctx.cancelled().await;
            in_task.lock().unwrap().push(reason.root().to_string());
        });
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
    assert_eq!(
        *seen.lock().unwrap(),
        ["requested: the body returned", "hook"]
    );
    assert_eq!(
        registry.close_reason(),
        Some(CloseReason::from("the body returned"))
    );
    assert!(registry.is_empty(), "{}", registry.live_now());
}

/// A batch job: the body waits until its tasks have ended by themselves.
#[test]
fn the_body_may_await_its_tasks() {
    let registry = Registry::new();
    let finished = Arc::new(Mutex::new(0));
    let counted = finished.clone();
    let ended = service(&registry).run(async move |app: App| {
        for n in 0..3 {
            let counted = counted.clone();
            app.context().spawn(async move {
                sleep(HOUR * n).await;
                *counted.lock().unwrap() += 1;
            });
        }
        app.context().idle().await;
        let report = app.context().close().await;
        assert_eq!((report.finished(), report.is_clean()), (3, true));
        Ok::<(), TaskError>(())
    });
    assert_eq!((ended, *finished.lock().unwrap()), (code(0), 3));
}

#[test]
fn what_the_body_spawns_belongs_to_the_registry() {
    let registry = Registry::new();
    let mine = registry.clone();
    let ended = service(&registry).run(async move |_| {
        assert_eq!(headcount::spawn(async { 42 }).await?, 42);
        assert!(mine.live().await.find("main").is_some());
        assert_eq!(Registry::current().count(), mine.count());
        assert!(Context::current().is_none());
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
}

#[test]
fn the_drain_delay_passes_between_not_ready_and_the_close() {
    let registry = Registry::new();
    let seen: Arc<Mutex<Option<Readiness>>> = Arc::default();
    let kept = seen.clone();
    // The delay is that of the system's clock, so that a paused one does not end it.
    let ended = service(&registry)
        .drain_delay(Duration::from_millis(20))
        .run(async move |app: App| {
            let readiness = app.readiness();
            assert!(!readiness.is_ready() && !app.registry().readiness().is_ready());
            app.ready();
            assert!(readiness.is_ready() && app.registry().readiness().is_ready());
            app.request_stop("deploy");
            app.request_stop("too late");
            assert!(!readiness.is_ready());
            assert!(!app.context().is_cancelled());
            app.ready();
            assert!(
                !readiness.is_ready(),
                "a service that was told to stop is not ready again"
            );
            assert_eq!(app.stopping().await, CloseReason::from("deploy"));
            *kept.lock().unwrap() = Some(readiness);
            Ok::<(), TaskError>(())
        });
    assert_eq!(ended, code(0));
    assert!(!seen.lock().unwrap().as_ref().unwrap().is_ready());
    assert_eq!(registry.close_reason(), Some(CloseReason::from("deploy")));
}

#[test]
fn a_body_that_never_returns_is_aborted_and_that_is_not_clean() {
    let registry = Registry::new();
    let ended = service(&registry).unclean_code(7).run(async |app: App| {
        app.request_stop("deploy");
        pending::<Ended>().await
    });
    assert_eq!(ended, code(7));
    assert!(registry.is_empty(), "{}", registry.live_now());
}

/// The deadline counts from the beginning of the close, not of the program.
#[test]
fn a_body_may_take_its_time_after_the_close_began() {
    let registry = Registry::new();
    let ended = service(&registry).run(async |app: App| {
        sleep(HOUR).await;
        app.request_stop("deploy");
        app.stopping().await;
        let stopped = Instant::now();
        sleep(Duration::from_secs(4)).await;
        assert_eq!(stopped.elapsed().as_secs(), 4);
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
}

/// The body may drop its contexts then: they are dropped in a close, and nothing is said about it.
#[test]
fn the_close_has_begun_when_the_body_hears_of_the_stop() {
    let ended = service(&Registry::new()).run(async |app: App| {
        let pool = app.context().child("pool");
        app.request_stop("deploy");
        app.stopping().await;
        assert!(pool.is_cancelled());
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
}

#[test]
fn an_error_comes_before_an_unclean_close_and_a_panic_before_both() {
    let unclean = |app: &App| drop(app.context().spawn(pending::<()>()));
    let failed = service(&Registry::new())
        .error_code(9)
        .run(async |app: App| {
            unclean(&app);
            Err("no route to host")
        });
    assert_eq!(failed, code(9));
    let panicked = service(&Registry::new()).run(async |app: App| -> Ended {
        unclean(&app);
        panic!("on purpose")
    });
    assert_eq!(panicked, code(101));
    let forced = service(&Registry::new()).run(async |app: App| {
        unclean(&app);
        Ok::<(), TaskError>(())
    });
    assert_eq!(forced, code(1));
}

#[test]
fn a_failure_that_closes_the_registry_stops_the_service() {
    let registry = Registry::builder().on_failure(OnFailure::Close).build();
    let ended = service(&registry).run(async |app: App| {
        drop(
            app.context()
                .task("bug")
                .spawn(async { panic!("on purpose") }),
        );
        let reason = app.stopping().await;
        assert!(matches!(reason, CloseReason::Failed(_)), "{reason}");
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(1));
}

#[test]
fn the_close_of_the_services_context_stops_the_service() {
    let registry = Registry::new();
    let ended = service(&registry).drain_delay(HOUR).run(async |app: App| {
        app.ready();
        app.context().request_close("out of work");
        assert_eq!(app.stopping().await, CloseReason::from("out of work"));
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
    assert_eq!(
        registry.close_reason(),
        Some(CloseReason::from("out of work"))
    );
}

/// The body drops what it was given, and goes on.
#[test]
fn the_context_stays_open_without_handles_of_the_body() {
    let registry = Registry::new();
    let mine = registry.clone();
    let ended = service(&registry).run(async move |app: App| {
        drop(app);
        sleep(HOUR).await;
        assert_eq!(
            mine.live().await.find("api").unwrap().state(),
            headcount::State::Open
        );
        Ok::<(), TaskError>(())
    });
    assert_eq!(ended, code(0));
    assert_eq!(
        registry.close_reason(),
        Some(CloseReason::from("the body returned"))
    );
}

/// As a signal does that comes while the runtime is being built.
#[test]
fn a_registry_that_closes_before_the_body_runs_no_body() {
    let registry = Registry::new();
    let closed = registry.clone();
    let build = move || {
        closed.request_close("too early");
        Ok(paused())
    };
    let ended = App::builder("api")
        .registry(&registry)
        .runtime(build)
        .run(async |_| -> Ended { unreachable!("the close came first") });
    assert_eq!(ended, code(0));
    assert_eq!(
        registry.close_reason(),
        Some(CloseReason::from("too early"))
    );
}

#[test]
fn a_runtime_that_cannot_be_built_is_an_error() {
    let build = || Err(std::io::Error::other("no threads"));
    let app = App::builder("api")
        .registry(&Registry::new())
        .runtime(build);
    let ended = app
        .error_code(9)
        .run(async |_| -> Ended { unreachable!("there is no runtime") });
    assert_eq!(ended, code(9));
}

fn panic_of(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    payload.downcast_ref::<&str>().map_or_else(
        || payload.downcast_ref::<String>().unwrap().clone(),
        ToString::to_string,
    )
}

#[test]
fn inside_a_runtime_it_panics_and_says_what_to_do() {
    let said = panic_of(|| {
        paused().block_on(async {
            headcount::run("api", async |_| Ok::<(), TaskError>(()));
        });
    });
    assert!(
        said.contains("call it in a plain `fn main`, without `#[tokio::main]`"),
        "{said}"
    );
    assert!(said.contains("use `Registry::close_on_signals`"), "{said}");
}

#[test]
fn a_second_time_with_the_same_registry_it_panics_and_says_what_to_do() {
    let registry = Registry::new();
    let run = || {
        let _ = service(&registry).run(async |_| Ok::<(), TaskError>(()));
    };
    run();
    let said = panic_of(run);
    assert!(
        said.contains("`App::builder(name).registry(&Registry::new())`"),
        "{said}"
    );
}
