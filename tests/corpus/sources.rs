//! The common sources of leaks (S25), each with the programs that have it; and those that no other file has.

use crate::{
    program::Program,
    world::{World, culprit, lock},
};
use headcount::{Context, WeakContext, leaks::LeakPolicy};
use std::{
    future::pending,
    pin::Pin,
    sync::{Mutex, OnceLock},
};

/// S25: what leaks commonly, in the words of the list that this crate grew from, and the programs that leak in this way. Modules
/// that are objects, which keep what is in them, exist in Rust as statics alone.
const SOURCES: &[(&str, &[&str])] = &[
    (
        "global dicts",
        &["contexts::global_map", "contexts::singleton"],
    ),
    (
        "thread-local storage",
        &["contexts::in_thread_local", "tasks::in_task_local"],
    ),
    (
        "callbacks and closures that capture `self`",
        &[
            "contexts::callback_list",
            "contexts::hook_of_another",
            "contexts::hook_of_its_own",
            "values::listener_of_itself",
        ],
    ),
    (
        "tasks that refer to their context",
        &[
            "tasks::upgrades_its_own",
            "tasks::clone_of_its_own",
            "tasks::task_of_another",
        ],
    ),
    ("comm objects for reload", &["sources::reload_handler"]),
    (
        "tracing that holds frames",
        &["sources::recorder", "contexts::kept_for_the_log"],
    ),
    (
        "saved state of a context manager",
        &["contexts::previous_state", "contexts::error_value"],
    ),
    (
        "bound methods on long-lived objects",
        &["contexts::bound_method"],
    ),
    (
        "automatic subscriptions of computed values",
        &[
            "sources::automatic_subscription",
            "limits::subscriptions_grow",
        ],
    ),
];

/// S25: each source has a program.
///
/// # Panics
///
/// If one has none.
pub(crate) fn assert_covered(programs: &[Program]) {
    for (source, names) in SOURCES {
        assert!(!names.is_empty(), "no program for: {source}");
        for name in *names {
            let is_there = programs.iter().any(|program| program.name == *name);
            assert!(is_there, "there is no program {name}, for: {source}");
        }
    }
}

/// A value that notes by itself who reads it, to tell them of changes.
struct Computed<R>(Mutex<Vec<R>>);

impl<R> Computed<R> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn read(&self, reader: R) -> u32 {
        lock(&self.0).push(reader);
        7
    }
}

static THEME: Computed<Context> = Computed::new();
static THEME_WEAK: Computed<WeakContext> = Computed::new();

/// Reading a global value subscribes the context that reads, which nothing undoes.
pub(crate) async fn automatic_subscription(world: World) {
    let page = world.context("page");
    THEME.read(culprit!(world, page.clone()));
    world.afterwards(|| lock(&THEME.0).clear());
    page.close().await;
}

pub(crate) async fn automatic_subscription_fixed(world: World) {
    let page = world.context("page");
    THEME_WEAK.read(page.downgrade());
    page.close().await;
    lock(&THEME_WEAK.0).clear();
}

type Reload = Box<dyn Fn() -> String + Send>;
static RELOAD: OnceLock<Mutex<Option<Reload>>> = OnceLock::new();
static RELOAD_WEAK: OnceLock<Mutex<Option<Reload>>> = OnceLock::new();

/// What is to be called when the code changes refers to the page that was shown then.
pub(crate) async fn reload_handler(world: World) {
    let page = world.context("page");
    let shown = culprit!(world, page.clone());
    let reload = RELOAD.get_or_init(Mutex::default);
    *lock(reload) = Some(Box::new(move || shown.path()));
    world.afterwards(|| *lock(RELOAD.get_or_init(Mutex::default)) = None);
    page.close().await;
}

pub(crate) async fn reload_handler_fixed(world: World) {
    let page = world.context("page");
    let shown = page.downgrade();
    let reload = RELOAD_WEAK.get_or_init(Mutex::default);
    *lock(reload) = Some(Box::new(move || shown.path()));
    page.close().await;
}

type Frames = Vec<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// A recorder keeps the futures that it has recorded, to look at their state, until it is stopped.
pub(crate) async fn recorder(world: World) -> (Context, Frames) {
    world.judge_by(LeakPolicy::new());
    let browser = world.context("browser");
    let page = browser.child("page");
    let shown = culprit!(world, page.clone());
    let frame = async move {
        pending::<()>().await;
        drop(shown);
    };
    let recorded: Frames = vec![Box::pin(frame)];
    page.close().await;
    (browser, recorded)
}

pub(crate) async fn recorder_fixed(world: World) -> (Context, Frames) {
    let (browser, mut recorded) = {
        world.judge_by(LeakPolicy::new());
        let browser = world.context("browser");
        let page = browser.child("page");
        let shown = page.clone();
        let frame = async move {
            pending::<()>().await;
            drop(shown);
        };
        let recorded: Frames = vec![Box::pin(frame)];
        page.close().await;
        (browser, recorded)
    };
    recorded.clear();
    (browser, recorded)
}
