//! [`Log`]: what went wrong in a context, until its report is made of that.

use crate::{
    context::{
        failure::{Failure, FailureKind, LISTED, SeenFailures, overrun},
        hook_origin::HookOrigin,
        hooks::HookEnd,
        refusal::{Refusals, RefusedOn},
        tally::{Counts, HookCounts},
    },
    id::ResourceId,
    rare::Rare,
    table::{record::Record, resource},
};
use std::{mem, sync::Arc};

/// What went wrong so far, in a context and in those below it that have closed: kept until its close has ended.
///
/// Nothing went wrong in most contexts, so what is noted lies apart, and takes memory from the first note on.
#[derive(Debug, Default)]
pub(crate) struct Log {
    notes: Rare<Notes>,
    /// The context has closed: what comes from here on is noted above it.
    is_closed: bool,
}

/// What a [`Log`] notes.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) hooks: HookCounts,
    pub(crate) failures: Vec<Failure>,
    pub(crate) seen: SeenFailures,
    /// Tasks that returned an error, or were essential and ended.
    failed: u64,
    /// Attempts of supervised tasks after which another one was to follow.
    restarted: u64,
    /// Spawns and wraps that were dropped because they came too late, or found the context full.
    refused: u64,
    /// Whether work was among them that was lost: it came from inside.
    pub(crate) has_lost_work: bool,
    pub(crate) refusals: Refusals,
    /// Tasks that were ended by force, and hooks at their time limit.
    pub(crate) stuck: Vec<Arc<str>>,
    /// Tasks and hooks that waited for each other, and the words for it.
    pub(crate) deadlocks: Vec<(Vec<ResourceId>, Arc<str>)>,
}

impl Log {
    /// Opens it to note something.
    pub(crate) fn notes(&mut self) -> &mut Notes {
        self.notes.get_mut()
    }

    /// Looks at what is noted.
    pub(crate) fn look<R>(&mut self, look: impl FnOnce(&mut Notes) -> R) -> R {
        match self.notes.existing() {
            Some(notes) => look(notes),
            None => look(&mut Notes::default()),
        }
    }

    /// Counts a spawn or wrap that was dropped because it came too late, or found no room. `is_lost` if it came from inside. False
    /// if the context has closed, so that it is not counted here.
    pub(crate) fn refused(&mut self, line: RefusedOn, is_lost: bool) -> bool {
        if !self.is_closed {
            let notes = self.notes();
            notes.refused += 1;
            notes.has_lost_work |= is_lost;
            notes.refusals.note(line);
        }
        !self.is_closed
    }

    /// The context has closed: takes everything out, for its parent. The sums stay, for those who ask later.
    pub(crate) fn close(&mut self) -> Rare<Notes> {
        self.is_closed = true;
        let notes = mem::take(&mut self.notes);
        if let Some(sums) = notes.get().and_then(Notes::sums) {
            *self.notes() = sums;
        }
        notes
    }

    /// Adds what a closed child noted.
    pub(crate) fn child(&mut self, mut child: Rare<Notes>) {
        if child.get().is_some() {
            self.notes().child(child.take());
        }
    }

    /// Fills in what the tally does not count.
    pub(crate) fn counts(&self, tally: Counts) -> Counts {
        match self.notes.get() {
            Some(notes) => notes.counts(tally),
            None => tally,
        }
    }
}

impl Notes {
    /// The sums alone, if they are not zero.
    fn sums(&self) -> Option<Self> {
        let Self {
            failed,
            restarted,
            refused,
            ..
        } = *self;
        (failed + restarted + refused > 0).then(|| Self {
            failed,
            restarted,
            refused,
            ..Self::default()
        })
    }

    /// Notes how a hook of this context ended; returns what went wrong, if something did.
    pub(crate) fn hook(
        &mut self,
        context: &dyn Record,
        origin: HookOrigin,
        end: &HookEnd,
    ) -> Option<Failure> {
        let path = || resource::short_path(context);
        let failure = match end {
            HookEnd::Ran => {
                self.hooks.ran += 1;
                return None;
            }
            HookEnd::Overran(took, limit) => {
                self.hooks.ran += 1;
                self.hooks.timed_out += 1;
                let said = overrun(*took, *limit);
                Failure::new(FailureKind::HookTimedOut, origin.subject(), path(), said)
            }
            HookEnd::Failed(kind, said) => {
                self.hooks.ran += 1;
                self.hooks.failed += 1;
                Failure::new(*kind, origin.subject(), path(), said.clone())
            }
            HookEnd::TimedOut { .. } => {
                self.hooks.timed_out += 1;
                let (kind, said) = (FailureKind::HookTimedOut, ("", "timed out".to_owned()));
                Failure::new(kind, origin.subject(), path(), said)
            }
        };
        self.failure(failure.clone());
        Some(failure)
    }

    /// Notes where a hook was at its time limit.
    pub(crate) fn hook_was_at(&mut self, failure: &Failure, stack: &Arc<str>) {
        failure.note_stack(stack);
        if self.stuck.len() < LISTED {
            self.stuck.push(Arc::clone(stack));
        }
    }

    /// Notes a hook that did not run to its end because its runtime was gone.
    pub(crate) fn interrupted(&mut self, failure: Failure) {
        self.hooks.failed += 1;
        self.failure(failure);
    }

    /// Notes anything else that went wrong in this context.
    pub(crate) fn failure(&mut self, failure: Failure) {
        self.failed += u64::from(is_counted(failure.kind()));
        if self.failures.len() < LISTED {
            self.failures.push(failure.clone());
        }
        self.seen.add(failure);
    }

    /// Counts an attempt of a supervised task after which another one follows, and which failed in this way, if it did. That is
    /// no failure of the task.
    #[cfg(feature = "supervision")]
    pub(crate) fn restarted(&mut self, failed: Option<FailureKind>) {
        self.restarted += 1;
        self.failed += u64::from(failed.is_some_and(is_counted));
    }

    /// Whether a failure is unseen at this moment.
    #[cfg(feature = "testing")]
    pub(crate) fn any_unseen(&mut self) -> bool {
        self.seen.any_unseen()
    }

    /// The first failures.
    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    fn counts(&self, tally: Counts) -> Counts {
        Counts {
            refused: self.refused,
            failed: self.failed,
            restarted: self.restarted,
            ..tally
        }
    }

    /// Notes which tasks were ended by force, and where they were.
    pub(crate) fn stuck(&mut self, tasks: Vec<String>) {
        let room = LISTED - self.stuck.len();
        let texts = tasks.into_iter().take(room);
        self.stuck.extend(texts.map(Arc::from));
    }

    /// Notes tasks that wait for each other, once: what is known of them now.
    #[cfg(feature = "dump")]
    pub(crate) fn deadlock(&mut self, members: &[ResourceId], text: &Arc<str>) {
        let mut known = self.deadlocks.iter_mut();
        if let Some((_, known)) = known.find(|(known, _)| known == members) {
            *known = Arc::clone(text);
        } else if self.deadlocks.len() < LISTED {
            self.deadlocks.push((members.to_vec(), Arc::clone(text)));
        }
    }

    fn child(&mut self, child: Self) {
        self.failed += child.failed;
        self.restarted += child.restarted;
        self.refused += child.refused;
        self.has_lost_work |= child.has_lost_work;
        self.seen.child(child.seen);
        self.hooks.ran += child.hooks.ran;
        self.hooks.failed += child.hooks.failed;
        self.hooks.timed_out += child.hooks.timed_out;
        let room = LISTED - self.failures.len();
        self.failures.extend(child.failures.into_iter().take(room));
        self.refusals.child(&child.refusals);
        let room = LISTED - self.stuck.len();
        self.stuck.extend(child.stuck.iter().take(room).cloned());
        #[cfg(feature = "dump")]
        for (members, text) in &child.deadlocks {
            self.deadlock(members, text);
        }
    }
}

/// Whether it is counted by the log: a panic is counted by the tally.
fn is_counted(kind: FailureKind) -> bool {
    use FailureKind::{EssentialEnded, ReturnedTooOften, TaskFailed};
    matches!(kind, TaskFailed | EssentialEnded | ReturnedTooOften)
}
