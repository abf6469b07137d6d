//! Whether a context is finishing: what its node knows of that. How it finishes is in [`finish`](super::finish).

use crate::{
    context::{gate::OnLeave, state::Node},
    panics,
    sync::{Ordering::SeqCst, order},
    table::record::State,
};
use std::iter;

/// This is the context that is finishing, and not one below it.
const FINISHES_HERE: u8 = 1;
/// It is finishing, and no task sees to it any more that it closes when it has run dry.
const UNWATCHED: u8 = 1 << 1;

impl Node {
    /// Comes in through the gate, or is refused; while the context is finishing, only code that belongs to it comes in.
    #[inline]
    pub(crate) fn enter(&self, belongs: fn(&Node) -> bool) -> Result<(), OnLeave> {
        self.gate.enter(|| belongs(self.finishing_root()))
    }

    /// Whether others may come to need it: not once its close was asked for; while it is finishing, only if the code that opens
    /// them belongs to it.
    pub(crate) fn can_be_needed(&self, belongs: fn(&Node) -> bool) -> bool {
        self.state() == State::Open
            && self.close_reason().is_none()
            && (!self.gate.is_finishing() || belongs(self.finishing_root()))
    }

    /// From here on it is finishing, with a task that watches; `here` if not only because its parent is.
    pub(crate) fn finish(&self, here: bool) {
        self.finish.fetch_and(!UNWATCHED, SeqCst);
        if here {
            self.finish.fetch_or(FINISHES_HERE, SeqCst);
        }
        self.gate.finish();
        // Pauses between attempts of supervised tasks end.
        panics::notify_all(&self.changed);
    }

    /// No task sees to it any more that it closes when it has run dry.
    pub(crate) fn stop_watching(&self) {
        self.finish.fetch_or(UNWATCHED, SeqCst);
        order();
    }

    /// Whether that is so.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.finish.load(SeqCst) & UNWATCHED != 0
    }

    /// Whether it is finishing, and closes when it has run dry though it has no handles.
    pub(crate) fn is_finishing_by_itself(&self) -> bool {
        self.gate.is_finishing() && !self.is_unwatched()
    }

    /// The nearest context, from this one upwards, that is finishing.
    fn finishing_root(&self) -> &Node {
        let mut above = iter::once(self).chain(self.ancestors());
        let root = above.find(|node| node.finish.load(SeqCst) & FINISHES_HERE != 0);
        root.unwrap_or(self)
    }
}
