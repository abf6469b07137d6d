//! Who holds something, as its users ask: [`view`] shows the ledger, [`inside`] declares that a handle lies in
//! another thing.

pub(crate) mod inside;
pub(crate) mod view;
