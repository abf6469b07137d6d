//! Closes and dumps that code holds up which blocks its thread: nothing else would say so where that is the only thread of the
//! runtime (I19).
//!
//! While a dump is under way, or a close that has begun by itself, and not with its parent, the timer thread looks at it once a second. It
//! asks the runtime to run an empty task, and looks at the hooks that are being polled, and at the values that are being
//! dropped. What does not get on for longer than it may is told in an event, again each time the wait has doubled.

use crate::{
    clock,
    context::{
        current,
        hooks::Owned,
        question::Question,
        state::{Core, Node},
    },
    event,
    id::ResourceId,
    name::{Label, Printed, Quoted},
    panics,
    poll::{running_hooks::RunningHook, state::PollState},
    table::{
        record::{Record, State},
        resource::{self, Resource},
    },
    timer,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::runtime::{self, Handle};
use tracing::{Dispatch, dispatcher};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a runtime may take to run an empty task. Two looks, so that it is known what runs on meanwhile.
const SILENT: Duration = Duration::from_secs(2);
/// How many tasks and hooks one event names.
const NAMED: usize = 4;

static CLOSES: Mutex<Closes> = Mutex::new(Closes {
    under_way: BTreeMap::new(),
    dumps: BTreeMap::new(),
    #[cfg(feature = "dump")]
    next_dump: 0,
    dropping: BTreeMap::new(),
    is_watched: false,
});

struct Closes {
    under_way: BTreeMap<ResourceId, UnderWay>,
    /// The dumps that are waited for.
    dumps: BTreeMap<u64, UnderWay>,
    #[cfg(feature = "dump")]
    next_dump: u64,
    /// The values that are being dropped.
    dropping: BTreeMap<ResourceId, Dropping>,
    /// Whether the timer thread looks at them.
    is_watched: bool,
}

/// A close that has begun by itself, or a dump.
#[derive(Clone)]
struct UnderWay {
    core: Weak<Core>,
    since: Instant,
    /// The runtime that waits for a dump; none for a close.
    dumps_on: Option<Handle>,
    /// The subscriber of the code that began it: the timer thread has none.
    subscriber: Dispatch,
}

#[derive(Clone)]
struct Dropping {
    name: Label,
    node: Arc<Node>,
    since: Instant,
    subscriber: Dispatch,
}

fn closes() -> MutexGuard<'static, Closes> {
    CLOSES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Closes {
    /// Sees to it that the timer thread looks. The thread is started, or woken, at most once a second.
    fn watch(&mut self) -> bool {
        !mem::replace(&mut self.is_watched, true)
    }
}

/// A close begins: it is watched until it [ends](end).
pub(crate) fn begin(core: &Arc<Core>) {
    if cfg!(headcount_loom) {
        return;
    }
    let close = UnderWay::of(core, None);
    core.is_watched.store(1, crate::sync::Ordering::SeqCst);
    let mut closes = closes();
    let before = closes.under_way.insert(core.node.meta.id, close);
    let is_first = closes.watch();
    drop(closes);
    drop(before);
    if is_first {
        look_later(Seen::default());
    }
    // Another driver may have ended it before it was entered here.
    if core.node.gate.state() == State::Closed {
        end(core);
    }
}

impl UnderWay {
    fn of(core: &Arc<Core>, dumps_on: Option<Handle>) -> Self {
        Self {
            core: Arc::downgrade(core),
            since: Instant::now(),
            dumps_on,
            subscriber: dispatcher::get_default(Dispatch::clone),
        }
    }

    /// The runtime that it needs to get on.
    fn runtime(&self, core: &Core) -> Option<Handle> {
        let dumps_on = self.dumps_on.clone();
        dumps_on.or_else(|| core.runtimes.latest())
    }

    /// Whether it still goes on, a moment later.
    fn is_going_on(&self, core: &Core) -> bool {
        self.dumps_on.is_some() || core.node.gate.state() == State::Closing
    }
}

/// A dump that is watched until this is dropped.
#[cfg(feature = "dump")]
pub(crate) struct WatchedDump(u64);

/// A dump of this context, or of this registry, begins: the code that waits for it may be on a runtime that is blocked.
#[cfg(feature = "dump")]
pub(crate) fn watch_dump(core: &Arc<Core>) -> Option<WatchedDump> {
    let runtime = Handle::try_current().ok()?;
    let dump = UnderWay::of(core, Some(runtime));
    let mut closes = closes();
    let number = closes.next_dump;
    closes.next_dump += 1;
    closes.dumps.insert(number, dump);
    let is_first = closes.watch();
    drop(closes);
    if is_first {
        look_later(Seen::default());
    }
    Some(WatchedDump(number))
}

#[cfg(feature = "dump")]
impl Drop for WatchedDump {
    fn drop(&mut self) {
        let dump = closes().dumps.remove(&self.0);
        drop(dump);
    }
}

/// The destructors of values that run in this registry just now, and for how long.
#[cfg(all(feature = "signal", unix))]
pub(crate) fn destructors(table: &Arc<crate::table::store::Table>) -> Vec<String> {
    let (now, mut dropping) = (Instant::now(), Vec::new());
    for (id, value) in &closes().dropping {
        if Arc::ptr_eq(&value.node.table, table) {
            dropping.push((*id, value.clone()));
        }
    }
    let busy = dropping
        .into_iter()
        .filter_map(|value| busy_value(value, now));
    busy.map(|value| format!("{}: running for {}", value.what, clock::human(value.lasts)))
        .collect()
}

/// A close has ended.
pub(crate) fn end(core: &Core) {
    if core.is_watched.load(crate::sync::Ordering::SeqCst) == 1 {
        let close = closes().under_way.remove(&core.node.meta.id);
        drop(close);
    }
}

/// Drops a value of a context, while the timer thread knows what is dropped. Returns what its destructor said when it panicked,
/// and how long it took.
pub(crate) fn drop_owned(node: &Arc<Node>, owned: Owned) -> (Option<String>, Duration) {
    let (id, since) = (owned.id, Instant::now());
    let dropping = Dropping {
        name: owned.name,
        node: Arc::clone(node),
        since,
        subscriber: dispatcher::get_default(Dispatch::clone),
    };
    let before = closes().dropping.insert(id, dropping);
    drop(before);
    let panic = panics::discard(owned.value);
    let dropping = closes().dropping.remove(&id);
    drop(dropping);
    (panic, since.elapsed())
}

/// What earlier looks have seen.
#[derive(Default)]
struct Seen {
    /// What was being polled at this look, how many steps it had had then, and when that was seen first.
    polled: HashMap<ResourceId, (u32, Instant)>,
    /// The same of the look before. Nothing older is kept.
    polled_before: HashMap<ResourceId, (u32, Instant)>,
    questions: HashMap<runtime::Id, Question>,
    /// For how long it lasts before it is told again.
    told: HashMap<Subject, Duration>,
}

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Runtime(runtime::Id),
    /// The same, for those that wait for a dump.
    Dumps(runtime::Id),
    Code(ResourceId),
}

/// Code that runs on, and does not return to its runtime.
struct Busy {
    id: ResourceId,
    what: String,
    core: Arc<Core>,
    lasts: Duration,
    subscriber: Dispatch,
}

fn look_later(seen: Seen) {
    timer::run_after(PERIOD, move || look(seen));
}

/// Looks at the closes that are under way, for as long as there are any.
fn look(mut seen: Seen) {
    let now = Instant::now();
    let Some((closes, dropping)) = overdue(now) else {
        return;
    };
    // Whatever a subscriber or a destructor does here: the next look comes.
    panics::contain(|| {
        seen.polled_before = mem::take(&mut seen.polled);
        let mut busy = seen.busy_hooks(&closes, now);
        busy.extend(
            dropping
                .into_iter()
                .filter_map(|value| busy_value(value, now)),
        );
        let silent = seen.silent_runtimes(&closes, now);
        for (runtime, lasts) in &silent {
            seen.tell_of_runtime(*runtime, *lasts, &closes, &busy, now);
        }
        busy.retain(|code| {
            !silent
                .iter()
                .any(|(id, _)| Some(*id) == runtime_of(&code.core))
        });
        for code in &busy {
            seen.tell_of_code(code);
        }
        seen.told.retain(|subject, _| match subject {
            Subject::Runtime(id) | Subject::Dumps(id) => {
                silent.iter().any(|(silent, _)| silent == id)
            }
            Subject::Code(id) => busy.iter().any(|code| code.id == *id),
        });
    });
    look_later(seen);
}

/// The closes, and the destructors of values, that have lasted for a while; `None` if nothing is left to look at.
#[expect(clippy::type_complexity, reason = "two lists")]
fn overdue(now: Instant) -> Option<(Vec<(Arc<Core>, UnderWay)>, Vec<(ResourceId, Dropping)>)> {
    // Dropped after the lock is given up: a subscriber may go with it.
    let mut gone = Vec::new();
    let mut closes = closes();
    // A registry may go while it closes.
    let is_gone = |close: &UnderWay| close.core.strong_count() == 0;
    let ids = closes.under_way.iter().filter(|(_, close)| is_gone(close));
    let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
    gone.extend(ids.iter().filter_map(|id| closes.under_way.remove(id)));
    let is_empty = closes.under_way.is_empty() && closes.dumps.is_empty();
    if is_empty && closes.dropping.is_empty() {
        closes.is_watched = false;
        return None;
    }
    let lasts = |since: Instant| now.saturating_duration_since(since) >= PERIOD;
    let under_way = closes.under_way.values().chain(closes.dumps.values());
    let under_way = under_way.filter(|close| lasts(close.since));
    let under_way: Vec<_> = under_way.cloned().collect();
    let dropping = closes
        .dropping
        .iter()
        .filter(|(_, value)| lasts(value.since));
    let dropping = dropping.map(|(id, value)| (*id, value.clone())).collect();
    drop(closes);
    let upgraded = under_way
        .into_iter()
        .filter_map(|close| Some((close.core.upgrade()?, close)));
    Some((
        upgraded
            .filter(|(core, close)| close.is_going_on(core))
            .collect(),
        dropping,
    ))
}

fn busy_value((id, value): (ResourceId, Dropping), now: Instant) -> Option<Busy> {
    let path = resource::short_path(&*value.node);
    Some(Busy {
        id,
        what: format!(
            "the destructor of the value {} [{}]",
            Printed(&value.name),
            Quoted(&path)
        ),
        core: value.node.core.upgrade()?,
        lasts: now.saturating_duration_since(value.since),
        subscriber: value.subscriber,
    })
}

fn runtime_of(core: &Core) -> Option<runtime::Id> {
    core.runtimes.latest().map(|runtime| runtime.id())
}

impl Seen {
    /// For how long it has been in the same poll; `None` if it is not in one, or was not when it was looked at before.
    fn polled_for(&mut self, id: ResourceId, state: &PollState, now: Instant) -> Option<Duration> {
        let steps = state.steps();
        if steps % 2 == 0 {
            return None;
        }
        let before = self.polled_before.get(&id);
        let since = before.filter(|(known, _)| *known == steps);
        let since = since.map(|(_, since)| *since);
        self.polled.insert(id, (steps, since.unwrap_or(now)));
        since.map(|since| now.saturating_duration_since(since))
    }

    /// The hooks that are in a poll for a while.
    fn busy_hooks(&mut self, closes: &[(Arc<Core>, UnderWay)], now: Instant) -> Vec<Busy> {
        let mut busy = Vec::new();
        let mut tables: HashMap<u32, &UnderWay> = HashMap::new();
        for (core, close) in closes {
            let table = &core.node.table;
            if tables.insert(table.number, close).is_some() {
                continue;
            }
            for hook in table.hooks.all() {
                let lasts = self.polled_for(hook.id, &hook.poll_state, now);
                let core = current::node_of(&*hook.context).and_then(|node| node.core.upgrade());
                if let (Some(lasts), Some(core)) = (lasts, core) {
                    busy.push(Busy {
                        id: hook.id,
                        what: hook_text(&hook),
                        core,
                        lasts,
                        subscriber: close.subscriber.clone(),
                    });
                }
            }
        }
        busy
    }

    /// The runtimes that have not run an empty task for a while. Asks all of them again.
    fn silent_runtimes(
        &mut self,
        closes: &[(Arc<Core>, UnderWay)],
        now: Instant,
    ) -> Vec<(runtime::Id, Duration)> {
        let runtimes: HashMap<_, _> = closes
            .iter()
            .filter_map(|(core, close)| close.runtime(core))
            .map(|runtime| (runtime.id(), runtime))
            .collect();
        self.questions
            .retain(|id, question| runtimes.contains_key(id) && !question.is_answered());
        for (id, runtime) in runtimes {
            self.questions
                .entry(id)
                .or_insert_with(|| Question::put_to(&runtime, now));
        }
        let silent = self
            .questions
            .iter()
            .map(|(id, question)| (*id, question.waits(now)));
        silent.filter(|(_, lasts)| *lasts >= PERIOD).collect()
    }

    /// The tasks of these closes' registries that are in a poll for a while.
    fn busy_tasks(&mut self, closes: &[&(Arc<Core>, UnderWay)], now: Instant) -> Vec<String> {
        let mut tables = HashMap::new();
        for (core, _) in closes {
            tables.insert(core.node.table.number, Arc::clone(&core.node.table));
        }
        let mut busy = Vec::new();
        for table in tables.values() {
            table.for_each(|task| {
                let (Some(state), id) = (task.poll_state(), task.meta().id) else {
                    return;
                };
                if self.polled_for(id, state, now).is_some() && busy.len() < NAMED {
                    busy.push(Resource::of_task(
                        task,
                        &table.tasks,
                        crate::clock::Stamp::now(),
                    ));
                }
            });
        }
        let text = |task: &Resource| {
            let (path, location) = (resource::short_path(task.record()), task.location());
            let (file, line) = (location.file(), location.line());
            format!("the task {} (spawned at {file}:{line})", Quoted(&path))
        };
        busy.iter().map(text).collect()
    }

    fn tell_of_runtime(
        &mut self,
        id: runtime::Id,
        lasts: Duration,
        closes: &[(Arc<Core>, UnderWay)],
        busy: &[Busy],
        now: Instant,
    ) {
        let is_on = |core: &Core, close: &UnderWay| close.runtime(core).map(|on| on.id());
        let under_way: Vec<_> = closes
            .iter()
            .filter(|(core, close)| is_on(core, close) == Some(id))
            .collect();
        let code = busy
            .iter()
            .filter(|code| runtime_of(&code.core) == Some(id));
        let mut code: Vec<_> = code.map(|code| code.what.clone()).take(NAMED).collect();
        code.extend(self.busy_tasks(&under_way, now));
        if lasts < SILENT {
            return;
        }
        let held_up = if code.is_empty() {
            "other code blocks the runtime, or no thread runs it".to_owned()
        } else {
            format!("the runtime is inside {}", code.join(", "))
        };
        let is_dump = |(_, close): &&(Arc<Core>, UnderWay)| close.dumps_on.is_some();
        let (dumps, closes): (Vec<_>, Vec<_>) = under_way.into_iter().partition(is_dump);
        for (what, waiting, subject) in [
            ("close", closes, Subject::Runtime(id)),
            ("dump", dumps, Subject::Dumps(id)),
        ] {
            let Some((_, first)) = waiting.first().filter(|_| self.is_due(subject, lasts)) else {
                continue;
            };
            let (names, lasts) = (Names(&waiting), clock::human(lasts));
            event::to(&first.subscriber, || {
                event::emit!(target: "headcount::context", WARN,
                    "the {what} of {names} makes no progress: its runtime has not run any new task for {lasts}; {held_up}"
                );
            });
        }
    }

    fn tell_of_code(&mut self, code: &Busy) {
        let limit = code.core.limits.hook;
        if code.lasts < limit || !self.is_due(Subject::Code(code.id), code.lasts) {
            return;
        }
        let (name, lasts) = (Printed(&code.core.node.meta.name), clock::human(code.lasts));
        let (what, limit) = (&code.what, clock::human(limit));
        event::to(&code.subscriber, || {
            event::emit!(target: "headcount::context", WARN,
                context = %name,
                "{what} has blocked its thread for {lasts}; its time limit is {limit}"
            );
        });
    }

    /// Whether it is to be told now; then it is told again when it has lasted twice as long.
    fn is_due(&mut self, subject: Subject, lasts: Duration) -> bool {
        let next = self.told.entry(subject).or_default();
        let is_due = lasts >= *next;
        if is_due {
            *next = lasts.saturating_mul(2);
        }
        is_due
    }
}

fn hook_text(hook: &RunningHook) -> String {
    let path = resource::short_path(&*hook.context);
    let (kind, what) = (hook.kind, hook.what);
    let (file, line) = (hook.location.file(), hook.location.line());
    format!(
        "the {kind} hook {what} at {file}:{line} [{}]",
        Quoted(&path)
    )
}

/// The names of some contexts.
struct Names<'a>(&'a [&'a (Arc<Core>, UnderWay)]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.len().min(NAMED);
        for (n, (core, _)) in self.0[..named].iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", Quoted(&resource::short_path(&*core.node)))?;
        }
        match self.0.len() - named {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::Registry;

    /// Another driver may have been faster than the call that began the close.
    #[tokio::test]
    async fn a_close_that_has_ended_is_not_watched() {
        let ctx = Registry::new().context("ctx");
        let is_watched = || closes().under_way.contains_key(&ctx.id());
        ctx.request_close("test");
        assert!(is_watched());
        ctx.closed().await;
        assert!(!is_watched());
        begin(ctx.core());
        assert!(!is_watched());
    }
}
