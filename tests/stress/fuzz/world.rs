//! What the threads and tasks of one round share.

use super::{
    fate::Fate,
    handles::TaskHandle,
    kinds::{Kind, Kinds},
    model::Model,
    ops::OPS,
    panics::{HandMadeWaker, PanicsIn, failure},
    records::HookRecord,
    running::Running,
    runtimes::{Runtimes, Shape},
    sets::StoredSet,
    values::{Value, WeakValue},
    wrapped::StoredWrapped,
};
use crate::common::{Dice, lock};
use futures::future::BoxFuture;
use headcount::{
    Context, Hook, Live, Registration, Registry, ResourceId, Tracked, WeakContext,
    leaks::{Growth, LeakWatch},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::Waker,
};
use tokio::{runtime::EnterGuard, task::AbortHandle};

/// Things of one sort, for any actor to take.
pub(crate) struct Shelf<T>(Mutex<Vec<T>>);

/// So many things of one sort.
const ROOM: usize = 16;

/// So many sorts.
const SHELVES: usize = 14;

impl<T> Shelf<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Takes one out.
    pub(crate) fn take(&self, dice: &mut Dice) -> Option<T> {
        let mut things = lock(&self.0);
        let count = things.len();
        (count > 0).then(|| things.swap_remove(dice.below(count)))
    }

    /// Copies one.
    pub(crate) fn pick(&self, dice: &mut Dice) -> Option<T>
    where
        T: Clone,
    {
        let things = lock(&self.0);
        let count = things.len();
        (count > 0).then(|| things[dice.below(count)].clone())
    }
}

/// A strong handle, with what is known of its context.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) handle: Context,
    pub(crate) model: Arc<Model>,
}

/// A handle that keeps nothing open.
#[derive(Clone)]
pub(crate) struct WeakCtx {
    pub(crate) handle: WeakContext,
    pub(crate) model: Arc<Model>,
}

impl Ctx {
    pub(crate) fn downgrade(&self) -> WeakCtx {
        WeakCtx {
            handle: self.handle.downgrade(),
            model: Arc::clone(&self.model),
        }
    }
}

impl WeakCtx {
    pub(crate) fn upgrade(&self) -> Option<Ctx> {
        let handle = self.handle.upgrade()?;
        Some(Ctx {
            handle,
            model: Arc::clone(&self.model),
        })
    }
}

/// A future that is polled by hand, by any thread, or given to any runtime.
pub(crate) struct Stored {
    pub(crate) future: BoxFuture<'static, ()>,
    /// It waits for time, and needs a runtime.
    pub(crate) has_timers: bool,
    /// Its waker must not panic: that would end tokio's timers, or take the wakes of the registry's own close along.
    pub(crate) is_delicate: bool,
}

/// Where an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// On a thread of its own, which may wait.
    Thread,
    /// In the poll of a task or hook.
    Poll,
    /// In a destructor.
    Drop,
}

pub(crate) struct World {
    pub(crate) kinds: Kinds,
    pub(crate) shape: Shape,
    pub(crate) registry: Registry,
    pub(crate) root: Arc<Model>,
    pub(crate) runtimes: Runtimes,
    /// Neither hooks nor owned values have handles of contexts, except of children: all closes by itself.
    pub(crate) is_acyclic: bool,
    /// Closes may have deadlines, at which they go on without what cannot be ended.
    pub(crate) has_deadlines: bool,
    /// The id of tasks that were refused.
    pub(crate) refused_id: ResourceId,
    pub(crate) contexts: Shelf<Ctx>,
    pub(crate) weak: Shelf<WeakCtx>,
    pub(crate) tasks: Shelf<TaskHandle>,
    pub(crate) sets: Shelf<StoredSet>,
    pub(crate) stored: Shelf<Stored>,
    pub(crate) wrapped: Shelf<StoredWrapped>,
    pub(crate) hooks: Shelf<(Hook, Arc<HookRecord>)>,
    pub(crate) values: Shelf<Tracked<Value>>,
    pub(crate) weak_values: Shelf<WeakValue>,
    pub(crate) registrations: Shelf<Registration>,
    pub(crate) arcs: Shelf<(Arc<Value>, ResourceId)>,
    pub(crate) listings: Shelf<Live>,
    pub(crate) growths: Shelf<Growth>,
    pub(crate) watches: Shelf<LeakWatch>,
    /// Tasks of plain `tokio::spawn`.
    pub(crate) plain: Mutex<Vec<AbortHandle>>,
    pub(crate) models: Mutex<Vec<Arc<Model>>>,
    pub(crate) fates: Mutex<Vec<Arc<Fate>>>,
    pub(crate) counts: Counts,
    /// Nothing new is made any more.
    is_over: AtomicBool,
    /// Operations that are under way, or that a `LocalSet` has to do.
    under_way: AtomicUsize,
    left: AtomicUsize,
    latest: Mutex<VecDeque<&'static str>>,
}

/// What was made in a round, and what became of it.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) names: AtomicUsize,
    pub(crate) operations: AtomicUsize,
    /// Contexts that were accepted for certain, and those that may have been.
    pub(crate) contexts: AtomicU64,
    pub(crate) contexts_perhaps: AtomicU64,
    pub(crate) outputs: AtomicUsize,
    pub(crate) outputs_dropped: AtomicUsize,
    pub(crate) values: AtomicUsize,
    pub(crate) values_dropped: AtomicUsize,
    /// Spawns and wraps that drop what they refuse.
    pub(crate) spawns: AtomicU64,
    /// Something was forgotten: memory does not come back.
    pub(crate) has_forgotten: AtomicBool,
    /// Contexts that stay listed for ever.
    pub(crate) forgotten: Mutex<Vec<ResourceId>>,
}

impl World {
    pub(crate) fn new(kinds: Kinds, shape: Shape, left: usize, dice: &mut Dice) -> Arc<Self> {
        let registry = Registry::new();
        let root = Model::new("registry".to_owned(), None, Vec::new());
        Arc::new(Self {
            kinds,
            shape,
            runtimes: Runtimes::new(shape, dice),
            is_acyclic: dice.once_in(4),
            has_deadlines: dice.once_in(2),
            refused_id: super::tasks::refused_id(),
            registry,
            root,
            contexts: Shelf::new(),
            weak: Shelf::new(),
            tasks: Shelf::new(),
            sets: Shelf::new(),
            stored: Shelf::new(),
            wrapped: Shelf::new(),
            hooks: Shelf::new(),
            values: Shelf::new(),
            weak_values: Shelf::new(),
            registrations: Shelf::new(),
            arcs: Shelf::new(),
            listings: Shelf::new(),
            growths: Shelf::new(),
            watches: Shelf::new(),
            plain: Mutex::default(),
            models: Mutex::default(),
            fates: Mutex::default(),
            counts: Counts::default(),
            is_over: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            left: AtomicUsize::new(left),
            latest: Mutex::default(),
        })
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.has(kind)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// Puts something where others find it; drops it, or another one, if there is no room.
    pub(crate) fn put<T>(&self, shelf: &Shelf<T>, thing: T, dice: &mut Dice) {
        let mut things = lock(&shelf.0);
        let surplus = if self.is_over() {
            Some(thing)
        } else if things.len() < ROOM {
            things.push(thing);
            None
        } else {
            let at = dice.below(ROOM);
            Some(std::mem::replace(&mut things[at], thing))
        };
        drop(things);
        drop(surplus);
    }

    /// A name that nothing else has in this round.
    pub(crate) fn name(&self, sort: &str) -> String {
        format!("{sort}{}", self.counts.names.fetch_add(1, Relaxed))
    }

    /// Enters one of the runtimes, or none.
    pub(crate) fn enter(&self, dice: &mut Dice) -> Option<EnterGuard<'_>> {
        let is_outside = self.has(Kind::NoRuntime) && dice.once_in(8);
        (!is_outside).then(|| self.runtimes.enter(dice))
    }

    /// A waker for a poll by hand. On a thread of a runtime, or where timers are waited for, it does not panic:
    /// that would end the runtime.
    pub(crate) fn waker(&self, at: At, dice: &mut Dice) -> Waker {
        let panics_in = match dice.below(8) {
            0 if at == At::Thread && self.has(Kind::WakePanics) => PanicsIn::Wake,
            1 if at == At::Thread && self.has(Kind::WakerDropPanics) => PanicsIn::Drop,
            _ => PanicsIn::Never,
        };
        Waker::from(HandMadeWaker::new(panics_in))
    }

    /// An operation begins.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, SeqCst);
        UnderWay(Arc::clone(self))
    }

    /// Whether all operations have ended. Once nothing new is made it stays so.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way.load(SeqCst) == 0
    }

    /// One operation is done; false if there have been enough.
    pub(crate) fn spend(&self, what: &'static str) -> bool {
        if self.is_over() {
            return false;
        }
        let left = self
            .left
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return false;
        }
        self.counts.operations.fetch_add(1, Relaxed);
        let mut latest = lock(&self.latest);
        if latest.len() == OPS.len() {
            latest.pop_front();
        }
        latest.push_back(what);
        true
    }

    /// Whether there have been enough operations.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.load(SeqCst) == 0
    }

    /// The latest operations, oldest first.
    pub(crate) fn latest(&self) -> Vec<&'static str> {
        lock(&self.latest).iter().copied().collect()
    }

    /// Says whose code is running where the crate says it: in the destructor of a value that a context owned.
    pub(crate) fn run_as_current(&self) -> Option<Running> {
        let model = self.root.by_id(Context::current()?.id())?;
        Some(Running::new(&model))
    }

    /// From here on nothing new is made: drops all that is stored.
    pub(crate) fn end(&self, dice: &mut Dice) {
        self.is_over.store(true, SeqCst);
        for plain in std::mem::take(&mut *lock(&self.plain)) {
            plain.abort();
        }
        let mut order: Vec<usize> = (0..SHELVES).collect();
        for last in (1..SHELVES).rev() {
            order.swap(last, dice.below(last + 1));
        }
        for number in order {
            let _inside = self.enter(dice);
            self.clear(number);
        }
    }

    fn clear(&self, shelf: usize) {
        match shelf {
            0 => drop_all(&self.stored),
            1 => drop_all(&self.tasks),
            2 => drop_all(&self.wrapped),
            3 => drop_all(&self.contexts),
            4 => drop_all(&self.weak),
            5 => drop_all(&self.hooks),
            6 => drop_all(&self.values),
            7 => drop_all(&self.weak_values),
            8 => drop_all(&self.registrations),
            9 => drop_all(&self.arcs),
            10 => drop_all(&self.listings),
            11 => drop_all(&self.growths),
            12 => drop_all(&self.sets),
            _ => drop_all(&self.watches),
        }
    }

    /// Spawns or wraps with a method that drops what it refuses.
    pub(crate) fn may_refuse<T>(&self, what: &str, spawn: impl FnOnce() -> T) -> Option<T> {
        // Before it: a task may be over, and the round, too, when it returns.
        self.counts.spawns.fetch_add(1, SeqCst);
        super::panics::never(what, spawn)
    }

    pub(crate) fn fate(&self, model: &Arc<Model>, sort: &'static str) -> Arc<Fate> {
        let fate = Fate::new(model, sort);
        lock(&self.fates).push(Arc::clone(&fate));
        fate
    }

    pub(crate) fn forget<T>(&self, thing: T) {
        self.counts.has_forgotten.store(true, SeqCst);
        std::mem::forget(thing);
    }

    /// Checks something; a failure is noted, and the round goes on.
    pub(crate) fn check(&self, holds: bool, what: &str) {
        if !holds {
            failure(format_args!("{what} ({:?})", self.shape));
        }
    }
}

/// An operation that is under way.
pub(crate) struct UnderWay(Arc<World>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

/// Contexts know their hooks, and those know their context.
impl Drop for World {
    fn drop(&mut self) {
        self.root.forget_others();
        for model in &*lock(&self.models) {
            lock(&model.hooks).clear();
            lock(&model.started).clear();
        }
    }
}

/// One by one: each may panic on purpose.
fn drop_all<T>(shelf: &Shelf<T>) {
    let things = std::mem::take(&mut *lock(&shelf.0));
    for thing in things {
        super::panics::contain(|| drop(thing));
    }
}
