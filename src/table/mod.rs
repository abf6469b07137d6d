//! The table behind a registry: lock-free slots, the entries in them, and the listing of both.
//!
//! A [`slot`] has one tenant, whom several may [`hold`]; [`free`] knows which slots are free, a [`block`] is
//! both, [`slots`] makes a growing and shrinking table of blocks, [`pins`] are entries that somebody keeps:
//! none of them knows what it stores.
//!
//! A [`record`] is what is known of one thing. A [`card`] is the record of a task or a registration, which
//! lies in its slot, and [`reach`] what ends a task; an [`entry`] that of a value; a `hook` that of a hook that is running. [`store`] puts them into slots, [`registration`] has the
//! guards that keep resources listed. A [`listing`] looks through it all: a [`resource`] is one line of what
//! it finds, [`live`] the whole, [`tree`] how that prints.

pub(crate) mod block;
pub(crate) mod card;
pub(crate) mod entry;
pub(crate) mod free;
pub(crate) mod hold;
#[cfg(feature = "dump")]
pub(crate) mod hook;
pub(crate) mod lifetime;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod pins;
pub(crate) mod reach;
pub(crate) mod record;
pub(crate) mod registration;
pub(crate) mod resource;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod stripe;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tree;
