//! Letting a task in: through the gate, into the registry, onto its seat.

use crate::{
    context::{close, core::Core, refusal},
    error::{NO_RUNTIME, RefusedError, RefusedReason},
    name::Label,
    panics,
    table::{
        card::{CardHeld, Role},
        reach,
        record::Facts,
    },
    task::{handle::Task, output::Whereabouts, seat::Seat, supersede},
};
use std::{panic::Location, sync::Arc};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How a task is to be started.
pub(crate) struct Wishes<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) name: Option<Label>,
    pub(crate) kind: Option<Label>,
    pub(crate) runtime: Option<Handle>,
    pub(crate) is_cancellable: bool,
    pub(crate) supersedes: bool,
}

/// What the task is by itself: its name and kind unless wished otherwise, and where it was started.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) location: &'static Location<'static>,
}

/// A task that was let in: the gate counts it, and its seat will go out again, or this if it never got one. It borrows
/// the wishes, because moving so much about costs as much as the gate does.
pub(crate) struct Admitted<'w, 'a> {
    wishes: &'w mut Wishes<'a>,
    origin: Origin,
    has_seat: bool,
}

impl Drop for Admitted<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.has_seat {
            let node = &self.wishes.core.node;
            close::settle(node, node.gate.leave());
        }
    }
}

/// A task that was turned away: what it would have been, and why.
pub(crate) struct Turned {
    facts: Facts,
    reason: RefusedReason,
}

impl<'a> Wishes<'a> {
    /// Asks for a place that needs a runtime to run on.
    #[inline(always)]
    pub(crate) fn admit(&mut self, origin: Origin) -> Result<Admitted<'_, 'a>, RefusedReason> {
        if self.runtime.is_none() && self.core.node.is_root() {
            // A registry outlives runtimes, the global one all of them: here and now comes first.
            self.runtime = Handle::try_current().ok();
        }
        if self.runtime.is_none() && self.core.runtime().is_none() {
            return Err(RefusedReason::NoRuntime);
        }
        self.admit_anywhere(origin)
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    pub(crate) fn admit_anywhere(
        &mut self,
        origin: Origin,
    ) -> Result<Admitted<'_, 'a>, RefusedReason> {
        match self.core.node.gate.enter() {
            Ok(()) => Ok(Admitted {
                wishes: self,
                origin,
                has_seat: false,
            }),
            Err(left) => {
                close::settle(&self.core.node, left);
                Err(RefusedReason::Closed)
            }
        }
    }

    #[inline(always)]
    fn take_facts(&mut self, origin: Origin) -> Facts {
        let or = |wish: Option<Label>, name| wish.unwrap_or(Label::borrowed(name));
        Facts {
            name: or(self.name.take(), origin.name),
            kind: or(self.kind.take(), origin.kind),
            location: origin.location,
        }
    }

    #[cold]
    pub(crate) fn turned(mut self, origin: Origin, reason: RefusedReason) -> Turned {
        Turned {
            facts: self.take_facts(origin),
            reason,
        }
    }
}

impl Admitted<'_, '_> {
    /// Lists the task.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the place knows no more than where it is")]
    pub(crate) fn sit(&mut self, is_blocking: bool) -> (CardHeld, Seat) {
        let (node, role) = (&self.wishes.core.node, self.role(is_blocking));
        let facts = self.wishes.take_facts(self.origin);
        // SAFETY: the node has this table.
        let (place, held) = unsafe { node.table.sit(facts, Arc::clone(node) as _, role) };
        self.has_seat = true;
        (held, Seat::new(place))
    }

    /// Lists the task, without a handle: somebody else polls it and gets its output.
    #[expect(unsafe_code, reason = "the place knows no more than where it is")]
    pub(crate) fn sit_alone(&mut self) -> Seat {
        let (node, role) = (&self.wishes.core.node, self.role(false));
        let facts = self.wishes.take_facts(self.origin);
        // SAFETY: the node has this table.
        let place = unsafe { node.table.sit_alone(facts, Arc::clone(node) as _, role) };
        self.has_seat = true;
        Seat::new(place)
    }

    #[inline(always)]
    fn role(&self, is_blocking: bool) -> Role {
        Role::Task {
            is_blocking,
            supersedes: self.wishes.supersedes,
        }
    }

    /// The runtime to spawn on.
    #[inline]
    pub(crate) fn runtime(&self) -> &Handle {
        let wished = self.wishes.runtime.as_ref();
        let runtime = wished.or_else(|| self.wishes.core.runtime());
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// What ends a cancellable task.
    #[inline]
    pub(crate) fn cancelled(&self) -> Option<WaitForCancellationFutureOwned> {
        let wishes = &self.wishes;
        wishes
            .is_cancellable
            .then(|| wishes.core.node.token.clone().cancelled_owned())
    }

    /// The task is with the runtime.
    #[inline(always)]
    pub(crate) fn spawned<T>(
        self,
        held: CardHeld,
        output: Whereabouts<T>,
        join: JoinHandle<()>,
    ) -> Task<T> {
        let core = self.wishes.core;
        reach::spawned(&held, join, || core.node.gate.is_aborting());
        if self.wishes.supersedes {
            return supersede::started(core, Task::accepted(held, output));
        }
        Task::accepted(held, output)
    }
}

impl Turned {
    /// The error that hands the future back.
    pub(crate) fn refused<F>(self, future: F) -> RefusedError<F> {
        RefusedError::new(future, self.reason)
    }

    /// The answer where there is no error to hand it back: the future is dropped unpolled, an event
    /// says where, and the handle resolves to `Refused`.
    ///
    /// # Panics
    ///
    /// If there is no runtime, as `tokio::spawn` does.
    #[track_caller]
    pub(crate) fn task<F, T>(self, core: &Core, future: F) -> Task<T> {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let Facts { name, location, .. } = self.facts;
        refusal::note(core, "a task", &name, location);
        panics::discard(future);
        Task::refused(name)
    }
}
