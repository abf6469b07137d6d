//! What takes the place of `capture` without the feature `dump`: no task is ever asked where it waits.

use crate::poll::awaited::Awaited;
use std::{
    convert::Infallible,
    task::{Context, Poll, Waker},
};

/// What one poll was found waiting for: nothing is looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured {
    stacks: Vec<Infallible>,
}

pub(crate) fn poll<R>(original: &Waker, poll: impl FnOnce(&mut Context<'_>) -> R) -> (R, Captured) {
    let result = poll(&mut Context::from_waker(original));
    (result, Captured::default())
}

#[inline]
pub(crate) fn waiting<T>(
    cx: &mut Context<'_>,
    _: impl FnOnce() -> (Awaited, u32),
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
}

#[inline]
pub(crate) fn original(waker: &Waker) -> &Waker {
    waker
}
