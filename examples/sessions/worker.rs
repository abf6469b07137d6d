//! A worker of the server that fails, and is restarted: it counts what is said.

use headcount::{
    Context,
    supervision::{Restart, Supervised},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};

/// How often it fails before it goes on.
pub(crate) const FAILURES: u64 = 2;
/// How many lines an attempt counts before it fails.
const LINES: u64 = 50;

/// Tells the worker of a line that was said.
pub(crate) type Teller = mpsc::UnboundedSender<()>;

/// What outlives an attempt: what comes in, and the count.
struct Work {
    lines: Mutex<mpsc::UnboundedReceiver<()>>,
    counted: Arc<AtomicU64>,
}

/// Starts it. The count is right at its end, which is when all tellers are gone.
pub(crate) fn start(server: &Context) -> (Supervised, Teller, Arc<AtomicU64>) {
    let (teller, lines) = mpsc::unbounded_channel();
    let work = Arc::new(Work {
        lines: Mutex::new(lines),
        counted: Arc::default(),
    });
    let counted = Arc::clone(&work.counted);
    let pauses = Duration::from_millis(20)..Duration::from_millis(100);
    let rules = Restart::on_failure().backoff(pauses.start, pauses.end);
    let worker = server
        .task("statistician")
        .restart(rules)
        .run(move |attempt| {
            let fails = attempt.number() <= FAILURES;
            count(Arc::clone(&work), fails)
        });
    (worker, teller, counted)
}

async fn count(work: Arc<Work>, fails: bool) -> Result<(), &'static str> {
    let mut lines = work.lines.lock().await;
    let mut counted = 0;
    while lines.recv().await.is_some() {
        work.counted.fetch_add(1, Relaxed);
        counted += 1;
        if fails && counted == LINES {
            return Err("the disk is full");
        }
    }
    Ok(())
}
