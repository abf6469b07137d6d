//! Emits events through `tracing`.
//!
//! A subscriber is user code: it may panic, and it may call this crate. So an event is emitted after the state that it
//! reports has been reached, and never under a lock (I9), and a panic of a subscriber is caught. All events go through
//! this macro: `.clippy.toml` refuses the macros of `tracing` everywhere else.
//!
//! Under `headcount::run`, warnings and errors go to standard error where no subscriber is installed ([`printed`]).

use tracing::{Dispatch, dispatcher, subscriber::NoSubscriber};

#[cfg(feature = "signal")]
pub(crate) mod printed;

/// Emits an event of this level: `emit!(target: "headcount::context", WARN, context = %name, "it is {what}")`.
///
/// Targets, levels and fields are public: [`docs::events`](crate::docs::events) has a table of them, which a test compares.
macro_rules! emit {
    (target: $target:literal, $level:ident, $($event:tt)*) => {
        $crate::panics::contain(|| {
            tracing::event!(target: $target, tracing::Level::$level, $($event)*);
            $crate::event::print_event!($level, $($event)*);
        })
    };
}

pub(crate) use emit;

/// Prints a warning or an error, where it is to be printed.
#[cfg(feature = "signal")]
macro_rules! print_event {
    (WARN, $($event:tt)*) => { $crate::event::print_event!(@ "WARN", $($event)*) };
    (ERROR, $($event:tt)*) => { $crate::event::print_event!(@ "ERROR", $($event)*) };
    (@ $level:literal, $($event:tt)*) => {
        if $crate::event::printed::is_printed() {
            let event = $crate::event::printed::Event::new($level);
            $crate::event::print_field!(event, $($event)*);
        }
    };
    ($other:ident, $($event:tt)*) => {};
}

#[cfg(not(feature = "signal"))]
macro_rules! print_event {
    ($level:ident, $($event:tt)*) => {};
}

pub(crate) use print_event;

/// Notes the fields one after the other, and prints the event with its message. It knows the forms that this crate uses.
#[cfg(feature = "signal")]
macro_rules! print_field {
    ($event:ident, $name:ident = %$value:expr, $($rest:tt)*) => {
        let $event = $event.with(stringify!($name), &tracing::field::display(&$value));
        $crate::event::print_field!($event, $($rest)*)
    };
    ($event:ident, $name:ident = $value:expr, $($rest:tt)*) => {
        let $event = $event.with(stringify!($name), &$value);
        $crate::event::print_field!($event, $($rest)*)
    };
    ($event:ident, %$name:ident, $($rest:tt)*) => {
        let $event = $event.with(stringify!($name), &tracing::field::display(&$name));
        $crate::event::print_field!($event, $($rest)*)
    };
    ($event:ident, $name:ident, $($rest:tt)*) => {
        let $event = $event.with(stringify!($name), &$name);
        $crate::event::print_field!($event, $($rest)*)
    };
    ($event:ident, $($message:tt)*) => {
        $event.print(format_args!($($message)*))
    };
}

#[cfg(feature = "signal")]
pub(crate) use print_field;

/// Emits events to this subscriber, which another thread had. Where that had none, to the one of this thread: to set none would
/// count for `tracing` as having one, for ever, and with its feature `log` no logger would get events any more.
pub(crate) fn to(subscriber: &Dispatch, emit: impl FnOnce()) {
    if subscriber.is::<NoSubscriber>() {
        emit();
    } else {
        dispatcher::with_default(subscriber, emit);
    }
}

/// Whether any subscriber may hear events of this level. No code of a subscriber runs.
pub(crate) fn is_heard(level: tracing::Level) -> bool {
    tracing::level_filters::LevelFilter::current() >= level
}
