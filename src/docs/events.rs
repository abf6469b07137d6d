//! Events: what happens in a registry, as it happens. What is promised, and what it costs.
//!
//! [`Registry::events`](crate::Registry::events) is a stream of [`Event`](crate::events::Event)s. They are copies of facts, and keep
//! nothing alive. A subscriber keeps neither the registry nor a context, and nothing waits for it.
//!
//! # Order
//!
//! Each event has a [number](crate::events::Event::seq), the next one of its registry, and all subscribers get them in this order.
//!
//! * `Spawned` comes before `Ended` of the same task, and both come before `Closed` of its context.
//! * `Opened`, `Closing`, `Closed`, `Gone` come in this order for each context. A child's `Closed` comes before that of its parent.
//! * `Closing` of a parent comes before that of the children which close with it.
//! * When `task.await` or `ctx.close().await` returns, its `Ended` or `Closed` is in the stream.
//! * The registry's own `Closed` is the last one: the stream ends behind it. It ends as well when the registry was dropped.
//!
//! # What is lost
//!
//! The latest 4,096 events are kept for those who have not taken them. A subscriber that is further behind gets one
//! [`Lost`](crate::events::Lost) with the number of those that it missed, and goes on with the oldest that is there. What was lost
//! can be made up for by a new listing.
//!
//! # Listing and events
//!
//! A [listing](crate::Registry::live) has a number, [`Live::seq`](crate::Live::seq): everything that the events up to that one say
//! about tasks and contexts is in the listing, and what came while it was made may be in it or not. So what is alive is followed by
//! three rules:
//!
//! 1. subscribe, and only then list;
//! 2. of the events, leave out those up to the number of the listing;
//! 3. apply the others in their order: `Spawned`, `BackingOff` and `Opened` put an entry in, unless it is there; `Ended` and `Gone`
//!    take it out, if it is there.
//!
//! Then each task and context that is alive is in, and none that has gone, as of the latest event. Registrations, owned and tracked
//! values have no events: they are in listings only.
//!
//! Nothing has a number while there is no subscriber. When the first one comes, one number is left out: so a listing from a time
//! without subscribers has a smaller number than [`Events::since`](crate::events::Events::since), and it shows that there is a gap.
//!
//! # Cost
//!
//! Without subscribers a task costs one load and one branch when it is spawned, and as much when it ends. With one, each event takes
//! a lock that all threads of the program share, for as long as it takes to write a hundred bytes.
//!
//! A subscriber's waker is called by the thread on which the event happened, when that has done all that it has to do: never under
//! a lock of this crate, and if it panics, nothing follows from it.
