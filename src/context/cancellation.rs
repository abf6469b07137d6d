//! [`Cancellation`]: the token of a context.

use crate::{
    panics,
    sync::{SetOnce, order},
};
use tokio_util::sync::CancellationToken;

/// The token of a context, made when it is first asked for: most contexts have tasks that ask for none, and a token takes 120 bytes.
#[derive(Debug)]
pub(crate) struct Cancellation(SetOnce<CancellationToken>);

impl Cancellation {
    pub(crate) fn new() -> Self {
        Self(SetOnce::new())
    }

    /// The token. `is_cancelled` says whether the close has begun.
    pub(crate) fn token(&self, is_cancelled: impl FnOnce() -> bool) -> &CancellationToken {
        if let Some(token) = self.0.get() {
            return token;
        }
        let _ = self.0.set(CancellationToken::new());
        let token = self.0.get().expect("it is set");
        // The close first changes the gate, then looks for a token: one of us sees the other.
        order();
        if is_cancelled() {
            panics::contain(|| token.cancel());
        }
        token
    }

    /// Cancels it, after the gate has closed. Wakers may panic.
    pub(crate) fn cancel(&self) {
        order();
        if let Some(token) = self.0.get() {
            panics::contain(|| token.cancel());
        }
    }
}
