//! Slots of a context: of the tasks that were started in one, the first in line runs.
//!
//! A task has its place in the line until its future is dropped, because its [`Turn`] lies beside the future and is dropped
//! right after it. So the next one is not polled before the one before it is gone.

use crate::{
    error::RefusedReason,
    id::ResourceId,
    name::Label,
    panics,
    poll::capture,
    sync::{Mutex, lock},
    table::store::TableRef,
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// What becomes of a task whose [slot](crate::TaskBuilder::slot) is taken.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{OnConflict, Registry, TaskError};
/// let ctx = Registry::new().context("editor");
/// let save = |conflict| ctx.task("save").slot("save").on_conflict(conflict);
/// let first = save(OnConflict::Wait).spawn(std::future::pending::<()>());
/// let second = save(OnConflict::Wait).spawn(async {});
/// assert!(save(OnConflict::Reject).try_spawn(async {}).is_err());
///
/// let third = save(OnConflict::Replace).spawn(async { "saved" });
/// assert_eq!(third.await.unwrap(), "saved");
/// assert!(matches!(first.await, Err(TaskError::Aborted)));
/// assert!(matches!(second.await, Err(TaskError::Aborted)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// It waits in line: its future is polled for the first time when all tasks before it are gone.
    #[default]
    Wait,
    /// It aborts all tasks before it, those that wait included, and its future is polled for the first time when they are
    /// gone.
    Replace,
    /// It is refused.
    Reject,
}

#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<HashMap<Label, Line, RandomState>>);

/// The tasks of one slot, in the order in which they came. The first one runs.
#[derive(Debug, Default)]
struct Line {
    places: BTreeMap<u64, Place>,
    next: u64,
    /// Those before this one were aborted by one that replaces them.
    replaced: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// `None` while it is being spawned.
    task: Option<ResourceId>,
    waker: Option<Waker>,
}

/// The place of a task in the line of its slot. Dropping it lets the next one run.
#[derive(Debug)]
pub(crate) struct Turn {
    slots: Arc<Slots>,
    key: Label,
    number: u64,
    /// Whether it has come.
    has_come: bool,
}

impl Slots {
    /// Takes a place in the line of this slot.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: &Label,
        on_conflict: OnConflict,
        table: &TableRef,
    ) -> Result<Turn, RefusedReason> {
        let mut replaced = Vec::new();
        let number = {
            let mut slots = lock(&self.0);
            let line = slots.entry(key.clone()).or_default();
            if on_conflict == OnConflict::Reject && !line.places.is_empty() {
                return Err(RefusedReason::SlotTaken);
            }
            let number = line.next;
            line.next += 1;
            if on_conflict == OnConflict::Replace {
                // Those before were aborted by another, once.
                let since = mem::replace(&mut line.replaced, number);
                let places = line.places.range(since..);
                replaced.extend(places.filter_map(|(_, place)| place.task));
            }
            line.places.insert(number, Place::default());
            number
        };
        for task in replaced {
            table.abort(task);
        }
        Ok(Turn {
            slots: Arc::clone(self),
            key: key.clone(),
            number,
            has_come: false,
        })
    }
}

impl Turn {
    /// Says which task it is. One that was replaced before that is aborted here.
    pub(crate) fn set_task(&self, table: &TableRef, task: ResourceId) {
        let is_replaced = {
            let mut slots = lock(&self.slots.0);
            let Some(line) = slots.get_mut(&self.key) else {
                return;
            };
            if let Some(place) = line.places.get_mut(&self.number) {
                place.task = Some(task);
            }
            self.number < line.replaced
        };
        if is_replaced {
            table.abort(task);
        }
    }

    /// Waits for the tasks before it to be gone.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_come {
            return Poll::Ready(());
        }
        // A task that is asked where it waits does not answer with the line of its slot. Cloned and dropped outside of the
        // lock: wakers are foreign code (I9).
        let mut waker = Some(capture::original(cx.waker()).clone());
        if let Some(line) = lock(&self.slots.0).get_mut(&self.key) {
            let first = line.places.first_key_value().map(|(first, _)| *first);
            self.has_come = first == Some(self.number);
            match line.places.get_mut(&self.number) {
                Some(place) if !self.has_come => mem::swap(&mut place.waker, &mut waker),
                _ => {}
            }
        }
        panics::discard(waker);
        if self.has_come {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (place, next) = {
            let mut slots = lock(&self.slots.0);
            let Some(line) = slots.get_mut(&self.key) else {
                return;
            };
            let place = line.places.remove(&self.number);
            let next = line.places.first_entry();
            let next = next.and_then(|mut next| next.get_mut().waker.take());
            if line.places.is_empty() {
                slots.remove(&self.key);
            }
            (place, next)
        };
        panics::discard(place);
        // Unless this one was the first, the next one wakes in vain, and waits again.
        if let Some(next) = next {
            panics::contain(|| next.wake());
        }
    }
}
