//! Scenarios that are disturbed at every moment: what is run, what must hold, and what is said.

use crate::util::caught;
use futures::StreamExt;
use headcount::{
    Registry,
    testing::{CloseAnywhere, Disturbance, close_anywhere},
};
use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{task::yield_now, time::sleep};

/// What ends tasks by a request alone.
pub(crate) const GENTLE: [Disturbance; 1] = [Disturbance::Close];

/// I1, I7: what each run notes by itself agrees with what is checked.
#[test]
fn whatever_disturbs_it_hooks_run_once_in_their_order_and_values_go() {
    type Log = Arc<Mutex<Vec<&'static str>>>;
    struct Value(Log);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("value");
        }
    }
    let scenario = async |registry: Registry, log: Log| {
        let ctx = registry
            .context_builder("ctx")
            .grace(Duration::from_millis(10))
            .open();
        let hook = |what| {
            let (log, dropped) = (Arc::clone(&log), Notes(Arc::clone(&log), what));
            move || async move {
                yield_now().await;
                let _dropped = &dropped;
                drop(log);
            }
        };
        if ctx.on_close(hook("first")).is_err() {
            return;
        }
        let kept = ctx.own("value", "value", Value(Arc::clone(&log))).map(drop);
        assert!(kept.is_ok() && ctx.on_close(hook("last")).is_ok());
        let child = ctx.child("child");
        let _ = child.spawn(yield_now()).await;
        let wrapped = child.wrap(sleep(Duration::from_millis(2)));
        let _ = wrapped.await;
        drop(child);
        ctx.close().await;
    };
    CloseAnywhere::new().run_with(Log::default, scenario, |log| {
        let log = mem::take(&mut *log.lock().unwrap());
        // Never made; refused, and handed back; or all of it, latest first.
        let orders: [&[&str]; 3] = [&[], &["first"], &["last", "value", "first"]];
        assert!(orders.contains(&&*log), "{log:?}");
    });
}

/// A destructor's note.
struct Notes(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Notes {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
    }
}

/// Two trees, one of which needs the other, with slots, blocking closures, local tasks, streams and a join set.
#[test]
fn all_kinds_of_work_may_be_closed_anywhere() {
    CloseAnywhere::new().rounds(200).run(async |registry| {
        let db = registry.context("db");
        let builder = registry.context_builder("api").needs(&db);
        let Ok(api) = builder.try_open() else { return };
        let store = db.own("store", "store", 7).ok();
        let _ = db.on_close(async || yield_now().await);
        let _ = api.on_closing(async || yield_now().await);
        let mut set = api.join_set::<u32>();
        for n in 0..3 {
            set.spawn(async move {
                yield_now().await;
                n
            });
        }
        while set.join_next().await.is_some() {}
        for _ in 0..2 {
            api.task("slotted")
                .slot("one")
                .spawn(sleep(Duration::from_millis(1)));
        }
        let blocking = api.task("closure").spawn_blocking(|| 6 * 7);
        let _ = blocking.await;
        let local = tokio::task::LocalSet::new();
        let run = async {
            let _ = api.spawn_local(yield_now()).await;
        };
        local.run_until(run).await;
        let numbers = futures::stream::iter([1, 2]).then(async |n| {
            yield_now().await;
            n
        });
        let _: Vec<_> = api.wrap_stream(numbers).collect().await;
        let deadline = api.task("slow").deadline(Duration::from_millis(3));
        let _ = deadline.spawn(sleep(Duration::from_secs(9))).await;
        drop(store);
        api.finish().await;
        db.close().await;
    });
}

/// How many runs there were, and how many polls there are to disturb.
fn count_runs(anywhere: CloseAnywhere) -> usize {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    anywhere.run(async move |registry| {
        counted.fetch_add(1, SeqCst);
        let ctx = registry.context("ctx");
        for _ in 0..10 {
            yield_now().await;
        }
        ctx.close().await;
    });
    runs.load(SeqCst)
}

#[test]
fn every_poll_is_disturbed_or_as_many_as_there_are_rounds() {
    let anywhere = CloseAnywhere::new().disturbances(GENTLE);
    // Eleven polls of the scenario, one more where it waits for the close, and one run before.
    let all = count_runs(anywhere.clone());
    assert!((13..=14).contains(&all), "{all}");
    assert_eq!(count_runs(anywhere.clone().rounds(4)), 5);
    assert_eq!(count_runs(anywhere.only(3, Disturbance::Drop)), 2);
}

#[test]
fn a_panic_of_the_scenario_is_a_fault_unless_it_is_allowed() {
    let scenario = async |registry: Registry| {
        let ctx = registry.context("job");
        assert_eq!(ctx.spawn(async { 6 * 7 }).await.unwrap(), 42);
        ctx.close().await;
    };
    CloseAnywhere::new().allow_panics().run(scenario);
    let said = caught(|| close_anywhere(scenario)).unwrap();
    assert!(
        said.contains("the scenario itself panicked: called `Result::unwrap()`"),
        "{said}"
    );
    assert!(said.contains("just before poll 1 of "), "{said}");
    // Undisturbed it may not panic.
    let anywhere = CloseAnywhere::new().allow_panics();
    let said = caught(|| anywhere.run(async |_| panic!("always"))).unwrap();
    assert!(said.contains("fails undisturbed already"), "{said}");
}

#[test]
fn a_scenario_that_serves_until_its_registry_closes_is_closed_after_a_while() {
    CloseAnywhere::new().rounds(20).run(async |registry| {
        let ctx = registry.context("server");
        let weak = ctx.downgrade();
        ctx.task("ticker").spawn(async move {
            while weak
                .run_until_cancelled(sleep(Duration::from_millis(250)))
                .await
                .is_some()
            {}
        });
        registry.closed().await;
    });
}

#[tokio::test]
async fn within_a_runtime_it_says_where_to_call_it() {
    let said = caught(|| close_anywhere(async |_| {})).unwrap();
    assert!(said.contains("call it in a plain `#[test]`"), "{said}");
}

/// In a process of its own, whose environment says what to run.
#[test]
fn what_a_failure_prints_runs_only_that_one_again() {
    let run = |variables: &[(&str, &str)]| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "close_anywhere::disturbed_as_the_environment_says",
        ]);
        child
            .args(["--ignored", "--nocapture"])
            .envs(variables.iter().copied());
        let output = child.output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let poll = ("HEADCOUNT_POLL", "5");
    let said = run(&[
        poll,
        ("HEADCOUNT_DISTURBANCE", "drop"),
        ("HEADCOUNT_SEED", "9"),
    ]);
    let again = "HEADCOUNT_SEED=9 HEADCOUNT_POLL=5 HEADCOUNT_DISTURBANCE=drop";
    assert!(
        said.contains(again) && said.contains("the check at the end panicked"),
        "{said}"
    );
    let said = run(&[poll]);
    assert!(
        said.contains("HEADCOUNT_POLL needs HEADCOUNT_DISTURBANCE"),
        "{said}"
    );
    let said = run(&[poll, ("HEADCOUNT_DISTURBANCE", "flood")]);
    assert!(
        said.contains("\"flood\", which is not a known disturbance"),
        "{said}"
    );
    let said = run(&[("HEADCOUNT_SEED", "x")]);
    assert!(
        said.contains("HEADCOUNT_SEED is \"x\": invalid digit"),
        "{said}"
    );
}

#[test]
#[ignore = "run by the test above"]
fn disturbed_as_the_environment_says() {
    let fresh = Arc::<AtomicUsize>::default;
    let scenario = async |_, ended: Arc<AtomicUsize>| {
        for _ in 0..9 {
            yield_now().await;
        }
        ended.store(1, SeqCst);
    };
    // Only where the scenario was dropped.
    CloseAnywhere::new().run_with(fresh, scenario, |ended| assert_eq!(ended.load(SeqCst), 1));
}
