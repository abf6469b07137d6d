//! What a slot points to: the facts about one live thing, apart from the thing itself (I5).

use crate::{clock::Stamp, id::ResourceId, name::Name, table::stripe};
use std::panic::Location;

/// The facts that never change after registration.
pub(crate) struct Meta {
    pub(crate) id: ResourceId,
    pub(crate) name: Name,
    pub(crate) kind: Name,
    pub(crate) location: &'static Location<'static>,
    pub(crate) created: Stamp,
    /// Orders entries of one thread that the clock cannot tell apart.
    made: u32,
}

impl Meta {
    #[inline]
    pub(crate) fn new(
        id: ResourceId,
        name: Name,
        kind: Name,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            id,
            name,
            kind,
            location,
            created: Stamp::now(),
            made: stripe::next_made(),
        }
    }

    /// Sorts by creation.
    pub(crate) fn order(&self) -> (Stamp, u32, u32) {
        (self.created, self.made, self.id.index)
    }
}

/// What kind of thing an entry stands for: decides what `untrack` and `clear` may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Context,
    Task,
    Resource,
}

/// How far along something is.
///
/// Contexts go from `Open` through `Closing` to `Closed`, tasks from `Waiting` to `Running`;
/// a resource is `Live` as long as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum State {
    /// A context that accepts tasks and children.
    Open,
    /// A context that refuses new work and waits for what it has.
    Closing,
    /// A context of which nothing is left but handles.
    Closed,
    /// A task that was accepted and not polled yet.
    Waiting,
    /// A task that was polled, or a blocking closure that was started.
    Running,
    /// A registered, owned or tracked resource.
    Live,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Live => "live",
        })
    }
}

/// How a thing stood when it was looked at.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) state: State,
    /// Strong handles; `NONE` where there are none to count.
    handles: u32,
}

impl Standing {
    const NONE: u32 = u32::MAX;

    pub(crate) fn new(state: State, handles: Option<usize>) -> Self {
        let most = Self::NONE - 1;
        let handles = handles.map_or(Self::NONE, |n| {
            u32::try_from(n).map_or(most, |n| n.min(most))
        });
        Self { state, handles }
    }

    pub(crate) fn handles(self) -> Option<usize> {
        (self.handles != Self::NONE).then_some(self.handles as usize)
    }
}

/// One entry of the table. Records hold facts, never the user's value.
pub(crate) trait Record: Send + Sync {
    /// What a listing notes of it: when it was created, and how it stands.
    fn seen(&self) -> (Stamp, Standing) {
        let standing = Standing::new(self.state(), self.strong_count());
        (self.meta().created, standing)
    }

    fn meta(&self) -> &Meta;
    fn class(&self) -> Class;
    fn state(&self) -> State;
    /// The context it belongs to, if any.
    fn parent(&self) -> Option<&dyn Record>;
    /// Strong handles to the thing itself, where it has any.
    fn strong_count(&self) -> Option<usize> {
        None
    }
    /// Ends it by force, if it is a task and its context has condemned its tasks.
    fn abort(&self) {}
    /// Whether it is a blocking closure that has started, which nothing can end but itself.
    fn is_unabortable(&self) -> bool {
        false
    }
}
