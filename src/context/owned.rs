//! Values that a context keeps until it closes.

use crate::{
    context::{core::Owned, handle::Context},
    error::ClosedError,
    ledger::acquirer::{Acquirer, Who},
    name::{Name, label},
    table::record::{Facts, Record},
    tracked::Tracked,
};
use std::{panic::Location, sync::Arc};

impl Context {
    /// Gives a value to the context: it is listed, and kept until the close, when owned values are
    /// dropped, latest first, after the last hook has run.
    ///
    /// The returned handle shares the value. One that is still held after the close keeps the value
    /// alive and listed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let log = ctx.own("access.log", "file", std::sync::Mutex::new(String::new())).unwrap();
    /// log.lock().unwrap().push_str("hello");
    /// let weak = log.downgrade();
    /// drop(log);
    /// ctx.close().await;
    /// assert!(weak.upgrade().is_none());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the value in it, once owned values have been dropped.
    #[track_caller]
    pub fn own<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Name>,
        kind: impl Into<Name>,
        value: T,
    ) -> Result<Tracked<T>, ClosedError<T>> {
        let node = self.node();
        let facts = Facts {
            name: label(name.into()),
            kind: label(kind.into()),
            location: Location::caller(),
        };
        let parent: Arc<dyn Record> = Arc::clone(node) as _;
        let name = facts.name.to_string();
        let tracked = Tracked::new(&node.table, facts, (Some(parent), true), value);
        let kept = tracked.clone();
        kept.pass(Acquirer::Owner(Who::new(node.meta.id, &node.meta.name)));
        let owned = Owned {
            id: tracked.id(),
            name,
            value: Box::new(kept),
        };
        match self.core().owned.push(owned) {
            Ok(_) => Ok(tracked),
            Err(refused) => {
                drop(refused);
                Err(ClosedError(
                    tracked
                        .into_inner()
                        .expect("nobody else has seen the value"),
                ))
            }
        }
    }
}
