//! What is said to `tracing` on a thread.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};
use tracing::{Dispatch, subscriber::DefaultGuard};

#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With one subscriber alone `tracing` asks the thread that comes to an event first whether any wants it: another test's.
static ONE_MORE: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

/// Listens on this thread until the guard is dropped.
pub(crate) fn said() -> (Said, DefaultGuard) {
    LazyLock::force(&ONE_MORE);
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let heard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    (said, heard)
}
