//! [`RegistryBuilder`]: a registry with settings.

use crate::context::{failure::OnFailure, haste::Limits};
use std::time::Duration;

/// Makes a registry with settings of its own, which its contexts inherit. Made by
/// [`Registry::builder`](crate::Registry::builder).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{OnFailure, Registry};
/// use std::time::Duration;
///
/// let registry = Registry::builder()
///     .grace(Duration::from_secs(30))
///     .on_failure(OnFailure::Close)
///     .build();
/// let server = registry.context("server");
/// drop(server.spawn(async { panic!("a bug") }));
/// let report = registry.close().await;
/// assert!(report.to_string().contains("a bug"));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until `build`"]
pub struct RegistryBuilder {
    pub(crate) limits: Limits,
    pub(crate) on_failure: Option<OnFailure>,
}

impl RegistryBuilder {
    /// How long a close waits for tasks that were cancelled before it aborts them: of the registry, and of each context that
    /// does not [set](crate::ContextBuilder::grace) it, nor one above it. 5 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits.grace = grace;
        self
    }

    /// How long each hook may run before it is dropped, in each context that does not
    /// [set](crate::ContextBuilder::hook_timeout) it, nor one above it. 5 s by default.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.limits.hook = limit;
        self
    }

    /// What the registry does when a task fails in a context that does not [set](crate::ContextBuilder::on_failure) it, nor one
    /// above it: by default nothing, and with [`OnFailure::Close`] it closes, with all its contexts.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = Some(on_failure);
        self
    }
}
