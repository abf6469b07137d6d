//! The dimensions of the matrix, and which points of it exist.

use std::fmt;

/// The runtime that the task runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread(usize),
}

/// How the context came by the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Spawned,
    Cancellable,
    /// `spawn_local`, with a future that is not `Send`.
    Local,
    /// Counted by the context, spawned by tokio.
    Wrapped,
    Blocking,
}

/// What the task does once its [`Moment`] is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Ready,
    Yields,
    Sleeps,
    /// Never ends by itself; a blocking closure ends long after it was told to.
    Ignores,
    PanicsInPoll,
    /// Returns, but the destructor of what it captured panics.
    PanicsInDrop,
    /// Panics in its poll and again in its destructor.
    PanicsTwice,
    /// Returns an output whose destructor panics.
    PanicsInOutput,
}

/// How far the task is when the ending is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Accepted, but every thread that could poll it is busy.
    BeforeFirstPoll,
    /// Waiting; woken when its context is cancelled.
    Parked,
    /// In the middle of a poll, which ends after the ending was applied.
    Running,
    Finished,
}

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `ctx.close()`, begun at the moment, then awaited on the runtime.
    Close,
    /// A `close()` that was polled once and dropped; `closed()` joins what it began.
    CloseDropped,
    /// The same, and only the registry is asked.
    CloseDroppedThenIdle,
    /// The last handle is dropped.
    LastHandleDropped,
    /// The task is aborted by its handle; the context closes afterwards.
    Abort,
    /// The runtime is dropped; the context is closed from another one.
    ShutDown,
    /// The runtime is dropped; then the last handle, with no runtime in sight.
    ShutDownThenDrop,
    /// `shutdown_background`, and the context is closed from another runtime at once.
    ShutDownBehind,
    /// `shutdown_background`, and the last handle is dropped at once, with no runtime in sight.
    ShutDownBehindThenDrop,
    /// `shutdown_timeout` in the middle of a `close()` that goes on on another runtime.
    ShutDownWhileClosing,
    /// The runtime is dropped in the middle of the close that a dropped handle began.
    ShutDownWhileDropped,
    /// The context never saw a runtime; its task runs on one, and the last handle is dropped outside.
    DroppedOutside,
}

/// What happens to the task's own handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handle {
    Kept,
    /// As soon as the task is spawned, or aborted if that is its ending.
    Dropped,
}

/// One point of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) flavor: Flavor,
    pub(crate) carrier: Carrier,
    pub(crate) shape: Shape,
    pub(crate) moment: Moment,
    pub(crate) ending: Ending,
    pub(crate) handle: Handle,
}

const FLAVORS: [Flavor; 4] = [
    Flavor::CurrentThread,
    Flavor::MultiThread(1),
    Flavor::MultiThread(2),
    Flavor::MultiThread(4),
];

const CARRIERS: [Carrier; 5] = [
    Carrier::Spawned,
    Carrier::Cancellable,
    Carrier::Local,
    Carrier::Wrapped,
    Carrier::Blocking,
];

const SHAPES: [Shape; 8] = [
    Shape::Ready,
    Shape::Yields,
    Shape::Sleeps,
    Shape::Ignores,
    Shape::PanicsInPoll,
    Shape::PanicsInDrop,
    Shape::PanicsTwice,
    Shape::PanicsInOutput,
];

const MOMENTS: [Moment; 4] = [
    Moment::BeforeFirstPoll,
    Moment::Parked,
    Moment::Running,
    Moment::Finished,
];

const ENDINGS: [Ending; 12] = [
    Ending::Close,
    Ending::CloseDropped,
    Ending::CloseDroppedThenIdle,
    Ending::LastHandleDropped,
    Ending::Abort,
    Ending::ShutDown,
    Ending::ShutDownThenDrop,
    Ending::ShutDownBehind,
    Ending::ShutDownBehindThenDrop,
    Ending::ShutDownWhileClosing,
    Ending::ShutDownWhileDropped,
    Ending::DroppedOutside,
];

const HANDLES: [Handle; 2] = [Handle::Kept, Handle::Dropped];

/// The whole table, without the points that cannot exist.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for flavor in FLAVORS {
        for carrier in CARRIERS {
            for shape in SHAPES {
                for moment in MOMENTS {
                    for ending in ENDINGS {
                        for handle in HANDLES {
                            cases.push(Case {
                                flavor,
                                carrier,
                                shape,
                                moment,
                                ending,
                                handle,
                            });
                        }
                    }
                }
            }
        }
    }
    cases.retain(applies);
    cases
}

/// Whether such a case can exist. Everything else does, and is run.
pub(crate) fn applies(case: &Case) -> bool {
    if case.carrier == Carrier::Blocking {
        // A closure has one piece, so it cannot yield and is never parked. What it captured is dropped
        // while it unwinds, and a second panic there ends the process: that is the language's answer.
        case.moment != Moment::Parked && !matches!(case.shape, Shape::Yields | Shape::PanicsTwice)
    } else {
        // A future that never ends by itself is never finished.
        (case.shape, case.moment) != (Shape::Ignores, Moment::Finished)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flavor,
            carrier,
            shape,
            moment,
            ending,
            handle,
        } = self;
        write!(
            f,
            "{flavor:?} / {carrier:?} / {shape:?} / {moment:?} / {ending:?} / handle {handle:?}"
        )
    }
}
