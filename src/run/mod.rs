//! The main function of a service: [`run`](main_function::run) owns the runtime, listens to signals, and closes everything by a
//! deadline.
//!
//! | file | what it does |
//! |---|---|
//! | `main_function` | the main thread: starts the runtime, runs the body, waits for the close, decides on the exit code |
//! | `builder`, `options` | the settings |
//! | `app` | what the body is given |
//! | `stop` | the stages of a stop, which all the others watch |
//! | `watch` | the thread that hears signals and enforces the time limit |
//! | `signals` | which signals, and what each means |
//! | `systemd` | the thread that tells systemd |
//! | `close_on_signals` | the same for a program that owns its runtime |

pub(crate) mod app;
pub(crate) mod builder;
pub(crate) mod close_on_signals;
pub(crate) mod main_function;
pub(crate) mod options;
mod print;
mod signals;
pub(crate) mod stop;
#[cfg(unix)]
mod systemd;
mod watch;
