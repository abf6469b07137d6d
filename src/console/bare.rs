//! How tasks are handed to a runtime that need not know their names.

use tokio::{runtime::Handle, task};

#[inline(always)]
pub(crate) fn spawn<F>(runtime: &Handle, _: &str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    drop(runtime.spawn(future));
}

#[inline(always)]
pub(crate) fn spawn_blocking(runtime: &Handle, _: &str, closure: impl FnOnce() + Send + 'static) {
    drop(runtime.spawn_blocking(closure));
}

/// # Panics
///
/// Outside of what runs local tasks.
#[inline(always)]
#[track_caller]
pub(crate) fn spawn_local(_: &str, future: impl Future<Output = ()> + 'static) {
    drop(task::spawn_local(future));
}
