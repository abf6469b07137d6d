//! Warnings and errors on standard error, where no subscriber of `tracing` is installed: a service must not end in silence because
//! its program has not set one up.
//!
//! No subscriber is set for that: the program may set its own at any time, and would be refused. `tracing` may also be built with its
//! feature `log`, which hands events to a logger where there is no subscriber. Then nothing is printed here, or it would come twice.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst},
};
use tracing::dispatcher;

/// How many services run in this process.
static SERVICES: AtomicUsize = AtomicUsize::new(0);

/// A service runs: from here on, until this is dropped, events are printed where nothing else hears them.
pub(crate) struct PrintedEvents(());

impl PrintedEvents {
    pub(crate) fn begin() -> Self {
        SERVICES.fetch_add(1, SeqCst);
        Self(())
    }
}

impl Drop for PrintedEvents {
    fn drop(&mut self) {
        SERVICES.fetch_sub(1, SeqCst);
    }
}

/// Whether warnings and errors are printed now.
pub(crate) fn is_printed() -> bool {
    SERVICES.load(SeqCst) > 0 && !dispatcher::has_been_set() && !is_logged()
}

/// It is not known yet whether a logger gets the events.
const UNKNOWN: u8 = 0;
const LOGGED: u8 = 1;
const NOT_LOGGED: u8 = 2;

/// Whether a logger gets the events. There is no way to ask `tracing` for that, so it is given an event whose text notices that it
/// is printed. That is done before the first event that would be printed, and the text is printed with it. No lock is held: a logger
/// is user code (I9).
fn is_logged() -> bool {
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    if KNOWN.load(SeqCst) == UNKNOWN {
        let notice = Notice(AtomicBool::new(false));
        tracing::event!(tracing::Level::WARN, "{notice}");
        let is_logged = notice.0.load(SeqCst);
        let found = if is_logged { LOGGED } else { NOT_LOGGED };
        let is_first = KNOWN.compare_exchange(UNKNOWN, found, SeqCst, SeqCst);
        if is_first.is_ok() && !is_logged {
            let _ = writeln!(io::stderr(), "headcount: {notice}");
        }
    }
    KNOWN.load(SeqCst) == LOGGED
}

/// A text that notices that it is printed.
struct Notice(AtomicBool);

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.store(true, SeqCst);
        f.write_str(
            "no subscriber of `tracing` is installed: what goes wrong is said here, warnings and errors alone",
        )
    }
}

/// An event that is about to be printed.
pub(crate) struct Event {
    level: &'static str,
    fields: String,
}

impl Event {
    pub(crate) fn new(level: &'static str) -> Self {
        let fields = String::new();
        Self { level, fields }
    }

    pub(crate) fn with(mut self, name: &str, value: &(impl Field + ?Sized)) -> Self {
        value.add(name, &mut self.fields);
        self
    }

    pub(crate) fn print(&self, message: fmt::Arguments<'_>) {
        let (level, fields) = (self.level, &self.fields);
        let _ = writeln!(io::stderr(), "headcount: {level}: {message}{fields}");
    }
}

/// The value of a field.
pub(crate) trait Field {
    fn add(&self, name: &str, fields: &mut String);
}

impl<T: fmt::Display> Field for tracing::field::DisplayValue<T> {
    fn add(&self, name: &str, fields: &mut String) {
        let text = format!("{self:?}");
        // Stacks take lines of their own.
        if text.contains('\n') {
            let _ = write!(fields, "\n{text}");
        } else {
            let _ = write!(fields, " {name}={text}");
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn add(&self, name: &str, fields: &mut String) {
        if let Some(value) = self {
            value.add(name, fields);
        }
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn add(&self, name: &str, fields: &mut String) {
        (**self).add(name, fields);
    }
}

/// These are printed as they are.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn add(&self, name: &str, fields: &mut String) {
                let _ = write!(fields, " {name}={self}");
            }
        }
    )*};
}

plain!(u32, u64, usize, str, String);
