//! Things that a handle can lie in.

use crate::{
    id::ResourceId,
    ledger::{acquirer::Who, handle_log::Inside},
    name::{Label, label},
};

/// Something that a registry lists, and that handles can lie in: what
/// [`Context::held_by`](crate::Context::held_by) and [`Tracked::held_by`](crate::Tracked::held_by) are told.
///
/// [`Context`](crate::Context), [`WeakContext`](crate::WeakContext), [`Tracked`](crate::Tracked),
/// [`Registration`](crate::Registration) and [`Resource`](crate::Resource) are such; together with the name of a
/// field as well: `(&cache, "entries")`. A struct that keeps a [`Registration`](crate::Registration) can be one,
/// too.
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
    /// Its id.
    fn keeper_id(&self) -> ResourceId;

    /// Its name.
    fn keeper_name(&self) -> &str;

    /// The field in which the handle lies, if that is said.
    fn field(&self) -> Option<&str> {
        None
    }
}

impl<K: Container + ?Sized> Container for (&K, &str) {
    fn keeper_id(&self) -> ResourceId {
        self.0.keeper_id()
    }

    fn keeper_name(&self) -> &str {
        self.0.keeper_name()
    }

    fn field(&self) -> Option<&str> {
        Some(self.1)
    }
}

/// What everything is that has an id and a name.
macro_rules! keepers {
    ($($keeper:ty $(where $t:ident)?),+ $(,)?) => { $(
        impl $(<$t>)? crate::holders::inside::Container for $keeper {
            fn keeper_id(&self) -> crate::id::ResourceId {
                self.id()
            }

            fn keeper_name(&self) -> &str {
                self.name()
            }
        }
    )+ };
}
pub(crate) use keepers;

keepers!(
    crate::table::registration::Registration,
    crate::table::resource::Resource
);

/// What is written down of a keeper.
pub(crate) fn inside(keeper: &(impl Container + ?Sized)) -> Inside {
    let own = |text: &str| label(text.to_owned().into());
    let name: Label = own(keeper.keeper_name());
    Inside {
        who: Who::new(keeper.keeper_id(), &name),
        field: keeper.field().map(own),
    }
}
