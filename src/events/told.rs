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
#[derive(Debug, Default)]
#[must_use = "subscribers hear of it when it is dropped: keep it until everything is done that has to be done"]
pub(crate) struct Told {
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
        let traced = traced(&event);
        Told {
            wakes: self.0.send(event),
            traced,
        }
    }

    /// As [`send`](Self::send), by one who sends another one soon, which wakes subscribers for both. `tracing` is told here.
    #[cold]
    pub(crate) fn send_first(&self, event: Event) {
        let traced = traced(&event);
        self.0.send_first(event);
        drop(Told {
            wakes: PendingWakes::default(),
            traced,
        });
    }

    /// Nothing more is sent.
    pub(crate) fn end(&self) -> Told {
        Told {
            wakes: self.0.end(),
            traced: Vec::new(),
        }
    }
}

impl Told {
    /// Those of two events.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        let mut traced = std::mem::take(&mut self.traced);
        traced.append(&mut other.traced);
        let wakes = std::mem::take(&mut self.wakes).and(std::mem::take(&mut other.wakes));
        Self { wakes, traced }
    }
}

impl Drop for Told {
    #[inline]
    fn drop(&mut self) {
        if !self.traced.is_empty() {
            self.traced.drain(..).for_each(|event| emit(&event));
        }
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
