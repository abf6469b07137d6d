//! The facts about a task or a registration: they have no memory of their own, but a slot of the table.

#[cfg(feature = "dump")]
use crate::trace::{bell::Bell, inquiry::Inquiry};
use crate::{
    id::ResourceId,
    sync::{AtomicU8, Ordering::Relaxed},
    table::{
        hold::{Held, Place},
        reach::{self, Reach},
        record::{Class, Facts, Meta, Record, State},
        slot::Tenant,
        slots::Slots,
        stripe,
    },
};
#[cfg(feature = "dump")]
use std::task::Waker;
use std::{
    any::Any,
    mem::{ManuallyDrop, MaybeUninit},
    sync::{Arc, OnceLock},
};

pub(crate) type Cards = Slots<Card>;
/// Where a task or a registration is listed, in the hand of whoever it is listed for.
pub(crate) type CardPlace = Place<Card>;
/// The same, in the hand of a task's handle.
pub(crate) type CardHeld = Held<Card>;

/// What the end of a task has to look at comes first, so that it is on one cache line with the slot's
/// own words; what is only ever read by listings is on the next.
#[repr(C)]
pub(crate) struct Card {
    /// The context it belongs to: its identity, not a handle (I3).
    parent: Option<Arc<dyn Record>>,
    /// The thread that made it; as good as its lower half.
    maker: u16,
    role: Role,
    /// 1 once a task was polled, or its closure started.
    started: AtomicU8,
    /// Whether anything in `meta` has to be dropped: a literal has not, and then the end of a task need not
    /// look at that cache line.
    has_owned: bool,
    /// For those who ask where it waits.
    #[cfg(feature = "dump")]
    inquiry: Inquiry,
    /// The place for a task's output, once somebody needs one. The output is taken out by whoever is last
    /// of task and handle, never by the drop of this: a listing may be the last to let go of it (I5).
    output: OnceLock<Box<dyn Any + Send + Sync>>,
    meta: ManuallyDrop<Meta>,
    /// What wakes it, if it is a future that others poll; else there is nothing to drop.
    #[cfg(feature = "dump")]
    bell: ManuallyDrop<Bell>,
}

/// What a card is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Registration,
    Task {
        is_blocking: bool,
        /// Whether it may be the latest of its name.
        supersedes: bool,
    },
}

impl Card {
    /// Puts a card in place, field by field.
    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "a card that is made elsewhere is moved here in pieces that do not fit"
    )]
    pub(crate) fn init(
        place: &mut MaybeUninit<Self>,
        (id, facts): (ResourceId, Facts),
        parent: Option<Arc<dyn Record>>,
        role: Role,
    ) {
        let card = place.as_mut_ptr();
        // SAFETY: the fields of a place for a card can be written, one by one, and these are all of them.
        unsafe {
            (&raw mut (*card).parent).write(parent);
            (&raw mut (*card).maker).write(lower_half(stripe::current()));
            (&raw mut (*card).role).write(role);
            (&raw mut (*card).started).write(AtomicU8::new(0));
            (&raw mut (*card).has_owned).write(facts.name.is_owned() || facts.kind.is_owned());
            (&raw mut (*card).output).write(OnceLock::new());
            Meta::init((&raw mut (*card).meta).cast(), id, facts);
            #[cfg(feature = "dump")]
            (&raw mut (*card).inquiry).write(Inquiry::default());
            #[cfg(feature = "dump")]
            (&raw mut (*card).bell).write(ManuallyDrop::default());
        }
    }

    /// The task is polled, or its closure runs. Written without a look: a read would have to wait for the
    /// cache line.
    #[inline]
    pub(crate) fn start(&self) {
        self.started.store(1, Relaxed);
    }

    /// The context of a task, the registry's own included.
    #[inline]
    pub(crate) fn owner(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }

    #[inline]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The place for the output, made by `make` if it is the first time. Every caller makes the same kind.
    pub(crate) fn output<O: Any + Send + Sync>(&self, make: impl FnOnce() -> O) -> &O {
        let output = self.output.get_or_init(|| Box::new(make()));
        output
            .downcast_ref()
            .expect("a task is spawned with one kind of output")
    }

    /// Ends a task by force, if its context has condemned its tasks.
    #[inline]
    pub(crate) fn abort_condemned<'a>(&self, reach: impl FnOnce() -> Option<&'a Reach>) {
        if self.parent.as_ref().is_some_and(|parent| parent.condemns()) {
            reach::abort(self, reach);
        }
    }

    #[cfg(feature = "dump")]
    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.inquiry.is_aborted()
    }

    #[cfg(feature = "dump")]
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Relaxed) > 0
    }

    /// It is a future that others poll, and this is what wakes it now.
    #[cfg(feature = "dump")]
    pub(crate) fn polled_by(&self, waker: &Waker) {
        self.inquiry.note_wrapped();
        self.bell.hang(waker);
    }

    /// It has ended; what woke a future that others poll is let go of.
    #[cfg(feature = "dump")]
    #[inline]
    pub(crate) fn end(&self) {
        if self.inquiry.is_wrapped() {
            self.bell.end();
        }
    }

    #[cfg(feature = "dump")]
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Asks a task where it waits, and wakes it to answer. False if it was never polled: it will answer when it is.
    #[cfg(feature = "dump")]
    pub(crate) fn ask<'a>(&self, reach: impl FnOnce() -> Option<&'a Reach>) -> bool {
        self.inquiry.ask();
        reach::wake(self, reach())
    }

    /// How it stands, and who wants to know.
    #[cfg(feature = "dump")]
    pub(crate) fn inquiry(&self) -> Option<&Inquiry> {
        matches!(self.role, Role::Task { .. }).then_some(&self.inquiry)
    }

    /// Whether it is a blocking closure.
    #[cfg(feature = "dump")]
    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self.role, Role::Task { is_blocking, .. } if is_blocking)
    }

    /// Whether it is a blocking closure that has started, which nothing can end but itself.
    pub(crate) fn is_unabortable(&self) -> bool {
        matches!(self.role, Role::Task { is_blocking, .. } if is_blocking)
            && self.state() == State::Running
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
#[inline]
fn lower_half(thread: u32) -> u16 {
    thread as u16
}

impl Drop for Card {
    #[inline]
    #[expect(unsafe_code, reason = "reading what is not there costs a cache miss")]
    fn drop(&mut self) {
        if self.has_owned {
            // SAFETY: it is dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.meta) }
        }
        #[cfg(feature = "dump")]
        if self.inquiry.is_wrapped() {
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.bell) }
        }
    }
}

impl Tenant for Card {
    type Later = Reach;
    type Keeper = Option<Arc<dyn Record>>;

    #[inline]
    fn was_made_by(&self, thread: u32) -> bool {
        self.maker == lower_half(thread)
    }

    #[inline]
    fn take_keeper(&mut self) -> Self::Keeper {
        self.parent.take()
    }
}

impl Record for Card {
    #[inline]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        match self.role {
            Role::Registration => Class::Resource,
            Role::Task { .. } => Class::Task,
        }
    }

    #[inline]
    fn state(&self) -> State {
        match (self.role, self.started.load(Relaxed)) {
            (Role::Registration, _) => State::Live,
            (Role::Task { .. }, 0) => State::Waiting,
            (Role::Task { .. }, _) => State::Running,
        }
    }

    fn parent(&self) -> Option<&dyn Record> {
        let parent = self.parent.as_deref();
        parent.filter(|parent| !parent.is_root())
    }
}

#[cfg(all(
    test,
    target_os = "linux",
    target_pointer_width = "64",
    not(headcount_loom)
))]
mod tests {
    use super::*;
    use crate::table::slot::Slot;
    use std::mem::offset_of;

    /// A test and no assertion of the build: the standard library may lay its types out anew.
    #[test]
    fn a_slot_with_a_card_is_two_cache_lines_the_second_of_them_cold() {
        let before = size_of::<u64>() + size_of::<Option<Reach>>();
        if cfg!(feature = "dump") {
            assert_eq!(size_of::<Slot<Card>>(), 192);
            assert_eq!(before + offset_of!(Card, output), 64);
        } else {
            assert_eq!(size_of::<Slot<Card>>(), 128);
            assert_eq!(before + offset_of!(Card, meta), 64);
        }
    }
}
