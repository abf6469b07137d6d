//! Panics on purpose, and all the others, which are failures.

use crate::common::lock;
use std::{
    any::Any,
    backtrace::Backtrace,
    cell::Cell,
    fmt::{self, Display, Write},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{
        Arc, Mutex, Once,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::Wake,
    thread::{self, Thread},
};
use tracing::{Event, Metadata, Subscriber, field::Visit, span, subscriber::Interest};

/// What the message of each panic on purpose begins with.
const ON_PURPOSE: &str = "on purpose";

static FAILURES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Whether panics are watched: while a fuzz test runs.
static IS_WATCHING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// A panic with this in its message is the answer that the documentation promises.
    static EXPECTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Notes something that must not be. The round fails when it ends: a panic in a task would be contained.
pub(crate) fn failure(what: impl Display) {
    eprintln!("failure: {what}");
    lock(&FAILURES).push(what.to_string());
}

pub(crate) fn take_failures() -> Vec<String> {
    std::mem::take(&mut lock(&FAILURES))
}

/// Panics, unless that would end the process.
pub(crate) fn on_purpose(what: &str) {
    assert!(thread::panicking(), "{ON_PURPOSE}: {what}");
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Runs code that may panic on purpose. All other panics are noted by the hook.
pub(crate) fn contain<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Runs code that must not panic at all, not even with a panic that came from the user's code.
pub(crate) fn never<R>(what: &str, run: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(payload) => {
            failure(format_args!("{what} panicked: {}", message(&*payload)));
            None
        }
    }
}

/// Runs code that may panic with this text in its message, as documented.
pub(crate) fn expecting<R>(text: &'static str, run: impl FnOnce() -> R) -> Option<R> {
    let before = EXPECTED.replace(Some(text));
    let result = contain(run);
    EXPECTED.set(before);
    result
}

/// Watches panics until it is dropped.
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn new() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let default = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| note(info, &*default)));
            let _ = tracing::subscriber::set_global_default(Hostile);
        });
        IS_WATCHING.store(true, SeqCst);
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        IS_WATCHING.store(false, SeqCst);
    }
}

fn note(info: &PanicHookInfo<'_>, default: &dyn Fn(&PanicHookInfo<'_>)) {
    if !IS_WATCHING.load(SeqCst) {
        return default(info);
    }
    let said = message(info.payload());
    let is_expected = EXPECTED.get().is_some_and(|text| said.contains(text));
    if !is_expected && !said.starts_with(ON_PURPOSE) {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        failure(format_args!(
            "a panic at {at}: {said}\n{}",
            Backtrace::force_capture()
        ));
    }
}

/// A subscriber that reads each event, and panics in one of many while it is [armed](arm_subscriber).
struct Hostile;

/// It panics once in so many events; never if zero.
static ONCE_IN: AtomicUsize = AtomicUsize::new(0);
static EVENTS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn arm_subscriber(once_in: usize) {
    ONCE_IN.store(once_in, SeqCst);
}

/// How many events there were.
pub(crate) fn events() -> usize {
    EVENTS.load(Relaxed)
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Hostile {
    /// Asked for each event: other tests of this binary have nothing to tell.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        IS_WATCHING.load(Relaxed)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let number = EVENTS.fetch_add(1, Relaxed);
        let once_in = ONCE_IN.load(Relaxed);
        if once_in > 0 && number % once_in == 0 {
            on_purpose("a subscriber");
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Where a [`HandMadeWaker`] panics. `clone` is missing: a safe `Wake` cannot panic there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PanicsIn {
    Never,
    Wake,
    Drop,
}

/// The waker of a future that is polled by hand.
pub(crate) struct HandMadeWaker {
    thread: Thread,
    panics_in: PanicsIn,
}

impl HandMadeWaker {
    pub(crate) fn new(panics_in: PanicsIn) -> Arc<Self> {
        let thread = thread::current();
        Arc::new(Self { thread, panics_in })
    }
}

impl Wake for HandMadeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.thread.unpark();
        if self.panics_in == PanicsIn::Wake {
            on_purpose("a waker that wakes");
        }
    }
}

impl Drop for HandMadeWaker {
    fn drop(&mut self) {
        if self.panics_in == PanicsIn::Drop {
            on_purpose("a waker that is dropped");
        }
    }
}
