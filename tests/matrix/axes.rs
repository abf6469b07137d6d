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
    /// `ctx.close_by(..)`.
    CloseBy,
    /// `ctx.close_now()`.
    CloseNow,
    /// A `close()` that waits for ever is hurried by `close_by(..)`.
    HurriedBy,
    /// The same, by `close_now()`.
    HurriedNow,
    /// `ctx.finish()`.
    Finish,
    /// `ctx.finish_by(..)`.
    FinishBy,
    /// `ctx.finish()`, and then `ctx.close()`.
    FinishThenClose,
    /// Something else in the context fails, which is opened with `on_failure(Close)`.
    Failure,
    /// The context needs another one, which closes: by `close()`.
    NeededCloses,
    /// By `close_now()`.
    NeededClosesNow,
    /// By `close_by(..)`.
    NeededClosesBy,
    /// By `finish()`.
    NeededFinishes,
    /// With its parent.
    NeededParentCloses,
    /// With the registry.
    NeededRegistryCloses,
    /// Its own handle is dropped, and then that of the context that needs it.
    NeededDropped,
}

impl Ending {
    /// Whether the context needs another one.
    pub(crate) fn needs(self) -> bool {
        matches!(
            self,
            Self::NeededCloses
                | Self::NeededClosesNow
                | Self::NeededClosesBy
                | Self::NeededFinishes
                | Self::NeededParentCloses
                | Self::NeededRegistryCloses
                | Self::NeededDropped
        )
    }

    /// Whether the runtime ends with it.
    pub(crate) fn is_shutdown(self) -> bool {
        matches!(
            self,
            Self::ShutDown
                | Self::ShutDownThenDrop
                | Self::ShutDownBehind
                | Self::ShutDownBehindThenDrop
                | Self::ShutDownWhileClosing
                | Self::ShutDownWhileDropped
        )
    }

    /// Whether nothing is cancelled, and code of the context may go on spawning.
    pub(crate) fn finishes(self) -> bool {
        matches!(self, Self::Finish | Self::FinishBy | Self::NeededFinishes)
    }

    /// Whether it ends tasks sooner than after the grace period.
    pub(crate) fn hurries(self) -> bool {
        matches!(
            self,
            Self::CloseBy
                | Self::CloseNow
                | Self::HurriedBy
                | Self::HurriedNow
                | Self::FinishBy
                | Self::NeededClosesNow
                | Self::NeededClosesBy
        )
    }
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

const ENDINGS: [Ending; 27] = [
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
    Ending::CloseBy,
    Ending::CloseNow,
    Ending::HurriedBy,
    Ending::HurriedNow,
    Ending::Finish,
    Ending::FinishBy,
    Ending::FinishThenClose,
    Ending::Failure,
    Ending::NeededCloses,
    Ending::NeededClosesNow,
    Ending::NeededClosesBy,
    Ending::NeededFinishes,
    Ending::NeededParentCloses,
    Ending::NeededRegistryCloses,
    Ending::NeededDropped,
];

/// So many of them are tried with any number of workers, the others with one number.
const ON_ANY: usize = 12;

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

/// Whether such a case can exist, and is not left out to save time. Everything else is run.
pub(crate) fn applies(case: &Case) -> bool {
    let is_left_out = !ENDINGS[..ON_ANY].contains(&case.ending)
        && !matches!(case.flavor, Flavor::CurrentThread | Flavor::MultiThread(2))
        || case.ending.needs() && case.handle == Handle::Dropped;
    !is_left_out && can_exist(case) && can_finish(case)
}

/// What nothing cancels has to end by itself.
fn can_finish(case: &Case) -> bool {
    let is_endless = case.shape == Shape::Ignores && case.carrier != Carrier::Blocking;
    let waits = is_endless || case.moment == Moment::Parked;
    !waits || !matches!(case.ending, Ending::Finish | Ending::NeededFinishes)
}

fn can_exist(case: &Case) -> bool {
    if case.carrier == Carrier::Blocking {
        // A closure has one piece, so it cannot yield and is never parked. What it captured is dropped
        // while it unwinds, and a second panic there ends the process: that is the language's answer.
        case.moment != Moment::Parked && !matches!(case.shape, Shape::Yields | Shape::PanicsTwice)
    } else {
        // A future that never ends by itself is never finished.
        (case.shape, case.moment) != (Shape::Ignores, Moment::Finished)
    }
}

impl Case {
    /// Whether the task starts another one, in a context that finishes.
    pub(crate) fn starts_another(&self) -> bool {
        let is_after = matches!(self.moment, Moment::BeforeFirstPoll | Moment::Running);
        // Otherwise the deadline may come first.
        let is_in_time = self.shape != Shape::Ignores || self.ending != Ending::FinishBy;
        self.ending.finishes() && is_after && is_in_time
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
