//! [`Registry`]: the handle.

#[cfg(feature = "dump")]
use crate::{
    context::{blocked, dumps::DUMP_LIMIT},
    dump::dump::Dump,
};
use crate::{
    context::{
        builder::ContextBuilder,
        close_reason::CloseReason,
        context::Context,
        current::{self, Scope, Scoped},
        driver, finish,
        haste::Deadline,
        haste::Limits,
        hook_output::HookOutput,
        hooks::{Hook, When},
        report::CloseReport,
        state::Core,
        stats::Stats,
        still_closing::StillClosing,
        stop_on, wait,
        weak::add_hook,
    },
    error::ClosedError,
    events::Events,
    id::ResourceId,
    leaks::{find, growth::Growth, policy::LeakPolicy, report::LeakReport},
    ledger::level::Level,
    name::{Name, label},
    registry::{builder::RegistryBuilder, readiness::Readiness, watch::LeakWatch},
    table::{
        kinds::KindCount,
        live::Live,
        record::{Facts, Record, State},
        registration::Registration,
        store::Table,
    },
    task::{builder::TaskBuilder, handle::Task},
    tracked::Tracked,
};
use std::{
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A registry lists everything that is alive, with its name, kind, age, parent, and the line that created it.
///
/// It lists tasks and contexts for as long as they live, and whatever else is [`register`](Self::register)ed,
/// [`own`](Self::own)ed or [`track`](Self::track)ed. It keeps none of them alive (I3, I5). Clones are cheap and refer to the
/// same registry. Different registries are independent of each other.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::Registry;
///
/// let registry = Registry::new();
/// let server = registry.context("server");
/// server.task("accept").cancellable().spawn(std::future::pending::<()>());
///
/// println!("{}", registry.live().await);
/// assert_eq!(registry.count(), 2);
///
/// assert_eq!(registry.close().await.cancelled(), 1);
/// drop(server);
/// assert!(registry.is_empty());
/// # }
/// ```
///
/// # Performance
///
/// Registering and removing an entry are lock-free. Together they take about as long as an insertion into a `DashMap` and a
/// removal from it, however many entries there are. Memory is O(live): the table shrinks again (I6).
#[derive(Clone)]
pub struct Registry {
    root: Arc<Core>,
}

impl Registry {
    /// A registry of its own.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            root: Core::of_registry(Limits::default(), None),
        }
    }

    /// A registry with settings, which its contexts inherit.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The registry of the whole process. [`close`](Self::close) ends it for good; tests want one of
    /// their own, see [`scope`](Self::scope).
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        // Made outside of the lock: a subscriber that hears of it may ask for this one (I9).
        GLOBAL.get().unwrap_or_else(|| {
            let fresh = Self::new();
            GLOBAL.get_or_init(|| fresh)
        })
    }

    /// The registry that the running code belongs to: inside a task, blocking closure or hook of a
    /// context that context's registry; inside [`scope`](Self::scope) that one; whichever is
    /// innermost. Otherwise the [global](Self::global) one.
    pub fn current() -> Self {
        current::with_node(|node| node.core.upgrade())
            .flatten()
            .map_or_else(|| Self::global().clone(), |core| Self::of(&core))
    }

    /// Runs a future with this registry as the [current](Self::current) one.
    ///
    /// It waits for the future and for nothing that it spawns, and does not reach into what that spawns
    /// with bare `tokio::spawn`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::Registry;
    /// let registry = Registry::new();
    /// registry
    ///     .scope(async {
    ///         let _entry = headcount::register("request", "request");
    ///         assert_eq!(Registry::current().count(), 1);
    ///     })
    ///     .await;
    /// assert_eq!(registry.count(), 0);
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let held = self.clone();
        let scoped = Scoped::new(Scope::Registry(Arc::clone(&self.root().node)), future);
        async move {
            // The scope knows the registry's node; the registry itself must live as long.
            let _held = held;
            scoped.await
        }
    }

    /// Opens a context at the top of this registry. Its settings are the defaults: a grace period and
    /// a hook time limit of 5 s; [`context_builder`](Self::context_builder) changes them.
    ///
    /// Once the registry was [`close`](Self::close)d, contexts are closed from the start.
    #[must_use = "a context closes when its last handle is dropped"]
    #[track_caller]
    pub fn context(&self, name: impl Into<Name>) -> Context {
        self.context_builder(name).open()
    }

    /// Opens a context at the top of this registry, runs a body with it, closes it, and returns what the body returned. See
    /// [`with_context`](crate::with_context).
    #[track_caller]
    pub fn with_context<B, T, N: Into<Name>>(
        &self,
        name: N,
        body: B,
    ) -> impl Future<Output = T> + use<B, T, N>
    where
        B: AsyncFnOnce(Context) -> T,
    {
        self.context(name).run(body, Location::caller())
    }

    /// Opens a context at the top of this registry, with settings.
    #[must_use = "a builder opens nothing until `open`"]
    #[track_caller]
    pub fn context_builder(&self, name: impl Into<Name>) -> ContextBuilder<'_> {
        ContextBuilder::new(&self.root, label(name.into()), Location::caller())
    }

    /// Lists something for as long as the returned [`Registration`] lives: under the context whose task is running, if one is.
    /// [`Context::register`] lists under one that is named.
    #[track_caller]
    pub fn register(&self, name: impl Into<Name>, kind: impl Into<Name>) -> Registration {
        Registration::new(self.table(), facts(name, kind), (self.parent(), false))
    }

    /// Takes a value and lists it for as long as a handle to it lives.
    #[must_use = "the value is dropped with its last handle"]
    #[track_caller]
    pub fn own<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Name>,
        kind: impl Into<Name>,
        value: T,
    ) -> Tracked<T> {
        let parent = (self.parent(), false);
        Tracked::new(self.table(), facts(name, kind), parent, value)
    }

    /// Lists an `Arc` of yours, without holding it, until its last handle is gone or it is
    /// [`untrack`](Self::untrack)ed.
    ///
    /// The registry is not told when that is: a dead entry is never listed or counted, and is swept
    /// as others register. Until then it keeps the `Arc`'s memory, as every `Weak` does, but not
    /// the value. [`own`](Self::own) and [`register`](Self::register) are exact.
    ///
    /// ```
    /// use std::sync::Arc;
    /// let registry = headcount::Registry::new();
    /// let conn = Arc::new("a connection");
    /// registry.track(&conn, "conn-1", "connection");
    /// assert_eq!(registry.live_now().len(), 1);
    /// drop(conn);
    /// assert!(registry.live_now().is_empty());
    /// ```
    #[track_caller]
    pub fn track<T: Send + Sync + ?Sized + 'static>(
        &self,
        value: &Arc<T>,
        name: impl Into<Name>,
        kind: impl Into<Name>,
    ) -> ResourceId {
        self.table()
            .track(facts(name, kind), self.parent(), Arc::downgrade(value))
    }

    /// Forgets a resource; the thing itself lives on. False, and nothing happens, if the id names no
    /// resource any more, or a task or a context.
    pub fn untrack(&self, id: ResourceId) -> bool {
        self.table().forget(id)
    }

    /// Forgets every resource, and returns how many that were; the things themselves live on. Tasks
    /// and contexts stay.
    pub fn clear(&self) -> usize {
        self.table().clear()
    }

    /// Lists everything that is alive.
    ///
    /// Scans in bounded steps and yields to the runtime between them, so it never blocks the event
    /// loop. What was alive during the whole call is in, what had ended before it is not (I4).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn live(&self) -> Live {
        self.table().live().await
    }

    /// As [`live`](Self::live), for synchronous code: a panic hook, a destructor, the last line of a
    /// test. Takes about 30 ns an entry, without yielding.
    pub fn live_now(&self) -> Live {
        self.table().live_now()
    }

    /// What happens in the registry from here on, as it happens: a stream of `Result<Event, Lost>`, which ends when it has closed.
    ///
    /// See [`events`](crate::events) for an example, and [`docs::events`](crate::docs::events) for what is promised.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, events::What};
    /// let registry = Registry::new();
    /// let mut events = registry.events();
    /// registry.spawn(async { panic!("on purpose") }).await.unwrap_err();
    /// while let Some(Ok(event)) = events.try_next() {
    ///     if let What::Failed(failure) = event.what() {
    ///         println!("{} {failure}", event.id());
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::of(&self.table().events)
    }

    /// What became of all tasks so far: the sums of a [`CloseReport`], without a close.
    ///
    /// # Performance
    ///
    /// Tasks pay nothing for it: it reads what their contexts count anyway, once for each open context.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let ctx = registry.context("job");
    /// ctx.spawn(async {}).await.unwrap();
    /// ctx.close().await;
    /// let stats = registry.stats();
    /// assert_eq!((stats.spawned, stats.finished, stats.closed), (1, 1, 1));
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        Stats::of(&self.root)
    }

    /// How many entries there are by kind and state, in the order of their kinds.
    ///
    /// Like [`live`](Self::live) it never holds up the runtime; it notes nothing but numbers, so it suits a figure that is asked
    /// for every few seconds. There are no sums by kind of what has ended: they would cost each task something.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::State;
    /// let registry = headcount::Registry::new();
    /// let _doors = ["front", "back"].map(|name| registry.register(name, "door"));
    /// let _ctx = registry.context("job");
    ///
    /// let counts = registry.count_by_kind().await;
    /// let counts: Vec<_> = counts.iter().map(|c| (c.kind.as_str(), c.state, c.count)).collect();
    /// assert_eq!(counts, [("context", State::Open, 1), ("door", State::Live, 2)]);
    /// # }
    /// ```
    pub async fn count_by_kind(&self) -> Vec<KindCount> {
        self.table().count_by_kind().await
    }

    /// How many entries there are: exact while nothing registers or ends. Does not scan, except that
    /// tracked `Arc`s are looked at one by one.
    pub fn count(&self) -> usize {
        self.table().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Waits until no task and no open context is left. Closes nothing itself.
    ///
    /// From inside a task of this registry that moment never comes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        wait::idle(&self.root.node)
    }

    /// Closes every context of this registry, all at once but for those that others
    /// [need](ContextBuilder::needs), and the registry with them: afterwards nothing runs in it, and contexts opened from now
    /// on are closed from the start.
    ///
    /// The reason the contexts see is [`Parent`](CloseReason::Parent), that of the returned report
    /// [`Shutdown`](CloseReason::Shutdown); the report counts everything that ever ran in this
    /// registry. Resources can be registered and listed as before.
    ///
    /// As [`Context::close`] in all other respects: it begins in this call, from inside it only begins, callers share one
    /// close, and dropping the future abandons nothing.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[track_caller]
    pub fn close(&self) -> impl Future<Output = CloseReport> + use<> {
        self.close_with(CloseReason::Shutdown)
    }

    /// As [`close`](Self::close), for this reason; the first reason given wins.
    #[track_caller]
    pub fn close_with<R: Into<CloseReason>>(
        &self,
        reason: R,
    ) -> impl Future<Output = CloseReport> + use<R> {
        wait::close_for(&self.root, reason.into(), Location::caller())
    }

    /// Closes the registry, and sees to it that this is over by the deadline. See [`Context::close_by`].
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what was left behind, at the deadline. The close goes on.
    #[track_caller]
    pub fn close_by<D: Into<Deadline>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<D> {
        wait::close_by(
            &self.root,
            CloseReason::Shutdown,
            deadline.into(),
            Location::caller(),
        )
    }

    /// Closes the registry, and aborts all tasks at once. See [`Context::close_now`].
    #[track_caller]
    pub fn close_now(&self) -> impl Future<Output = CloseReport> + use<> {
        wait::close_now(&self.root, CloseReason::Shutdown, Location::caller())
    }

    /// Closes the registry, but waits no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what is in the way, when the limit comes first. The close goes on.
    #[track_caller]
    pub fn close_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
        wait::close_within(&self.root, limit, CloseReason::Shutdown, Location::caller())
    }

    /// Closes the registry once it has run dry. See [`Context::finish`].
    #[track_caller]
    pub fn finish(&self) -> impl Future<Output = CloseReport> + use<> {
        finish::finish(&self.root, Location::caller())
    }

    /// As [`finish`](Self::finish), until a deadline. See [`Context::finish_by`].
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what was left behind, at the deadline. The close goes on.
    #[track_caller]
    pub fn finish_by<D: Into<Deadline>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<D> {
        finish::finish_by(&self.root, deadline.into(), Location::caller())
    }

    /// Begins the close in the background and returns at once. See [`Context::request_close`].
    #[track_caller]
    pub fn request_close(&self, reason: impl Into<CloseReason>) {
        driver::request_at(&self.root, reason.into(), Location::caller());
    }

    /// Begins the close of the registry when this future is done. See [`Context::stop_on`].
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[track_caller]
    pub fn stop_on<F>(&self, future: F, reason: impl Into<CloseReason>)
    where
        F: Future + Send + 'static,
    {
        stop_on::stop_on(&self.root, future, reason.into(), Location::caller());
    }

    /// Closes the registry when the process gets ctrl-c (`SIGINT`) or `SIGTERM`, for a program that owns its runtime;
    /// [`run`](crate::run()) does more. Needs the feature `signal`.
    ///
    /// The first signal does what it does under [`run`](crate::run()#what-stops-it): the [readiness](Self::readiness) is no, the
    /// [drain delay](crate::StopOptions::drain_delay) passes, and the registry closes by the [deadline](crate::StopOptions::deadline), with the
    /// name of the signal as the reason. The second one aborts what is left, and prints where it was. The third one ends the process,
    /// with the exit code 130 after `SIGINT` and 143 after `SIGTERM`; so does a thread of the crate's own, when the registry is not
    /// closed [some time](crate::StopOptions::exit_after) after the deadline.
    ///
    /// It does not keep the registry. Signals do not end the process by themselves any more, so when the registry is closed or gone the
    /// next one ends the process at once, in the same way as the third.
    ///
    /// ```no_run
    /// use headcount::{Registry, StopOptions};
    ///
    /// #[tokio::main]
    /// async fn main() -> std::io::Result<()> {
    ///     let registry = Registry::global();
    ///     registry.close_on_signals(crate::StopOptions::new())?;
    ///     let server = registry.context("server");
    ///     server.task("ticker").cancellable().spawn(std::future::pending::<()>());
    ///
    ///     let report = registry.closed().await;
    ///     println!("{report}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the signals cannot be listened to, or the system cannot start a thread.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[cfg(feature = "signal")]
    #[track_caller]
    pub fn close_on_signals(&self, options: crate::StopOptions) -> std::io::Result<()> {
        crate::run::close_on_signals::close_on_signals(self, options, Location::caller())
    }

    /// Waits until other code has closed the registry. See [`Context::closed`].
    pub fn closed(&self) -> impl Future<Output = CloseReport> + use<> {
        wait::closed(&self.root)
    }

    /// `Open`, `Closing` or `Closed`. One atomic load.
    pub fn state(&self) -> State {
        self.root.node.gate.state()
    }

    /// Why the registry closes, or has closed. See [`Context::close_reason`].
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.root.node.close_reason().cloned()
    }

    /// Runs `hook` when the close of the registry begins. See [`Context::on_closing`].
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_closing<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        add_hook(&self.root, When::Closing, hook, Location::caller())
    }

    /// Runs `hook` when every context of the registry is closed. See [`Context::on_close`].
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_close<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        add_hook(&self.root, When::Close, hook, Location::caller())
    }

    /// Spawns a future that belongs to no context, but to the registry: its close awaits it. See [`Context::spawn`].
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(&self.root, None).spawn(future)
    }

    /// Starts a task of the registry with a name and settings. See [`Context::task`].
    #[must_use = "a builder starts nothing until one of its `spawn` methods"]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::new(&self.root, Some(label(name.into())))
    }

    /// Whether the registry takes new work, for a readiness probe. It is cheap to clone, and can be asked from any thread.
    ///
    /// Under `headcount::run` also whether the service has said that it is ready, and was not told to stop.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let readiness = registry.readiness();
    /// assert!(readiness.is_ready());
    /// registry.request_close("deploy");
    /// assert!(!readiness.is_ready());
    /// # }
    /// ```
    pub fn readiness(&self) -> Readiness {
        Readiness::of(&self.root)
    }

    /// Looks for leaks: facts, never guesses.
    ///
    /// What looks like a leak is given the policy's time to settle; the answer comes as soon as nothing does. This
    /// waits for things to go, not for time to pass: dropping the last handle of a context or a tracked value wakes it, and
    /// for the rest it scans again in intervals from 1 ms to 100 ms. With tokio's time paused the wait passes at once, as every
    /// sleep does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Level, Registry, leaks::{LeakKind, LeakPolicy}};
    /// use std::time::Duration;
    ///
    /// let registry = Registry::new();
    /// registry.set_level(Level::Holders);
    /// let conn = registry.context("conn-7");
    /// let forgotten = conn.clone();
    /// conn.close().await;
    /// drop(conn);
    ///
    /// let policy = LeakPolicy::new().settle(Duration::from_millis(10));
    /// let report = registry.leaks(&policy).await;
    /// let leak = &report.findings()[0];
    /// assert_eq!((leak.kind(), leak.name()), (LeakKind::ClosedButHeld, "conn-7"));
    /// assert!(leak.advice().starts_with("drop the handle taken at "));
    /// println!("{report}");
    /// # drop(forgotten);
    /// # }
    /// ```
    ///
    /// From a task of the registry it works as well; that task and its contexts are not counted. It may be
    /// called in a hook. In a destructor, or where there is no runtime, use [`leaks_now`](Self::leaks_now).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    ///
    /// # Performance
    ///
    /// Lists everything, in bounded steps, once for each scan; about 200 ns a thing, more where handles are
    /// recorded, and 25 µs a leak. Of more than a few hundred things all but the listing is done on the runtime's pool for
    /// blocking closures, or on a thread of this crate if that is full, so the runtime is not held up.
    pub async fn leaks(&self, policy: &LeakPolicy) -> LeakReport {
        let root = Arc::downgrade(self.root());
        let settled = find::settle(&root, policy, || false).await;
        let (found, settled) = settled.expect("the registry is there");
        LeakReport::new(found, Some(settled), Vec::new())
    }

    /// As [`leaks`](Self::leaks), for synchronous code: one scan, without waiting.
    pub fn leaks_now(&self, policy: &LeakPolicy) -> LeakReport {
        let root = self.root();
        let found = find::scan(root, root.node.table.live_now(), policy);
        LeakReport::new(found, None, Vec::new())
    }

    /// Begins to compare counts: what rises again and again is leaking. See [`Growth`].
    pub async fn growth(&self) -> Growth {
        Growth::start(self.root()).await
    }

    /// Counts something of your own with everything else: listeners, entries of a cache. [`growth`](Self::growth)
    /// asks it at each sample, on the thread that samples. It lives as long as the registry, so let it hold a
    /// `Weak` of what it counts; one of the same name is replaced.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::sync::{Arc, Mutex};
    /// let listeners = Arc::new(Mutex::new(vec!["first"]));
    /// let registry = headcount::Registry::new();
    /// let weak = Arc::downgrade(&listeners);
    /// registry.probe("listeners", move || weak.upgrade().map_or(0, |them| them.lock().unwrap().len()));
    ///
    /// let mut growth = registry.growth().await;
    /// listeners.lock().unwrap().push("second");
    /// growth.sample().await;
    /// assert_eq!(growth.changes()[0].counts(), [1, 2]);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Never; a probe that panics is left out of that sample, with a warning event.
    pub fn probe(&self, name: impl Into<Name>, count: impl Fn() -> usize + Send + Sync + 'static) {
        let probes = &self.root().node.table.tracking.probes;
        probes.set(name.into().into_owned(), count);
    }

    /// Takes a probe out again. False if there is none of this name.
    pub fn remove_probe(&self, name: &str) -> bool {
        self.root().node.table.tracking.probes.remove(name)
    }

    /// Looks for leaks in the background, some time after contexts have closed or begun to: one look for all of
    /// them. Leaks that are alike are reported in one warning event, with their number and their block of the report: when
    /// the first is found, again when there are ten times as many, and when there are more an hour after the last event.
    ///
    /// `after` is the time between a close and the look, at most twice. While nothing closes, only every tenth such time
    /// brings a look; under a policy with [`max_age`](LeakPolicy::max_age), [`max_count`](LeakPolicy::max_count) or
    /// [`nothing_left`](LeakPolicy::nothing_left) each one does. One look reports 20 different leaks, the next one the
    /// others. It stops when the returned guard is dropped, or when the registry is gone, which it does not keep.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::LeakPolicy};
    /// use std::time::Duration;
    ///
    /// let registry = Registry::new();
    /// let watch = registry.watch_leaks(LeakPolicy::new(), Duration::from_secs(5));
    /// // … the service runs …
    /// drop(watch);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[must_use = "it stops when the guard is dropped"]
    pub fn watch_leaks(&self, policy: LeakPolicy, after: Duration) -> LeakWatch {
        LeakWatch::new(Arc::downgrade(self.root()), policy, after)
    }

    /// Asks every task where it waits, and every hook that is running: the chain of `.await`s down to the line, or several
    /// where it waits for several things. Needs the feature `dump`; works on stable Rust, in debug and in release builds.
    ///
    /// Each task is woken, and polled once more with a waker that notes who clones it: see
    /// [how it works](crate::docs::dumps). It waits for answers for up to 1 s; who does not answer is named.
    /// Blocking closures cannot answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::Registry;
    /// use std::sync::Arc;
    /// use tokio::sync::Mutex;
    ///
    /// let registry = Registry::new();
    /// let ctx = registry.context("server");
    /// let lock = Arc::new(Mutex::new(()));
    /// let held = lock.clone().lock_owned().await;
    /// ctx.task("writer").cancellable().spawn(async move {
    ///     let _guard = lock.lock().await;
    /// });
    /// tokio::task::yield_now().await;
    ///
    /// let dump = registry.dump().await;
    /// let stack = &dump.find("writer").unwrap().stacks()[0];
    /// assert_eq!(stack.leaf(), Some("tokio::sync::Mutex::lock"));
    /// println!("{dump}");
    /// # drop(held);
    /// # ctx.close().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped; the answers of tasks that were asked are discarded.
    ///
    /// # Performance
    ///
    /// A wake and a poll for each task, and 5 to 20 µs for each stack; lines are looked up on a blocking thread, each
    /// once.
    #[cfg(feature = "dump")]
    pub async fn dump(&self) -> Dump {
        self.dump_within(DUMP_LIMIT).await
    }

    /// As [`dump`](Self::dump), but waits for answers no longer than `limit`.
    #[cfg(feature = "dump")]
    pub async fn dump_within(&self, limit: Duration) -> Dump {
        let _watched = blocked::watch_dump(&self.root);
        self.root.node.dump(limit, |live| live).await
    }

    /// Prints everything that is alive in this registry, and where every task waits, to standard error each time the
    /// process gets this signal: for a service that hangs.
    ///
    /// A thread of its own makes the dump, so it is printed also where every thread of a runtime is blocked. Then it says which task
    /// or hook is being polled, and since when; those that wait behind it did not answer. It does not keep the registry, and ends
    /// with the first signal that comes when that is gone. Unix only; needs the feature `signal`.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use headcount::Registry;
    /// use tokio::signal::unix::SignalKind;
    /// Registry::global().dump_on(SignalKind::user_defined1())?; // kill -USR1 <pid>
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the signal cannot be listened to, as `SIGKILL`, or the system cannot start a thread.
    #[cfg(all(feature = "signal", unix))]
    #[track_caller]
    pub fn dump_on(&self, kind: tokio::signal::unix::SignalKind) -> std::io::Result<()> {
        let root = Arc::downgrade(self.root());
        crate::registry::signal::dump_on(root, kind, Location::caller())
    }

    /// A page in the browser that shows this registry, and the same as JSON: see [`Window`](crate::window::Window). It does not keep the
    /// registry. Needs the feature `web`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = headcount::Registry::new();
    /// let server = registry.window().serve("127.0.0.1:8765").await?;
    /// println!("http://{}", server.address());
    /// # registry.closed().await; drop(server); Ok(()) }
    /// ```
    #[cfg(feature = "web")]
    pub fn window(&self) -> crate::window::Window {
        crate::window::Window::of(&self.root)
    }

    /// How much is recorded of handles in this registry. One relaxed load.
    pub fn level(&self) -> Level {
        self.table().tracking.level()
    }

    /// Changes how much is recorded of handles, from the next one on. Handles that were taken
    /// before keep what is known of them, which may be nothing: they count as
    /// [`untracked`](crate::Holders::untracked), never as another holder's.
    pub fn set_level(&self, level: Level) {
        self.table().tracking.set_level(level);
    }

    /// At [`Level::Backtraces`], captures the stack of one handle in `n` (0 means 1: of each). A capture takes
    /// some microseconds; symbols are resolved when it is printed.
    pub fn sample_backtraces(&self, n: u32) {
        self.table().tracking.sample(n);
    }

    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self {
            root: Arc::clone(core.root()),
        }
    }

    pub(crate) fn root(&self) -> &Arc<Core> {
        &self.root
    }

    fn table(&self) -> &Arc<Table> {
        &self.root.node.table
    }

    /// The context whose task is registering something here, if it is one of ours.
    fn parent(&self) -> Option<Arc<dyn Record>> {
        current::with_node(|node| {
            let is_ours = !node.is_root() && Arc::ptr_eq(&node.table, self.table());
            is_ours.then(|| node.arc() as _)
        })
        .flatten()
    }
}

#[track_caller]
fn facts(name: impl Into<Name>, kind: impl Into<Name>) -> Facts {
    Facts {
        name: label(name.into()),
        kind: label(kind.into()),
        location: Location::caller(),
    }
}

/// What makes a registry. The settings are in the file of the builder.
impl RegistryBuilder {
    /// Makes the registry.
    #[track_caller]
    pub fn build(self) -> Registry {
        Registry {
            root: Core::of_registry(self.limits, self.on_failure),
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("count", &self.count())
            .field("state", &self.root.node.gate.state())
            .finish_non_exhaustive()
    }
}
