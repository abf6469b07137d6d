//! [`Events`]: the stream.

use crate::events::{
    broadcast::{CAPACITY, Subscription, Taken},
    event::Event,
    told::EventSender,
};
use futures::Stream;
use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Events of a registry, in the order of their numbers. Made by [`Registry::events`](crate::Registry::events).
///
/// It is a [`Stream`] of `Result<Event, Lost>`, which ends when the registry has closed, or is gone. It keeps neither of them,
/// and nothing waits for it: a subscriber that is more than 4,096 events behind loses the oldest, and gets one [`Lost`] with their
/// number in their place.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, events::What};
/// let registry = Registry::new();
/// let mut events = registry.events();
/// tokio::spawn({
///     let registry = registry.clone();
///     async move { registry.close().await }
/// });
///
/// let mut all = Vec::new();
/// while let Some(event) = events.next().await {
///     all.push(event.expect("it keeps up"));
/// }
/// assert!(matches!(all.last().unwrap().what(), What::Closed(_)));
/// # }
/// ```
///
/// # Together with a listing
///
/// A listing with [`Live::seq`](crate::Live::seq) says everything that the events up to that number say. So what is alive can be
/// followed without a gap: subscribe, list, and go on with the events whose numbers are greater.
///
/// # Cost
///
/// While there is no subscriber, a task costs two loads and a branch at each end. With one, an event takes a lock that all threads
/// share; see [`docs::events`](crate::docs::events).
#[must_use = "it does nothing unless it is polled"]
pub struct Events {
    subscription: Subscription<Event>,
    /// Those that were taken and not handed out.
    next: VecDeque<Event>,
    /// The number of the first of them.
    seq: u64,
}

/// So many events were lost, because the subscriber was too far behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, events::Lost};
/// let registry = Registry::new();
/// let mut events = registry.events();
/// for _ in 0..5_000 {
///     drop(registry.spawn(async {})); // one event each, and none of them ends before we wait
/// }
/// assert_eq!(events.try_next().unwrap().unwrap_err(), Lost(5_000 - 4_096));
/// assert!(events.try_next().unwrap().is_ok());
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Lost(pub u64);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 event was lost: the subscriber was too far behind"),
            lost => write!(
                f,
                "{lost} events were lost: the subscriber was more than {CAPACITY} behind"
            ),
        }
    }
}

impl Error for Lost {}

impl Events {
    pub(crate) fn of(sender: &EventSender) -> Self {
        Self {
            subscription: sender.0.subscribe(),
            next: VecDeque::new(),
            seq: 0,
        }
    }

    /// It has every event whose number is greater than this. A listing with this number or a greater one, as every listing has
    /// that is made from here on, leaves no gap before its first event.
    pub fn since(&self) -> u64 {
        self.subscription.since()
    }

    /// Waits for the next event. `None` when the registry has closed, or is gone, and all events were taken.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub fn next(&mut self) -> impl Future<Output = Option<Result<Event, Lost>>> + Send + '_ {
        std::future::poll_fn(|cx| self.poll(cx))
    }

    /// The next event, if there is one by now.
    ///
    /// ```
    /// let registry = headcount::Registry::new();
    /// let mut events = registry.events();
    /// assert!(events.try_next().is_none());
    /// let _ctx = registry.context("job");
    /// assert_eq!(events.try_next().unwrap().unwrap().name(), "job");
    /// ```
    pub fn try_next(&mut self) -> Option<Result<Event, Lost>> {
        self.pop().or_else(|| match self.take() {
            Taken { lost: 0, .. } => self.pop(),
            Taken { lost, .. } => Some(Err(Lost(lost))),
        })
    }

    fn pop(&mut self) -> Option<Result<Event, Lost>> {
        let mut event = self.next.pop_front()?;
        event.seq = self.seq;
        self.seq += 1;
        Some(Ok(event))
    }

    fn take(&mut self) -> Taken {
        let taken = self.subscription.take(&mut self.next);
        self.seq = taken.first;
        taken
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Lost>>> {
        // A stream that is always ready lets others run now and then.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        let mut next = self.try_next();
        if next.is_none() {
            self.subscription.waker().register(cx.waker());
            // Once more: what was sent since has found no waker.
            let taken = self.take();
            next = match taken {
                Taken { has_ended, .. } if has_ended => return Poll::Ready(None),
                Taken { lost: 0, .. } => self.pop(),
                Taken { lost, .. } => Some(Err(Lost(lost))),
            };
        }
        if next.is_none() {
            return Poll::Pending;
        }
        coop.made_progress();
        Poll::Ready(next)
    }
}

impl Stream for Events {
    type Item = Result<Event, Lost>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("since", &self.since())
            .finish_non_exhaustive()
    }
}
