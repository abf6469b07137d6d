//! Standard error, which may be a pipe that nothing reads.

use std::{
    fmt,
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Prints a text to standard error. What cannot be printed is lost; `eprintln` would panic.
pub(super) fn print(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "headcount: {text}");
}

/// Prints a text that is made on a thread of its own, and waits at most so long: the code that makes it may be held up by what it
/// is about, and a full pipe holds up the code that prints.
pub(super) fn print_within(limit: Duration, make: impl FnOnce() -> String + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::Builder::new().name("headcount-print".into());
    let started = thread.spawn(move || {
        print(make());
        let _ = done.send(());
    });
    if started.is_ok() {
        let _ = wait.recv_timeout(limit);
    }
}
