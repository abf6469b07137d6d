//! [`Quota`]: how many tasks, or children, a context may have at once.
//!
//! Counted behind the gate: what the gate lets in is refused again if there is no room. So a context that closes says so, full or not.

use crate::{
    sync::{
        AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    table::record::Detail,
};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Quota {
    max: usize,
    used: AtomicUsize,
}

impl Quota {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let used = AtomicUsize::new(0);
        Arc::new(Self { max, used })
    }

    /// Room for one more, if there is any.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<QuotaPermit> {
        // Not add and look: for a moment there would be more than `max`, and another would be refused for it.
        let more = |used: usize| (used < self.max).then(|| used + 1);
        // Acquire: who takes the room sees all that the one before did in it.
        let taken = self.used.fetch_update(AcqRel, Acquire, more);
        taken.ok().map(|_| QuotaPermit(Arc::clone(self)))
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct QuotaPermit(Arc<Quota>);

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, AcqRel);
    }
}

/// The quotas of a context, for listings.
pub(crate) struct Quotas {
    pub(crate) tasks: Option<Arc<Quota>>,
    pub(crate) children: Option<Arc<Quota>>,
}

impl Quotas {
    /// `3 of 8 tasks, 1 of 2 children`
    pub(crate) fn text(&self) -> Option<String> {
        let text = |quota: &Option<Arc<Quota>>, what| {
            let quota = quota.as_ref()?;
            Some(format!("{} of {} {what}", quota.used(), quota.max))
        };
        let texts = [text(&self.tasks, "tasks"), text(&self.children, "children")];
        let texts: Vec<_> = texts.into_iter().flatten().collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

impl Detail for Quotas {
    fn text(&self) -> Option<String> {
        Quotas::text(self)
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_at_once_are_never_too_many() {
        use std::{
            sync::{
                Barrier,
                atomic::{AtomicUsize, Ordering::SeqCst},
            },
            thread,
        };
        let (quota, start) = (Quota::new(3), Barrier::new(8));
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let come_and_go = || {
            start.wait();
            for _ in 0..20_000 {
                let permit = quota.try_take();
                if permit.is_some() {
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    inside.fetch_sub(1, SeqCst);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(come_and_go);
            }
        });
        assert!((1..=3).contains(&most.load(SeqCst)), "{most:?}");
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn a_quota_says_what_it_has() {
        let tasks = Quota::new(2);
        let permit = tasks.try_take();
        let quotas = Quotas {
            tasks: Some(Arc::clone(&tasks)),
            children: Some(Quota::new(0)),
        };
        assert_eq!(
            quotas.text().as_deref(),
            Some("1 of 2 tasks, 0 of 0 children")
        );
        drop(permit);
        assert_eq!(tasks.used(), 0);
    }
}
