//! loom models of the protocols: every interleaving of a few threads, checked.
//!
//! Run with `RUSTFLAGS="--cfg headcount_loom" cargo test --release --lib models`. Each model asserts
//! what must hold in every interleaving, and then that every outcome it is about did occur: a model
//! in which nothing interesting happens shows nothing.

mod closing;
mod driving;
mod ends;
mod events;
mod finishing;
mod free_list;
mod handles;
mod hurrying;
mod needs;
mod outcomes;
mod outputs;
mod polled;
mod quotas;
mod release;
#[cfg(feature = "sessions")]
mod sessions;
mod slab;
mod slots;
mod stack;
#[cfg(feature = "supervision")]
mod supervision;
mod tokens;
mod wakers;
mod weak_spawns;
