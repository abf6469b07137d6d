//! What a registry records about handles, and the listeners for things that go.

use crate::{
    event,
    ledger::{
        level::{Level, UnknownLevel},
        probes::Probes,
    },
    panics,
    sync::{
        AtomicU8, AtomicU32, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};
use std::sync::OnceLock;
use tokio::sync::Notify;

/// False in the build that the `level_off` bench compares with: there nothing is ever written down.
pub(crate) const IS_COMPILED_IN: bool = !cfg!(headcount_untracked);

/// How many stacks are captured without a thought.
const LOOKS: u32 = 4_096;

/// One a registry.
#[derive(Debug)]
pub(crate) struct Tracking {
    level: AtomicU8,
    /// Of how many handles one gets a backtrace.
    one_in: AtomicU32,
    /// Handles that might have got one.
    passed: AtomicU32,
    /// Handles whose line is a library's.
    looked: AtomicU32,
    /// What users count.
    pub(crate) probes: Probes,
    /// Whether a context has closed since somebody asked.
    has_closed: AtomicU8,
    /// How many wait for the bell.
    listeners: AtomicUsize,
    /// Rings when something is gone, while somebody listens.
    changed: Notify,
}

impl Tracking {
    /// As the environment says.
    pub(crate) fn new() -> Self {
        Self {
            level: AtomicU8::new(level_of_process() as u8),
            one_in: AtomicU32::new(1),
            passed: AtomicU32::new(0),
            looked: AtomicU32::new(0),
            probes: Probes::default(),
            has_closed: AtomicU8::new(0),
            listeners: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// One relaxed load (I15).
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

    /// Whether the next handle gets a backtrace; the first one does.
    pub(crate) fn is_its_turn(&self) -> bool {
        self.passed.fetch_add(1, Relaxed) % self.one_in.load(Relaxed) == 0
    }

    /// Whether to capture a stack for a handle whose line is a library's: it takes some microseconds, so after
    /// the first ones only for one in 16.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        let looked = self.looked.fetch_add(1, Relaxed);
        looked < LOOKS || looked % 16 == 0
    }

    /// Wants to hear of everything that goes, until the returned guard is dropped.
    pub(crate) fn listen(&self) -> Listening<'_> {
        self.listeners.fetch_add(1, SeqCst);
        Listening(self)
    }

    /// A context has begun to close, or is in the middle of it.
    pub(crate) fn closing(&self) {
        if IS_COMPILED_IN {
            self.has_closed.store(1, Relaxed);
        }
    }

    /// A context has closed.
    pub(crate) fn closed(&self) {
        self.closing();
        self.gone();
    }

    /// Whether a context has closed, or begun to, since the last call.
    pub(crate) fn take_closes(&self) -> bool {
        self.has_closed.swap(0, Relaxed) == 1
    }

    /// Something is gone. A load and a branch while nobody listens: either the listener sees that it is
    /// gone, or we see the listener.
    #[inline]
    pub(crate) fn gone(&self) {
        if IS_COMPILED_IN && self.listeners.load(SeqCst) > 0 {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        panics::contain(|| self.changed.notify_waiters());
    }
}

/// Somebody who wants to hear of everything that goes.
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

/// What `HEADCOUNT_LEVEL` says; read once.
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
    // Said when it is set: a subscriber that hears it may make registries (I9).
    if let Some(unknown) = unknown.filter(|_| is_first) {
        event::emit!(
            WARN,
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
