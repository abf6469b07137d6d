//! What a registry lists: the facts about each thing, and the listing of them all.
//!
//! A [`record`] is what is known of one thing. A [`task_entry`] is the record of a task or a registration, and lies in its slot
//! of the slab; an [`arc_entry`] is that of a value. [`store`] is the table of them all, [`registration`] has the guards that
//! keep resources listed. A listing is a scan of the table: a [`resource`] is one line of what it finds, [`live`] the
//! whole and how it is made, [`tree`] how that prints.

pub(crate) mod arc_entry;
pub(crate) mod kept_handles;
pub(crate) mod kinds;
pub(crate) mod live;
pub(crate) mod numbers;
pub(crate) mod record;
pub(crate) mod registration;
pub(crate) mod resource;
pub(crate) mod store;
pub(crate) mod task_entry;
pub(crate) mod tree;
