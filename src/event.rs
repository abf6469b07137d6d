//! What the crate says through `tracing`.
//!
//! A subscriber is foreign code: it may panic, and it may call this crate. So an event comes after the state that it
//! tells of, and never under a lock (I9), and a panic of a subscriber goes no further: what must happen next happens.
//! The macros of `tracing` are not to be used elsewhere (`.clippy.toml` refuses them).

/// Emits an event of this level: `emit!(WARN, context = %name, "it is {what}")`.
macro_rules! emit {
    ($level:ident, $($event:tt)*) => {
        $crate::panics::contain(|| tracing::event!(tracing::Level::$level, $($event)*))
    };
}

pub(crate) use emit;
