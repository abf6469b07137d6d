//! [`TaskSpan`] where tokio makes the spans, or nothing does: it has no size and no code.

use crate::table::task_entry::TaskEntry;
use std::task::Context;

pub(crate) struct TaskSpan;

impl TaskSpan {
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn open(_: &TaskEntry) -> Self {
        Self
    }

    #[inline(always)]
    #[expect(clippy::unused_self, reason = "it is used where there is a span")]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        poll(cx)
    }

    #[inline(always)]
    #[expect(clippy::unused_self, reason = "it is used where there is a span")]
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        body()
    }
}
