//! Looking again until nothing looks like a leak, or time is up.
//!
//! Dropping the last handle of something notifies the listeners of its registry, so most scans come when there is
//! something new to see. For what sends no notification (a task of an open context, a registration, a plain `Arc`) there are
//! scans in growing intervals, from 1 ms to 100 ms, as goleak does it.

use crate::{
    clock,
    context::state::Core,
    leaks::{
        find::{self, LeakScan, QuickCheck},
        judge::{self, LONGEST_GRACE},
        policy::LeakPolicy,
        snapshot::LeakSnapshot,
    },
};
use futures::future::select;
use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

/// Between the first two looks, and the most between two.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// The most that closes may add to the time to settle: there may always be another one.
const LONGEST: Duration = Duration::from_secs(2 * LONGEST_GRACE.as_secs());

/// So many looks follow each other at once.
const EAGER: u32 = 4;
/// Later ones leave at least so much between them.
const BREATH: Duration = Duration::from_millis(2);

/// How long things took to settle, or did not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) took: Duration,
    pub(crate) looks: u32,
}

/// Looks until nothing is found or the policy's time is up; says what was found last.
///
/// `more` is asked beside that: whether something else has to settle. The registry is held only while it is looked
/// at, and not while things settle; nothing comes of it when the registry has gone.
pub(crate) async fn settle(
    root: &Weak<Core>,
    policy: &LeakPolicy,
    mut more: impl FnMut() -> bool,
) -> Option<(LeakScan, Settled)> {
    let table = Arc::clone(&root.upgrade()?.node.table);
    let listening = table.tracking.listen();
    let started = clock::now();
    let mut looks = 0;
    let mut suspects = None;
    let mut rest = INTERVALS.0;
    let mut deadline = policy.settle;
    loop {
        let mut gone = pin!(listening.changed().notified());
        gone.as_mut().enable();
        // Before the look: what was there when it began is at least as old.
        let took = clock::now().saturating_duration_since(started);
        let live = table.live().await;
        let snapshot = LeakSnapshot::of(&root.upgrade()?, live);
        looks += 1;
        let settled = Settled { took, looks };
        let mut verdicts = judge::judge(&snapshot, policy);
        // While a program runs there is always something that was closed a moment ago and is about to be let go of.
        if !policy.nothing_left {
            suspects = Some(verdicts.narrow(&snapshot, suspects.as_ref()));
        }
        let look = find::quick_check(&snapshot, &verdicts, policy);
        // A close within its grace period is no leak yet, and it is going to end: what it leaves has its time
        // from then on.
        if look == QuickCheck::Pending && policy.is_patient {
            let later = took.saturating_add(policy.settle.max(INTERVALS.1));
            deadline = later.min(policy.settle.saturating_add(LONGEST));
        }
        let is_clean = look == QuickCheck::Clean && !more();
        if is_clean || took >= deadline {
            let found = find::find(&snapshot, verdicts, policy);
            #[cfg(feature = "dump")]
            let found = super::stacks::with_stacks(&table, found).await;
            return Some((found, settled));
        }
        drop(snapshot);
        let left = deadline.saturating_sub(took).max(INTERVALS.0);
        select(gone, pin!(clock::sleep(rest.min(left)))).await;
        if looks > EAGER {
            // Many things that go one by one are not looked at one by one.
            clock::sleep(BREATH.min(left)).await;
            rest = (rest * 2).min(INTERVALS.1);
        }
    }
}
