//! Where answers lie until they are collected.

use crate::{
    id::ResourceId,
    sync::{Mutex, lock},
    trace::capture::Found,
};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

/// The questions of one registry.
#[derive(Default)]
pub(crate) struct Desk {
    questions: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    last: u32,
    open: HashMap<u32, Weak<Question>>,
}

/// One question, to any number of tasks.
#[derive(Default)]
pub(crate) struct Question {
    pub(crate) number: u32,
    answers: Mutex<HashMap<ResourceId, Found>>,
    /// Rings when an answer comes.
    pub(crate) bell: Notify,
}

impl Desk {
    /// A question that is open for as long as somebody keeps it.
    pub(crate) fn open(&self) -> Arc<Question> {
        let mut questions = lock(&self.questions);
        questions
            .open
            .retain(|_, question| question.strong_count() > 0);
        questions.last = questions.last.wrapping_add(1).max(1);
        let number = questions.last;
        let question = Arc::new(Question {
            number,
            ..Question::default()
        });
        questions.open.insert(number, Arc::downgrade(&question));
        question
    }

    /// Takes an answer, if somebody still wants it.
    pub(crate) fn answer(&self, number: u32, task: ResourceId, found: Found) {
        let question = lock(&self.questions)
            .open
            .get(&number)
            .and_then(Weak::upgrade);
        if let Some(question) = question {
            let before = lock(&question.answers).insert(task, found);
            drop(before);
            question.bell.notify_one();
        }
    }
}

impl Question {
    pub(crate) fn answered(&self) -> usize {
        lock(&self.answers).len()
    }

    pub(crate) fn has(&self, task: ResourceId) -> bool {
        lock(&self.answers).contains_key(&task)
    }

    /// The answers so far.
    pub(crate) fn take(&self) -> HashMap<ResourceId, Found> {
        std::mem::take(&mut lock(&self.answers))
    }
}
