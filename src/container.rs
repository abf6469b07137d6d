//! [`Container`]: a listed thing that a handle can lie in.

use crate::{
    id::ResourceId,
    ledger::{
        acquirer::Who,
        handle_log::{HandleId, How, Inside, Ledger, Use},
    },
    name::{Label, label},
    poll::scope,
};

/// A listed thing that handles can lie in, such as a cache or a struct of connections.
///
/// It is declared with [`Context::held_by`](crate::Context::held_by) and [`Tracked::held_by`](crate::Tracked::held_by).
/// [`Context`](crate::Context), [`WeakContext`](crate::WeakContext), [`Tracked`](crate::Tracked),
/// [`Registration`](crate::Registration) and [`Resource`](crate::Resource) implement it, and so does a pair of one of them
/// and the name of a field: `(&cache, "entries")`. A struct that keeps a [`Registration`](crate::Registration) can
/// implement it with the id and the name of that.
///
/// ```
/// use headcount::{Level, Registry};
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let cache = registry.own("sessions", "cache", ());
/// let user = registry.own("ada", "user", ());
/// user.held_by(&(&cache, "by_name"));
/// assert_eq!(user.holders().iter().next().unwrap().inside(), Some(cache.id()));
/// assert!(user.holders().to_string().contains("in sessions.by_name"));
/// ```
pub trait Container {
    /// The id of the container's entry in the registry.
    fn container_id(&self) -> ResourceId;

    /// The name of the container's entry in the registry.
    fn container_name(&self) -> &str;

    /// The field of the container in which the handle lies, if it is known.
    fn field(&self) -> Option<&str> {
        None
    }
}

impl<K: Container + ?Sized> Container for (&K, &str) {
    fn container_id(&self) -> ResourceId {
        self.0.container_id()
    }

    fn container_name(&self) -> &str {
        self.0.container_name()
    }

    fn field(&self) -> Option<&str> {
        Some(self.1)
    }
}

/// Implements [`Container`] for types that have an id and a name.
macro_rules! containers {
    ($($container:ty $(where $t:ident)?),+ $(,)?) => { $(
        impl $(<$t>)? crate::container::Container for $container {
            fn container_id(&self) -> crate::id::ResourceId {
                self.id()
            }

            fn container_name(&self) -> &str {
                self.name()
            }
        }
    )+ };
}
pub(crate) use containers;

containers!(
    crate::table::registration::Registration,
    crate::table::resource::Resource
);

/// Records that a handle is used, and by which task if it is a variable of the one that is running.
#[cold]
pub(crate) fn note_use<T>(ledger: &Ledger, hold: HandleId, handle: &T, how: How) {
    let now = match scope::owner_of(handle) {
        Some(task) => Use::now(task, How::Owned),
        None => Use::now(scope::acquirer(), how),
    };
    ledger.note_use(hold, now);
}

/// The record of a container that a handle lies in.
pub(crate) fn inside(container: &(impl Container + ?Sized)) -> Inside {
    let own = |text: &str| label(text.to_owned().into());
    let name: Label = own(container.container_name());
    Inside {
        who: Who::new(container.container_id(), &name),
        field: container.field().map(own),
    }
}
