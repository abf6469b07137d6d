//! Hooks that are running answer a dump, and say at their time limit where they are.

use crate::{
    events::said,
    util::{current_thread, multi_thread, paused, settle, within},
};
use headcount::{
    Context, Registry,
    dump::{Activity, AwaitStack, Dump, HookDump, StackFrame},
    leaks::LeakPolicy,
};
use std::{
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{self, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(1_000);
/// Real time, for what can hang.
const TIME_LIMIT: Duration = Duration::from_secs(60);

async fn sleeps() {
    sleep(LONG).await;
}
const SLEEPS: u32 = line!() - 2;

async fn listens() {
    Notify::new().notified().await;
}
const LISTENS: u32 = line!() - 2;

/// A context whose hooks have time.
fn patient(registry: &Registry, name: &'static str) -> Context {
    let open = registry.context_builder(name);
    open.grace(Duration::MAX).hook_timeout(2 * LONG).open()
}

/// The last lines of one's own, sorted.
fn lines(hook: &HookDump) -> Vec<u32> {
    let last = |stack: &AwaitStack| stack.own_frames().next_back().map_or(0, StackFrame::line);
    let mut lines: Vec<_> = hook.stacks().iter().map(last).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn only(dump: &Dump) -> &HookDump {
    let [hook] = dump.hooks() else {
        panic!("{dump}");
    };
    hook
}

/// Two contexts that close, one with a hook for each of the two times: the dump of both, and the lines of the hooks.
#[rustfmt::skip]
async fn one_of_each() -> (Dump, [u32; 2]) {
    let registry = Registry::new();
    let (one, other) = (patient(&registry, "one"), patient(&registry, "other"));
    let (_, closing) = (one.on_closing(|| async { sleep(LONG).await; }).unwrap(), line!());
    let (_, closed) = (other.on_close(|| async { sleep(LONG).await; }).unwrap(), line!());
    for ctx in [&one, &other] {
        ctx.request_close("now");
    }
    let mut dump = registry.dump().await;
    // On another thread they may not have begun.
    for _ in 0..100 {
        if dump.hooks().iter().filter(|hook| lines(hook).len() == 1).count() == 2 {
            break;
        }
        sleep(MS).await;
        dump = registry.dump_within(100 * MS).await;
    }
    (dump, [closing, closed])
}

fn check_one_of_each((dump, [closing, closed]): &(Dump, [u32; 2])) {
    let mut hooks: Vec<_> = dump.hooks().iter().collect();
    hooks.sort_by_key(|hook| hook.context());
    let expected = [
        ("one", "on_closing", *closing),
        ("other", "on_close", *closed),
    ];
    for (hook, (context, kind, line)) in hooks.iter().zip(expected) {
        assert_eq!((&*hook.context(), hook.kind()), (context, kind), "{dump}");
        assert_eq!((hook.location().line(), lines(hook)), (line, vec![line]));
        assert_eq!(hook.stacks()[0].leaf(), Some("tokio::time::Sleep"));
        assert!(matches!(hook.activity(), Activity::Parked(_)), "{dump}");
        assert!(hook.what().contains("one_of_each"), "{}", hook.what());
    }
    assert_eq!(hooks.len(), 2, "{dump}");
}

#[test]
fn a_hook_names_the_line_of_its_await() {
    for runtime in [current_thread(), multi_thread(2)] {
        check_one_of_each(&runtime.block_on(one_of_each()));
    }
}

/// Neither the drive of the close nor the time limit of the hook is part of what it waits for.
#[tokio::test(start_paused = true)]
async fn the_frames_of_a_hook_begin_with_its_own() {
    let (dump, _) = one_of_each().await;
    for hook in dump.hooks() {
        let [stack] = hook.stacks() else {
            panic!("{dump}");
        };
        let of = |frame: &StackFrame| frame.function().to_owned();
        let functions: Vec<_> = stack.frames().iter().map(of).collect();
        assert_eq!(functions[0], "it::running_hooks::one_of_each", "{dump}");
        let foreign = |name: &&String| name.contains("headcount") || name.contains("futures");
        assert_eq!(functions.iter().find(foreign), None);
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_hooks_that_run_at_once_each_answers() {
    let registry = Registry::new();
    let ctx = patient(&registry, "ctx");
    ctx.on_closing(|| async {
        tokio::join!(sleeps(), listens());
    })
    .unwrap();
    ctx.on_closing(|| async {
        tokio::select! {
            () = sleeps() => {}
            () = listens() => {}
        }
    })
    .unwrap();
    ctx.on_closing(sleeps).unwrap();
    ctx.on_closing(pending::<()>).unwrap();
    // What they wait for beside the tasks, and after those.
    for has_task in [true, false] {
        let task = ctx.task("task").spawn(sleep(10 * SECOND));
        ctx.request_close("now");
        settle().await;
        let dump = registry.dump().await;
        let lines: Vec<_> = dump.hooks().iter().map(lines).collect();
        let both = vec![SLEEPS, LISTENS];
        // Latest first.
        assert_eq!(
            lines,
            [vec![], vec![SLEEPS], both.clone(), both],
            "{has_task}: {dump}"
        );
        drop(task.await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dump_of_a_context_has_the_hooks_of_what_is_below_it() {
    let registry = Registry::new();
    let (ctx, other) = (patient(&registry, "ctx"), patient(&registry, "other"));
    let child = ctx.child_builder("child").hook_timeout(LONG).open();
    for ctx in [&ctx, &child, &other] {
        ctx.on_closing(sleeps).unwrap();
        ctx.request_close("now");
    }
    settle().await;
    let contexts = |dump: &Dump| {
        let mut all: Vec<_> = dump.hooks().iter().map(HookDump::context).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(contexts(&ctx.dump().await), ["ctx", "ctx/child"]);
    assert_eq!(contexts(&child.dump().await), ["ctx/child"]);
    assert_eq!(
        contexts(&registry.dump().await),
        ["ctx", "ctx/child", "other"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_gone_from_dumps_when_it_has_ended() {
    let registry = Registry::new();
    let ctx = patient(&registry, "ctx");
    ctx.on_closing(|| sleep(SECOND)).unwrap();
    ctx.on_close(|| sleep(3 * SECOND)).unwrap();
    ctx.request_close("now");
    settle().await;
    let kinds = async || {
        let dump = registry.dump().await;
        let kinds = dump.hooks().iter().map(HookDump::kind);
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, ["on_closing"]);
    sleep(2 * SECOND).await;
    assert_eq!(kinds().await, ["on_close"]);
    assert_eq!(only(&registry.dump().await).running_for(), SECOND);
    ctx.close().await;
    assert!(kinds().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn hooks_are_printed_after_the_tasks_and_counted() {
    let registry = Registry::new();
    let (ctx, other) = (patient(&registry, "ctx"), patient(&registry, "other"));
    ctx.task("task").spawn(sleeps());
    for ctx in [&ctx, &other] {
        ctx.on_closing(sleeps).unwrap();
        ctx.request_close("now");
    }
    let line = line!() - 3;
    sleep(2 * SECOND).await;
    let dump = registry.dump().await;
    let (tasks, hooks) = ["ctx/task: parked for 2.0s", "2 hooks:"]
        .map(|begin| {
            dump.to_string()
                .find(begin)
                .unwrap_or_else(|| panic!("{dump}"))
        })
        .into();
    assert!(tasks < hooks, "{dump}");
    let here = "tests/it/running_hooks.rs";
    let said = format!(
        "2 hooks:\n  \
         the on_closing hook of ctx: running for 2.0s, registered at {here}:{line}\n  \
         the on_closing hook of other: running for 2.0s, registered at {here}:{line}\n    \
         it::running_hooks::sleeps at {here}:{SLEEPS}\n      → tokio::time::Sleep"
    );
    assert!(dump.to_string().ends_with(&said), "{dump}");
    assert!(dump.to_string().starts_with("1 task, 2 hooks\n"), "{dump}");
    assert!(dump.in_full().to_string().contains("hook of other"));
    assert!(registry.dump().await.to_string().contains("2 hooks"));
}

/// It is unknown where a hook is that does not wait.
#[test]
fn a_hook_that_holds_its_thread_is_said_to_be_polling() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = patient(&registry, "ctx");
        let (go, gone) = mpsc::channel::<()>();
        let (on, started) = oneshot::channel();
        ctx.on_close(move || async move {
            on.send(()).unwrap();
            let _ = gone.recv();
        })
        .unwrap();
        ctx.request_close("now");
        started.await.unwrap();
        let dump = registry.dump_within(100 * MS).await;
        let activity = only(&dump).activity();
        assert!(matches!(activity, Activity::Polling(_)), "{dump}");
        let said = dump.to_string();
        assert!(
            said.starts_with("0 tasks, 1 hook, 1 did not answer within 100ms\n"),
            "{said}"
        );
        drop(go);
        ctx.close().await;
    });
}

/// A wake for the question is one poll, and no more.
#[tokio::test(start_paused = true)]
async fn a_dump_polls_each_hook_once() {
    let registry = Registry::new();
    let ctx = patient(&registry, "ctx");
    let polls = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let polls = Arc::clone(&polls);
        ctx.on_closing(|| {
            poll_fn::<(), _>(move |_| {
                polls.fetch_add(1, SeqCst);
                Poll::Pending
            })
        })
        .unwrap();
    }
    ctx.request_close("now");
    settle().await;
    let before = polls.load(SeqCst);
    let dump = registry.dump().await;
    assert_eq!(dump.hooks().len(), 2, "{dump}");
    settle().await;
    assert_eq!(polls.load(SeqCst), before + 2);
}

/// By a hook of each sort, which is asked itself.
#[test]
fn a_hook_that_makes_a_dump_is_in_it() {
    let dumps = within(TIME_LIMIT, || {
        paused().block_on(async {
            let registry = Registry::new();
            let ctx = patient(&registry, "ctx");
            let (give, take) = mpsc::channel();
            let asks = || {
                let (registry, give) = (registry.clone(), give.clone());
                move || async move { drop(give.send(registry.dump().await)) }
            };
            ctx.on_closing(asks()).unwrap();
            ctx.on_close(asks()).unwrap();
            ctx.close().await;
            take.try_iter().collect::<Vec<_>>()
        })
    });
    assert_eq!(dumps.len(), 2);
    for dump in dumps {
        let activity = only(&dump).activity();
        assert!(matches!(activity, Activity::Parked(_)), "{dump}");
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

#[test]
fn a_panicking_waker_of_who_asks_does_not_end_the_hook() {
    let runtime = current_thread();
    let registry = Registry::new();
    let (go, gone) = oneshot::channel::<()>();
    let ctx = runtime.block_on(async {
        let ctx = patient(&registry, "ctx");
        ctx.on_close(|| async { drop(gone.await) }).unwrap();
        ctx.request_close("now");
        settle().await;
        ctx
    });
    // The hook is not run before the dump waits for its answer.
    let mut dump = Box::pin(registry.dump_within(LONG));
    let mut poll = |waker| dump.as_mut().poll(&mut task::Context::from_waker(waker));
    for _ in 0..20 {
        assert!(poll(Waker::noop()).is_pending());
    }
    assert!(poll(&Waker::from(Arc::new(Panics))).is_pending());
    let report = runtime.block_on(async {
        settle().await;
        go.send(()).unwrap();
        ctx.close().await
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.hooks().ran, 1);
}

/// The hook is not run, and then it is dropped with its runtime: it does not answer any more.
#[test]
fn a_dump_does_not_wait_for_a_hook_whose_runtime_is_gone() {
    let dump = within(TIME_LIMIT, || {
        let registry = Registry::new();
        let runtime = current_thread();
        let _ctx = runtime.block_on(async {
            let ctx = patient(&registry, "ctx");
            ctx.on_close(sleeps).unwrap();
            ctx.request_close("now");
            settle().await;
            ctx
        });
        let ends = thread::spawn(move || {
            thread::sleep(50 * MS);
            drop(runtime);
        });
        let dump = current_thread().block_on(registry.dump_within(LONG));
        ends.join().unwrap();
        let later = current_thread().block_on(registry.dump());
        assert!(later.hooks().is_empty(), "{later}");
        dump
    });
    assert_eq!(only(&dump).activity(), Activity::Finished, "{dump}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_at_its_time_limit_is_reported_with_its_stack() {
    for kind in ["on_closing", "on_close"] {
        let registry = Registry::new();
        let open = registry.context_builder("ctx").hook_timeout(2 * SECOND);
        let ctx = open.open();
        if kind == "on_closing" {
            ctx.on_closing(sleeps).unwrap();
        } else {
            ctx.on_close(sleeps).unwrap();
        }
        let start = Instant::now();
        let report = ctx.close().await;
        assert_eq!(start.elapsed(), 2 * SECOND);
        assert_eq!(report.hooks().timed_out, 1);
        let [stuck] = &report.stuck()[..] else {
            panic!("{report}");
        };
        let begin = format!("the {kind} hook of ctx: running for 2.0s, registered at ");
        let end = format!("tests/it/running_hooks.rs:{SLEEPS}\n      → tokio::time::Sleep");
        assert!(
            stuck.starts_with(&begin) && stuck.ends_with(&end),
            "{stuck}"
        );
        let said = format!("! did not end in time: {begin}");
        assert!(report.to_string().contains(&said), "{report}");
    }
}

#[test]
fn the_warning_at_the_time_limit_has_the_stack() {
    let said = said(|| async {
        let registry = Registry::new();
        let ctx = registry.context_builder("ctx").hook_timeout(SECOND).open();
        ctx.on_close(sleeps).unwrap();
        ctx.close().await;
    });
    let warned = said.iter().filter(|line| line.contains("timed out"));
    let warned: Vec<_> = warned.collect();
    assert_eq!(warned.len(), 1, "{said:?}");
    assert!(
        warned[0].contains("stacks=the on_close hook of ctx: running for 1.0s"),
        "{said:?}"
    );
}

/// One that is ready when its time is up has run.
#[tokio::test(start_paused = true)]
async fn a_hook_that_ends_in_its_last_poll_did_not_time_out() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").hook_timeout(SECOND).open();
    ctx.on_close(|| async { sleep(SECOND).await }).unwrap();
    let report = ctx.close().await;
    assert_eq!((report.hooks().ran, report.hooks().timed_out), (1, 0));
    assert!(report.stuck().is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_keeps_a_context_closing_is_in_the_leak_report_with_its_stack() {
    let registry = Registry::new();
    let ctx = patient(&registry, "ctx");
    let (_, line) = (ctx.on_close(sleeps).unwrap(), line!());
    let other = patient(&registry, "other");
    for ctx in [&ctx, &other] {
        ctx.request_close("now");
    }
    let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await;
    let leaks = report.findings().iter();
    let said: Vec<_> = leaks
        .filter(|leak| leak.name() == "ctx")
        .map(ToString::to_string)
        .collect();
    let here = "tests/it/running_hooks.rs";
    let at = format!(
        "hook of {here}:{line}: it::running_hooks::sleeps at {here}:{SLEEPS} → tokio::time::Sleep"
    );
    assert!(said[0].contains(&at), "{report}");
    assert_eq!(report.to_string().matches("hook at").count(), 1, "{report}");
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_hook_is_json() {
    let (dump, [closing, closed]) = one_of_each().await;
    let json = serde_json::to_value(dump).unwrap();
    let hooks = json["hooks"].as_array().unwrap();
    let mut found: Vec<_> = hooks
        .iter()
        .map(|hook| {
            assert!(hook["id"].as_str().unwrap().starts_with("#h"), "{json}");
            assert_eq!(hook["activity"]["state"], "parked", "{json}");
            let frames = hook["stacks"][0]["frames"].as_array().unwrap();
            let of = |part: &str| hook[part].as_str().unwrap().to_owned();
            (of("context"), of("kind"), frames[0]["line"].as_u64())
        })
        .collect();
    found.sort_unstable();
    let expected = [
        ("one", "on_closing", closing),
        ("other", "on_close", closed),
    ]
    .map(|(context, kind, line)| (context.to_owned(), kind.to_owned(), Some(line.into())));
    assert_eq!(found, expected, "{json}");
}
