//! The store behind a registry: a lock-free slab of entries, each held by an owner, a handle, and readers.
//!
//! A [`slot`] has one entry; [`free_list`] knows which slots are free, a [`block`] is both, and [`slab`] makes a growing and
//! shrinking set of blocks. A [`guard`] is a hold on an entry, and [`pins`] are many of them. None of these knows what it
//! stores.
//!
//! This is one of the three places with `unsafe` code. It is sound at its boundary: what the rest of the crate may call is
//! safe, whatever it does, because an entry that is held keeps its slab.

pub(crate) mod block;
pub(crate) mod directory;
pub(crate) mod free_list;
pub(crate) mod guard;
pub(crate) mod lifetime;
pub(crate) mod pins;
#[expect(clippy::module_inception, reason = "it is the slab")]
pub(crate) mod slab;
pub(crate) mod slot;
pub(crate) mod stripe;
#[cfg(test)]
pub(crate) mod testing;

/// How much memory an entry takes.
#[cfg(all(test, not(headcount_loom)))]
pub(crate) fn slot_size<T: block::Entry>() -> usize {
    size_of::<slot::Slot<block::Occupied<T>>>()
}
