//! What is written down about handles: taken where, by whom, since when.
//!
//! A [`Ledger`](handle_log::Ledger) lies beside a context or a tracked value, with an entry for each handle; what it
//! knows is facts, never the thing itself (I5). How much it writes down is the registry's
//! [`Level`](level::Level).

pub(crate) mod acquirer;
pub(crate) mod caller;
pub(crate) mod handle_log;
pub(crate) mod level;
pub(crate) mod probes;
pub(crate) mod tracking;
