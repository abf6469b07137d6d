//! The spans that tokio-console reads. A real one is asked in `tests/console`.

use crate::{
    events::ONE_MORE,
    util::{in_time, paused, poll_once, settle},
};
use headcount::Registry;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{Arc, LazyLock, Mutex},
    task::Poll,
};
use tokio::{sync::oneshot, task::yield_now};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

/// What became of one span.
#[derive(Clone, Debug, Default)]
struct Seen {
    id: u64,
    fields: BTreeMap<&'static str, String>,
    is_root: bool,
    follows: Vec<u64>,
    entered: usize,
    exited: usize,
    /// What its wakers did.
    wakers: Vec<String>,
    is_closed: bool,
}

/// A subscriber like that of tokio-console, which panics in one of its methods if it is told to.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    registry: tracing_subscriber::Registry,
    /// By id.
    spans: Mutex<BTreeMap<u64, Seen>>,
    panics_in: Option<&'static str>,
}

impl Console {
    fn new(panics_in: Option<&'static str>) -> Self {
        LazyLock::force(&ONE_MORE);
        Self(Arc::new(Inner {
            registry: tracing_subscriber::registry(),
            spans: Mutex::default(),
            panics_in,
        }))
    }

    /// Runs with it as the subscriber.
    fn run<R>(&self, body: impl Future<Output = R>) -> R {
        tracing::subscriber::with_default(self.clone(), || paused().block_on(body))
    }

    /// The spans of tasks of this name.
    fn tasks(&self, name: &str) -> Vec<Seen> {
        let spans = self.0.spans.lock().unwrap();
        let named = |seen: &&Seen| seen.fields.get("task.name").is_some_and(|it| it == name);
        spans.values().filter(named).cloned().collect()
    }

    fn task(&self, name: &str) -> Seen {
        let mut all = self.tasks(name);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn note(&self, method: &str, id: &Id, note: impl FnOnce(&mut Seen)) {
        note(
            self.0
                .spans
                .lock()
                .unwrap()
                .entry(id.into_u64())
                .or_default(),
        );
        assert!(self.0.panics_in != Some(method), "on purpose");
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tokio::task")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.0.registry.new_span(attributes);
        self.note("new_span", &id, |seen| {
            attributes.record(&mut Fields(&mut seen.fields));
            seen.id = id.into_u64();
            seen.is_root = attributes.is_root();
        });
        id
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        let follows = follows.into_u64();
        self.note("follows", span, |seen| seen.follows.push(follows));
    }

    fn event(&self, event: &Event<'_>) {
        assert_eq!(event.metadata().target(), "tokio::task::waker");
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let id = Id::from_u64(fields["task.id"].parse().unwrap());
        self.note("event", &id, |seen| seen.wakers.push(fields["op"].clone()));
    }

    fn enter(&self, span: &Id) {
        self.0.registry.enter(span);
        self.note("enter", span, |seen| seen.entered += 1);
    }

    fn exit(&self, span: &Id) {
        self.0.registry.exit(span);
        self.note("exit", span, |seen| seen.exited += 1);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.registry.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        // Closed where the registry forgets it.
        let is_closed = self.0.registry.try_close(span.clone());
        if is_closed {
            self.note("close", &span, |seen| seen.is_closed = true);
        }
        is_closed
    }

    fn current_span(&self) -> Current {
        self.0.registry.current_span()
    }
}

/// Stays until it is told, and then takes one more poll.
async fn two_waits(wait: oneshot::Receiver<()>) {
    wait.await.unwrap();
    yield_now().await;
}

#[test]
fn a_task_has_a_span_with_its_name_kind_and_line() {
    let console = Console::new(None);
    let (id, line) = console.run(async {
        let registry = Registry::new();
        let ctx = registry.context("server");
        let line = line!() + 1;
        let task = ctx.task("conn\n7").kind("connection").spawn(async {});
        let id = task.id().to_string();
        in_time(task).await.unwrap();
        in_time(ctx.close()).await;
        (id, line)
    });
    let seen = console.task("conn\\n7");
    let field = |name: &str| seen.fields[name].as_str();
    assert_eq!(field("kind"), "connection");
    assert_eq!(field("task.context"), "server");
    assert_eq!(field("headcount.id"), id);
    assert!(field("loc.file").ends_with("console.rs"));
    assert_eq!(field("loc.line"), line.to_string());
    assert!(field("loc.col").parse::<u32>().unwrap() > 0);
    assert!(seen.is_root && seen.is_closed, "{seen:?}");
}

#[test]
fn polls_and_wakes_are_counted() {
    let console = Console::new(None);
    console.run(async {
        let ctx = Registry::new().context("ctx");
        let (tell, wait) = oneshot::channel();
        let task = ctx.task("waits").spawn(two_waits(wait));
        settle().await;
        let seen = console.task("waits");
        assert_eq!((seen.entered, seen.exited), (1, 1), "{seen:?}");
        // The context has the waker, to end the task by it.
        assert_eq!(seen.wakers, ["waker.clone"]);
        assert!(!seen.is_closed);
        tell.send(()).unwrap();
        in_time(task).await.unwrap();
    });
    let seen = console.task("waits");
    assert_eq!((seen.entered, seen.exited), (3, 3), "{seen:?}");
    let wake = "waker.wake_by_ref";
    assert_eq!(seen.wakers, ["waker.clone", wake, wake]);
    assert!(seen.is_closed);
}

#[test]
fn a_task_follows_from_what_spawned_it_and_is_no_child_of_it() {
    let console = Console::new(None);
    console.run(async {
        let ctx = Registry::new().context("ctx");
        let inner = ctx.downgrade();
        let outer = ctx.task("outer").spawn(async move {
            in_time(inner.task("inner").spawn(async {})).await.unwrap();
        });
        in_time(outer).await.unwrap();
    });
    let (outer, inner) = (console.task("outer"), console.task("inner"));
    assert!(outer.follows.is_empty());
    assert_eq!(inner.follows, [outer.id]);
    assert!(inner.is_root);
}

#[test]
fn each_way_to_run_a_task_has_a_span() {
    let console = Console::new(None);
    console.run(async {
        let ctx = Registry::new().context("ctx");
        let blocking = ctx.task("blocking").spawn_blocking(|| {});
        in_time(blocking).await.unwrap();
        in_time(ctx.task("wrapped").wrap(yield_now()))
            .await
            .unwrap();
        let local = tokio::task::LocalSet::new();
        let run = local.run_until(async { ctx.task("local").spawn_local(async {}).await });
        in_time(run).await.unwrap();
        let aborted = ctx.task("aborted").spawn(pending::<()>());
        settle().await;
        aborted.abort();
        in_time(aborted).await.unwrap_err();
        let unpolled = ctx.task("unpolled").spawn(async {});
        unpolled.abort();
        in_time(unpolled).await.unwrap_err();
    });
    for (name, kind, polls) in [
        ("blocking", "blocking", 1),
        ("wrapped", "wrapped", 2),
        ("local", "task", 1),
        ("aborted", "task", 1),
        ("unpolled", "task", 0),
    ] {
        let seen = console.task(name);
        assert_eq!(seen.fields["kind"], kind);
        assert_eq!(
            (seen.entered, seen.exited),
            (polls, polls),
            "{name}: {seen:?}"
        );
        assert!(seen.is_closed, "{name}: {seen:?}");
    }
}

#[cfg(feature = "supervision")]
#[test]
fn each_attempt_of_a_supervised_task_has_a_span_and_no_pause() {
    use headcount::supervision::Restart;
    let console = Console::new(None);
    console.run(async {
        let ctx = Registry::new().context("ctx");
        let supervised = ctx.task("feed").restart(Restart::on_failure());
        let supervised = supervised.run(|attempt| async move {
            if attempt.number() < 3 {
                return Err("on purpose");
            }
            Ok(())
        });
        in_time(supervised.ended()).await;
        in_time(ctx.close()).await;
    });
    let seen = console.tasks("feed");
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|seen| seen.is_closed));
    assert_eq!(console.0.spans.lock().unwrap().len(), 3);
}

/// Whatever a subscriber does, a task begins, is polled, and ends.
#[test]
fn a_subscriber_that_panics_takes_no_task_with_it() {
    for method in ["new_span", "follows", "enter", "exit", "event", "close"] {
        let console = Console::new(Some(method));
        console.run(async {
            let registry = Registry::new();
            let ctx = registry.context("ctx");
            let (tell, wait) = oneshot::channel();
            let task = ctx.task("waits").spawn(async move {
                let own = headcount::Context::current().unwrap();
                in_time(own.task("inner").spawn(async {})).await.unwrap();
                two_waits(wait).await;
                7
            });
            let panics = ctx.task("panics").spawn(async { panic!("its own") });
            let blocking = ctx.spawn_blocking(|| 8);
            settle().await;
            tell.send(()).unwrap();
            assert_eq!(in_time(task).await.unwrap(), 7, "{method}");
            assert_eq!(in_time(blocking).await.unwrap(), 8, "{method}");
            let error = in_time(panics).await.unwrap_err();
            assert_eq!(error.message(), Some("its own"), "{method}");
            assert_eq!(
                in_time(ctx.task("wrapped").wrap(async { 9 }))
                    .await
                    .unwrap(),
                9
            );
            drop(ctx.task("stays").cancellable().spawn(pending::<()>()));
            let report = in_time(ctx.close()).await;
            assert_eq!(
                (report.panicked(), report.cancelled()),
                (1, 1),
                "{method}: {report}"
            );
            drop(ctx);
            assert!(registry.live().await.is_empty(), "{method}");
        });
        // It did get there.
        assert!(!console.0.spans.lock().unwrap().is_empty(), "{method}");
    }
}

/// A waker that is kept keeps neither the span open nor the task listed.
#[test]
fn a_waker_that_outlives_its_task_keeps_no_span() {
    let console = Console::new(None);
    console.run(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let kept = Arc::new(Mutex::new(None));
        let put = Arc::clone(&kept);
        let task = ctx.task("gone").spawn(poll_fn(move |cx| {
            *put.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        in_time(task).await.unwrap();
        assert!(console.task("gone").is_closed);
        let waker = kept.lock().unwrap().take().unwrap();
        waker.wake();
        in_time(ctx.close()).await;
    });
}

/// The waker of tokio-console is behind the one that captures.
#[cfg(feature = "dump")]
#[test]
fn a_task_with_a_span_says_where_it_waits() {
    let console = Console::new(None);
    console.run(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (_tell, wait) = oneshot::channel();
        let task = ctx.task("waits").spawn(two_waits(wait));
        let wrapping = ctx.task("wrapping").spawn({
            let ctx = ctx.downgrade();
            async move { ctx.task("wrapped").wrap(pending::<()>()).await }
        });
        settle().await;
        let dump = in_time(registry.dump()).await.to_string();
        assert!(dump.contains("two_waits"), "{dump}");
        drop((task, wrapping));
        in_time(ctx.close_now()).await;
    });
}

/// Where no subscriber wants spans, none is made.
#[test]
fn without_interest_there_is_no_span() {
    struct Deaf;
    impl Subscriber for Deaf {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            !metadata.target().starts_with("tokio::task")
        }
        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            panic!("a span: {attributes:?}")
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            assert_ne!(event.metadata().target(), "tokio::task::waker");
        }
        fn enter(&self, _: &Id) {
            panic!("entered");
        }
        fn exit(&self, _: &Id) {}
    }
    LazyLock::force(&ONE_MORE);
    tracing::subscriber::with_default(Deaf, || {
        paused().block_on(async {
            let ctx = Registry::new().context("ctx");
            in_time(ctx.spawn(yield_now())).await.unwrap();
            let mut wrapped = pin!(ctx.wrap(async {}));
            assert!(poll_once(wrapped.as_mut()).is_ready());
        });
    });
}
