//! The table behind a registry: lock-free slots, the records in them, and the listing of both.
//!
//! [`slots`] is the lock-free structure and knows nothing of what it stores; [`record`] is what is
//! stored; [`store`] puts records into slots; [`live`] is a listing, [`tree`] how it prints.

pub(crate) mod entry;
pub(crate) mod live;
pub(crate) mod record;
pub(crate) mod resource;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod stripe;
pub(crate) mod tree;
