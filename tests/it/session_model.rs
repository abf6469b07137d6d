//! Sessions against a model of them: random operations over a few keys, on paused time, and after each what must hold.
//!
//! The model knows when each event is due. The runtime's clock has a resolution of a millisecond, and late events make others late,
//! so time never stands still close to one.

use headcount::{
    CloseReason, Context, Registry, State, WeakContext,
    sessions::{
        AttachError, Lease, Loss, Overflow, SessionCounts, SessionState, Sessions, WhileClosing,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const KEYS: u32 = 50;
const WINDOW: Duration = Duration::from_millis(1_500);
/// How close to an event nothing is compared.
const BLUR: Duration = Duration::from_millis(30);
const OWNER: &str = "owner";
const DEVICES: [&str; 3] = ["phone", "laptop", "tablet"];

/// What is compared with the model: what waits for places is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    None,
    Reject(usize),
    EvictIdle(usize),
    Wait(usize),
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        usize::try_from((self.next() >> 8) % limit).expect("it is below the limit")
    }
}

/// How the init and the hook of a generation behave: by the seed, the key, and how many there were before.
#[derive(Clone, Copy)]
struct Plan {
    init: Duration,
    fails: bool,
    hook: Duration,
}

fn plan(seed: u64, key: u32, n: u64) -> Plan {
    let mut random =
        Random(seed ^ (u64::from(key) << 32) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    random.next();
    let millis = |n| Duration::from_millis(n);
    Plan {
        init: millis([0, 0, 0, 700, 2_300][random.below(5)]),
        fails: random.below(8) == 0,
        hook: millis([0, 0, 900][random.below(3)]),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Device = Option<&'static str>;

enum Phase {
    Opening(Instant),
    Open,
    /// The old generation closes until then.
    Replacing(Instant),
    Reopening(Instant),
    Closing(Instant),
}

struct Modelled {
    phase: Phase,
    plan: Plan,
    generation: u64,
    leases: BTreeMap<u64, Device>,
    /// Attaches that wait for it to be open.
    pending: Vec<(u64, Device)>,
    creator: u64,
    away: Vec<(Instant, Device)>,
    idle: Option<(Instant, u64)>,
    failed: bool,
}

#[derive(Default)]
struct Slot {
    session: Option<Modelled>,
    /// Attaches that wait for its end.
    waiting: Vec<(u64, Device)>,
    inits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Lease,
    Full,
    Closed,
    Failed,
}

struct Model {
    seed: u64,
    max: usize,
    slots: Vec<Slot>,
    answers: BTreeMap<u64, Answer>,
    clock: u64,
}

impl Model {
    fn slot(&mut self, key: u32) -> &mut Slot {
        &mut self.slots[key as usize]
    }

    fn total(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.session.is_some())
            .count()
    }

    fn attach(&mut self, key: u32, id: u64, device: Device, now: Instant) {
        let (seed, is_full) = (self.seed, self.total() >= self.max);
        let slot = &mut self.slots[key as usize];
        match &mut slot.session {
            None if is_full => {
                self.answers.insert(id, Answer::Full);
            }
            None => {
                let plan = plan(seed, key, slot.inits);
                slot.inits += 1;
                slot.session = Some(Modelled {
                    phase: Phase::Opening(now + plan.init),
                    plan,
                    generation: 1,
                    leases: BTreeMap::from([(id, device)]),
                    pending: vec![(id, device)],
                    creator: id,
                    away: Vec::new(),
                    idle: None,
                    failed: false,
                });
            }
            Some(session) if matches!(session.phase, Phase::Closing(_)) => {
                slot.waiting.push((id, device));
            }
            Some(session) => {
                if device.is_some() {
                    session.leases.retain(|_, other| *other != device);
                }
                if let Some(back) = session.away.iter().rposition(|(_, away)| *away == device) {
                    session.away.remove(back);
                }
                session.leases.insert(id, device);
                session.idle = None;
                if let Phase::Open = session.phase {
                    self.answers.insert(id, Answer::Lease);
                } else {
                    session.pending.push((id, device));
                }
            }
        }
    }

    fn close(&mut self, key: u32, now: Instant) -> bool {
        let slot = &mut self.slots[key as usize];
        let Some(session) = &mut slot.session else {
            return false;
        };
        let end = match session.phase {
            Phase::Closing(_) => return false,
            Phase::Open => now + session.plan.hook,
            Phase::Opening(ready) | Phase::Reopening(ready) => ready + session.plan.hook,
            Phase::Replacing(end) => end,
        };
        session.phase = Phase::Closing(end);
        session.leases.clear();
        session.idle = None;
        if !session.failed {
            for (id, device) in std::mem::take(&mut session.pending) {
                if id == session.creator {
                    self.answers.insert(id, Answer::Closed);
                } else {
                    slot.waiting.push((id, device));
                }
            }
        }
        true
    }

    /// A lease goes, or an attach that has not come so far is dropped.
    fn go(&mut self, key: u32, id: u64, on_purpose: bool, now: Instant) {
        self.clock += 1;
        let clock = self.clock;
        let slot = self.slot(key);
        slot.waiting.retain(|(waiting, _)| *waiting != id);
        let Some(session) = &mut slot.session else {
            return;
        };
        session.pending.retain(|(pending, _)| *pending != id);
        let Some(device) = session.leases.remove(&id) else {
            return;
        };
        if !on_purpose {
            session.away.push((now, device));
        }
        if !session.leases.is_empty() {
            return;
        }
        session.away.retain(|(since, _)| *since + WINDOW > now);
        if on_purpose && session.away.is_empty() {
            self.close(key, now);
        } else {
            session.idle = Some((now, clock));
        }
    }

    fn touch(&mut self, key: u32, now: Instant) -> bool {
        self.clock += 1;
        let clock = self.clock;
        let session = self.slot(key).session.as_mut();
        let idle = session.and_then(|session| session.idle.as_mut());
        idle.map(|idle| *idle = (now, clock)).is_some()
    }

    fn restart(&mut self, key: u32, now: Instant) {
        if let Some(session) = &mut self.slot(key).session {
            if let Phase::Open = session.phase {
                session.phase = Phase::Replacing(now + session.plan.hook);
            }
        }
    }

    fn shed(&mut self, most: usize, now: Instant) -> usize {
        let mut idle: Vec<_> = (0..KEYS)
            .filter_map(|key| Some((self.slots[key as usize].session.as_ref()?.idle?, key)))
            .collect();
        idle.sort_unstable();
        let shed: Vec<_> = idle.into_iter().take(most).collect();
        for (_, key) in &shed {
            self.close(*key, now);
        }
        shed.len()
    }

    /// What comes next of a key, and when.
    fn next_of(&self, key: u32) -> Option<Instant> {
        let session = self.slots[key as usize].session.as_ref()?;
        let by_phase = match session.phase {
            Phase::Open => None,
            Phase::Opening(at)
            | Phase::Replacing(at)
            | Phase::Reopening(at)
            | Phase::Closing(at) => Some(at),
        };
        let culled = session.idle.map(|(since, _)| since + WINDOW);
        by_phase.into_iter().chain(culled).min()
    }

    fn next(&self) -> Option<(Instant, u32)> {
        (0..KEYS)
            .filter_map(|key| Some((self.next_of(key)?, key)))
            .min()
    }

    fn advance(&mut self, now: Instant) {
        while let Some((at, key)) = self.next().filter(|(at, _)| *at <= now) {
            self.happen(key, at);
        }
    }

    fn happen(&mut self, key: u32, now: Instant) {
        let seed = self.seed;
        let slot = &mut self.slots[key as usize];
        let session = slot.session.as_mut().expect("something was due of it");
        if session.idle.is_some_and(|(since, _)| since + WINDOW <= now) {
            self.close(key, now);
            return;
        }
        match session.phase {
            Phase::Opening(_) | Phase::Reopening(_) if session.plan.fails => {
                session.failed = true;
                self.close(key, now);
            }
            Phase::Opening(_) | Phase::Reopening(_) => {
                session.phase = Phase::Open;
                for (id, _) in session.pending.drain(..) {
                    self.answers.insert(id, Answer::Lease);
                }
            }
            Phase::Replacing(_) => {
                session.plan = plan(seed, key, slot.inits);
                slot.inits += 1;
                session.generation += 1;
                session.phase = Phase::Reopening(now + session.plan.init);
            }
            Phase::Closing(_) => {
                for (id, _) in std::mem::take(&mut session.pending) {
                    self.answers.insert(id, Answer::Failed);
                }
                slot.session = None;
                for (id, device) in std::mem::take(&mut slot.waiting) {
                    self.attach(key, id, device, now);
                }
            }
            Phase::Open => unreachable!(),
        }
    }

    fn state(&self, key: u32) -> Option<(SessionState, usize, u64)> {
        let session = self.slots[key as usize].session.as_ref()?;
        let state = match session.phase {
            Phase::Opening(_) => SessionState::Opening,
            Phase::Open if session.leases.is_empty() => SessionState::Idle,
            Phase::Open => SessionState::Held,
            Phase::Replacing(_) | Phase::Reopening(_) => SessionState::Restarting,
            Phase::Closing(_) => SessionState::Closing,
        };
        Some((state, session.leases.len(), session.generation))
    }

    /// In the order of the counts: total, opening, held, idle, restarting, closing, leases.
    fn counts(&self) -> [usize; 7] {
        let states: Vec<_> = (0..KEYS).filter_map(|key| self.state(key)).collect();
        let of = |state| states.iter().filter(|(other, ..)| *other == state).count();
        [
            states.len(),
            of(SessionState::Opening),
            of(SessionState::Held),
            of(SessionState::Idle),
            of(SessionState::Restarting),
            of(SessionState::Closing),
            states.iter().map(|(_, leases, _)| leases).sum(),
        ]
    }
}

fn listed(counts: SessionCounts) -> [usize; 7] {
    [
        counts.total,
        counts.opening,
        counts.held,
        counts.idle,
        counts.restarting,
        counts.closing,
        counts.leases,
    ]
}

/// What the hooks of sessions note.
#[derive(Default)]
struct Noted {
    /// How many inits there were of each key.
    inits: Vec<u64>,
    /// Generations whose init has begun, by key, and that have not closed.
    generations: Vec<Vec<WeakContext>>,
    /// Inits and hooks by generation.
    opened: HashSet<headcount::ResourceId>,
    closed: HashSet<headcount::ResourceId>,
}

struct Holder {
    key: u32,
    id: u64,
    lease: Lease<u32>,
    session: WeakContext,
}

type Attaching = JoinHandle<Result<Lease<u32>, AttachError>>;

struct Run {
    seed: u64,
    random: Random,
    limits: Limits,
    sessions: Sessions<u32>,
    noted: Arc<Mutex<Noted>>,
    model: Model,
    held: Vec<Holder>,
    pending: Vec<(u32, u64, Attaching)>,
    /// Sessions that were closed by an operation.
    evicted: BTreeSet<headcount::ResourceId>,
    next: u64,
}

fn open(server: &Context, seed: u64, limits: Limits, noted: &Arc<Mutex<Noted>>) -> Sessions<u32> {
    let noted = Arc::clone(noted);
    let builder = server
        .sessions::<u32>("table")
        .idle(WINDOW)
        .while_closing(WhileClosing::Wait)
        .on_open(move |key, ctx: WeakContext| {
            let n = {
                let mut noted = lock(&noted);
                assert!(noted.opened.insert(ctx.id()), "one init a generation");
                let generations = &mut noted.generations[key as usize];
                generations.retain(|other| other.state() != State::Closed);
                assert!(generations.is_empty(), "two generations of a key are alive");
                generations.push(ctx.clone());
                noted.inits[key as usize] += 1;
                noted.inits[key as usize] - 1
            };
            let plan = plan(seed, key, n);
            let (noted, id) = (Arc::clone(&noted), ctx.id());
            let hook = move || async move {
                sleep(plan.hook).await;
                assert!(lock(&noted).closed.insert(id), "closed twice");
            };
            assert!(ctx.on_close(hook).is_ok());
            async move {
                sleep(plan.init).await;
                if plan.fails {
                    Err("as planned")
                } else {
                    Ok(())
                }
            }
        });
    match limits {
        Limits::None => builder,
        Limits::Reject(max) => builder.max(max),
        Limits::EvictIdle(max) => builder.max(max).overflow(Overflow::EvictIdle),
        Limits::Wait(max) => builder
            .max(max)
            .overflow(Overflow::Wait(Duration::from_secs(3))),
    }
    .open()
}

/// Runs so many random operations, and checks after each.
pub(crate) async fn run(seed: u64, operations: usize, limits: Limits) {
    println!("seed {seed}, {operations} operations, {limits:?}");
    let registry = Registry::new();
    let server = registry.context("server");
    let noted = Arc::new(Mutex::new(Noted {
        inits: vec![0; KEYS as usize],
        generations: vec![Vec::new(); KEYS as usize],
        ..Noted::default()
    }));
    let max = match limits {
        Limits::None => usize::MAX,
        Limits::Reject(max) | Limits::EvictIdle(max) | Limits::Wait(max) => max,
    };
    let mut run = Run {
        seed,
        random: Random(seed | 1),
        limits,
        sessions: open(&server, seed, limits, &noted),
        noted,
        model: Model {
            seed,
            max,
            slots: (0..KEYS).map(|_| Slot::default()).collect(),
            answers: BTreeMap::new(),
            clock: 0,
        },
        held: Vec::new(),
        pending: Vec::new(),
        evicted: BTreeSet::new(),
        next: 0,
    };
    for n in 0..operations {
        let what = run.step();
        run.rest(what == "time").await;
        run.collect(n, what).await;
        run.check(n, what);
    }
    let (noted, sessions) = (Arc::clone(&run.noted), run.sessions.clone());
    let report = server.close().await;
    drop(run);
    assert_eq!(report.panicked(), 0, "{report}");
    assert_eq!(sessions.counts(), SessionCounts::default());
    let noted = lock(&noted);
    assert!(noted.opened.len() > operations / 100, "too little happened");
    assert_eq!(
        noted.opened, noted.closed,
        "each that was opened was closed"
    );
}

impl Run {
    fn is_exact(&self) -> bool {
        matches!(self.limits, Limits::None | Limits::Reject(_))
    }

    fn key(&mut self) -> u32 {
        u32::try_from(self.random.below(KEYS as usize)).expect("there are few keys")
    }

    fn step(&mut self) -> &'static str {
        let now = Instant::now();
        match self.random.below(100) {
            0..35 => {
                let key = self.key();
                let device = self.random.below(6);
                self.attach(key, DEVICES.get(device).copied(), now)
            }
            35..55 => self.go(false, now),
            55..63 => self.go(true, now),
            63..66 => self.cancel(now),
            66..70 => {
                let key = self.key();
                self.model.restart(key, now);
                drop(self.sessions.restart(&key));
                "restart"
            }
            70..73 => self.evict(now),
            73..75 => self.shed(now),
            75..79 => {
                let key = self.key();
                let touched = self.sessions.touch(&key);
                let expected = self.model.touch(key, now);
                assert!(!self.is_exact() || touched == expected, "touch of {key}");
                "touch"
            }
            _ => "time",
        }
    }

    fn attach(&mut self, key: u32, device: Device, now: Instant) -> &'static str {
        self.next += 1;
        let id = self.next;
        self.model.attach(key, id, device, now);
        let sessions = self.sessions.clone();
        let attaching = tokio::spawn(async move {
            match device {
                Some(device) => sessions.attach_as(key, OWNER, device).await,
                None => sessions.attach(key, OWNER).await,
            }
        });
        self.pending.push((key, id, attaching));
        "attach"
    }

    fn go(&mut self, on_purpose: bool, now: Instant) -> &'static str {
        let len = self.held.len();
        if len > 0 {
            let which = self.random.below(len);
            let Holder { key, id, lease, .. } = self.held.swap_remove(which);
            self.model.go(key, id, on_purpose, now);
            if on_purpose {
                lease.leave();
            } else {
                drop(lease);
            }
        }
        if on_purpose { "leave" } else { "lose" }
    }

    /// An attach is dropped before it is done.
    fn cancel(&mut self, now: Instant) -> &'static str {
        let len = self.pending.len();
        if len > 0 {
            let which = self.random.below(len);
            let (key, id, attaching) = self.pending.swap_remove(which);
            attaching.abort();
            self.model.go(key, id, false, now);
        }
        "cancel"
    }

    fn evict(&mut self, now: Instant) -> &'static str {
        let key = self.key();
        self.note_evicted(|holder| holder.key == key);
        let evicted = self.sessions.evict(&key, CloseReason::Evicted);
        let expected = self.model.close(key, now);
        assert!(!self.is_exact() || evicted == expected, "evict of {key}");
        "evict"
    }

    fn shed(&mut self, now: Instant) -> &'static str {
        let most = self.random.below(4);
        let shed = self.sessions.shed(most);
        let expected = self.model.shed(most, now);
        assert!(!self.is_exact() || shed == expected, "shed");
        "shed"
    }

    fn note_evicted(&mut self, which: impl Fn(&Holder) -> bool) {
        let held = self.held.iter().filter(|holder| which(holder));
        self.evicted.extend(held.map(|holder| holder.session.id()));
    }

    /// Lets what is due happen, and time pass, so far that nothing is about to happen.
    async fn rest(&mut self, passes: bool) {
        if passes {
            sleep(Duration::from_millis(self.random.below(400) as u64)).await;
        }
        loop {
            for _ in 0..40 {
                tokio::task::yield_now().await;
            }
            let now = Instant::now();
            self.model.advance(now);
            let next = self.model.next().map(|(at, _)| at);
            if next.is_none_or(|next| next > now + BLUR) {
                return;
            }
            sleep(2 * BLUR).await;
        }
    }

    async fn collect(&mut self, n: usize, what: &str) {
        let pending = std::mem::take(&mut self.pending);
        for (key, id, attaching) in pending {
            if !attaching.is_finished() {
                assert!(
                    !self.is_exact() || !self.model.answers.contains_key(&id),
                    "seed {}, operation {n}, {what}: the attach {id} to {key} has no answer",
                    self.seed
                );
                self.pending.push((key, id, attaching));
                continue;
            }
            let answer = match attaching.await.expect("an attach does not panic") {
                Ok(lease) => {
                    let session = lease.context();
                    self.held.push(Holder {
                        key,
                        id,
                        lease,
                        session,
                    });
                    Answer::Lease
                }
                Err(AttachError::Full(_) | AttachError::TimedOut) => Answer::Full,
                Err(AttachError::Closed) => Answer::Closed,
                Err(AttachError::Init(_)) => Answer::Failed,
                Err(other) => panic!("{other}"),
            };
            let expected = self.model.answers.remove(&id);
            assert!(
                !self.is_exact() || expected == Some(answer),
                "seed {}, operation {n}, {what}: the attach {id} to {key}: {answer:?} and not {expected:?}",
                self.seed
            );
        }
    }

    fn check(&mut self, n: usize, what: &str) {
        let at = format!("seed {}, operation {n}, {what}", self.seed);
        let counts = self.sessions.counts();
        assert!(counts.total <= self.model.max, "{at}: {counts:?}");
        let states =
            counts.opening + counts.held + counts.idle + counts.restarting + counts.closing;
        assert_eq!(states, counts.total, "{at}: {counts:?}");
        self.check_held(&at);
        let live = self
            .held
            .iter()
            .filter(|holder| !holder.lease.is_lost())
            .count();
        let most = live + self.pending.len();
        assert!(
            (live..=most).contains(&counts.leases),
            "{at}: {counts:?}, {live} live"
        );
        self.check_generations(&at);
        if !self.is_exact() {
            return;
        }
        assert_eq!(listed(counts), self.model.counts(), "{at}");
        for key in 0..KEYS {
            let real = self.sessions.get(&key);
            let real = real.map(|real| (real.state(), real.leases(), real.generation()));
            assert_eq!(real, self.model.state(key), "{at}: {key}");
        }
        for holder in &self.held {
            let session = self.model.slots[holder.key as usize].session.as_ref();
            let is_in = session.is_some_and(|session| session.leases.contains_key(&holder.id));
            assert_eq!(holder.lease.is_lost(), !is_in, "{at}: lease {}", holder.id);
        }
    }

    /// A session that is held is never culled, and makes room for none.
    fn check_held(&mut self, at: &str) {
        use futures::FutureExt;
        for holder in &mut self.held {
            match holder.lease.lost().now_or_never() {
                Some(Loss::Closed(CloseReason::Culled)) => panic!("{at}: culled while it was held"),
                Some(Loss::Closed(CloseReason::Evicted)) => {
                    assert!(
                        self.evicted.contains(&holder.session.id()),
                        "{at}: evicted while held"
                    );
                }
                Some(_) => {}
                None => holder.session = holder.lease.context(),
            }
        }
        if self.held.len() > 500 {
            self.held.retain(|holder| !holder.lease.is_lost());
            self.evicted.clear();
        }
    }

    fn check_generations(&self, at: &str) {
        let noted = lock(&self.noted);
        for (key, generations) in noted.generations.iter().enumerate() {
            let open = generations
                .iter()
                .filter(|context| context.state() == State::Open);
            assert!(open.count() <= 1, "{at}: two generations of {key} are open");
        }
    }
}
