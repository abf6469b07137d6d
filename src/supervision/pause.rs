//! The pause between two attempts of a supervised task.

use crate::{
    clock::{self, human},
    context::state::Node,
    poll::{
        capture,
        waiting::{For, waiting},
    },
    table::record::{Detail, State},
};
use futures::future::BoxFuture;
use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Why a pause is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PauseOver {
    /// The next attempt is due.
    Due,
    /// The context begins to close or to finish: there is no next attempt.
    Closing,
}

/// Whether a context takes another attempt: a task that is started again is new work, also where its context is finishing.
pub(super) fn may_start(node: &Node) -> bool {
    node.gate.state() == State::Open && !node.gate.is_finishing()
}

/// Waits until the attempt with this number is due, or its context takes none any more.
pub(super) fn pause(node: Arc<Node>, attempt: u64, length: Duration) -> Pause {
    let due = due(length);
    Box::pin(async move {
        let mut sleep = pin!(clock::sleep(length));
        loop {
            let mut changed = pin!(node.changed.notified());
            changed.as_mut().enable();
            if !may_start(&node) {
                return PauseOver::Closing;
            }
            let over = poll_fn(|cx| {
                // A dump is not answered with this.
                let mut unasked = Context::from_waker(capture::original(cx.waker()));
                if changed.as_mut().poll(&mut unasked).is_ready() {
                    return Poll::Ready(None);
                }
                let what = For::Attempt(attempt, due);
                waiting(cx, what, |cx| sleep.as_mut().poll(cx)).map(|()| Some(PauseOver::Due))
            });
            if let Some(over) = over.await {
                return over;
            }
        }
    })
}

pub(super) type Pause = BoxFuture<'static, PauseOver>;

/// When a pause that begins now is over. No pause is longer than a clock can represent.
pub(super) fn due(length: Duration) -> Instant {
    let now = clock::now();
    now.checked_add(length).unwrap_or(now)
}

/// What listings say of a supervised task.
pub(super) enum Facts {
    /// The attempt with this number runs.
    Attempt(u64),
    /// It is due then.
    Due(u64, Instant),
}

impl Detail for Facts {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Attempt(number) => format!("attempt {number}"),
            Self::Due(number, due) => {
                let left = due.saturating_duration_since(clock::now());
                format!("attempt {number} in {}", human(left))
            }
        })
    }
}
