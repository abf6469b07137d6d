//! The public view of the ledger: [`view`] lists the holders of a thing, [`inside`] declares that a handle lies in a
//! container.

pub(crate) mod inside;
pub(crate) mod view;
