//! Where answers lie until they are collected.

use crate::{
    id::ResourceId,
    panics,
    sync::{Mutex, lock},
    trace::capture::Found,
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Notify;

/// Who wants to know of which tasks of a registry. A task knows only that it was asked, so it answers all who asked.
#[derive(Default)]
pub(crate) struct Desk(Mutex<HashMap<ResourceId, Vec<Arc<Answers>>>>);

/// What has been answered to one question.
#[derive(Default)]
struct Answers {
    found: Mutex<HashMap<ResourceId, Found>>,
    /// Rings when an answer comes.
    bell: Notify,
}

/// A question to any number of tasks. Nobody answers it any more when it is dropped.
pub(crate) struct Question {
    desk: Arc<Desk>,
    asked: Vec<ResourceId>,
    answers: Arc<Answers>,
}

impl Desk {
    pub(crate) fn open(self: &Arc<Self>) -> Question {
        Question {
            desk: Arc::clone(self),
            asked: Vec::new(),
            answers: Arc::default(),
        }
    }

    /// Takes an answer for all who want it.
    pub(crate) fn answer(&self, task: ResourceId, found: &Found) {
        let askers = lock(&self.0).remove(&task);
        for answers in askers.into_iter().flatten() {
            let before = lock(&answers.found).insert(task, found.clone());
            drop(before);
            // The waker is somebody else's code.
            panics::contain(|| answers.bell.notify_one());
        }
    }
}

impl Question {
    /// From here on an answer of this task is wanted.
    pub(crate) fn put_to(&mut self, task: ResourceId) {
        self.asked.push(task);
        let mut askers = lock(&self.desk.0);
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
            self.answers.bell.notified().await;
        }
    }

    /// The answers so far.
    pub(crate) fn take(self) -> HashMap<ResourceId, Found> {
        std::mem::take(&mut lock(&self.answers.found))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut askers = lock(&self.desk.0);
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
        let desk = Arc::<Desk>::default();
        let mut questions: Vec<_> = (0..3).map(|_| desk.open()).collect();
        questions[0].put_to(id(1));
        questions[1].put_to(id(1));
        questions[1].put_to(id(2));
        desk.answer(id(1), &Found::default());
        desk.answer(id(3), &Found::default());
        let has = |question: &Question| [1, 2, 3].map(|at| question.has(id(at)));
        let found: Vec<_> = questions.iter().map(has).collect();
        assert_eq!(
            found,
            [[true, false, false], [true, false, false], [false; 3]]
        );
        // Only what was not answered is still wanted.
        assert_eq!(lock(&desk.0).keys().copied().collect::<Vec<_>>(), [id(2)]);
    }

    #[test]
    fn a_question_that_is_dropped_leaves_nothing_behind_and_others_stay() {
        let desk = Arc::<Desk>::default();
        let (mut dropped, mut kept) = (desk.open(), desk.open());
        for at in 0..10 {
            dropped.put_to(id(at));
        }
        kept.put_to(id(0));
        desk.answer(id(5), &Found::default());
        assert_eq!(dropped.take().len(), 1);
        assert_eq!(lock(&desk.0).len(), 1);
        desk.answer(id(0), &Found::default());
        assert_eq!(kept.take().len(), 1);
        assert!(lock(&desk.0).is_empty());
    }
}
