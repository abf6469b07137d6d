//! What systemd is told, where it has started the process (`NOTIFY_SOCKET` is set), by a thread of its own: a socket that nothing
//! reads holds up nothing else.
//!
//! | when | what |
//! |---|---|
//! | the service has said that it is ready | `READY=1` |
//! | a stop was asked for | `STOPPING=1`, and `STATUS` says why |
//! | each second until the end | `STATUS` says who is inside, and `EXTEND_TIMEOUT_USEC` comes if something has ended meanwhile |
//! | after half of `WATCHDOG_USEC`, again and again | `WATCHDOG=1`, once the runtime of the service has run an empty task |

use crate::{
    context::{alike::Alike, tally::Counts},
    id::ResourceId,
    registry::registry::Registry,
    run::{
        print::print,
        stop::{Stage, Stop},
    },
};
use futures::future::select;
use sd_notify::NotifyState;
use std::{env, fmt::Write, future::pending, pin::pin, sync::Arc, thread, time::Duration};
use tokio::{runtime::Builder, time::sleep};

/// How often systemd is told who is inside.
const PERIOD: Duration = Duration::from_secs(1);
/// How long systemd is asked to wait for the next progress, in microseconds.
const PATIENCE: u32 = 10_000_000;

/// Starts the thread, if systemd wants to be told.
pub(super) fn start(stop: &Arc<Stop>) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let stop = Arc::clone(stop);
    let thread = thread::Builder::new().name("headcount-systemd".into());
    let started = thread.spawn(move || {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            let (tell, feed) = (pin!(tell(&stop)), pin!(feed_watchdog(&stop)));
            select(select(tell, feed), pin!(stop.reached(Stage::Over))).await;
        });
        std::io::Result::Ok(())
    });
    if let Err(error) = started {
        print(format_args!("systemd is not told anything: {error}"));
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // There is no other way to say that it failed than by what fails.
    let _ = sd_notify::notify(states);
}

/// Tells of the stages in their order.
async fn tell(stop: &Stop) {
    let stopping = stop.reached(Stage::Draining);
    select(pin!(stop.ready()), pin!(stopping)).await;
    if stop.was_ready() {
        notify(&[NotifyState::Ready]);
    }
    stop.reached(Stage::Draining).await;
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status(&status(stop, "")),
    ]);
    let mut before = None;
    while let Some(registry) = stop.registry() {
        let progress = Progress::of(&registry);
        let more = format!(": {}", inside(&registry));
        notify(&[NotifyState::Status(&status(stop, &more))]);
        // While it drains it is to wait.
        if stop.stage() == Stage::Draining || before.as_ref() != Some(&progress) {
            notify(&[NotifyState::ExtendTimeoutUsec(PATIENCE)]);
        }
        before = Some(progress);
        sleep(PERIOD).await;
    }
}

/// Feeds the watchdog at half of its interval, as long as the runtime of the service runs an empty task within the other half.
async fn feed_watchdog(stop: &Stop) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return pending().await;
    };
    loop {
        sleep(interval / 2).await;
        if let Some(runtime) = stop.runtime() {
            // A runtime that has ended runs none.
            if runtime.spawn(async {}).await.is_ok() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }
}

/// What a close has done so far.
#[derive(PartialEq, Eq)]
struct Progress {
    counts: Counts,
    entries: usize,
    hooks: Vec<ResourceId>,
}

impl Progress {
    fn of(registry: &Registry) -> Self {
        let node = &registry.root().node;
        let hooks = node.running_hooks();
        Self {
            counts: node.counts(),
            entries: registry.count(),
            hooks: hooks.iter().map(|hook| hook.id).collect(),
        }
    }
}

/// Who is inside, on one line.
fn inside(registry: &Registry) -> String {
    let left = registry.live_now().unfinished();
    let (tasks, contexts) = (left.tasks(), left.contexts().len());
    let plural = |count| if count == 1 { "" } else { "s" };
    let mut text = format!(
        "{} task{} and {contexts} context{} left",
        tasks.len(),
        plural(tasks.len()),
        plural(contexts)
    );
    if !tasks.is_empty() {
        let _ = write!(text, ": {}", Alike::of(tasks.iter()));
    }
    text
}

/// A line break would begin another assignment.
fn status(stop: &Stop, more: &str) -> String {
    format!("stopping ({}){more}", stop.reason()).replace(['\n', '\r'], " ")
}
