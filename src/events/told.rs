//! [`Told`]: an event that was sent, as long as some have not heard of it.

use crate::{
    event,
    events::{
        broadcast::{Broadcast, PendingWakes},
        event::{Event, What},
    },
    name::Printed,
};
use tracing::{Level, level_filters::LevelFilter};

/// Who hears of the events of one registry: its subscribers, and `tracing` where that takes all that is said.
#[derive(Debug, Default)]
pub(crate) struct EventSender(pub(super) std::sync::Arc<Broadcast<Event>>);

/// Events that were sent. When this is dropped, subscribers that wait for them are woken, and `tracing` is told. That is foreign code,
/// so it is kept until everything is done that has to be done (I9).
///
/// One word, which most of the time says that there is nothing to do: each task has one when it ends.
#[derive(Debug, Default)]
#[must_use = "subscribers hear of it when it is dropped: keep it until everything is done that has to be done"]
pub(crate) struct Told(Option<Box<Untold>>);

#[derive(Debug, Default)]
struct Untold {
    wakes: PendingWakes,
    traced: Vec<Event>,
}

impl EventSender {
    /// Whether events are wanted. See [`Broadcast::is_heard`] for what that promises subscribers.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_heard() || is_traced()
    }

    /// The number of the latest event.
    pub(crate) fn latest(&self) -> u64 {
        self.0.latest()
    }

    #[cold]
    pub(crate) fn send(&self, event: Event) -> Told {
        if is_traced() {
            let traced = traced(&event);
            return Told::of(self.0.send(event), traced);
        }
        match self.0.send(event) {
            none if none.is_empty() => Told(None),
            wakes => Told::of(wakes, Vec::new()),
        }
    }

    /// As [`send`](Self::send), by one who sends another one soon, which wakes subscribers for both. `tracing` is told here.
    #[cold]
    pub(crate) fn send_first(&self, event: Event) {
        let traced = traced(&event);
        self.0.send_first(event);
        drop(Told::of(PendingWakes::default(), traced));
    }

    /// Nothing more is sent.
    pub(crate) fn end(&self) -> Told {
        Told::of(self.0.end(), Vec::new())
    }
}

impl Told {
    fn of(wakes: PendingWakes, traced: Vec<Event>) -> Self {
        let has_none = wakes.is_empty() && traced.is_empty();
        Self((!has_none).then(|| Box::new(Untold { wakes, traced })))
    }

    /// Those of two events.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        match (self.0.take(), other.0.take()) {
            (Some(mut first), Some(mut second)) => {
                let mut traced = std::mem::take(&mut first.traced);
                traced.append(&mut second.traced);
                let wakes = std::mem::take(&mut first.wakes);
                Self::of(wakes.and(std::mem::take(&mut second.wakes)), traced)
            }
            (first, second) => Self(first.or(second)),
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.wakes));
        self.traced.drain(..).for_each(|event| emit(&event));
    }
}

/// A copy of the event, if `tracing` takes it.
#[inline]
fn traced(event: &Event) -> Vec<Event> {
    let mut traced = Vec::new();
    if is_traced() {
        traced.push(event.clone());
    }
    traced
}

#[inline]
fn is_traced() -> bool {
    LevelFilter::current() >= Level::TRACE
}

/// The same event for `tracing`.
#[cold]
fn emit(event: &Event) {
    let (id, name, kind) = (event.id(), Printed(event.name()), Printed(event.kind()));
    let parent = event.parent().map(tracing::field::display);
    let (what, said) = (event.what().name(), event.what());
    match said {
        What::Opened | What::Closing(_) | What::Closed(_) | What::Gone | What::HookEnded { .. } => {
            event::emit!(target: "headcount::context", TRACE, what, %id, parent, %name, %kind, "{said}");
        }
        #[cfg(feature = "sessions")]
        What::Session(_) => {
            event::emit!(target: "headcount::session", TRACE, what, %id, parent, %name, %kind, "{said}");
        }
        What::Leak { .. } | What::Deadlock { .. } => {
            event::emit!(target: "headcount::registry", TRACE, what, %id, parent, %name, %kind, "{said}");
        }
        _ => {
            event::emit!(target: "headcount::task", TRACE, what, %id, parent, %name, %kind, "{said}");
        }
    }
}
