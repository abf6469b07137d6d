//! Warnings and errors on standard error, where no subscriber of `tracing` is installed: a service must not end in silence because
//! its program has not set one up.
//!
//! No subscriber is set for that: the program may set its own at any time, and would be refused. `tracing` may also be built with its
//! feature `log`, which hands events to a logger where there is no subscriber. Then nothing is printed here, or it would come twice.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
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

/// Whether a logger gets the events. There is no way to ask `tracing` for that, so it is given an event whose text notices that it
/// is printed. That is done once, before the first event that would be printed, and printed with it.
fn is_logged() -> bool {
    static IS_LOGGED: OnceLock<bool> = OnceLock::new();
    *IS_LOGGED.get_or_init(|| {
        let notice = Notice(AtomicBool::new(false));
        #[expect(
            clippy::disallowed_macros,
            reason = "a panic is contained by the caller"
        )]
        {
            tracing::warn!("{notice}");
        }
        let is_logged = notice.0.load(SeqCst);
        if !is_logged {
            let _ = writeln!(io::stderr(), "headcount: {notice}");
        }
        is_logged
    })
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
