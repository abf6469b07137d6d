//! How tasks are handed to a runtime that tells their names and lines to tokio-console.

use crate::name::Printed;
use tokio::{runtime::Handle, task::Builder};

#[track_caller]
pub(crate) fn spawn<F>(runtime: &Handle, name: &str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let name = Printed(name).to_string();
    drop(Builder::new().name(&name).spawn_on(future, runtime));
}

/// If the system has no thread for it, the closure is dropped, and its task has been aborted.
#[track_caller]
pub(crate) fn spawn_blocking(
    runtime: &Handle,
    name: &str,
    closure: impl FnOnce() + Send + 'static,
) {
    let name = Printed(name).to_string();
    let builder = Builder::new().name(&name);
    drop(builder.spawn_blocking_on(closure, runtime));
}

/// # Panics
///
/// Outside of what runs local tasks.
#[track_caller]
pub(crate) fn spawn_local(name: &str, future: impl Future<Output = ()> + 'static) {
    let name = Printed(name).to_string();
    drop(Builder::new().name(&name).spawn_local(future));
}
