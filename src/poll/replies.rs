//! Where answers lie until they are collected.

use crate::{
    id::ResourceId,
    panics,
    poll::capture::Captured,
    sync::{Mutex, lock},
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Notify;

/// Who wants to know of which tasks of a registry. A task knows only that it was asked, so it answers all who asked.
#[derive(Default)]
pub(crate) struct PendingReplies {
    askers: Mutex<HashMap<ResourceId, Vec<Arc<Answers>>>>,
    /// Of tasks that wait for their turn: how a dump first found them there.
    pub(crate) seen: Mutex<HashMap<ResourceId, Seen>>,
}

/// How a task was found by a dump.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// A hash of where it waited.
    pub(crate) place: u64,
    pub(crate) polls: u32,
}

/// What has been answered to one question.
#[derive(Default)]
struct Answers {
    found: Mutex<HashMap<ResourceId, Captured>>,
    /// Notified when an answer comes.
    changed: Notify,
}

/// A question to any number of tasks. Nobody answers it any more when it is dropped.
pub(crate) struct Question {
    replies: Arc<PendingReplies>,
    asked: Vec<ResourceId>,
    answers: Arc<Answers>,
}

impl PendingReplies {
    pub(crate) fn open(self: &Arc<Self>) -> Question {
        Question {
            replies: Arc::clone(self),
            asked: Vec::new(),
            answers: Arc::default(),
        }
    }

    /// Takes an answer for all who want it.
    pub(crate) fn answer(&self, task: ResourceId, found: &Captured) {
        let askers = lock(&self.askers).remove(&task);
        for answers in askers.into_iter().flatten() {
            let before = lock(&answers.found).insert(task, found.clone());
            drop(before);
            // The waker is somebody else's code.
            panics::contain(|| answers.changed.notify_one());
        }
    }
}

impl Question {
    /// From here on an answer of this task is wanted.
    pub(crate) fn put_to(&mut self, task: ResourceId) {
        self.asked.push(task);
        let mut askers = lock(&self.replies.askers);
        askers
            .entry(task)
            .or_default()
            .push(Arc::clone(&self.answers));
    }

    pub(crate) fn has(&self, task: ResourceId) -> bool {
        lock(&self.answers.found).contains_key(&task)
    }

    /// Waits until there are so many answers more.
    pub(crate) async fn answered(&self, more: usize) {
        let answered = || lock(&self.answers.found).len();
        let enough = answered() + more;
        while answered() < enough {
            self.answers.changed.notified().await;
        }
    }

    /// The answers so far.
    pub(crate) fn take(self) -> HashMap<ResourceId, Captured> {
        std::mem::take(&mut lock(&self.answers.found))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut askers = lock(&self.replies.askers);
        for task in &self.asked {
            if let Some(of_task) = askers.get_mut(task) {
                of_task.retain(|answers| !Arc::ptr_eq(answers, &self.answers));
                if of_task.is_empty() {
                    askers.remove(task);
                }
            }
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    fn id(index: u32) -> ResourceId {
        ResourceId {
            table: 0,
            index,
            generation: 0,
        }
    }

    #[test]
    fn a_task_answers_all_who_asked_it_and_nobody_else() {
        let replies = Arc::<PendingReplies>::default();
        let mut questions: Vec<_> = (0..3).map(|_| replies.open()).collect();
        questions[0].put_to(id(1));
        questions[1].put_to(id(1));
        questions[1].put_to(id(2));
        replies.answer(id(1), &Captured::default());
        replies.answer(id(3), &Captured::default());
        let has = |question: &Question| [1, 2, 3].map(|at| question.has(id(at)));
        let found: Vec<_> = questions.iter().map(has).collect();
        assert_eq!(
            found,
            [[true, false, false], [true, false, false], [false; 3]]
        );
        // Only what was not answered is still wanted.
        assert_eq!(
            lock(&replies.askers).keys().copied().collect::<Vec<_>>(),
            [id(2)]
        );
    }

    #[test]
    fn a_question_that_is_dropped_leaves_nothing_behind_and_others_stay() {
        let replies = Arc::<PendingReplies>::default();
        let (mut dropped, mut kept) = (replies.open(), replies.open());
        for at in 0..10 {
            dropped.put_to(id(at));
        }
        kept.put_to(id(0));
        replies.answer(id(5), &Captured::default());
        assert_eq!(dropped.take().len(), 1);
        assert_eq!(lock(&replies.askers).len(), 1);
        replies.answer(id(0), &Captured::default());
        assert_eq!(kept.take().len(), 1);
        assert!(lock(&replies.askers).is_empty());
    }
}
