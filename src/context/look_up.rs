//! Look-ups of stacks, which take long the first time that a program makes one: a close goes on meanwhile, with its hooks and all,
//! and waits for them before it says that it has ended.

use crate::context::{escalation::wait_until, haste::Haste, state::Node};
use futures::{
    StreamExt,
    channel::mpsc::{self, UnboundedReceiver, UnboundedSender},
    future::{BoxFuture, Either, select},
};
use std::pin::pin;

/// A look-up, and what is told then.
pub(crate) type LookUp = BoxFuture<'static, ()>;

/// Where a close leaves its look-ups.
pub(crate) struct LookUps(UnboundedSender<LookUp>);

impl LookUps {
    pub(crate) fn begin(&self, look_up: Option<LookUp>) {
        if let Some(look_up) = look_up {
            // They are received as long as this is there.
            let _ = self.0.unbounded_send(look_up);
        }
    }
}

pub(crate) fn queue() -> (LookUps, UnboundedReceiver<LookUp>) {
    let (send, receive) = mpsc::unbounded();
    (LookUps(send), receive)
}

/// Makes look-ups until none can come any more: one after the other, in the order in which they are to be told.
pub(crate) async fn make(mut begun: UnboundedReceiver<LookUp>) {
    while let Some(look_up) = begun.next().await {
        look_up.await;
    }
}

/// Runs something, but not beyond the moment when a deadline needs the time for what comes next.
pub(crate) async fn in_time<T>(node: &Node, run: impl Future<Output = T>) -> Option<T> {
    let time_is_up = wait_until(node, |haste: &Haste| haste.release_at());
    match select(pin!(run), pin!(time_is_up)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
