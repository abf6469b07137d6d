//! [`Overtime`]: bodies of tests that have run over their limit and cannot be ended, so that the process would not end either.

use crate::{
    clock::human,
    context::{alike, question::Question, state::Core},
    registry::registry::Registry,
    timer,
};
use std::{
    io::{self, Write},
    panic::Location,
    process,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// How long a runtime, or a poll of the body, may take beyond the limit before that is told.
const BLOCKED: Duration = Duration::from_secs(5);
/// How long after that, or after a limit that left a blocking closure behind, the process is ended.
const END: Duration = Duration::from_secs(30);

/// The watch over one body, until this is dropped. The limit itself is a matter of the runtime, which may be blocked.
pub(super) struct Overtime(Arc<Body>);

struct Body {
    location: &'static Location<'static>,
    limit: Duration,
    registry: Weak<Core>,
    runtime: Option<Handle>,
    is_over: AtomicBool,
    /// Beginnings and ends of its polls: odd while one runs.
    steps: AtomicU32,
    patience: (Duration, Duration),
    end: fn(&str),
}

impl Overtime {
    pub(super) fn watch(
        limit: Duration,
        registry: &Registry,
        location: &'static Location<'static>,
    ) -> Self {
        Self::with(limit, registry, location, (BLOCKED, END), end_process)
    }

    fn with(
        limit: Duration,
        registry: &Registry,
        location: &'static Location<'static>,
        patience: (Duration, Duration),
        end: fn(&str),
    ) -> Self {
        let body = Arc::new(Body {
            location,
            limit,
            registry: Arc::downgrade(registry.root()),
            runtime: Handle::try_current().ok(),
            is_over: AtomicBool::new(false),
            steps: AtomicU32::new(0),
            patience,
            end,
        });
        let late = Arc::clone(&body);
        timer::run_after(limit, move || late.ask());
        Self(body)
    }

    /// Runs one poll of the body.
    pub(super) fn poll<R>(&self, poll: impl FnOnce() -> R) -> R {
        self.0.steps.fetch_add(1, Relaxed);
        let result = poll();
        self.0.steps.fetch_add(1, Relaxed);
        result
    }

    /// The limit has come. The blocking closures that run on keep their runtime from ending, and with it the process: names
    /// them, if there are any, and ends the process if they do not end by themselves.
    pub(super) fn left_behind(&self, registry: &Registry) -> Option<String> {
        let live = registry.live_now();
        let closures = live.iter().filter(|task| task.is_unabortable());
        let (ids, texts): (Vec<_>, Vec<_>) =
            closures.map(|task| (task.id(), alike::one(task))).unzip();
        if ids.is_empty() {
            return None;
        }
        let ((_, end_after), end) = (self.0.patience, self.0.end);
        let (table, at) = (Arc::clone(&registry.root().node.table), self.0.location);
        let said = texts.join(", ");
        let text = format!("a blocking closure of the check at {at} does not return: {said}");
        timer::run_after(end_after, move || {
            if ids
                .iter()
                .any(|id| table.table_ref().state_of(*id).is_some())
            {
                end(&text);
            }
        });
        Some(format!(
            "nothing can end a blocking closure that runs, and the runtime waits for it; if it has not returned in {}, the process \
             ends: {said}",
            human(end_after)
        ))
    }
}

impl Drop for Overtime {
    fn drop(&mut self) {
        self.0.is_over.store(true, SeqCst);
    }
}

impl Body {
    /// The limit is over, and the body is not.
    fn ask(self: Arc<Self>) {
        let runtime = self.runtime.as_ref().filter(|_| !self.is_over.load(SeqCst));
        let Some(question) = runtime.map(|runtime| Question::put_to(runtime, Instant::now()))
        else {
            return;
        };
        let steps = self.steps.load(Relaxed);
        timer::run_after(self.patience.0, move || self.speak(question, steps));
    }

    /// Says that it is blocked, if it is.
    fn speak(self: Arc<Self>, question: Question, steps: u32) {
        if !self.is_blocked(&question, steps) {
            return;
        }
        let (limit, blocked, end) = (self.limit, self.patience.0, self.patience.1);
        let live = self.registry.upgrade();
        let live = live.map(|root| Registry::of(&root).live_now().to_string());
        let text = format!(
            "the body of the check at {} did not end within {}, and has blocked its thread for {}; if that goes on for {}, the \
             process ends\n\n{}",
            self.location,
            human(limit),
            human(blocked),
            human(end),
            live.unwrap_or_default()
        );
        let _ = writeln!(io::stderr(), "{text}");
        timer::run_after(end, move || {
            if self.is_blocked(&question, steps) {
                (self.end)(&text);
            }
        });
    }

    /// Whether its runtime has not answered, or it is in the same poll as before.
    fn is_blocked(&self, question: &Question, steps: u32) -> bool {
        let is_in_poll = steps % 2 == 1 && self.steps.load(Relaxed) == steps;
        !self.is_over.load(SeqCst) && (!question.is_answered() || is_in_poll)
    }
}

/// As the test runner does after a failure.
fn end_process(why: &str) {
    let _ = writeln!(
        io::stderr(),
        "{why}\n\nthe process is ended by headcount::testing"
    );
    process::exit(101);
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use std::{sync::Mutex, thread};

    const PATIENCE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(20));

    fn runtime() -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime without drivers")
    }

    #[test]
    fn a_body_that_blocks_its_thread_is_ended_with_its_process() {
        static ENDED: Mutex<Option<String>> = Mutex::new(None);
        fn end(why: &str) {
            *ENDED.lock().unwrap() = Some(why.to_owned());
        }
        runtime().block_on(async {
            let (registry, limit) = (Registry::new(), Duration::from_millis(1));
            let overtime = Overtime::with(limit, &registry, Location::caller(), PATIENCE, end);
            overtime.poll(|| {
                while ENDED.lock().unwrap().is_none() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
        });
        let ended = ENDED.lock().unwrap().take().unwrap();
        assert!(
            ended.contains("overtime.rs:")
                && ended.contains("did not end within 1ms, and has blocked its thread for 20ms"),
            "{ended}"
        );
    }

    #[test]
    fn a_body_that_ends_or_waits_is_left_alone() {
        fn end(why: &str) {
            panic!("{why}");
        }
        runtime().block_on(async {
            let (registry, limit) = (Registry::new(), Duration::ZERO);
            let ended = Overtime::with(limit, &registry, Location::caller(), PATIENCE, end);
            let body = Arc::clone(&ended.0);
            drop(ended);
            let question = Question::put_to(&Handle::current(), Instant::now());
            assert!(!body.is_blocked(&question, 1));
            let waits = Overtime::with(limit, &registry, Location::caller(), PATIENCE, end);
            assert!(waits.0.is_blocked(&question, 2));
            tokio::task::yield_now().await;
            assert!(!waits.0.is_blocked(&question, 2));
            assert!(waits.left_behind(&registry).is_none());
        });
    }

    #[test]
    fn a_blocking_closure_that_does_not_return_ends_the_process() {
        static ENDED: Mutex<Option<String>> = Mutex::new(None);
        fn end(why: &str) {
            *ENDED.lock().unwrap() = Some(why.to_owned());
        }
        runtime().block_on(async {
            let (registry, limit) = (Registry::new(), Duration::from_secs(3_600));
            let ctx = registry.context("ctx");
            let (tell, told) = std::sync::mpsc::channel();
            drop(ctx.task("closure").spawn_blocking(move || {
                tell.send(()).unwrap();
                while ENDED.lock().unwrap().is_none() {
                    thread::sleep(Duration::from_millis(1));
                }
            }));
            told.recv().unwrap();
            let overtime = Overtime::with(limit, &registry, Location::caller(), PATIENCE, end);
            let said = overtime.left_behind(&registry).unwrap();
            assert!(said.contains("ctx/closure (blocking running"), "{said}");
            ctx.close().await;
        });
        let ended = ENDED.lock().unwrap().take().unwrap();
        assert!(ended.contains("does not return: ctx/closure"), "{ended}");
    }
}
