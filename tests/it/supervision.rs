//! Supervised tasks: restarts, back-off, budgets, and what ends them.

use crate::{
    events::{said, said_by},
    util::{Counter, Log, Notes, OnDrop, current_thread, in_time, poll_once, settle},
};
use headcount::{
    CloseReason, Context, FailureKind, OnConflict, OnFailure, RefusedReason, Registry, State,
    supervision::{Attempt, GiveUp, Restart, Supervised, SupervisedState, SupervisionEnd},
};
use std::{
    fmt,
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, advance, sleep},
};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Pauses of 1 s, 2 s, 4 s, 8 s, and a budget that is never spent.
fn rules() -> Restart {
    let rules = Restart::on_failure().jitter(false);
    rules.backoff(SECOND, secs(8)).budget(u32::MAX, SECOND)
}

fn server() -> Context {
    Registry::new().context("server")
}

/// Fails so many times, then runs on.
fn fails(ctx: &Context, rules: Restart, times: u64) -> Supervised {
    ctx.task("feed")
        .restart(rules)
        .run(move |attempt| async move {
            if attempt.number() <= times {
                return Err(format!("error {}", attempt.number()));
            }
            pending::<Result<(), _>>().await
        })
}

async fn end(feed: &Supervised) -> SupervisionEnd {
    in_time(feed.ended()).await
}

async fn given_up(feed: &Supervised) -> headcount::Failure {
    match end(feed).await {
        SupervisionEnd::GaveUp(failure) => failure,
        other => panic!("{other}"),
    }
}

fn message(feed: &Supervised) -> String {
    feed.last_failure().unwrap().message().to_owned()
}

// When it restarts.

#[tokio::test(start_paused = true)]
async fn an_attempt_that_returns_an_error_is_followed_by_another() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 2);
    sleep(SECOND.saturating_sub(TICK)).await;
    assert_eq!(feed.attempts(), 1);
    sleep(2 * TICK).await;
    assert_eq!((feed.attempts(), message(&feed)), (2, "error 2".into()));
    sleep(2 * SECOND).await;
    assert_eq!(
        (feed.attempts(), feed.state()),
        (3, SupervisedState::Running)
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_is_followed_by_another() {
    let ctx = server();
    let feed = ctx.task("feed").restart(rules()).run(|attempt| async move {
        assert!(attempt.number() > 2, "boom {}", attempt.number());
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!(feed.attempts(), 3);
    let failure = feed.last_failure().unwrap();
    assert_eq!(failure.kind(), FailureKind::TaskPanicked);
    assert_eq!((failure.message(), failure.what()), ("boom 2", "feed"));
    assert_eq!(failure.path(), "server");
    let report = in_time(ctx.close()).await;
    assert_eq!((report.panicked(), report.finished()), (2, 1));
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_closure_is_a_failure_as_any_other() {
    let ctx = server();
    let feed = ctx.task("feed").restart(rules()).run(|attempt: Attempt| {
        assert!(attempt.number() > 1, "no future");
        async {}
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!((feed.attempts(), message(&feed)), (2, "no future".into()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_destructor_of_an_attempt_is_a_failure() {
    let ctx = server();
    let feed = ctx.task("feed").restart(rules()).run(|attempt| async move {
        let _panics = OnDrop::new(move || assert!(attempt.number() > 1, "in drop"));
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!((feed.attempts(), message(&feed)), (2, "in drop".into()));
}

struct PanicsWhenPrinted;

impl fmt::Display for PanicsWhenPrinted {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in fmt")
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_printed_is_a_failure() {
    let ctx = server();
    let feed = ctx.task("feed").restart(rules()).run(|attempt| async move {
        if attempt.number() == 1 {
            Err(PanicsWhenPrinted)
        } else {
            Ok(())
        }
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert!(message(&feed).ends_with("in fmt"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_returns_is_finished() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .restart(rules())
        .run(|_| async { Ok::<_, String>(7) });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!((feed.attempts(), feed.last_failure()), (1, None));
    assert_eq!(feed.state(), SupervisedState::Ended);
}

#[tokio::test(start_paused = true)]
async fn always_restarts_what_returns() {
    let ctx = server();
    let rules = Restart::always().jitter(false).backoff(SECOND, SECOND);
    let feed = ctx.task("feed").restart(rules).run(|_| async {});
    sleep(2 * SECOND + TICK).await;
    assert_eq!((feed.attempts(), feed.last_failure()), (3, None));
    assert_eq!(in_time(ctx.close()).await.restarted(), 3);
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_returns_too_often_is_given_up() {
    let ctx = server();
    let rules = Restart::always().budget(2, secs(60));
    let feed = ctx.task("feed").restart(rules).run(|_| async {});
    let failure = given_up(&feed).await;
    assert_eq!(failure.kind(), FailureKind::ReturnedTooOften);
    assert_eq!(feed.attempts(), 3);
    assert!(
        failure.to_string().contains("restarts are used up"),
        "{failure}"
    );
    assert_eq!(in_time(ctx.close()).await.failed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_deadline_is_a_failure() {
    let ctx = server();
    let task = ctx.task("feed").deadline(SECOND);
    let feed = task.restart(rules()).run(|_| pending::<()>());
    sleep(4 * SECOND).await;
    assert_eq!(
        feed.attempts(),
        2,
        "1 s, a pause of 1 s, 1 s, and a pause of 2 s"
    );
    sleep(SECOND + 5 * TICK).await;
    assert_eq!(feed.attempts(), 3);
    assert!(message(&feed).contains("deadline"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_knows_its_number_and_what_failed_before() {
    let ctx = server();
    let log = Log::default();
    let noted = log.clone();
    let feed = ctx
        .task("feed")
        .restart(rules())
        .run(move |attempt: Attempt| {
            let last = attempt
                .last_failure()
                .map(|failure| failure.message().to_owned());
            noted.note(format!("{} {last:?}", attempt.number()));
            async move {
                if attempt.number() < 3 {
                    Err(format!("error {}", attempt.number()))
                } else {
                    Ok(())
                }
            }
        });
    end(&feed).await;
    assert_eq!(
        log.all(),
        ["1 None", "2 Some(\"error 1\")", "3 Some(\"error 2\")"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_future_that_never_ends_may_return_the_never_type() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .cancellable()
        .restart(rules())
        .run(|_| async {
            loop {
                sleep(SECOND).await;
            }
        });
    settle().await;
    in_time(ctx.close()).await;
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

// One after the other.

/// The destructor of an attempt is slow: the next one waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_never_overlap() {
    let ctx = server();
    let alive = Counter::default();
    let seen = alive.clone();
    let rules = rules().backoff(Duration::ZERO, Duration::ZERO);
    let feed = ctx.task("feed").restart(rules).run(move |attempt| {
        assert_eq!(
            seen.alive(),
            0,
            "attempt {} found another",
            attempt.number()
        );
        let guard = seen.guard();
        async move {
            let _slow = OnDrop::new(move || {
                std::thread::sleep(5 * TICK);
                drop(guard);
            });
            tokio::task::yield_now().await;
            if attempt.number() < 20 {
                Err("again")
            } else {
                Ok(())
            }
        }
    });
    let restarts = async {
        loop {
            feed.restart_now();
            sleep(3 * TICK).await;
        }
    };
    tokio::select! {
        end = in_time(feed.ended()) => assert_eq!(end, SupervisionEnd::Finished),
        () = restarts => {}
    }
    assert!(
        feed.last_failure()
            .is_none_or(|failure| failure.message() == "again")
    );
    assert!(in_time(ctx.close()).await.is_clean());
}

/// Without pauses a task that fails at once would else keep its thread for itself.
#[tokio::test(start_paused = true)]
async fn attempts_without_pauses_let_others_run() {
    let ctx = server();
    let rules = rules().backoff(Duration::ZERO, Duration::ZERO);
    let feed = fails(&ctx, rules, u64::MAX);
    let seen = feed.clone();
    let other = tokio::spawn(async move {
        let before = seen.attempts();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        seen.attempts() - before
    });
    let attempts = in_time(other).await.unwrap();
    // A runtime has its own turns: what matters is that it gets to them.
    assert!(attempts < 10_000, "{attempts}");
    in_time(ctx.close()).await;
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_moment_in_which_the_context_has_run_dry() {
    let ctx = server();
    let rules = rules().backoff(TICK, TICK);
    let feed = fails(&ctx, rules, 50);
    let mut idle = pin!(ctx.idle());
    while feed.attempts() < 51 {
        assert!(poll_once(idle.as_mut()).is_pending());
        tokio::task::yield_now().await;
        advance(TICK / 4).await;
    }
    assert!(poll_once(idle.as_mut()).is_pending());
    feed.stop();
    in_time(idle).await;
}

// Budget and back-off.

#[tokio::test(start_paused = true)]
async fn a_spent_budget_gives_up() {
    let ctx = server();
    let feed = fails(&ctx, rules().budget(2, secs(60)), u64::MAX);
    let failure = given_up(&feed).await;
    assert_eq!((feed.attempts(), failure.message()), (3, "error 3"));
    assert_eq!(failure.kind(), FailureKind::TaskFailed);
    assert!(
        failure
            .to_string()
            .contains("restarts are used up: error 3"),
        "{failure}"
    );
    assert_eq!(feed.last_failure(), Some(failure));
    assert!(!ctx.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_zero_restarts_nothing() {
    let ctx = server();
    let feed = fails(&ctx, rules().budget(0, secs(60)), u64::MAX);
    given_up(&feed).await;
    assert_eq!(feed.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_of_a_window_that_slides() {
    let ctx = server();
    let rules = rules().backoff(secs(4), secs(4)).budget(2, secs(10));
    let feed = fails(&ctx, rules, 10);
    // At 0, 4, 8 there are failures; by 8 the window has two, and by 12 it would have one of them.
    assert_eq!(given_up(&feed).await.message(), "error 3");
    let rules = Restart::on_failure()
        .jitter(false)
        .backoff(secs(6), secs(6));
    let slow = fails(&ctx, rules.budget(2, secs(10)), 10);
    sleep(secs(100)).await;
    assert_eq!(slow.attempts(), 11);
}

#[tokio::test(start_paused = true)]
async fn the_default_budget_is_five_in_a_minute() {
    let ctx = server();
    let feed = fails(&ctx, Restart::on_failure(), u64::MAX);
    given_up(&feed).await;
    assert_eq!(feed.attempts(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_attempt_resets_budget_and_back_off() {
    let ctx = server();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let (noted, start) = (Arc::clone(&begun), Instant::now());
    let rules = rules().budget(2, Duration::MAX).healthy_after(secs(30));
    let feed = ctx.task("feed").restart(rules).run(move |attempt| {
        noted
            .lock()
            .unwrap()
            .push((Instant::now() - start).as_secs());
        async move {
            if attempt.number() == 3 {
                sleep(secs(30)).await;
            }
            Err::<(), _>("again")
        }
    });
    given_up(&feed).await;
    // 1 s, 2 s, then 30 s healthy, and again 1 s, 2 s.
    assert_eq!(*begun.lock().unwrap(), [0, 1, 3, 34, 36]);
}

#[tokio::test(start_paused = true)]
async fn a_huge_pause_is_cut_to_what_timers_can_do() {
    let ctx = server();
    let feed = fails(
        &ctx,
        rules().backoff(Duration::MAX, Duration::MAX).jitter(true),
        1,
    );
    sleep(secs(86_400)).await;
    let SupervisedState::BackingOff(left) = feed.state() else {
        panic!("{feed:?}")
    };
    assert!(left > secs(700 * 86_400), "{left:?}");
    sleep(2 * left).await;
    assert_eq!(feed.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_to_be_retried_gives_up_at_once() {
    let ctx = server();
    let rules = rules().unless(|code: &u8| *code == 2);
    let feed = ctx
        .task("feed")
        .restart(rules)
        .run(|attempt| async move { Err::<(), _>(u8::try_from(attempt.number()).unwrap()) });
    let failure = given_up(&feed).await;
    assert_eq!((feed.attempts(), failure.message()), (2, "2"));
    assert!(
        failure.to_string().contains("not to be retried: 2"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_retried_whatever_is_said_of_errors() {
    let ctx = server();
    let rules = rules().unless(|_: &String| true);
    let feed = ctx.task("feed").restart(rules).run(|attempt| async move {
        assert!(attempt.number() > 1, "boom");
        Ok::<_, String>(())
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_panics_counts_as_false() {
    let ctx = server();
    let rules = rules().unless(|_: &&str| panic!("in the filter"));
    let feed = ctx.task("feed").restart(rules).run(|attempt| async move {
        if attempt.number() == 1 {
            Err("no route")
        } else {
            Ok(())
        }
    });
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    let said = message(&feed);
    assert!(
        said.starts_with("no route") && said.contains("in the filter"),
        "{said}"
    );
}

// What follows from giving up.

#[tokio::test(start_paused = true)]
async fn giving_up_makes_the_report_unclean_unless_it_was_seen() {
    for is_seen in [false, true] {
        let ctx = server();
        let feed = fails(&ctx, rules().budget(0, SECOND), 1);
        settle().await;
        if is_seen {
            given_up(&feed).await;
        }
        let report = in_time(ctx.close()).await;
        assert_eq!(report.is_clean(), is_seen, "{report}");
        assert_eq!((report.failed(), report.failures().len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_without_a_handle_is_unseen() {
    let ctx = server();
    drop(fails(&ctx, rules().budget(0, SECOND), 1));
    settle().await;
    assert!(!in_time(ctx.close()).await.is_clean());

    let ctx = server();
    let feed = fails(&ctx, rules().budget(0, SECOND), 1);
    settle().await;
    drop(feed);
    assert!(!in_time(ctx.close()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn giving_up_follows_the_policy_of_the_context() {
    let registry = Registry::new();
    let ctx = registry
        .context_builder("server")
        .on_failure(OnFailure::Close)
        .open();
    let feed = fails(&ctx, rules().budget(1, Duration::MAX), u64::MAX);
    sleep(TICK).await;
    assert!(
        !ctx.is_cancelled(),
        "a failure that is followed by a restart closes nothing"
    );
    let failure = given_up(&feed).await;
    let report = in_time(ctx.closed()).await;
    assert_eq!(report.reason(), &CloseReason::Failed(failure));
}

#[tokio::test(start_paused = true)]
async fn giving_up_closes_the_own_context_if_told() {
    let parent = server();
    let ctx = parent
        .child_builder("feeds")
        .on_failure(OnFailure::Report)
        .open();
    let feed = fails(&ctx, rules().budget(0, SECOND).give_up(GiveUp::Close), 1);
    let failure = given_up(&feed).await;
    let report = in_time(ctx.closed()).await;
    assert_eq!(report.reason(), &CloseReason::Failed(failure));
    assert!(!report.is_clean() && !parent.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn failures_that_were_restarted_are_counted_and_not_listed() {
    let parent = server();
    let ctx = parent.child("feeds");
    let feed = fails(&ctx, rules(), 3);
    sleep(secs(10)).await;
    feed.stop();
    end(&feed).await;
    in_time(ctx.close()).await;
    let report = in_time(parent.close()).await;
    assert_eq!((report.restarted(), report.failed()), (3, 3));
    assert_eq!((report.finished(), report.aborted()), (3, 1));
    assert!(
        report.failures().is_empty() && report.is_clean(),
        "{report}"
    );
    assert!(
        report.to_string().contains("3 failed, 3 restarted"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_essential_task_may_restart() {
    let ctx = server();
    let task = ctx.task("feed").essential();
    let feed = task.restart(rules()).run(|attempt| async move {
        if attempt.number() < 3 {
            Err("again")
        } else {
            Ok(())
        }
    });
    sleep(SECOND + TICK).await;
    assert_eq!(feed.attempts(), 2);
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    let failure = feed.last_failure().unwrap();
    assert_eq!(
        (failure.kind(), failure.message()),
        (FailureKind::EssentialEnded, "it returned")
    );
}

#[tokio::test(start_paused = true)]
async fn an_essential_task_that_is_given_up_is_one_failure() {
    let ctx = server();
    let task = ctx.task("feed").essential();
    let feed = task
        .restart(rules().budget(0, SECOND))
        .run(|_| async { Err::<(), _>("again") });
    assert_eq!(given_up(&feed).await.kind(), FailureKind::TaskFailed);
    assert_eq!(in_time(ctx.close()).await.failed(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_essential_task_must_not_be_stopped_and_may_end_with_its_context() {
    let ctx = server();
    let stopped = ctx
        .task("feed")
        .essential()
        .restart(rules())
        .run(|_| pending::<()>());
    stopped.stop();
    assert_eq!(end(&stopped).await, SupervisionEnd::Stopped);
    assert_eq!(stopped.last_failure().unwrap().message(), "it was stopped");
    let task = ctx.task("feed").essential().cancellable();
    let closed = task.restart(rules()).run(|_| pending::<()>());
    settle().await;
    in_time(ctx.close()).await;
    assert_eq!(
        (end(&closed).await, closed.last_failure()),
        (SupervisionEnd::Closed, None)
    );
}

// The close.

#[tokio::test(start_paused = true)]
async fn a_close_in_an_attempt_awaits_it_and_none_follows() {
    let ctx = server();
    let own = ctx.downgrade();
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        let own = own.clone();
        async move {
            own.cancelled().await;
            sleep(SECOND).await;
        }
    });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!(feed.attempts(), 1);
    assert_eq!((report.finished(), report.is_clean()), (1, true));
    assert_eq!(report.duration().as_secs(), 1);
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_a_close_is_reported_for_nothing_follows_it() {
    let ctx = server();
    let own = ctx.downgrade();
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        let own = own.clone();
        async move {
            own.cancelled().await;
            Err::<(), _>("half written")
        }
    });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert!(!report.is_clean() && report.restarted() == 0, "{report}");
    assert_eq!(report.failures()[0].message(), "half written");
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    assert_eq!(
        (feed.attempts(), message(&feed)),
        (1, "half written".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_in_a_pause_ends_it_at_once() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 1);
    sleep(SECOND / 2).await;
    let report = in_time(ctx.close()).await;
    assert_eq!(report.duration(), Duration::ZERO);
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (report.finished(), report.cancelled(), report.aborted()),
        (1, 0, 0)
    );
    assert_eq!(
        (feed.attempts(), end(&feed).await),
        (1, SupervisionEnd::Closed)
    );
}

/// The closure is dropped, and the last attempt, before the close returns.
#[tokio::test(start_paused = true)]
async fn nothing_of_the_task_is_left_when_the_close_returns() {
    for wait in [Duration::ZERO, SECOND / 2, SECOND + TICK] {
        let ctx = server();
        let alive = Counter::default();
        let (guard, made) = (alive.guard(), alive.clone());
        let filter = alive.guard();
        let rules = rules().unless(move |_: &String| {
            let _held = &filter;
            false
        });
        let feed = ctx
            .task("feed")
            .cancellable()
            .restart(rules)
            .run(move |attempt| {
                let (_held, guard) = (&guard, made.guard());
                async move {
                    let _guard = guard;
                    if attempt.number() == 1 {
                        return Err("again".to_owned());
                    }
                    pending::<Result<(), _>>().await
                }
            });
        sleep(wait).await;
        in_time(ctx.close()).await;
        assert_eq!(alive.alive(), 0, "after {wait:?}");
        assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    }
}

/// A close that begins in the destructor of an attempt comes between that and the next one.
#[tokio::test(start_paused = true)]
async fn a_close_between_two_attempts_lets_none_begin() {
    for pause in [Duration::ZERO, SECOND] {
        let ctx = server();
        let own = ctx.downgrade();
        let rules = rules().backoff(pause, pause);
        let feed = ctx.task("feed").restart(rules).run(move |_| {
            let own = own.clone();
            async move {
                let _closes = OnDrop::new(move || {
                    own.upgrade().unwrap().request_close("in drop");
                });
                Err::<(), _>("again")
            }
        });
        let report = in_time(ctx.closed()).await;
        assert_eq!(
            (feed.attempts(), end(&feed).await),
            (1, SupervisionEnd::Closed)
        );
        assert_eq!(report.reason(), &CloseReason::from("in drop"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_notice_the_close_is_aborted_after_the_grace_period() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 0);
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.forced(), report.is_clean()), (1, false));
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    assert_eq!(feed.last_failure(), None, "an abort is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_cancellable_attempt_is_cancelled_with_its_context() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .cancellable()
        .restart(rules())
        .run(|_| pending::<()>());
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.cancelled(), report.is_clean()), (1, true));
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_no_context_open() {
    let registry = Registry::new();
    let ctx = registry.context_builder("server").closes_by_drop().open();
    let (feed, weak) = (fails(&ctx, rules(), 1), ctx.downgrade());
    sleep(TICK).await;
    assert_eq!(ctx.holders().strong_count(), 1);
    drop(ctx);
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    assert_eq!(in_time(weak.closed()).await.reason(), &CloseReason::Dropped);
}

#[tokio::test(start_paused = true)]
async fn close_now_ends_a_pause_without_force() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 1);
    sleep(TICK).await;
    let report = in_time(ctx.close_now()).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_dropped_ends_its_own_supervised_tasks() {
    let alive = Counter::default();
    let guard = alive.guard();
    let registry = Registry::new();
    let feed = registry.task("feed").restart(rules()).run(move |_| {
        let _held = &guard;
        async { Err::<(), _>("again") }
    });
    sleep(TICK).await;
    drop(registry);
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    assert_eq!(alive.alive(), 0);
}

// Finishing.

#[tokio::test(start_paused = true)]
async fn finish_awaits_the_attempt_that_runs_and_starts_no_other() {
    let ctx = server();
    let feed = ctx.task("feed").restart(rules()).run(|_| async {
        sleep(secs(3)).await;
        Err::<(), _>("the last word")
    });
    settle().await;
    let report = in_time(ctx.finish()).await;
    assert_eq!((feed.attempts(), report.restarted()), (1, 0));
    assert_eq!(report.failures()[0].message(), "the last word");
    assert_eq!(end(&feed).await, SupervisionEnd::Closed);
}

#[tokio::test(start_paused = true)]
async fn finish_ends_a_pause_at_once() {
    let parent = server();
    for finished in [parent.child("feeds"), parent.clone()] {
        let ctx = if finished.id() == parent.id() {
            parent.child("deep")
        } else {
            finished.clone()
        };
        let feed = fails(&ctx, rules().backoff(secs(3_600), secs(3_600)), 1);
        sleep(TICK).await;
        let start = Instant::now();
        let report = in_time(finished.finish()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(report.reason(), &CloseReason::Finished);
        assert!(report.is_clean(), "{report}");
        assert_eq!(end(&feed).await, SupervisionEnd::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn finish_lets_an_attempt_return() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .essential()
        .restart(rules())
        .run(|_| sleep(SECOND));
    settle().await;
    let report = in_time(ctx.finish()).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
}

#[tokio::test(start_paused = true)]
async fn always_does_not_restart_what_returns_while_its_context_finishes() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .restart(Restart::always())
        .run(|_| sleep(SECOND));
    settle().await;
    assert!(in_time(ctx.finish()).await.is_clean());
    assert_eq!(
        (feed.attempts(), end(&feed).await),
        (1, SupervisionEnd::Closed)
    );
}

// Handles.

#[tokio::test(start_paused = true)]
async fn restart_now_ends_a_pause() {
    let ctx = server();
    let feed = fails(&ctx, rules().backoff(secs(3_600), secs(3_600)), 2);
    sleep(TICK).await;
    let start = Instant::now();
    assert!(feed.restart_now());
    settle().await;
    assert_eq!((feed.attempts(), start.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn restart_now_aborts_the_attempt_that_runs() {
    let ctx = server();
    let alive = Counter::default();
    let made = alive.clone();
    let feed = ctx
        .task("feed")
        .restart(rules().budget(0, SECOND))
        .run(move |_| {
            let guard = made.guard();
            async move {
                let _guard = guard;
                pending::<()>().await;
            }
        });
    for attempts in 2..10 {
        settle().await;
        assert!(feed.restart_now());
        settle().await;
        assert_eq!((feed.attempts(), alive.alive()), (attempts, 1));
    }
    assert_eq!(feed.last_failure(), None);
    feed.stop();
    end(&feed).await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.aborted(), report.is_clean()), (9, true));
}

#[tokio::test(start_paused = true)]
async fn restart_now_before_the_first_poll_begins_the_second_attempt() {
    let ctx = server();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&called);
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        calls.fetch_add(1, SeqCst);
        pending::<()>()
    });
    assert!(feed.restart_now() && feed.restart_now());
    settle().await;
    assert_eq!((feed.attempts(), called.load(SeqCst)), (2, 1));
}

/// The failures are known, and spend nothing: the fifth one finds the budget whole.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_while_it_is_restarted_spends_no_budget() {
    let ctx = server();
    let handle = Arc::new(Mutex::new(None::<Supervised>));
    let own = Arc::clone(&handle);
    let rules = rules().budget(1, Duration::MAX);
    let feed = ctx.task("feed").restart(rules).run(move |attempt| {
        let own = own.lock().unwrap().clone();
        async move {
            match attempt.number() {
                1..5 => {
                    assert!(own.unwrap().restart_now());
                    Err("meanwhile")
                }
                5 => Err("by itself"),
                _ => Ok(()),
            }
        }
    });
    *handle.lock().unwrap() = Some(feed.clone());
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!((feed.attempts(), message(&feed)), (6, "by itself".into()));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_pause() {
    let ctx = server();
    let feed = fails(&ctx, rules().backoff(secs(3_600), secs(3_600)), 1);
    sleep(TICK).await;
    let start = Instant::now();
    assert!(feed.stop());
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
    assert_eq!((feed.attempts(), start.elapsed()), (1, Duration::ZERO));
    in_time(ctx.idle()).await;
}

#[tokio::test(start_paused = true)]
async fn stop_aborts_the_attempt_that_runs() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 0);
    settle().await;
    assert!(feed.stop() && feed.stop());
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
    assert!(!feed.stop() && !feed.restart_now(), "it has ended");
    assert!(in_time(ctx.close()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn stop_before_the_first_poll_calls_nothing() {
    let ctx = server();
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        calls.store(true, SeqCst);
        async {}
    });
    feed.stop();
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
    assert!(!called.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn stop_outranks_a_restart() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 0);
    feed.stop();
    feed.restart_now();
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
    let feed = fails(&ctx, rules(), 0);
    feed.restart_now();
    feed.stop();
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
}

/// In the destructor of an attempt there is no task that a command could end.
#[tokio::test(start_paused = true)]
async fn commands_between_two_attempts_are_not_lost() {
    for stops in [true, false] {
        let ctx = server();
        let handle = Arc::new(Mutex::new(None::<Supervised>));
        let own = Arc::clone(&handle);
        let rules = rules().backoff(secs(3_600), secs(3_600));
        let feed = ctx.task("feed").restart(rules).run(move |attempt| {
            let own = own.lock().unwrap().clone();
            async move {
                if attempt.number() > 1 {
                    return pending::<Result<(), _>>().await;
                }
                let own = own.unwrap();
                let _commands = OnDrop::new(move || {
                    assert!(if stops { own.stop() } else { own.restart_now() });
                });
                Err("again")
            }
        });
        *handle.lock().unwrap() = Some(feed.clone());
        settle().await;
        assert_eq!(feed.attempts(), if stops { 1 } else { 2 });
        let is_ended = feed.state() == SupervisedState::Ended;
        assert_eq!(is_ended, stops);
        drop((handle.lock().unwrap().take(), ctx));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_changes_nothing() {
    let ctx = server();
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    drop(ctx.task("feed").restart(rules()).run(move |_| {
        called.fetch_add(1, SeqCst);
        async { Err::<(), _>("again") }
    }));
    sleep(4 * SECOND).await;
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn many_may_wait_for_the_end_and_give_up_waiting() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 0);
    let waits: Vec<_> = (0..100).map(|_| tokio::spawn(feed.ended())).collect();
    let mut given_up = Box::pin(feed.ended());
    assert!(poll_once(given_up.as_mut()).is_pending());
    drop(given_up);
    settle().await;
    feed.stop();
    drop(feed);
    for wait in waits {
        assert_eq!(in_time(wait).await.unwrap(), SupervisionEnd::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn one_may_wait_from_before_the_end_without_a_handle_left() {
    let ctx = server();
    let feed = fails(&ctx, rules().budget(0, SECOND), 1);
    let wait = feed.ended();
    drop(feed);
    assert!(matches!(in_time(wait).await, SupervisionEnd::GaveUp(_)));
    assert!(in_time(ctx.close()).await.is_clean(), "it was seen");
}

// Where it cannot run.

#[tokio::test(start_paused = true)]
async fn a_closed_context_refuses_and_hands_the_closure_back() {
    let ctx = server();
    in_time(ctx.close()).await;
    let refused = ctx.task("feed").restart(rules()).try_run(|_| async {});
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    let alive = Counter::default();
    let guard = alive.guard();
    let factory = move |_: Attempt| {
        let _held = &guard;
        async {}
    };
    let refused = ctx
        .task("feed")
        .restart(rules())
        .try_run(factory)
        .unwrap_err();
    assert_eq!(alive.alive(), 1);
    drop(refused.into_inner());
    assert_eq!(alive.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_task_says_so_and_drops_its_closure_uncalled() {
    let ctx = server();
    let weak = ctx.downgrade();
    in_time(ctx.close()).await;
    drop(ctx);
    let alive = Counter::default();
    let guard = alive.guard();
    let feed = weak.task("feed").restart(rules()).run(move |_| {
        let _held = &guard;
        async {}
    });
    assert_eq!(alive.alive(), 0);
    assert_eq!(
        end(&feed).await,
        SupervisionEnd::Refused(RefusedReason::Closed)
    );
    assert_eq!((feed.attempts(), feed.name()), (0, "feed"));
    assert!(!feed.stop() && !feed.restart_now());
}

#[test]
fn it_runs_where_the_context_knows_a_runtime() {
    let runtime = current_thread();
    let ctx = runtime.block_on(async { server() });
    let feed = ctx.task("feed").restart(rules()).run(|_| async {});
    assert_eq!(runtime.block_on(end(&feed)), SupervisionEnd::Finished);
    runtime.block_on(in_time(ctx.close()));
}

#[test]
fn without_a_runtime_it_is_refused() {
    let ctx = server();
    let refused = ctx
        .task("feed")
        .restart(rules())
        .try_run(|_| async {})
        .unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::NoRuntime);
}

#[test]
#[should_panic(expected = "there is no tokio runtime")]
fn without_a_runtime_run_panics() {
    let ctx = server();
    ctx.task("feed").restart(rules()).run(|_| async {});
}

#[test]
fn a_runtime_that_ends_in_a_pause_ends_the_task() {
    let alive = Counter::default();
    let guard = alive.guard();
    let runtime = current_thread();
    let (ctx, feed) = runtime.block_on(async {
        let ctx = server();
        let feed = ctx.task("feed").restart(rules()).run(move |_| {
            let _held = &guard;
            async { Err::<(), _>("again") }
        });
        settle().await;
        (ctx, feed)
    });
    assert!(matches!(feed.state(), SupervisedState::BackingOff(_)));
    drop(runtime);
    assert_eq!(alive.alive(), 0);
    let runtime = current_thread();
    assert_eq!(runtime.block_on(end(&feed)), SupervisionEnd::RuntimeGone);
    let report = runtime.block_on(in_time(ctx.close()));
    assert!(!report.is_clean(), "{report}");
}

/// A command that comes with the end of the runtime makes another attempt follow, which nothing polls.
#[test]
fn a_runtime_that_ends_while_an_attempt_is_restarted_leaves_nothing_in_the_gate() {
    let runtime = current_thread();
    let (ctx, feed) = runtime.block_on(async {
        let ctx = server();
        let feed = fails(&ctx, rules(), 0);
        settle().await;
        (ctx, feed)
    });
    assert!(feed.restart_now());
    drop(runtime);
    let runtime = current_thread();
    assert_eq!(runtime.block_on(end(&feed)), SupervisionEnd::RuntimeGone);
    runtime.block_on(in_time(ctx.close()));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_taken_when_it_comes_back_refuses_it() {
    let ctx = server();
    let task = ctx
        .task("feed")
        .slot("feed")
        .on_conflict(OnConflict::Reject);
    let feed = task
        .restart(rules())
        .run(|_| async { Err::<(), _>("again") });
    sleep(TICK).await;
    let other = ctx.task("other").slot("feed").spawn(pending::<()>());
    assert_eq!(
        end(&feed).await,
        SupervisionEnd::Refused(RefusedReason::SlotTaken)
    );
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_replaces_an_attempt_in_its_slot_stops_it() {
    let ctx = server();
    let feed = ctx
        .task("feed")
        .slot("feed")
        .restart(rules())
        .run(|_| pending::<()>());
    settle().await;
    let other = ctx
        .task("other")
        .slot("feed")
        .on_conflict(OnConflict::Replace);
    let other = other.spawn(async {});
    assert_eq!(end(&feed).await, SupervisionEnd::Stopped);
    in_time(other).await.unwrap();
}

// What is said.

#[tokio::test(start_paused = true)]
async fn attempts_and_pauses_are_listed() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 2);
    let live = ctx.live().await;
    assert_eq!(live.find("feed").unwrap().detail().unwrap(), "attempt 1");
    sleep(SECOND + SECOND / 2).await;
    let live = ctx.live().await;
    let entry = live.find("feed").unwrap();
    assert_eq!((entry.state(), entry.kind()), (State::BackingOff, "task"));
    assert_eq!(entry.detail().unwrap(), "attempt 3 in 1.5s");
    let line = "feed  task · backing off · attempt 3 in 1.5s · ";
    assert!(live.to_string().contains(line), "{live}");
    assert_eq!(live.tasks().len(), 1);
    sleep(2 * SECOND).await;
    let live = ctx.live().await;
    let entry = live.find("feed").unwrap();
    assert_eq!(
        (entry.state(), entry.detail().unwrap()),
        (State::Running, "attempt 3".into())
    );
    assert_eq!(entry.location().file(), "tests/it/supervision.rs");
    feed.stop();
    end(&feed).await;
    assert!(ctx.live().await.tasks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_code_of_an_attempt_runs_in_its_context() {
    let ctx = server();
    let id = ctx.id();
    let here = move || Context::current().is_some_and(|own| own.id() == id);
    let feed = ctx
        .task("feed")
        .restart(rules().unless(move |_: &bool| here()))
        .run(move |_| {
            let is_here = here();
            async move { Err::<(), _>(is_here && here()) }
        });
    assert_eq!(given_up(&feed).await.message(), "true");
}

#[cfg(feature = "dump")]
#[tokio::test(start_paused = true)]
async fn a_dump_names_attempts_and_pauses() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 2);
    sleep(SECOND + SECOND / 2).await;
    let dump = ctx.dump().await;
    let text = dump.to_string();
    assert!(text.contains("server/feed: parked"), "{text}");
    assert!(
        text.contains("waits for attempt 3, which begins in 1.5s"),
        "{text}"
    );
    assert_eq!(dump.tasks()[0].stacks().len(), 1, "{text}");
    sleep(2 * SECOND).await;
    let text = ctx.dump().await.to_string();
    assert!(text.contains("server/feed: parked"), "{text}");
    feed.stop();
}

/// Each of them is told three times of a hundred, with the number.
#[test]
fn a_storm_of_restarts_is_one_event_a_line() {
    let said = said(|| async {
        let ctx = server();
        let rules = rules()
            .backoff(Duration::ZERO, Duration::ZERO)
            .budget(99, Duration::MAX);
        let feed = fails(&ctx, rules, u64::MAX);
        given_up(&feed).await;
        assert_eq!(feed.attempts(), 100);
        in_time(ctx.close()).await;
    });
    let restarts: Vec<_> = said
        .iter()
        .filter(|line| line.contains(" follows in "))
        .collect();
    assert_eq!(restarts.len(), 2, "{said:#?}");
    assert!(restarts[0].starts_with("WARN") && restarts[0].contains("context=server"));
    assert!(restarts[0].contains("task feed (spawned at tests/it/supervision.rs:"));
    assert!(restarts[0].contains("failed: error 1; attempt 2 follows in 0ms"));
    assert!(restarts[1].contains(", 10 times so far"), "{restarts:#?}");
    let gave_up: Vec<_> = said
        .iter()
        .filter(|line| line.contains("used up"))
        .collect();
    assert_eq!((gave_up.len(), said.len()), (1, 3), "{said:#?}");
    assert!(gave_up[0].starts_with("ERROR"), "{gave_up:#?}");
}

#[test]
fn a_restart_after_a_return_and_a_stop_say_nothing() {
    let said = said(|| async {
        let ctx = server();
        let feed = ctx
            .task("feed")
            .restart(Restart::always())
            .run(|_| async {});
        sleep(TICK).await;
        feed.restart_now();
        sleep(TICK).await;
        feed.stop();
        end(&feed).await;
        in_time(ctx.close()).await;
    });
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn an_event_may_command_the_task() {
    let said = said_by(|_| {
        crate::util::paused().block_on(async {
            let ctx = server();
            let feed = fails(&ctx, rules(), 1);
            settle().await;
            assert!(feed.restart_now());
            settle().await;
            assert_eq!(feed.attempts(), 2);
            feed.stop();
            end(&feed).await;
        });
    });
    assert_eq!(said.len(), 2, "{said:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_printed_names_the_task() {
    let ctx = server();
    let feed = fails(&ctx, rules(), 0);
    assert_eq!(
        format!("{feed:?}"),
        "Supervised { name: \"feed\", state: Running, attempts: 1, .. }"
    );
    let unnamed = ctx.task("feed").restart(rules());
    assert!(format!("{unnamed:?}").starts_with("SupervisedBuilder { name: Some(\"feed\")"));
    assert_eq!(
        SupervisionEnd::RuntimeGone.to_string(),
        "its runtime has ended"
    );
}

/// The destructor of the closure runs while the task is listed, and may use what it likes.
#[tokio::test(start_paused = true)]
async fn the_closure_is_dropped_before_the_end_is_told() {
    let (ctx, log) = (server(), Log::default());
    let (held, noted, wake) = (
        Notes(log.clone(), "dropped"),
        log.clone(),
        Arc::new(Notify::new()),
    );
    let woken = Arc::clone(&wake);
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        let (_held, woken) = (&held, Arc::clone(&woken));
        async move { woken.notified().await }
    });
    let ended = feed.ended();
    let wait = tokio::spawn(async move {
        ended.await;
        noted.note("told");
    });
    settle().await;
    wake.notify_one();
    in_time(wait).await.unwrap();
    assert_eq!(log.all(), ["dropped", "told"]);
}

/// On several threads: whatever comes between what, the close ends, and nothing is left.
#[test]
fn commands_and_a_close_may_come_at_any_time() {
    let runtime = crate::util::multi_thread(2);
    for round in 0..300_u32 {
        runtime.block_on(async {
            let registry = Registry::new();
            let ctx = registry.context("server");
            let alive = Counter::default();
            let made = alive.clone();
            let rules = rules().backoff(Duration::ZERO, Duration::ZERO);
            let feed = ctx
                .task("feed")
                .cancellable()
                .restart(rules)
                .run(move |attempt| {
                    assert_eq!(made.alive(), 0, "attempts overlap");
                    let guard = made.guard();
                    async move {
                        let _guard = guard;
                        tokio::task::yield_now().await;
                        if attempt.number() % 3 > 0 {
                            return Err("again");
                        }
                        pending::<Result<(), _>>().await
                    }
                });
            let commands = (0..3).map(|n| {
                let feed = feed.clone();
                tokio::spawn(async move {
                    for _ in 0..round % 17 {
                        feed.restart_now();
                        tokio::task::yield_now().await;
                    }
                    if n == round % 6 {
                        feed.stop();
                    }
                })
            });
            let commands: Vec<_> = commands.collect();
            for _ in 0..round % 13 {
                tokio::task::yield_now().await;
            }
            let report = in_time(ctx.close()).await;
            assert_eq!(alive.alive(), 0);
            let attempts = report.finished() + report.cancelled() + report.aborted();
            assert_eq!((attempts, report.panicked()), (feed.attempts(), 0));
            let end = end(&feed).await;
            assert!(
                matches!(end, SupervisionEnd::Closed | SupervisionEnd::Stopped),
                "{end}"
            );
            for command in commands {
                in_time(command).await.unwrap();
            }
            drop(ctx);
            assert_eq!(registry.count(), 0);
        });
    }
}

/// The close begins, and the runtime ends, before each poll of it in turn.
#[cfg(feature = "testing")]
#[test]
fn whatever_disturbs_it_nothing_is_left() {
    headcount::testing::close_anywhere(async |registry: Registry| {
        let ctx = registry.context("server");
        let rules = rules().backoff(TICK, TICK);
        let task = ctx.task("feed").cancellable();
        let feed = task.restart(rules).run(|attempt| async move {
            tokio::task::yield_now().await;
            if attempt.number() < 4 {
                Err("again")
            } else {
                Ok(())
            }
        });
        sleep(TICK / 2).await;
        feed.restart_now();
        feed.ended().await;
        ctx.close().await;
    });
}

/// Its room in a full context is its own, attempt after attempt, and is free when it has ended.
#[tokio::test(start_paused = true)]
async fn a_supervised_task_keeps_its_room_between_attempts() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").max_tasks(1).open();
    let rules = Restart::on_failure().budget(3, secs(60)).jitter(false);
    let feed = ctx.task("feed").restart(rules).run(|_| async {
        tokio::time::sleep(SECOND / 10).await;
        Err::<(), _>("no route")
    });
    while feed.state() != SupervisedState::Ended {
        let refused = ctx.try_spawn(async {}).unwrap_err();
        assert_eq!(refused.reason(), RefusedReason::Full);
        assert!(feed.attempts() <= 4);
        tokio::time::sleep(SECOND / 20).await;
    }
    assert!(matches!(feed.ended().await, SupervisionEnd::GaveUp(_)));
    assert_eq!(feed.attempts(), 4);
    ctx.try_spawn(async {}).unwrap().await.unwrap();
    ctx.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_closure_is_dropped_as_code_of_the_task_before_that_has_ended() {
    let (ctx, log) = (server(), Log::default());
    let handle = Arc::new(Mutex::new(None::<Supervised>));
    let (own, noted) = (Arc::clone(&handle), log.clone());
    let held = OnDrop::new(move || {
        let state = own.lock().unwrap().as_ref().map(Supervised::state);
        let context = Context::current().map(|context| context.path());
        noted.note(format!("{state:?} {context:?}"));
    });
    let feed = ctx.task("feed").restart(rules()).run(move |_| {
        let _held = &held;
        async {}
    });
    *handle.lock().unwrap() = Some(feed.clone());
    assert_eq!(end(&feed).await, SupervisionEnd::Finished);
    assert_eq!(log.all(), ["Some(Running) Some(\"server\")"]);
    handle.lock().unwrap().take();
}
