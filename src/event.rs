//! Emits events through `tracing`.
//!
//! A subscriber is user code: it may panic, and it may call this crate. So an event is emitted after the state that it
//! reports has been reached, and never under a lock (I9), and a panic of a subscriber is caught. All events go through
//! this macro: `.clippy.toml` refuses the macros of `tracing` everywhere else.

/// Emits an event of this level: `emit!(WARN, context = %name, "it is {what}")`.
macro_rules! emit {
    ($level:ident, $($event:tt)*) => {
        $crate::panics::contain(|| tracing::event!(tracing::Level::$level, $($event)*))
    };
}

pub(crate) use emit;

/// Whether any subscriber may hear events of this level. No code of a subscriber runs.
pub(crate) fn is_heard(level: tracing::Level) -> bool {
    tracing::level_filters::LevelFilter::current() >= level
}
