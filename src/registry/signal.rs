//! Dumps at a signal: a thread of their own makes them, because the runtimes that they are about may be blocked (I19).

use crate::{
    context::{blocked, state::Core},
    panics,
    registry::registry::Registry,
};
use futures::FutureExt;
use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, Location},
    sync::{Arc, Weak},
    thread,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

/// Starts the thread. A runtime of its own tells it of the signal, and of the answers of tasks.
pub(crate) fn dump_on(
    root: Weak<Core>,
    kind: SignalKind,
    location: &'static Location<'static>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _entered = runtime.enter();
        signal(kind)?
    };
    let thread = thread::Builder::new().name("headcount-dump".into());
    thread.spawn(move || listen(&runtime, signals, &root, location))?;
    Ok(())
}

/// Makes a dump at each signal, until one comes when the registry is gone.
fn listen(runtime: &Runtime, mut signals: Signal, root: &Weak<Core>, location: &Location<'_>) {
    runtime.block_on(async {
        while signals.recv().await.is_some() {
            let Some(root) = root.upgrade() else { return };
            // Whatever happens, the next one is made.
            let dump = AssertUnwindSafe(print_dump(&root, location)).catch_unwind();
            if let Err(payload) = dump.await {
                panics::bury(payload);
            }
        }
    });
}

async fn print_dump(root: &Arc<Core>, location: &Location<'_>) {
    let registry = Registry::of(root);
    let live = registry.live().await;
    let dump = registry.dump().await;
    let dropping = blocked::destructors(&root.node.table);
    let dropping: Vec<_> = dropping
        .into_iter()
        .map(|text| format!("\n\n{text}"))
        .collect();
    let said = format!(
        "dump asked for by a signal (see {location})\n{live}\n\n{dump}{}",
        dropping.concat()
    );
    // Where nothing reads it, it is lost; `eprintln` would panic.
    let _ = writeln!(io::stderr(), "{said}");
}
