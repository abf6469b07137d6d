//! Records who holds strong handles: where, when and by which task each was taken.
//!
//! Every context and every tracked value has a [`Ledger`](handle_log::Ledger), with an entry for each handle. It records
//! facts and never holds the thing itself (I5). How much it records is the registry's [`Level`](level::Level).

pub(crate) mod acquirer;
pub(crate) mod caller;
pub(crate) mod entries;
pub(crate) mod handle_log;
pub(crate) mod level;
pub(crate) mod lock_log;
pub(crate) mod tracking;
