//! Handles of contexts that lie in unexpected containers.

use crate::world::{Line, World, culprit, lock};
use headcount::{Context, Level, WeakContext, leaks::LeakPolicy};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::pending,
    mem,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

static BY_USER: Mutex<BTreeMap<u32, Context>> = Mutex::new(BTreeMap::new());

/// An entry of a global map that is never removed.
pub(crate) async fn global_map(world: World) {
    let conn = world.context("conn");
    lock(&BY_USER).insert(7, culprit!(world, conn.clone()));
    world.afterwards(|| lock(&BY_USER).clear());
    conn.close().await;
}

pub(crate) async fn global_map_fixed(world: World) {
    let conn = world.context("conn");
    lock(&BY_USER).insert(7, conn.clone());
    conn.close().await;
    lock(&BY_USER).remove(&7);
}

static LATEST: OnceLock<Mutex<Option<Context>>> = OnceLock::new();
static LATEST_WEAK: OnceLock<Mutex<Option<WeakContext>>> = OnceLock::new();

/// The latest one of its kind, known to everybody.
pub(crate) async fn singleton(world: World) {
    let conn = world.context("conn");
    let latest = LATEST.get_or_init(Mutex::default);
    *lock(latest) = Some(culprit!(world, conn.clone()));
    world.afterwards(|| *lock(LATEST.get_or_init(Mutex::default)) = None);
    conn.close().await;
}

pub(crate) async fn singleton_fixed(world: World) {
    let conn = world.context("conn");
    let latest = LATEST_WEAK.get_or_init(Mutex::default);
    *lock(latest) = Some(conn.downgrade());
    conn.close().await;
}

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// What was current on this thread stays so.
pub(crate) async fn in_thread_local(world: World) {
    let conn = world.context("conn");
    CURRENT.set(Some(culprit!(world, conn.clone())));
    world.afterwards(|| CURRENT.set(None));
    conn.close().await;
}

pub(crate) async fn in_thread_local_fixed(world: World) {
    let conn = world.context("conn");
    let before = CURRENT.replace(Some(conn.clone()));
    CURRENT.set(before);
    conn.close().await;
}

/// A hook of the server knows the connection, which ended long ago.
pub(crate) async fn hook_of_another(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let known = culprit!(world, conn.clone());
    let said = server.on_close(move || async move { drop(known.path()) });
    said.unwrap();
    conn.close().await;
    server
}

pub(crate) async fn hook_of_another_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let known = conn.downgrade();
    let said = server.on_close(move || async move { drop(known.path()) });
    said.unwrap();
    conn.close().await;
    server
}

/// A hook of the context itself: it is never run, as it keeps open what would run it.
pub(crate) async fn hook_of_its_own(world: World) {
    let conn = world.context("conn");
    let known = culprit!(world, conn.clone());
    let hook = conn.on_close(move || async move { drop(known.path()) });
    let hook = hook.unwrap();
    world.afterwards(move || assert!(hook.cancel()));
}

pub(crate) async fn hook_of_its_own_fixed(world: World) {
    let conn = world.context("conn");
    let known = conn.downgrade();
    let hook = conn.on_close(move || async move { drop(known.path()) });
    hook.unwrap();
    conn.close().await;
}

pub(crate) type Callback = Box<dyn Fn() -> String + Send>;

/// A callback in a list that outlives what it is about.
pub(crate) async fn callback_list(world: World) -> Vec<Callback> {
    let conn = world.context("conn");
    let known = culprit!(world, conn.clone());
    let callbacks: Vec<Callback> = vec![Box::new(move || known.path())];
    conn.close().await;
    callbacks
}

pub(crate) async fn callback_list_fixed(world: World) -> Vec<Callback> {
    let conn = world.context("conn");
    let known = conn.downgrade();
    let callbacks: Vec<Callback> = vec![Box::new(move || known.path())];
    conn.close().await;
    callbacks
}

/// One sibling keeps the other, in a value that it owns.
pub(crate) async fn sibling(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let (left, right) = (server.child("left"), server.child("right"));
    let peer = right.own("peer", "slot", Mutex::new(None)).unwrap();
    *lock(&peer) = Some(culprit!(world, left.clone()));
    left.close().await;
    (server, right)
}

pub(crate) async fn sibling_fixed(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let (left, right) = (server.child("left"), server.child("right"));
    let peer = right.own("peer", "slot", Mutex::new(None)).unwrap();
    *lock(&peer) = Some(left.downgrade());
    left.close().await;
    (server, right)
}

/// The same, and the report is told where the handle lies.
pub(crate) async fn sibling_declared(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let (left, right) = (server.child("left"), server.child("right"));
    let peer = right.own("peer", "slot", Mutex::new(None)).unwrap();
    let handle = culprit!(world, left.clone());
    handle.held_by(&(&peer, "peer"));
    *lock(&peer) = Some(handle);
    left.close().await;
    (server, right)
}

pub(crate) async fn sibling_declared_fixed(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let (left, right) = (server.child("left"), server.child("right"));
    let peer = right.own("peer", "slot", Mutex::new(None)).unwrap();
    let handle = left.clone();
    handle.held_by(&(&peer, "peer"));
    *lock(&peer) = Some(handle);
    left.close().await;
    *lock(&peer) = None;
    (server, right)
}

pub(crate) struct Session {
    user: u32,
    ctx: Context,
}

/// A session is over, and its struct is still in the list.
pub(crate) async fn closed_in_struct(world: World) -> Vec<Session> {
    let ctx = culprit!(world, world.context("session"));
    let sessions = vec![Session { user: 7, ctx }];
    sessions[0].ctx.close().await;
    sessions
}

pub(crate) async fn closed_in_struct_fixed(world: World) -> Vec<Session> {
    let ctx = world.context("session");
    let mut sessions = vec![Session { user: 7, ctx }];
    sessions[0].ctx.close().await;
    sessions.retain(|session| session.user != 7);
    sessions
}

/// It is never closed.
pub(crate) async fn never_closed(world: World) -> Session {
    let ctx = culprit!(world, world.context("session"));
    Session { user: 7, ctx }
}

pub(crate) async fn never_closed_fixed(world: World) {
    let ctx = world.context("session");
    let session = Session { user: 7, ctx };
    session.ctx.close().await;
}

/// Closes by itself, in the background, but that was not intended.
pub(crate) async fn dropped_open(world: World) {
    let conn = culprit!(world, world.context("conn"));
    conn.task("reader").cancellable().spawn(async {});
}

pub(crate) async fn dropped_open_fixed(world: World) {
    let conn = world.context("conn");
    conn.task("reader").cancellable().spawn(async {});
    conn.close().await;
}

/// The parent was closed, which closed the child; the child's handle is still here.
pub(crate) async fn child_of_closed(world: World) -> Context {
    let server = world.context("server");
    let conn = culprit!(world, server.child("conn"));
    server.close().await;
    conn
}

pub(crate) async fn child_of_closed_fixed(world: World) {
    let server = world.context("server");
    let conn = server.child("conn");
    server.request_close("it is over");
    // The parent's close is on its way to it: it was not dropped while open.
    drop(conn);
    server.closed().await;
}

#[derive(Default)]
pub(crate) struct Switch {
    current: Option<Context>,
    previous: Option<Context>,
}

/// What was current before is restored, and stays saved.
pub(crate) async fn previous_state(world: World) -> Switch {
    let mut switch = Switch {
        current: Some(culprit!(world, world.context("page"))),
        previous: None,
    };
    switch.previous = switch.current.take();
    switch.previous.as_ref().unwrap().close().await;
    switch
}

pub(crate) async fn previous_state_fixed(world: World) -> Switch {
    let mut switch = Switch {
        current: Some(world.context("page")),
        previous: None,
    };
    switch.previous = switch.current.take();
    let previous = switch.previous.take();
    previous.unwrap().close().await;
    switch
}

impl Session {
    /// `self.close`, as something to be called later.
    fn into_greeting(self) -> Callback {
        Box::new(move || format!("user {} on {}", self.user, self.ctx.path()))
    }
}

/// A bound method is a reference to its object.
pub(crate) async fn bound_method(world: World) -> Callback {
    let ctx = culprit!(world, world.context("session"));
    ctx.close().await;
    Session { user: 7, ctx }.into_greeting()
}

pub(crate) async fn bound_method_fixed(world: World) -> Callback {
    let ctx = world.context("session");
    ctx.close().await;
    let path = ctx.path();
    Box::new(move || format!("user 7 on {path}"))
}

/// Each attempt has a context, and the failed ones are kept.
pub(crate) async fn retry_loop(world: World) -> Vec<Context> {
    let mut attempts = Vec::new();
    for n in 0..3 {
        let attempt = culprit!(world, world.context(format!("attempt {n}")));
        attempt.close().await;
        attempts.push(attempt);
    }
    attempts
}

pub(crate) async fn retry_loop_fixed(world: World) -> Option<WeakContext> {
    let mut last = None;
    for n in 0..3 {
        let attempt = world.context(format!("attempt {n}"));
        attempt.close().await;
        last = Some(attempt.downgrade());
    }
    last
}

/// An error that says on which connection.
pub(crate) struct Failed<C>(C);

fn fail<C>(on: C) -> Result<(), Failed<C>> {
    Err(Failed(on))
}

/// An error carries the handle into the log of errors.
pub(crate) async fn error_value(world: World) -> Vec<Failed<Context>> {
    let conn = world.context("conn");
    let result = fail(culprit!(world, conn.clone()));
    conn.close().await;
    result.err().into_iter().collect()
}

pub(crate) async fn error_value_fixed(world: World) -> Vec<Failed<String>> {
    let conn = world.context("conn");
    let result = fail(conn.path());
    conn.close().await;
    result.err().into_iter().collect()
}

static GRAVEYARD: Mutex<Vec<Context>> = Mutex::new(Vec::new());

struct Undead(World, Context);

impl Drop for Undead {
    fn drop(&mut self) {
        let handle = culprit!(self.0, self.1.clone());
        lock(&GRAVEYARD).push(handle);
    }
}

/// A destructor puts the handle elsewhere.
pub(crate) async fn stashed_in_drop(world: World) {
    let conn = world.context("conn");
    drop(Undead(world.clone(), conn.clone()));
    world.afterwards(|| lock(&GRAVEYARD).clear());
    conn.close().await;
}

struct Dead(Context);

impl Drop for Dead {
    fn drop(&mut self) {
        self.0.request_close("its owner was dropped");
    }
}

pub(crate) async fn stashed_in_drop_fixed(world: World) {
    let conn = world.context("conn");
    drop(Dead(conn.clone()));
    conn.closed().await;
}

/// Gone for good.
pub(crate) async fn forgotten(world: World) {
    let conn = world.context("conn");
    mem::forget(culprit!(world, conn.clone()));
    conn.close().await;
}

pub(crate) async fn forgotten_fixed(world: World) {
    let conn = world.context("conn");
    drop(conn.clone());
    conn.close().await;
}

pub(crate) async fn boxed_and_leaked(world: World) -> &'static Context {
    let conn = world.context("conn");
    let leaked: &'static Context = Box::leak(Box::new(culprit!(world, conn.clone())));
    conn.close().await;
    leaked
}

pub(crate) async fn boxed_and_leaked_fixed(world: World) -> &'static WeakContext {
    let conn = world.context("conn");
    let leaked: &'static WeakContext = Box::leak(Box::new(conn.downgrade()));
    conn.close().await;
    leaked
}

/// A pointer for a C library, which never gives it back.
pub(crate) async fn arc_into_raw(world: World) -> *const Context {
    let conn = Arc::new(culprit!(world, world.context("conn")));
    conn.close().await;
    Arc::into_raw(conn)
}

pub(crate) async fn arc_into_raw_fixed(world: World) -> *const WeakContext {
    let conn = Arc::new(world.context("conn"));
    conn.close().await;
    Arc::into_raw(Arc::new(conn.downgrade()))
}

struct Parent {
    children: Mutex<Vec<Arc<Child>>>,
}

struct Child {
    ctx: Context,
    parent: Mutex<Option<Arc<Parent>>>,
}

/// Two plain structs know each other, and a handle lies in one of them.
pub(crate) async fn cycle_of_structs(world: World) {
    let children = Mutex::default();
    let parent = Arc::new(Parent { children });
    let child = Arc::new(Child {
        ctx: culprit!(world, world.context("child")),
        parent: Mutex::new(Some(Arc::clone(&parent))),
    });
    lock(&parent.children).push(Arc::clone(&child));
    child.ctx.close().await;
}

pub(crate) async fn cycle_of_structs_fixed(world: World) {
    let children = Mutex::default();
    let parent = Arc::new(Parent { children });
    let child = Arc::new(Child {
        ctx: world.context("child"),
        parent: Mutex::new(Some(Arc::clone(&parent))),
    });
    lock(&parent.children).push(Arc::clone(&child));
    child.ctx.close().await;
    *lock(&child.parent) = None;
}

/// A struct of handles whose `Clone` says who calls it.
pub(crate) struct Pair(Context);

impl Clone for Pair {
    #[track_caller]
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A handle in a struct that is cloned as a whole.
pub(crate) async fn clone_of_struct(world: World) -> Pair {
    let pair = Pair(world.context("conn"));
    let copy = culprit!(world, pair.clone());
    pair.0.close().await;
    copy
}

pub(crate) async fn clone_of_struct_fixed(world: World) -> WeakContext {
    let pair = Pair(world.context("conn"));
    let copy = pair.clone().0.downgrade();
    pair.0.close().await;
    copy
}

/// Many of the same: they are one block in the report.
pub(crate) async fn accept_loop(world: World) -> Vec<Context> {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let mut accepted = vec![server.clone()];
    for n in 0..4 {
        let conn = server.child(format!("conn {n}"));
        accepted.push(culprit!(world, conn.clone()));
        conn.close().await;
    }
    accepted
}

pub(crate) async fn accept_loop_fixed(world: World) -> Vec<Context> {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let mut accepted = vec![server.clone()];
    for n in 0..4 {
        let conn = server.child(format!("conn {n}"));
        accepted.push(conn.clone());
        conn.close().await;
        accepted.pop();
    }
    accepted
}

/// A handle is kept for the log, where facts would do: they keep nothing alive (I5).
pub(crate) async fn kept_for_the_log(world: World) -> Context {
    let conn = world.context("conn");
    conn.spawn(async {}).await.unwrap();
    conn.close().await;
    culprit!(world, conn.clone())
}

pub(crate) async fn kept_for_the_log_fixed(world: World) -> impl Sized + use<> {
    let conn = world.context("conn");
    conn.spawn(async {}).await.unwrap();
    let hook = conn.on_close(|| async {}).unwrap();
    let facts = (world.live().await, conn.holders(), conn.token(), hook);
    (facts, conn.close().await, conn.downgrade())
}

/// Opens a connection below the server, and keeps it.
async fn keep(server: WeakContext) {
    let conn = server.upgrade().unwrap().child("conn");
    let log = conn.own("log", "file", ()).ok();
    conn.spawn(pending::<()>());
    drop(log);
    pending::<()>().await;
}

/// What is below a forgotten context is not to blame: it is one leak, with all that hangs on it.
pub(crate) async fn whole_subtree(world: World) -> Context {
    let opening = culprit!(world, world.context_builder("server"));
    let server = opening.grace(Duration::ZERO).open();
    server.spawn(keep(server.downgrade()));
    server
}

pub(crate) async fn whole_subtree_fixed(world: World) {
    let opening = world.context_builder("server");
    let server = opening.grace(Duration::ZERO).open();
    server.spawn(keep(server.downgrade()));
    server.close().await;
}

/// A task of the child holds the parent: what is below the parent keeps it open.
pub(crate) async fn child_pins_parent(world: World) {
    let server = world.context_builder("server").grace(Duration::ZERO).open();
    let (weak, end) = (server.downgrade(), server.downgrade());
    let inside = world.clone();
    server.spawn(async move {
        let conn = weak.upgrade().unwrap().child("conn");
        conn.spawn(async move {
            let server = culprit!(inside, weak.upgrade());
            pending::<()>().await;
            drop(server);
        });
        pending::<()>().await;
        drop(conn);
    });
    world.leaked().await;
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn child_pins_parent_fixed(world: World) {
    let server = world.context_builder("server").grace(Duration::ZERO).open();
    let weak = server.downgrade();
    server.spawn(async move {
        let conn = weak.upgrade().unwrap().child("conn");
        conn.spawn(async move { weak.cancelled().await });
        pending::<()>().await;
        drop(conn);
    });
    server.close().await;
}

/// Two contexts own each other's handle, and say so.
pub(crate) async fn own_each_other(world: World) {
    let (left, right) = (world.context("left"), world.context("right"));
    let to_left = culprit!(world, left.clone());
    let slot = right.own("peer", "slot", Mutex::new(None)).unwrap();
    to_left.held_by(&(&slot, "peer"));
    *lock(&slot) = Some(to_left);
    let end = left.downgrade();
    let slot = left.own("peer", "slot", Mutex::new(None)).unwrap();
    right.held_by(&(&slot, "peer"));
    *lock(&slot) = Some(right);
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn own_each_other_fixed(world: World) {
    let (left, right) = (world.context("left"), world.context("right"));
    let slot = right.own("peer", "slot", Mutex::new(None)).unwrap();
    *lock(&slot) = Some(left.downgrade());
    let slot = left.own("peer", "slot", Mutex::new(None)).unwrap();
    let to_right = right.clone();
    to_right.held_by(&(&slot, "peer"));
    *lock(&slot) = Some(to_right);
    drop(slot);
    right.close().await;
    left.close().await;
}

/// Lines are recorded at `Counts` as well.
pub(crate) async fn at_level_counts(world: World) -> Vec<Context> {
    world.set_level(Level::Counts);
    let conn = world.context("conn");
    let kept = vec![culprit!(world, conn.clone())];
    conn.close().await;
    kept
}

pub(crate) async fn at_level_counts_fixed(world: World) -> Vec<Context> {
    world.set_level(Level::Counts);
    let conn = world.context("conn");
    let mut kept = vec![conn.clone()];
    conn.close().await;
    kept.clear();
    kept
}

/// The struct's derived `Clone` is what takes the handle: its line is the one that can be known.
pub(crate) const DERIVED: u32 = line!() + 1;
#[derive(Clone)]
pub(crate) struct Copied(Context);

pub(crate) async fn derived_clone(world: World) -> Copied {
    let copied = Copied(world.context("conn"));
    let copy = copied.clone();
    world.suspect(Line {
        file: file!(),
        line: DERIVED,
    });
    copied.0.close().await;
    copy
}

pub(crate) async fn derived_clone_fixed(world: World) -> WeakContext {
    let copied = Copied(world.context("conn"));
    let copy = copied.clone();
    copied.0.close().await;
    copy.0.downgrade()
}

/// In production: it closes in the background, and that is reported all the same.
pub(crate) async fn dropped_open_in_production(world: World) {
    world.judge_by(LeakPolicy::new());
    let conn = culprit!(world, world.context("conn"));
    let handle = conn.clone();
    drop((conn, handle));
}

pub(crate) async fn dropped_open_in_production_fixed(world: World) {
    world.judge_by(LeakPolicy::new());
    let conn = world.context("conn");
    conn.request_close("done");
    let handle = conn.clone();
    drop((conn, handle));
}
