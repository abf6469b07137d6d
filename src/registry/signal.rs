//! A dump on a signal: `kill -USR1`.

use crate::registry::handle::Registry;
use std::{
    io::{self, Write},
    panic::Location,
};
use tokio::signal::unix::{SignalKind, signal};

impl Registry {
    /// Prints everything that is alive in this registry, and where every task waits, to standard error each time the
    /// process gets this signal: for a service that hangs.
    ///
    /// It goes on for as long as the runtime lives, and does not keep the registry. Unix only; needs the feature `signal`.
    /// It is a task like any other: where every thread of the runtime is blocked, nothing is printed.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// # let runtime = tokio::runtime::Runtime::new()?;
    /// # let _entered = runtime.enter();
    /// use headcount::Registry;
    /// use tokio::signal::unix::SignalKind;
    /// Registry::global().dump_on(SignalKind::user_defined1())?; // kill -USR1 <pid>
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the signal cannot be listened to, as `SIGKILL`.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime with I/O.
    #[track_caller]
    pub fn dump_on(&self, kind: SignalKind) -> io::Result<()> {
        let mut signals = signal(kind)?;
        let root = std::sync::Arc::downgrade(self.root());
        let location = Location::caller();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let Some(root) = root.upgrade() else { return };
                print(&Registry::of(&root), location).await;
            }
        });
        Ok(())
    }
}

/// [`Registry::dump_on`] on the [global](Registry::global) registry.
///
/// # Errors
///
/// As [`Registry::dump_on`], whose panics it has too.
#[track_caller]
pub fn dump_on(kind: SignalKind) -> io::Result<()> {
    Registry::global().dump_on(kind)
}

async fn print(registry: &Registry, location: &Location<'_>) {
    let live = registry.live().await;
    let dump = registry.dump().await;
    let said = format!("dump asked for by a signal (see {location})\n{live}\n\n{dump}");
    // Where nobody reads it, it is written to nobody; `eprintln` would panic.
    let _ = writeln!(io::stderr(), "{said}");
}
