//! What a close says, and to whom, when it ends tasks by force.

use crate::{
    events::{said, said_while},
    util::{OnDrop, in_time, paused, settle},
};
use headcount::Registry;
use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

/// To look up the lines of a stack takes longer than some grace periods.
#[test]
fn tasks_are_aborted_before_their_lines_are_looked_up() {
    let was_said = Arc::new(Mutex::new(None));
    let note = Arc::clone(&was_said);
    let said = said_while(&paused(), |said| async move {
        let ctx = Registry::new().context("ctx");
        let dropped = OnDrop::new(move || {
            *note.lock().unwrap() = Some(said.contains("the grace period is over"));
        });
        ctx.spawn(async move {
            let _dropped = dropped;
            pending::<()>().await;
        });
        in_time(ctx.close()).await;
    });
    assert!(said[0].contains("the grace period is over"), "{said:#?}");
    let was_said = was_said.lock().unwrap().unwrap();
    assert!(!was_said || !cfg!(feature = "dump"), "{said:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_names_the_tasks_that_were_ended_by_force() {
    let registry = Registry::new();
    let (parent, count) = (registry.context("parent"), 12);
    let child = parent.child("child");
    for _ in 0..count {
        child.task("deaf").spawn(pending::<()>());
    }
    parent.task("own").spawn(pending::<()>());
    let report = in_time(parent.close()).await;
    assert_eq!(report.forced(), count + 1);
    let stuck = report.stuck();
    let of = |path: &str| stuck.iter().filter(|task| task.contains(path)).count();
    assert_eq!(
        (of("parent/child/deaf"), of("parent/own")),
        (10, 1),
        "{stuck:#?}"
    );
    assert!(stuck.iter().all(|task| task.contains("force.rs:")));
    assert!(
        report
            .to_string()
            .contains("did not end in time: parent/own"),
        "{report}"
    );
}

/// What a hook waits for often runs in a context beside its own, and should have been closed before.
#[test]
fn a_hook_that_timed_out_is_told_with_the_tasks_that_still_run_elsewhere() {
    let said = said(|| async {
        let registry = Registry::new();
        let (db, jobs) = (registry.context("db"), registry.context("jobs"));
        db.on_close(pending::<()>).unwrap();
        db.spawn(async {});
        for _ in 0..12 {
            jobs.task("saver").spawn(pending::<()>());
        }
        settle().await;
        in_time(db.close()).await;
        jobs.close_now().await;
    });
    let told: Vec<_> = said.iter().filter(|l| l.contains("timed out")).collect();
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(
        told[0].contains("the hook may wait for one of them: jobs/saver (task")
            && told[0].matches("jobs/saver").count() == 10
            && told[0].contains(", …"),
        "{told:#?}"
    );
    assert!(!told[0].contains("db/"), "{told:#?}");
}

#[test]
fn a_hook_that_timed_out_alone_is_told_alone() {
    let said = said(|| async {
        let db = Registry::new().context("db");
        db.on_close(pending::<()>).unwrap();
        in_time(db.close()).await;
    });
    let told: Vec<_> = said.iter().filter(|l| l.contains("timed out")).collect();
    assert!(told.len() == 1 && !told[0].contains("outside"), "{said:#?}");
}

/// A close that goes on tells where its tasks are at that moment, not where they were when it aborted them.
#[cfg(feature = "dump")]
#[test]
fn a_warning_that_comes_again_has_asked_again() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        ctx.task("deaf").spawn(pending::<()>());
        let kept = ctx.task("kept").wrap(pending::<()>());
        settle().await;
        let still = ctx.close_within(Duration::from_secs(40)).await;
        assert!(still.is_err());
        drop(kept);
        in_time(ctx.closed()).await;
    });
    assert_eq!(said.len(), 3, "{said:#?}");
    let (over, still) = (&said[0], &said[1..]);
    assert!(over.contains("stacks=ctx/deaf: parked"), "{said:#?}");
    assert!(
        still
            .iter()
            .all(|line| line.contains("still closing, because"))
    );
    assert!(!still.iter().any(|line| line.contains("deaf")), "{said:#?}");
}

/// A context that goes on without what cannot be ended has warned of it, and warns again when the wait has doubled.
#[test]
fn what_is_left_behind_is_not_told_twice_at_once() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        let kept = ctx.task("kept").wrap(pending::<()>());
        let still = ctx.close_by(Duration::from_millis(400)).await;
        assert!(still.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(kept);
        in_time(ctx.closed()).await;
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0]
            .contains("their part of the time until the deadline is over, aborting these tasks (300ms after the close began)")
    );
}

/// It is neither parked, nor does it not answer: its future is gone but for a destructor.
#[cfg(feature = "dump")]
#[test]
fn a_task_that_is_being_dropped_is_not_waited_for_and_said_to_be() {
    use crate::util::multi_thread;
    use std::sync::mpsc;
    let (rt, gone) = (paused(), multi_thread(1));
    let handle = gone.handle().clone();
    gone.shutdown_background();
    let ctx = rt.block_on(async { Registry::new().context("ctx") });
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let other = ctx.clone();
    let spawner = std::thread::spawn(move || {
        let stuck = OnDrop::new(move || {
            tell.send(()).unwrap();
            let _ = wait.recv();
        });
        // A runtime that has ended drops the future inside the spawn.
        let spawning = other.task("stuck").on(&handle);
        drop(spawning.spawn(async move { drop(stuck) }));
    });
    told.recv().unwrap();
    rt.block_on(async {
        let began = tokio::time::Instant::now();
        let dump = ctx.dump().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "{dump}");
        let text = "ctx/stuck: its future is being dropped, and a destructor does not return";
        assert!(dump.to_string().contains(text), "{dump}");
        drop(go);
        in_time(ctx.close()).await;
    });
    spawner.join().unwrap();
}
