//! Values, registrations and leases.

use crate::world::{World, culprit, lock};
use headcount::{
    Context, Level, Registration, Tracked, WeakTracked,
    leaks::{LeakPolicy, LeakReport},
};
use std::{
    collections::BTreeMap,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{self, Wake, Waker},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Peer = Mutex<Option<Tracked<Node>>>;

/// One of several that know each other.
#[derive(Default)]
pub(crate) struct Node {
    peer: Peer,
    parent: Mutex<Option<WeakTracked<Node>>>,
}

/// A parent holds its child, and the child its parent; both say so. The younger one is to blame.
pub(crate) async fn cycle_declared(world: World) {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    let back = culprit!(world, parent.clone());
    back.held_by(&(&child, "peer"));
    *lock(&child.peer) = Some(back);
    child.held_by(&(&parent, "peer"));
    *lock(&parent.peer) = Some(child);
}

pub(crate) async fn cycle_declared_fixed(world: World) {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    *lock(&child.parent) = Some(parent.downgrade());
    child.held_by(&(&parent, "peer"));
    *lock(&parent.peer) = Some(child);
}

/// Two values hold each other, undeclared.
pub(crate) async fn cycle_undeclared(world: World) {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    *lock(&child.peer) = Some(culprit!(world, parent.clone()));
    *lock(&parent.peer) = Some(child);
}

pub(crate) async fn cycle_undeclared_fixed(world: World) {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    *lock(&child.parent) = Some(parent.downgrade());
    *lock(&parent.peer) = Some(child);
}

type Listeners = Mutex<Vec<Box<dyn Fn() -> usize + Send>>>;

/// An emitter whose own listener knows it.
pub(crate) async fn listener_of_itself(world: World) {
    let emitter = world.own("emitter", "emitter", Listeners::default());
    let known = culprit!(world, emitter.clone());
    known.held_by(&(&emitter, "listeners"));
    lock(&emitter).push(Box::new(move || lock(&known).len()));
}

pub(crate) async fn listener_of_itself_fixed(world: World) {
    let emitter = world.own("emitter", "emitter", Listeners::default());
    let known: WeakTracked<Listeners> = emitter.downgrade();
    lock(&emitter).push(Box::new(move || known.strong_count()));
}

/// What a context owned, and dropped at its close, is still held.
pub(crate) async fn owned_outlives_close(world: World) -> Tracked<String> {
    let conn = world.context("conn");
    let log = conn.own("log", "file", String::new()).unwrap();
    let handle = culprit!(world, log.clone());
    conn.close().await;
    handle
}

pub(crate) async fn owned_outlives_close_fixed(world: World) -> WeakTracked<String> {
    let conn = world.context("conn");
    let log = conn.own("log", "file", String::new()).unwrap();
    conn.close().await;
    log.downgrade()
}

/// A weak handle was upgraded and stored where the weak one should be.
pub(crate) async fn upgraded_and_kept(world: World) -> Option<Tracked<u32>> {
    let cache = world.own("cache", "cache", 7);
    let weak = cache.downgrade();
    culprit!(world, weak.upgrade())
}

pub(crate) async fn upgraded_and_kept_fixed(world: World) -> Option<u32> {
    let cache = world.own("cache", "cache", 7);
    let weak = cache.downgrade();
    weak.upgrade().map(|cache| *cache)
}

/// A struct is in a map, and its registration with it.
pub(crate) async fn registration_in_map(world: World) -> BTreeMap<u32, Registration> {
    let entry = culprit!(world, world.register("ada", "user"));
    BTreeMap::from([(7, entry)])
}

pub(crate) async fn registration_in_map_fixed(world: World) -> BTreeMap<u32, Registration> {
    let entry = world.register("ada", "user");
    let mut users = BTreeMap::from([(7, entry)]);
    users.remove(&7);
    users
}

pub(crate) async fn registration_forgotten(world: World) {
    mem::forget(culprit!(world, world.register("ada", "user")));
}

pub(crate) async fn registration_forgotten_fixed(world: World) {
    drop(world.register("ada", "user"));
}

/// What is borrowed from a pool, and counted.
pub(crate) struct Lease {
    _permit: OwnedSemaphorePermit,
    _entry: Registration,
}

/// A lease that is never returned.
pub(crate) async fn lease_not_returned(world: World) -> Vec<Lease> {
    let pool = Arc::new(Semaphore::new(2));
    let lease = Lease {
        _permit: pool.acquire_owned().await.unwrap(),
        _entry: culprit!(world, world.register("connection 1", "lease")),
    };
    vec![lease]
}

pub(crate) async fn lease_not_returned_fixed(world: World) -> usize {
    let pool = Arc::new(Semaphore::new(2));
    let lease = Lease {
        _permit: Arc::clone(&pool).acquire_owned().await.unwrap(),
        _entry: world.register("connection 1", "lease"),
    };
    drop(lease);
    pool.available_permits()
}

/// The permit went back, and what counts it stayed.
pub(crate) async fn permit_without_entry(world: World) -> Option<Registration> {
    let pool = Arc::new(Semaphore::new(2));
    let permit = pool.acquire().await.unwrap();
    let entry = culprit!(world, world.register("permit", "permit"));
    drop(permit);
    Some(entry)
}

pub(crate) async fn permit_without_entry_fixed(world: World) -> Option<Registration> {
    let pool = Arc::new(Semaphore::new(2));
    let permit = pool.acquire().await.unwrap();
    let entry = world.register("permit", "permit");
    drop((permit, entry));
    None
}

/// A session holds a user, who is in a session: a declared chain with one root.
pub(crate) async fn chain_of_three(world: World) -> Tracked<Peer> {
    let root = culprit!(world, world.own("root", "node", Peer::default()));
    let middle = world.own("middle", "node", Node::default());
    let leaf = world.own("leaf", "node", Node::default());
    leaf.held_by(&(&middle, "peer"));
    middle.held_by(&(&root, "peer"));
    *lock(&middle.peer) = Some(leaf);
    *lock(&root) = Some(middle);
    root
}

pub(crate) async fn chain_of_three_fixed(world: World) {
    let root = world.own("root", "node", Peer::default());
    let middle = world.own("middle", "node", Node::default());
    let leaf = world.own("leaf", "node", Node::default());
    leaf.held_by(&(&middle, "peer"));
    middle.held_by(&(&root, "peer"));
    *lock(&middle.peer) = Some(leaf);
    *lock(&root) = Some(middle);
}

struct Watch(AtomicUsize);

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls a look for leaks by hand, and says whether what `go` drops wakes it.
fn wakes(mut look: Pin<&mut impl Future<Output = LeakReport>>, go: impl FnOnce()) -> bool {
    let watch = Arc::new(Watch(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&watch));
    // Looking yields now and then; in the end it waits.
    for _ in 0..10 {
        let mut cx = task::Context::from_waker(&waker);
        let polled = look.as_mut().poll(&mut cx);
        assert!(polled.is_pending(), "there is a leak to wait for");
    }
    let before = watch.0.load(SeqCst);
    go();
    watch.0.load(SeqCst) > before
}

/// A watch looks for leaks all the time, and this one stays.
pub(crate) async fn goes_while_watched(world: World) -> Tracked<u32> {
    let value = culprit!(world, world.own("value", "value", 7));
    let nothing = LeakPolicy::nothing_left();
    let look = pin!(world.leaks(&nothing));
    assert!(wakes(look, || drop(world.own("other", "value", 7))));
    value
}

/// The last handle of a value or a context wakes who waits for it, at once. Not always: on a busy machine a look comes after each poll,
/// and after several of them the next one takes a breath first.
pub(crate) async fn goes_while_watched_fixed(world: World) {
    let nothing = LeakPolicy::nothing_left();
    let tries = 0..10;
    assert!(tries.clone().any(|_| {
        let value = world.own("value", "value", 7);
        wakes(pin!(world.leaks(&nothing)), || drop(value))
    }));
    for _ in tries {
        let conn = world.context("conn");
        conn.close().await;
        if wakes(pin!(world.leaks(&nothing)), || drop(conn)) {
            return;
        }
    }
    panic!("the end of a context did not wake");
}

/// An entry in a value that is listed itself: two leaks, as it was not declared that one lies in the other.
pub(crate) async fn entry_in_value(world: World) -> Tracked<Registration> {
    let entry = culprit!(world, world.register("inner", "entry"));
    world.own("outer", "value", entry)
}

pub(crate) async fn entry_in_value_fixed(world: World) {
    let entry = world.register("inner", "entry");
    drop(world.own("outer", "value", entry));
}

/// A leak keeps it, and another holder as well: it is no mere victim.
pub(crate) async fn held_twice(world: World) -> (Tracked<Node>, Tracked<Node>) {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    let second = culprit!(world, child.clone());
    child.held_by(&(&parent, "peer"));
    *lock(&parent.peer) = Some(child);
    (parent, second)
}

pub(crate) async fn held_twice_fixed(world: World) -> WeakTracked<Node> {
    let parent = world.own("parent", "node", Node::default());
    let child = world.own("child", "node", Node::default());
    let second = child.downgrade();
    child.held_by(&(&parent, "peer"));
    *lock(&parent.peer) = Some(child);
    second
}

/// The handles of a plain `Arc` are not recorded.
pub(crate) async fn plain_arc(world: World) -> Arc<String> {
    let value = Arc::new(String::from("config"));
    world.track(&value, "config", "config");
    value
}

pub(crate) async fn plain_arc_fixed(world: World) {
    let value = Arc::new(String::from("config"));
    world.track(&value, "config", "config");
}

/// A handle of a context that was taken while nothing was recorded.
pub(crate) async fn context_while_off(world: World) -> Context {
    world.set_level(Level::Off);
    let conn = world.context("conn");
    let unseen = conn.clone();
    world.set_level(Level::Holders);
    conn.close().await;
    unseen
}

pub(crate) async fn context_while_off_fixed(world: World) {
    world.set_level(Level::Off);
    let conn = world.context("conn");
    let unseen = conn.clone();
    world.set_level(Level::Holders);
    conn.close().await;
    drop(unseen);
}

/// The same with a value, one of whose handles is known.
pub(crate) async fn value_while_off(world: World) -> Tracked<u32> {
    world.set_level(Level::Off);
    let unseen = world.own("cache", "cache", 7);
    world.set_level(Level::Holders);
    drop(unseen.clone());
    unseen
}

pub(crate) async fn value_while_off_fixed(world: World) {
    world.set_level(Level::Off);
    let unseen = world.own("cache", "cache", 7);
    world.set_level(Level::Holders);
    drop(unseen.clone());
}
