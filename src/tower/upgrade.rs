//! An upgraded connection, which is no request any more and is still counted.

use crate::{
    context::weak::WeakContext,
    name::Name,
    task::{spawn::TaskOrigin, wrapped::Wrapped},
};
use std::{
    panic::Location,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

/// The place of an upgraded connection in the listing of its context. It has ended when this is dropped.
pub(super) struct UpgradedPlace {
    counted: Pin<Box<Wrapped<Open>>>,
    is_over: Arc<AtomicBool>,
}

/// Ready once the connection is over.
struct Open(Arc<AtomicBool>);

impl Future for Open {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.load(SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// An upgrade that a request asks for.
pub(super) struct Upgrade {
    /// Where the connection is counted.
    pub(super) ctx: WeakContext,
    pub(super) name: Name,
    pub(super) location: &'static Location<'static>,
}

impl Upgrade {
    /// Counts the upgraded connection. `None` if the context takes no more.
    pub(super) fn counted(self) -> Option<UpgradedPlace> {
        let is_over = Arc::new(AtomicBool::new(false));
        let open = Open(Arc::clone(&is_over));
        let task = self.ctx.task(self.name).kind("upgraded");
        let origin = TaskOrigin::of::<Open>("upgraded").at(self.location);
        let counted = task.try_wrap_with(origin, || open)?;
        Some(UpgradedPlace {
            counted: Box::pin(counted.note_place()),
            is_over,
        })
    }
}

impl UpgradedPlace {
    /// Whether the connection is to end, because it was aborted. The task that asks is woken when it is.
    pub(super) fn is_aborted(&mut self, cx: &mut Context<'_>) -> bool {
        self.counted.as_mut().poll(cx).is_ready()
    }
}

impl Drop for UpgradedPlace {
    /// The connection has ended by itself, so it does not count as aborted.
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        let _ = self.is_aborted(&mut Context::from_waker(Waker::noop()));
    }
}
