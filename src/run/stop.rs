//! [`Stop`]: the stages of a stop.
//!
//! Code that wants a stop says so here, from any thread, and never waits: the watch thread does what follows. What it does with
//! the registry runs beside it, because wakers and observers are user code, which may block: the watch thread must
//! hear the next signal all the same.

use crate::{
    context::{
        close_reason::CloseReason, haste::Deadline, report::CloseReport, state::Core,
        still_closing::StillClosing, wait,
    },
    dump::{dump::Dump, view::Activity},
    offload, panics,
    registry::{readiness::Readiness, registry::Registry},
    run::{options::StopOptions, print::print, signals::Received},
    table::record::State,
};
use futures::future::{Either, select};
use std::{
    panic::Location,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU8, Ordering::SeqCst},
        mpsc::{self, Receiver},
    },
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};

/// How long tasks have to answer where they are when a second signal has come, before they are aborted.
const ANSWERS: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the dump that follows a second signal.
const DUMP_LIMIT: Duration = Duration::from_secs(5);

/// How far a stop has come. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Running,
    /// Not ready any more; everything else goes on, until the drain delay is over.
    Draining,
    /// The close has begun, or begins at this moment.
    Closing,
    /// All tasks are aborted.
    Hurried,
    /// The main thread is about to return.
    Over,
}

/// A stop of a registry, and what is known of it.
pub(crate) struct Stop {
    /// What the service is called.
    pub(super) name: String,
    root: Weak<Core>,
    readiness: Readiness,
    pub(super) options: StopOptions,
    location: &'static Location<'static>,
    /// Whether that is a main function of ours.
    is_main: bool,
    stage: watch::Sender<Stage>,
    /// Whether the service has said that it is ready.
    was_ready: watch::Sender<bool>,
    reason: OnceLock<CloseReason>,
    /// Known when the close begins.
    deadline: OnceLock<Deadline>,
    /// What the system leaves, if it has said so.
    system_limit: OnceLock<Duration>,
    /// Of the last signal; 0 if there was none.
    exit_code: AtomicU8,
    /// There once the runtime is up.
    runtime: OnceLock<Handle>,
    /// Ends when the dump of a second signal is printed.
    dumped: Mutex<Option<Receiver<()>>>,
}

impl Stop {
    pub(super) fn new(
        name: String,
        registry: &Registry,
        options: StopOptions,
        (location, is_main): (&'static Location<'static>, bool),
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            root: Arc::downgrade(registry.root()),
            readiness: registry.readiness(),
            options,
            location,
            is_main,
            stage: watch::Sender::new(Stage::Running),
            was_ready: watch::Sender::new(false),
            reason: OnceLock::new(),
            deadline: OnceLock::new(),
            system_limit: OnceLock::new(),
            exit_code: AtomicU8::new(0),
            runtime: OnceLock::new(),
            dumped: Mutex::default(),
        })
    }

    // What others ask for.

    /// The runtime is up.
    pub(super) fn start(self: &Arc<Self>, runtime: &Handle) {
        let _ = self.runtime.set(runtime.clone());
        // Pairs with `begin_close`: if that found no runtime the stage is there already, and this begins the close.
        if self.stage() >= Stage::Closing {
            self.begin_close();
        }
    }

    /// The service has said that it is ready.
    pub(super) fn set_ready(&self) {
        self.was_ready.send_replace(true);
    }

    /// Asks for a stop. The first reason wins.
    pub(super) fn request(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        self.readiness.stop();
        self.advance(Stage::Draining);
    }

    /// Asks for a stop without a drain delay: the close has begun, or nothing is left that could be drained.
    pub(super) fn request_now(&self, reason: CloseReason) {
        self.request(reason);
        self.advance(Stage::Closing);
    }

    /// Asks to abort what is left.
    pub(super) fn hurry(&self) {
        self.advance(Stage::Hurried);
    }

    /// The main thread is about to return.
    pub(super) fn end(&self) {
        self.advance(Stage::Over);
    }

    /// Notes that a signal has come.
    pub(super) fn note(&self, signal: Received) {
        self.exit_code.store(signal.exit_code, SeqCst);
        if let Some(limit) = signal.limit {
            let _ = self.system_limit.set(limit);
        }
    }

    fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let is_later = stage > *now;
            *now = stage.max(*now);
            is_later
        });
    }

    // What is known.

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until this stage, or a later one.
    pub(super) async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        let _ = stages.wait_for(|now| *now >= stage).await;
    }

    /// Waits until the service has said that it is ready.
    #[cfg(unix)]
    pub(super) async fn ready(&self) {
        let mut was_ready = self.was_ready.subscribe();
        let _ = was_ready.wait_for(|was| *was).await;
    }

    #[cfg(unix)]
    pub(super) fn was_ready(&self) -> bool {
        *self.was_ready.borrow()
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// None once the registry is gone.
    pub(super) fn registry(&self) -> Option<Registry> {
        self.root.upgrade().map(|root| Registry::of(&root))
    }

    /// Why it stops, once it does.
    pub(super) fn reason(&self) -> CloseReason {
        let reason = self.reason.get().cloned();
        reason.unwrap_or(CloseReason::Shutdown)
    }

    /// What the process exits with if it is ended by force.
    pub(super) fn exit_code(&self) -> u8 {
        match self.exit_code.load(SeqCst) {
            0 => 1,
            code => code,
        }
    }

    /// Whether nothing of the registry is left that could hold up the end of the process.
    pub(super) fn is_over(&self) -> bool {
        let is_closed = || {
            self.registry()
                .is_none_or(|registry| registry.state() == State::Closed)
        };
        match self.stage() {
            Stage::Over => true,
            // A main function of ours still has to return.
            _ => !self.is_main && is_closed(),
        }
    }

    pub(super) fn drain_delay(&self) -> Duration {
        if self.system_limit.get().is_some() {
            return Duration::ZERO;
        }
        self.options.drain_delay
    }

    pub(super) fn time_to_close(&self) -> Duration {
        let limit = self.system_limit.get().copied();
        self.options.deadline.min(limit.unwrap_or(Duration::MAX))
    }

    /// By when the close is to be over. Decided by the first that asks, when the close begins.
    fn deadline(&self) -> Deadline {
        *self
            .deadline
            .get_or_init(|| Deadline::from(self.time_to_close()))
    }

    // What the stages do.

    /// Begins the close, or hurries one that runs, and waits for its end until the deadline.
    pub(super) fn close(
        &self,
        registry: &Registry,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
        let (reason, deadline) = (self.reason(), self.deadline());
        wait::close_by(registry.root(), reason, deadline, self.location)
    }

    /// Begins the close, for a stage that has been reached.
    pub(super) fn begin_close(self: &Arc<Self>) {
        self.beside(|stop, runtime, registry| {
            let _entered = runtime.enter();
            drop(stop.close(&registry));
        });
    }

    /// The same, in this call.
    pub(super) fn begin_close_here(&self) {
        if let Some(registry) = self.registry() {
            drop(self.close(&registry));
        }
    }

    /// Aborts what is left, and prints where it was.
    pub(super) fn close_now(self: &Arc<Self>) {
        let (dumping, dumped) = mpsc::channel::<()>();
        *self.dumped.lock().unwrap_or_else(PoisonError::into_inner) = Some(dumped);
        self.beside(move |stop, runtime, registry| {
            let _dumping = dumping;
            let close_now = || {
                let _entered = runtime.enter();
                drop(wait::close_now(
                    registry.root(),
                    stop.reason(),
                    stop.location,
                ));
            };
            let name = &stop.name;
            match Builder::new_current_thread().enable_all().build() {
                Ok(own) => {
                    let mut dump = own.block_on(dump_and(&registry, close_now));
                    // The first signal, or the end of the drain delay, has told them to.
                    dump.tasks.retain(|task| task.activity() != Activity::Finished);
                    dump.hooks.retain(|hook| hook.activity() != Activity::Finished);
                    if dump.tasks.is_empty() && dump.hooks.is_empty() {
                        print(format_args!(
                            "{name} is told a second time to stop, and nothing is left to abort"
                        ));
                    } else {
                        print(format_args!(
                            "{name} is told a second time to stop, and aborts what has not ended by then:\n{dump}"
                        ));
                    }
                }
                Err(_) => close_now(),
            }
        });
    }

    /// Waits until the dump of a second signal is printed, if there was one, but not for long.
    pub(super) fn wait_for_dump(&self) {
        let dumped = self
            .dumped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(dumped) = dumped {
            let _ = dumped.recv_timeout(DUMP_LIMIT);
        }
    }

    /// Runs something on a thread of the runtime's pool, or on one of its own if that is full: not on this one, which must hear the
    /// next signal. Nothing happens before the runtime is up, or when the registry is gone.
    fn beside(self: &Arc<Self>, run: impl FnOnce(&Self, &Handle, Registry) + Send + 'static) {
        let stop = Arc::clone(self);
        let Some(runtime) = self.runtime().cloned() else {
            return;
        };
        offload::begin(&runtime.clone(), move || {
            if let Some(registry) = stop.registry() {
                panics::contain(|| run(&stop, &runtime, registry));
            }
        });
    }
}

/// Asks what is left where it is, and does this when all have answered, or have had the time to.
async fn dump_and(registry: &Registry, then: impl FnOnce()) -> Dump {
    let dump = pin!(registry.dump_within(ANSWERS));
    // Stacks are taken at once, and to look up their lines may take longer.
    match select(dump, pin!(tokio::time::sleep(ANSWERS))).await {
        Either::Left((dump, _)) => {
            then();
            dump
        }
        Either::Right(((), dump)) => {
            then();
            dump.await
        }
    }
}
