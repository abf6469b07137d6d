//! The table behind a registry: lock-free slots, the records in them, and the listing of both.
//!
//! [`rows`] are places, [`free`] knows which of them are free, a [`block`] is both, [`slots`] makes a growing
//! and shrinking table of blocks; none of them knows what it stores. A [`record`] is what is stored: the
//! facts about one thing; [`entry`] has those of resources, [`registration`] the guard that keeps one listed. [`store`] puts records into slots and lists
//! them. A [`resource`] is one line of a listing, [`live`] the listing, [`tree`] how it prints.

pub(crate) mod block;
pub(crate) mod entry;
pub(crate) mod free;
pub(crate) mod live;
pub(crate) mod record;
pub(crate) mod registration;
pub(crate) mod resource;
pub(crate) mod rows;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod stripe;
pub(crate) mod tree;
