//! [`Log`]: what went wrong in a context, until its report is made of that.

use crate::{
    context::{
        failure::{Failure, FailureKind, LISTED, SeenFailures, overrun},
        hooks::{HookEnd, Origin},
        refusal::{Refusals, RefusedOn},
        tally::{Counts, HookCounts},
    },
    id::ResourceId,
    table::{record::Record, resource},
};
use std::{mem, sync::Arc};

/// What went wrong so far, in a context and in those below it that have closed: kept until its close has ended.
#[derive(Debug, Default)]
pub(crate) struct Log {
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
    /// The context has closed: what comes from here on is noted above it.
    is_closed: bool,
    pub(crate) refusals: Refusals,
    /// Tasks that were ended by force, and hooks at their time limit.
    pub(crate) stuck: Vec<Arc<str>>,
    /// Tasks and hooks that waited for each other, and the words for it.
    pub(crate) deadlocks: Vec<(Vec<ResourceId>, Arc<str>)>,
}

impl Log {
    /// Notes how a hook of this context ended; returns what went wrong, if something did.
    pub(crate) fn hook(
        &mut self,
        context: &dyn Record,
        origin: Origin,
        end: HookEnd,
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
                let said = overrun(took, limit);
                Failure::new(FailureKind::HookTimedOut, origin.subject(), path(), said)
            }
            HookEnd::Failed(kind, said) => {
                self.hooks.ran += 1;
                self.hooks.failed += 1;
                Failure::new(kind, origin.subject(), path(), said)
            }
            HookEnd::TimedOut { at, .. } => {
                self.hooks.timed_out += 1;
                if self.stuck.len() < LISTED {
                    self.stuck.extend(at.clone());
                }
                let (kind, said) = (FailureKind::HookTimedOut, ("", "timed out".to_owned()));
                Failure::new(kind, origin.subject(), path(), said).with_stack(at)
            }
        };
        self.failure(failure.clone());
        Some(failure)
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

    /// Counts a spawn or wrap that was dropped because it came too late, or found no room. `is_lost` if it came from inside. False
    /// if the context has closed, so that it is not counted here.
    pub(crate) fn refused(&mut self, line: RefusedOn, is_lost: bool) -> bool {
        if !self.is_closed {
            self.refused += 1;
            self.has_lost_work |= is_lost;
            self.refusals.note(line);
        }
        !self.is_closed
    }

    /// The context has closed: takes everything out, for its parent. The sums stay, for those who ask later.
    pub(crate) fn close(&mut self) -> Self {
        let closed = Self {
            is_closed: true,
            failed: self.failed,
            restarted: self.restarted,
            refused: self.refused,
            ..Self::default()
        };
        mem::replace(self, closed)
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

    /// Fills in what the tally does not count.
    pub(crate) fn counts(&self, tally: Counts) -> Counts {
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

    /// Adds what a closed child noted.
    pub(crate) fn child(&mut self, child: Self) {
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
