//! The watch thread: it hears signals and enforces the time limit, also where every thread of the service's runtime is blocked
//! (I19).
//!
//! It has a runtime of its own, on which no user code runs. It goes on until the process ends: the system does not end the process
//! at a signal any more, so the thread has to do that when the service is over.

use crate::{
    clock, event,
    name::Printed,
    run::{
        print::{print, print_within},
        signals::{Received, Signals},
        stop::{Stage, Stop},
    },
};
use futures::future::select;
use std::{io, pin::pin, process, sync::Arc, thread, time::Duration};
use tokio::{
    runtime::{Builder, Handle},
    time::sleep,
};

/// How many things of one parent are named when the process is ended by force.
const NAMED: usize = 10;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Begins to listen, and starts the thread. Returns the handle of its runtime. From here on no signal is lost.
pub(super) fn start(stop: &Arc<Stop>) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let handle = runtime.handle().clone();
    let stop = Arc::clone(stop);
    let thread = thread::Builder::new().name("headcount-signals".into());
    thread.spawn(move || {
        runtime.block_on(async {
            tokio::spawn(go_through_stages(Arc::clone(&stop)));
            tokio::spawn(enforce_limit(Arc::clone(&stop)));
            count_signals(stop, signals).await;
        });
    })?;
    Ok(handle)
}

/// The first signal asks for a stop, the second one for haste, the third one ends the process. Where nothing is left to stop the
/// first one does.
async fn count_signals(stop: Arc<Stop>, mut signals: Signals) {
    let mut count = 0;
    loop {
        let signal = signals.next().await;
        stop.note(signal);
        count += 1;
        if stop.is_over() {
            process::exit(signal.exit_code.into());
        }
        tell(&stop, signal, count);
        match count {
            1 => stop.request(signal.name.into()),
            2 => stop.hurry(),
            _ => exit(&stop, format!("got {} a third time", signal.name)),
        }
    }
}

/// A subscriber is user code, which may block: it does not run on the watch thread.
fn tell(stop: &Stop, signal: Received, count: u32) {
    let (name, signal) = (stop.name.clone(), signal.name);
    let what = match count {
        1 => "stopping; a second signal aborts what is left, a third one ends the process",
        2 => "aborting what has not ended; a third signal ends the process",
        _ => "the process ends",
    };
    let thread = thread::Builder::new().name("headcount-event".into());
    let _ = thread.spawn(move || {
        event::emit!(target: "headcount::run", INFO, service = %Printed(&name), signal, "got {signal}: {what}");
        if event::printed::is_printed() {
            print(format_args!("{} got {signal}: {what}", Printed(&name)));
        }
    });
}

/// Does what each stage asks for when it is reached.
async fn go_through_stages(stop: Arc<Stop>) {
    stop.reached(Stage::Draining).await;
    // A second signal, the close by other code, and the end of the body cut it short.
    let closing = stop.reached(Stage::Closing);
    select(pin!(closing), pin!(sleep(stop.drain_delay()))).await;
    stop.request_now(stop.reason());
    stop.begin_close();
    stop.reached(Stage::Hurried).await;
    if stop.stage() == Stage::Hurried {
        stop.close_now();
    }
}

/// Ends the process when it has not come to its end in time.
async fn enforce_limit(stop: Arc<Stop>) {
    stop.reached(Stage::Closing).await;
    let time = stop.time_to_close();
    let Some(limit) = time.checked_add(stop.options.exit_after) else {
        return;
    };
    sleep(limit).await;
    if !stop.is_over() {
        exit(
            &stop,
            format!("has not stopped within {}", clock::human(limit)),
        );
    }
}

/// Ends the process, and says what was left.
fn exit(stop: &Arc<Stop>, why: String) -> ! {
    let code = stop.exit_code();
    let told = Arc::clone(stop);
    print_within(LAST_WORDS, move || {
        let left = told.registry().map_or_else(String::new, |registry| {
            format!(":\n{}", registry.live_now().trimmed(NAMED))
        });
        format!(
            "{} {why}; the process ends with exit code {code}, and leaves behind{left}",
            told.name
        )
    });
    process::exit(code.into())
}
