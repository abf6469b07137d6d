//! [`Shared`]: the table under its lock, and what follows from its decisions when that is free again.

use crate::{
    clock,
    context::{
        close_reason::CloseReason,
        context::Context,
        driver,
        line_counts::{Event, LineCounts},
        observers::CloseObserver,
        state::Core,
        weak::WeakContext,
    },
    event,
    events::{SessionChange, Told, What},
    name::{Name, Printed},
    panics::{self, notify_all},
    sessions::{
        key::{Probe, SessionKey},
        lease::Leases,
        leaving::Going,
        session::{Id, Scope},
        settings::{Overflow, Settings},
        signal::{Value, Watch},
        status::TableStatus,
        table::{Effects, Table, TimerChange},
        timer::{self, Timed},
    },
    sync::{Mutex, lock},
    table::record::State,
};
use futures::future::BoxFuture;
use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    panic::{Location, resume_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

/// What all handles and leases of a table share.
///
/// The context of the table holds it, as long as it is open; it holds the contexts' handles, as long as those are open. So neither
/// needs a `Sessions` that anyone keeps, and one that is kept holds nothing open.
pub(crate) struct Shared<K> {
    table: Mutex<Table<K, Context>>,
    /// The context of the table.
    pub(crate) root: WeakContext,
    /// What its user gave to it, until it closes: closures may hold anything.
    code: Mutex<Option<Arc<Code<K>>>>,
    pub(crate) overflow: Overflow,
    /// What listings show of the table.
    status: Arc<TableStatus>,
    hasher: RandomState,
    wake: Arc<Notify>,
    wrong_owners: LineCounts,
}

/// The functions of the user.
pub(crate) struct Code<K> {
    pub(crate) label: Box<LabelFn<K>>,
    pub(crate) on_open: Option<Init<K>>,
}

pub(crate) type LabelFn<K> = dyn Fn(&K) -> Name + Send + Sync;
pub(crate) type InitFn<K> =
    dyn Fn(K, WeakContext) -> BoxFuture<'static, Result<Option<Value>, InitFailed>> + Send + Sync;
pub(crate) type InitFailed = Box<dyn Error + Send + Sync>;

/// What opens each generation.
pub(crate) struct Init<K> {
    pub(crate) run: Box<InitFn<K>>,
    /// The line that it is written on.
    pub(crate) location: &'static Location<'static>,
}

impl Scope for Context {
    type Inner = Arc<Core>;

    fn is_open(&self) -> bool {
        let node = self.node();
        node.gate.state() == State::Open && node.close_reason().is_none()
    }

    fn takes_work(&self) -> bool {
        self.is_open() && !self.node().gate.is_finishing()
    }

    fn inner(&self) -> Arc<Core> {
        Arc::clone(self.core())
    }

    fn tell(&self, change: SessionChange) -> Told {
        self.node().tell(|| What::Session(change))
    }
}

impl<K: SessionKey> Shared<K> {
    /// A table in this context, which may be closed.
    pub(crate) fn new(context: Context, settings: Settings, code: Code<K>) -> Arc<Self> {
        let (root, core) = (context.downgrade(), Arc::clone(context.core()));
        let is_open = context.is_open();
        let status = Arc::new(TableStatus::new(settings.max));
        context.node().set_detail(Arc::clone(&status) as _);
        let shared = Arc::new(Self {
            status,
            overflow: settings.overflow,
            table: Mutex::new(Table::new(settings, Some(context))),
            root,
            code: Mutex::new(Some(Arc::new(code))),
            hasher: RandomState::new(),
            wake: Arc::default(),
            wrong_owners: LineCounts::default(),
        });
        if is_open {
            let kept = Mutex::new(Some(Arc::clone(&shared)));
            core.observe(Arc::new(KeepsTable(kept)));
        } else {
            shared.close();
        }
        shared
    }

    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn probe<'a>(&self, key: &'a K) -> Probe<'a, K> {
        let hash = self.hash(key);
        Probe { hash, key }
    }

    /// Decides something, and does what follows from it, also if `Eq` of a key panics meanwhile.
    pub(crate) fn with<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Table<K, Context>, Instant, &mut Effects<K, Context>) -> R,
    ) -> R {
        let now = clock::now();
        let mut fx = Effects::default();
        let decided = panics::guarded(|| {
            let mut table = lock(&self.table);
            let decided = decide(&mut table, now, &mut fx);
            fx.timer = fx.timer.or_else(|| table.timer());
            self.status.set(&table.counts());
            decided
        });
        self.apply(fx);
        decided.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Asks something from which nothing follows.
    pub(crate) fn ask<R>(&self, ask: impl FnOnce(&Table<K, Context>) -> R) -> R {
        ask(&lock(&self.table))
    }

    fn apply(self: &Arc<Self>, fx: Effects<K, Context>) {
        for (context, reason) in fx.close {
            driver::request(context.core(), reason);
        }
        drop(fx.handles);
        for signal in fx.lost {
            signal.tell();
        }
        for watch in fx.changed {
            notify_all(&watch.changed);
        }
        // Keys, and errors of inits, are values of users.
        for key in fx.keys {
            panics::discard(key);
        }
        for session in fx.ended {
            panics::discard(session);
        }
        drop(fx.wakes);
        match fx.timer {
            Some(TimerChange::Start) => self.start_timer(),
            Some(TimerChange::Wake) => panics::contain(|| self.wake.notify_one()),
            None => {}
        }
    }

    /// The runtime of the table first: others may end at any time.
    fn start_timer(self: &Arc<Self>) {
        let core = self.root.node().core.upgrade();
        let own = core.and_then(|core| core.runtimes.latest());
        for runtime in own.into_iter().chain(Handle::try_current()) {
            let timer = timer::run(Arc::downgrade(self), Arc::clone(&self.wake));
            panics::contain(|| drop(runtime.spawn(timer)));
            // A runtime that has ended has dropped it in this very call.
            if lock(&self.table).timer().is_none() {
                return;
            }
        }
        // The next one who changes something tries again.
        lock(&self.table).timer_lost();
    }

    /// The user's functions, unless the table is closed.
    pub(crate) fn code(&self) -> Option<Arc<Code<K>>> {
        lock(&self.code).clone()
    }

    /// Waits until this session has left the table.
    pub(crate) async fn gone(&self, id: Id, watch: &Watch) {
        loop {
            let mut changed = pin!(watch.changed.notified());
            changed.as_mut().enable();
            if !self.ask(|table| table.has(id)) {
                return;
            }
            changed.await;
        }
    }

    /// Says that an owner was wrong: once a line, then a count.
    pub(crate) fn note_wrong_owner(&self, location: &'static Location<'static>) {
        if let Some(so_far) = self.wrong_owners.tell(Event::WrongOwner, location) {
            event::emit!(target: "headcount::session", WARN,
                context = %Printed(self.root.name()),
                "refused to attach to a session of another owner, at {}:{}{}",
                location.file(),
                location.line(),
                so_far
            );
        }
    }

    /// The context of the table closes: its users' functions go, and those that wait for a place.
    fn close(self: &Arc<Self>) {
        let code = lock(&self.code).take();
        self.with(Table::close);
        panics::discard(code);
    }
}

/// Holds the table for its context, until that closes.
struct KeepsTable<K>(Mutex<Option<Arc<Shared<K>>>>);

impl<K: SessionKey> CloseObserver for KeepsTable<K> {
    fn closing(&self, _: &CloseReason) {
        let shared = lock(&self.0).take();
        if let Some(shared) = shared {
            shared.close();
        }
    }

    fn closed(&self, reason: &CloseReason) {
        self.closing(reason);
    }
}

impl<K: SessionKey> Timed for Shared<K> {
    fn look(self: Arc<Self>) -> Option<Instant> {
        let suspects = self.with(Table::run_due);
        if !suspects.is_empty() {
            let judged: Vec<_> = suspects
                .into_iter()
                .map(|suspect| ((suspect.id, suspect.since), is_busy(&suspect.context)))
                .collect();
            self.with(|table, now, fx| {
                for (session, is_busy) in judged {
                    table.judge(session, is_busy, now, fx);
                }
            });
        }
        lock(&self.table).rest()
    }

    fn lost(&self) {
        lock(&self.table).timer_lost();
    }
}

/// Whether a context, or one below it, has tasks.
fn is_busy(core: &Arc<Core>) -> bool {
    let mut all = vec![Arc::clone(core)];
    while let Some(core) = all.pop() {
        if core.has_tasks() {
            return true;
        }
        all.extend(core.children());
    }
    false
}

impl<K: SessionKey> Leases for Shared<K> {
    fn go(self: Arc<Self>, id: Id, lease: u64, going: Going) {
        self.with(|table, now, fx| table.go(id, lease, going, now, fx));
    }

    fn heartbeat(self: Arc<Self>, id: Id, lease: u64, limit: Duration) {
        self.with(|table, now, fx| table.heartbeat(id, lease, limit, now, fx));
    }

    fn touch(self: Arc<Self>, id: Id, lease: u64) {
        self.with(|table, now, fx| table.touch_lease(id, lease, now, fx));
    }
}
