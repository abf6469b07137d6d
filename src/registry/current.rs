//! Which registry the running code means when it does not say.

use crate::{
    context::current::{self, Scope, Scoped},
    registry::handle::Registry,
};
use std::sync::{Arc, OnceLock};

impl Registry {
    /// The registry of the whole process. [`close`](Self::close) ends it for good; tests want one of
    /// their own, see [`scope`](Self::scope).
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        // Made outside of the lock: a subscriber that hears of it may ask for this one (I9).
        GLOBAL.get().unwrap_or_else(|| {
            let fresh = Self::new();
            GLOBAL.get_or_init(|| fresh)
        })
    }

    /// The registry that the running code belongs to: inside a task, blocking closure or hook of a
    /// context that context's registry; inside [`scope`](Self::scope) that one; whichever is
    /// innermost. Otherwise the [global](Self::global) one.
    pub fn current() -> Self {
        current::with_node(|node| node.core.upgrade())
            .flatten()
            .map_or_else(|| Self::global().clone(), |core| Self::of(&core))
    }

    /// Runs a future with this registry as the [current](Self::current) one.
    ///
    /// It waits for the future and for nothing that it spawns, and does not reach into what that spawns
    /// with bare `tokio::spawn`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::Registry;
    /// let registry = Registry::new();
    /// registry
    ///     .scope(async {
    ///         let _entry = headcount::register("request", "request");
    ///         assert_eq!(Registry::current().count(), 1);
    ///     })
    ///     .await;
    /// assert_eq!(registry.count(), 0);
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let held = self.clone();
        let scoped = Scoped::new(Scope::Registry(Arc::clone(&self.root().node)), future);
        async move {
            // The scope knows the registry's node; the registry itself must live as long.
            let _held = held;
            scoped.await
        }
    }
}
