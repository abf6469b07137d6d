//! [`Stage`]: a scenario while it runs, which is disturbed before one of its polls.

use crate::{
    context::{
        current::context_of, hooks::When, report::CloseReport, still_closing::StillClosing,
        weak::add_hook,
    },
    id::ResourceId,
    panics,
    poll::observer::{self, Decision, Observer, Polled},
    registry::registry::Registry,
    table::{record::Record, resource},
    testing::disturbance::Disturbance,
};
use futures::{FutureExt, future::BoxFuture};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    panic::{Location, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;

/// After so many polls the registry of a scenario is closed that does not end.
const MOST_POLLS: usize = 10_000;
/// What the hooks say that were made to fail.
pub(super) const PLANTED: &str = "made to fail by `close_anywhere`";

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Which disturbance, and before which poll.
    pub(super) disturbed: Option<(usize, Disturbance)>,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn disturbance(&self) -> Option<Disturbance> {
        self.disturbed.map(|(_, disturbance)| disturbance)
    }
}

pub(super) type Body = Pin<Box<dyn Future<Output = ()>>>;

/// A run, as the polls in it see it.
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) plan: Plan,
    /// How many there were so far.
    pub(super) polls: Cell<usize>,
    /// What was about to be polled when the disturbance came.
    pub(super) before: RefCell<Option<String>>,
    body: RefCell<Slot>,
    /// Wakes what polls it.
    waker: RefCell<Option<Waker>>,
    /// The runtime is about to end: nothing is polled any more.
    pub(super) is_halted: Cell<bool>,
    /// The close of the registry has ended.
    pub(super) is_closed: Cell<bool>,
    /// Notified by a disturbance after which the registry is to close, and when there are too many polls.
    pub(super) disturbed: Notify,
    /// Notified when the runtime is to end.
    pub(super) halted: Notify,
    /// The close by a deadline.
    pub(super) deadline: RefCell<Option<BoxFuture<'static, Result<CloseReport, StillClosing>>>>,
    /// Of each context, the number of the hook that started last, and how many numbers there were then.
    hooks: RefCell<HashMap<ResourceId, (u64, u64)>>,
    /// What went wrong so far.
    pub(super) faults: RefCell<Vec<String>>,
    /// What the scenario panicked with.
    pub(super) panicked: RefCell<Option<String>>,
}

/// Where the scenario's own future is.
enum Slot {
    Waiting(Body),
    /// It is being polled.
    Polled {
        /// It is to be dropped when the poll has ended.
        drops: bool,
    },
    Gone,
}

impl Stage {
    pub(super) fn new(registry: Registry, plan: Plan, body: Body) -> Self {
        Self {
            registry,
            plan,
            polls: Cell::default(),
            before: RefCell::default(),
            body: RefCell::new(Slot::Waiting(body)),
            waker: RefCell::default(),
            is_halted: Cell::default(),
            is_closed: Cell::default(),
            disturbed: Notify::new(),
            halted: Notify::new(),
            deadline: RefCell::default(),
            hooks: RefCell::default(),
            faults: RefCell::default(),
            panicked: RefCell::default(),
        }
    }

    /// The disturbance, once it has come.
    pub(super) fn disturbed_by(&self) -> Option<Disturbance> {
        self.plan
            .disturbance()
            .filter(|_| self.before.borrow().is_some())
    }

    /// A poll is to come, of a task or a hook, or of the scenario itself: counts it, and disturbs it if it is its turn.
    fn count(&self, polled: Option<Polled<'_>>) -> Decision {
        if self.is_halted.get() {
            return Decision::Skip;
        }
        let poll = self.polls.get() + 1;
        self.polls.set(poll);
        if poll == MOST_POLLS {
            self.disturbed.notify_one();
        }
        if let Some(polled) = polled.filter(|_| self.is_closed.get()) {
            let subject = described(Some(polled));
            self.fault(format!(
                "{subject} was polled after the end of the close (I1)"
            ));
        }
        match self.plan.disturbed {
            Some((at, disturbance)) if at == poll => {
                self.before.replace(Some(described(polled)));
                self.disturb(disturbance, polled)
            }
            _ => Decision::Poll,
        }
    }

    fn disturb(&self, disturbance: Disturbance, polled: Option<Polled<'_>>) -> Decision {
        let registry = &self.registry;
        match disturbance {
            Disturbance::Close => registry.request_close("disturbed"),
            Disturbance::CloseNow => drop(registry.close_now()),
            Disturbance::CloseBy(limit) => {
                let closed = registry.close_by(limit).boxed();
                self.deadline.replace(Some(closed));
            }
            Disturbance::Drop => self.drop_body(),
            Disturbance::Abort => {
                if let Some(Polled::Task(task)) = polled {
                    registry.root().node.table.table_ref().abort(task.meta().id);
                }
                return Decision::Poll;
            }
            Disturbance::FailHook => return self.fail_hook(polled),
            Disturbance::EndRuntime => {
                self.is_halted.set(true);
                self.halted.notify_one();
                return Decision::Skip;
            }
        }
        self.disturbed.notify_one();
        Decision::Poll
    }

    /// Makes a hook fail: the one that is about to be polled, or else a new one of the context.
    fn fail_hook(&self, polled: Option<Polled<'_>>) -> Decision {
        let core = match polled {
            Some(Polled::Hook(_)) => return Decision::Panic(PLANTED),
            Some(Polled::Task(task)) => context_of(task).core.upgrade(),
            None => Some(Arc::clone(self.registry.root())),
        };
        let panics = hash((self.plan.seed, self.polls.get())) % 2 == 1;
        let hook = async move || {
            if panics {
                resume_unwind(Box::new(PLANTED));
            }
            Err(PLANTED)
        };
        if let Some(core) = core {
            // Where the hooks have run, there is none to fail.
            drop(add_hook(&core, When::Close, hook, Location::caller()));
        }
        Decision::Poll
    }

    /// Drops the scenario's own future; while it is being polled, afterwards.
    pub(super) fn drop_body(&self) {
        let mut slot = self.body.borrow_mut();
        let gone = match &mut *slot {
            Slot::Polled { drops } => {
                *drops = true;
                return;
            }
            _ => mem::replace(&mut *slot, Slot::Gone),
        };
        drop(slot);
        self.discard(gone);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn discard<T>(&self, body: T) {
        if let Some(said) = panics::discard(body) {
            self.panicked.replace(Some(said));
        }
    }

    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(*self.body.borrow(), Slot::Gone) {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        if matches!(self.count(None), Decision::Skip) {
            return Poll::Pending;
        }
        let slot = mem::replace(&mut *self.body.borrow_mut(), Slot::Polled { drops: false });
        let Slot::Waiting(mut body) = slot else {
            self.body.replace(Slot::Gone);
            return Poll::Ready(());
        };
        let polled = panics::guarded(|| body.as_mut().poll(cx));
        let slot = self.body.replace(Slot::Gone);
        match polled {
            Ok(Poll::Pending) if matches!(slot, Slot::Polled { drops: false }) => {
                self.body.replace(Slot::Waiting(body));
                return Poll::Pending;
            }
            Ok(_) => {}
            Err(payload) => {
                self.panicked.replace(Some(panics::message(&*payload)));
                panics::bury(payload);
            }
        }
        self.discard(body);
        Poll::Ready(())
    }

    fn fault(&self, what: String) {
        self.faults.borrow_mut().push(what);
    }
}

impl Observer for Stage {
    fn before(&self, polled: Polled<'_>) -> Decision {
        if polled.table() == self.registry.root().node.table.number {
            self.count(Some(polled))
        } else {
            Decision::Poll
        }
    }

    /// The latest first: either it was registered before the one that started last, or after that had started.
    fn hook_starts(&self, table: u32, context: &dyn Record, number: u64) {
        if table != self.registry.root().node.table.number {
            return;
        }
        let now = observer::next_number();
        let last = self
            .hooks
            .borrow_mut()
            .insert(context.meta().id, (number, now));
        if last.is_some_and(|(last, then)| (last..then).contains(&number)) {
            let path = resource::short_path(context);
            self.fault(format!(
                "a hook of {path} ran twice, or before one that was registered later (I7)"
            ));
        }
    }
}

/// What is about to be polled, in words.
fn described(polled: Option<Polled<'_>>) -> String {
    match polled {
        None => "the scenario itself".to_owned(),
        Some(Polled::Task(task)) => {
            let what = if task.is_in_other_hands() {
                "wrapped future"
            } else {
                "task"
            };
            let (path, meta) = (resource::short_path(task), task.meta());
            let nth = task.poll_state().map_or(1, |state| state.polls() + 1);
            let (file, line) = (meta.location.file(), meta.location.line());
            format!("{what} {path} (its poll {nth}, spawned at {file}:{line})")
        }
        Some(Polled::Hook(hook)) => {
            let (kind, path) = (hook.kind, resource::short_path(&*hook.context));
            let (file, line) = (hook.location.file(), hook.location.line());
            format!("the {kind} hook of {path} that was registered at {file}:{line}")
        }
    }
}

/// Polls the scenario where it is.
pub(super) struct BodyFuture(pub(super) Rc<Stage>);

impl Future for BodyFuture {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_body(cx)
    }
}

/// The same number for the same value, each time.
#[expect(clippy::cast_possible_truncation, reason = "any of its bits will do")]
pub(super) fn hash(value: impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() as usize
}
