//! Fails a test whose body does not end in time, and says where the body and its tasks wait.

use crate::{
    clock::{self, human},
    registry::registry::Registry,
};
use futures::future::{Either, select};
use std::{panic::Location, pin::Pin, pin::pin, time::Duration};

/// Runs the body no longer than the limit.
///
/// # Panics
///
/// At the limit, with what is known about where it waits.
pub(super) async fn within<F: Future>(
    limit: Option<Duration>,
    registry: &Registry,
    location: &Location<'_>,
    body: F,
) -> F::Output {
    let mut body = pin!(body);
    let Some(limit) = limit else {
        return body.await;
    };
    match select(body.as_mut(), pin!(clock::sleep(limit))).await {
        Either::Left((output, _)) => return output,
        Either::Right(_) => {}
    }
    match whereabouts(registry, body).await {
        Ok(output) => output,
        Err(said) => panic!(
            "the body of the check at {location} did not end within {}\n\n{said}",
            human(limit)
        ),
    }
}

/// Polls the body once more, with a waker that captures stacks. Returns its output, should it end in this poll.
#[cfg(feature = "dump")]
async fn whereabouts<F: Future>(
    registry: &Registry,
    mut body: Pin<&mut F>,
) -> Result<F::Output, String> {
    use crate::{dump::collect, poll::capture};
    use std::{future::poll_fn, task::Poll};
    let ask = poll_fn(|cx| {
        let (polled, found) = capture::poll(cx.waker(), |cx| body.as_mut().poll(cx));
        Poll::Ready((polled, found))
    });
    let found = match ask.await {
        (Poll::Ready(output), _) => return Ok(output),
        (Poll::Pending, found) => found,
    };
    let stacks = collect::folded(found).await;
    let dump = registry.dump().await;
    let stacks: Vec<_> = stacks
        .iter()
        .map(|stack| format!("\n    {stack}"))
        .collect();
    Err(format!("the body:{}\n\n{dump}", stacks.concat()))
}

/// Says what is alive.
#[cfg(not(feature = "dump"))]
async fn whereabouts<F: Future>(
    registry: &Registry,
    _body: Pin<&mut F>,
) -> Result<F::Output, String> {
    let live = registry.live().await;
    Err(format!("{live}\n(the feature `dump` adds where they wait)"))
}
