//! [`Tracking`]: how much a registry records about handles, its probes, and the listeners that are notified when things
//! end.

use crate::{
    context::line_counts::{SoFar, is_told_with},
    event,
    id::ResourceId,
    ledger::level::{Level, UnknownLevel},
    name::Printed,
    panics,
    sync::{
        AtomicU8, AtomicU32, AtomicUsize, Mutex, Notify,
        Ordering::{Relaxed, SeqCst},
        lock,
    },
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
};

/// False in the build that the `level_off` bench compares with: there nothing is ever recorded.
pub(crate) const IS_COMPILED_IN: bool = !cfg!(headcount_untracked);

/// How many stacks of handles on a library's line are captured before only one in 16 is.
const CAPTURES: u32 = 4_096;

/// How many tasks that panicked are remembered.
const PANICKED: usize = 64;

/// The settings and listeners of one registry. Every registry has one.
#[derive(Debug)]
pub(crate) struct Tracking {
    level: AtomicU8,
    /// At `Backtraces`, one handle in so many gets a backtrace.
    one_in: AtomicU32,
    /// How many handles could have got a backtrace.
    candidates: AtomicU32,
    /// How many handles were taken on a library's line.
    library_lines: AtomicU32,
    /// The numbers that the user counts.
    pub(crate) probes: Probes,
    /// Contexts that are not listed any more and have weak handles.
    pub(crate) outlived: OutlivedContexts,
    /// The tasks that panicked last.
    panicked: Mutex<VecDeque<ResourceId>>,
    /// Whether a context has closed, or begun to, since the last `take_closes`.
    has_closed: AtomicU8,
    /// How many listeners there are.
    listeners: AtomicUsize,
    /// Notified whenever something has ended, while there are listeners.
    changed: Notify,
}

impl Tracking {
    /// Starts with the level that the environment sets.
    pub(crate) fn new() -> Self {
        Self {
            level: AtomicU8::new(level_of_process() as u8),
            one_in: AtomicU32::new(1),
            candidates: AtomicU32::new(0),
            library_lines: AtomicU32::new(0),
            probes: Probes::default(),
            outlived: OutlivedContexts::default(),
            panicked: Mutex::default(),
            has_closed: AtomicU8::new(0),
            listeners: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// Whether nothing is recorded: one relaxed load (I15).
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        !IS_COMPILED_IN || self.level.load(Relaxed) == Level::Off as u8
    }

    pub(crate) fn level(&self) -> Level {
        Level::of_byte(self.level.load(Relaxed))
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Relaxed);
    }

    pub(crate) fn sample(&self, one_in: u32) {
        self.one_in.store(one_in.max(1), Relaxed);
    }

    /// Notes that a task has panicked, for those that ask later what became of it.
    pub(crate) fn note_panic(&self, task: ResourceId) {
        let mut panicked = lock(&self.panicked);
        if panicked.len() == PANICKED {
            panicked.pop_front();
        }
        panicked.push_back(task);
    }

    /// Whether a task is among those that panicked last.
    pub(crate) fn has_panicked(&self, task: ResourceId) -> bool {
        lock(&self.panicked).contains(&task)
    }

    /// Whether the next handle gets a backtrace; the first one does.
    pub(crate) fn is_its_turn(&self) -> bool {
        self.candidates.fetch_add(1, Relaxed) % self.one_in.load(Relaxed) == 0
    }

    /// Whether to capture the stack of a handle that was taken on a library's line. A capture takes some microseconds, so
    /// after the first `CAPTURES` only one handle in 16 gets it.
    pub(crate) fn wants_caller(&self) -> bool {
        let count = self.library_lines.fetch_add(1, Relaxed);
        count < CAPTURES || count % 16 == 0
    }

    /// Listens for everything that ends, until the returned guard is dropped.
    pub(crate) fn listen(&self) -> Listening<'_> {
        self.listeners.fetch_add(1, SeqCst);
        Listening(self)
    }

    /// Notes that a context has begun to close, or is closing.
    pub(crate) fn closing(&self) {
        if IS_COMPILED_IN {
            self.has_closed.store(1, Relaxed);
        }
    }

    /// Notes that a context has closed.
    pub(crate) fn closed(&self) {
        self.closing();
        self.gone();
    }

    /// Whether a context has closed, or begun to, since the last call.
    pub(crate) fn take_closes(&self) -> bool {
        self.has_closed.swap(0, Relaxed) == 1
    }

    /// Notifies the listeners that something has ended: a load and a branch if there are none.
    ///
    /// Pairs with [`listen`](Self::listen): a listener is counted before it looks for what is alive, and an entry leaves
    /// the list before this load. So either the listener sees that the entry has ended, or this load sees the listener.
    #[inline]
    pub(crate) fn gone(&self) {
        if IS_COMPILED_IN && self.listeners.load(SeqCst) > 0 {
            self.notify_all();
        }
    }

    #[cold]
    fn notify_all(&self) {
        panics::contain(|| self.changed.notify_waiters());
    }
}

/// A listener, which is notified whenever something has ended. Dropping it ends that.
pub(crate) struct Listening<'a>(&'a Tracking);

impl Listening<'_> {
    pub(crate) fn changed(&self) -> &Notify {
        &self.0.changed
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, SeqCst);
    }
}

/// The level in `HEADCOUNT_LEVEL`, which is read once in a process.
fn level_of_process() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    if let Some(level) = LEVEL.get() {
        return *level;
    }
    let (level, unknown) = match read_level() {
        Ok(level) => (level, None),
        Err(unknown) => (Level::default_of_build(), Some(unknown)),
    };
    let is_first = LEVEL.set(level).is_ok();
    // After the level is stored: the subscriber that gets this event may make registries (I9).
    if let Some(unknown) = unknown.filter(|_| is_first) {
        event::emit!(target: "headcount::registry", WARN,
            "HEADCOUNT_LEVEL is ignored: {unknown}; the level is {level}"
        );
    }
    level
}

fn read_level() -> Result<Level, UnknownLevel> {
    match std::env::var_os("HEADCOUNT_LEVEL") {
        Some(text) => text.to_string_lossy().parse(),
        None => Ok(Level::default_of_build()),
    }
}

/// How many contexts of each line are closed and gone from the list, and still have weak handles.
#[derive(Debug, Default)]
pub(crate) struct OutlivedContexts(Mutex<HashMap<&'static Location<'static>, usize>>);

impl OutlivedContexts {
    pub(crate) fn add(&self, line: &'static Location<'static>) {
        *lock(&self.0).entry(line).or_default() += 1;
    }

    pub(crate) fn remove(&self, line: &'static Location<'static>) {
        let mut lines = lock(&self.0);
        if let Entry::Occupied(mut count) = lines.entry(line) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    pub(crate) fn by_line(&self) -> Vec<(&'static Location<'static>, usize)> {
        let lines = lock(&self.0);
        lines.iter().map(|(line, count)| (*line, *count)).collect()
    }
}

type Ask = Arc<dyn Fn() -> usize + Send + Sync>;

/// Numbers that the user counts, and that take part in growth reports: the probes of one registry, by name.
#[derive(Default)]
pub(crate) struct Probes(Mutex<BTreeMap<String, Probe>>);

#[derive(Clone)]
struct Probe {
    ask: Ask,
    panics: u64,
}

impl Probes {
    /// Sets a probe; one of the same name is replaced.
    pub(crate) fn set(&self, name: String, ask: impl Fn() -> usize + Send + Sync + 'static) {
        let probe = Probe {
            ask: Arc::new(ask),
            panics: 0,
        };
        let before = lock(&self.0).insert(name, probe);
        panics::discard(before);
    }

    pub(crate) fn remove(&self, name: &str) -> bool {
        let before = lock(&self.0).remove(name);
        let was_there = before.is_some();
        panics::discard(before);
        was_there
    }

    /// Asks each probe, in the order of names. One that panics is left out, with a warning.
    pub(crate) fn ask(&self) -> Vec<(String, usize)> {
        let probes = lock(&self.0).clone();
        let mut answers = Vec::with_capacity(probes.len());
        for (name, Probe { ask, .. }) in probes {
            match panics::guarded(|| ask()) {
                Ok(count) => answers.push((name, count)),
                Err(payload) => {
                    let said = panics::message(&*payload);
                    panics::bury(payload);
                    let count = self.note_panic(&name);
                    if is_told_with(1, count) {
                        let so_far = SoFar(count);
                        event::emit!(target: "headcount::registry", WARN, probe = %Printed(&name), "a probe panicked: {said}{so_far}");
                    }
                }
            }
            panics::discard(ask);
        }
        answers
    }
}

impl Probes {
    /// Counts one more panic of a probe, and says how many that makes.
    fn note_panic(&self, name: &str) -> u64 {
        let mut probes = lock(&self.0);
        probes.get_mut(name).map_or(1, |probe| {
            probe.panics += 1;
            probe.panics
        })
    }
}

/// Drops the user's closures one by one, because each may panic.
impl Drop for Probes {
    fn drop(&mut self) {
        let probes = std::mem::take(&mut *lock(&self.0));
        for (_, probe) in probes {
            panics::discard(probe);
        }
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}
