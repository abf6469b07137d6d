//! The shape of `examples/service.rs` under random load: jobs save in a database when they are cancelled, whatever closes them,
//! and it is closed after them (I1, I17, I18).

use crate::util::{Log, in_time, multi_thread, paused};
use futures::{FutureExt, future::BoxFuture};
use headcount::{CloseReport, Context, Registry, State, WeakContext, WeakTracked};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Numbers that follow from a seed: splitmix64.
struct Random(AtomicU64);

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(Self::STEP)))
    }

    fn below(&self, limit: u32) -> u32 {
        let mut bits = self.0.fetch_add(Self::STEP, SeqCst);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((bits ^ (bits >> 31)) % u64::from(limit)).unwrap()
    }
}

/// Says which seed it was if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

/// The rows by their jobs.
type Rows = BTreeMap<u64, Vec<u8>>;

/// Is given to the database; a row that comes after the flush is lost.
#[derive(Default)]
struct Store {
    unsaved: Mutex<Rows>,
}

/// What all jobs of a round share.
struct Load {
    random: Random,
    /// The longest pause.
    pause: Duration,
    db: WeakContext,
    store: WeakTracked<Store>,
    /// What has to be on the disk in the end.
    expected: Mutex<Rows>,
    disk: Mutex<Rows>,
    order: Log,
}

impl Load {
    /// Opens the database.
    fn new(registry: &Registry, seed: u64, pause: Duration) -> (Context, Arc<Self>) {
        let db = registry.context("db");
        let store = db.own("store", "store", Store::default()).unwrap();
        let load = Arc::new(Self {
            random: Random::new(seed),
            pause,
            db: db.downgrade(),
            store: store.downgrade(),
            expected: Mutex::default(),
            disk: Mutex::default(),
            order: Log::default(),
        });
        let last = load.order.clone();
        registry
            .on_close(async move || last.note("registry"))
            .unwrap();
        let flushed = Arc::clone(&load);
        db.on_close(async move || {
            let store = flushed.store.upgrade().unwrap();
            flushed.pause().await;
            let rows = std::mem::take(&mut *store.unsaved.lock().unwrap());
            flushed.disk.lock().unwrap().extend(rows);
            flushed.order.note("db");
        })
        .unwrap();
        (db, load)
    }

    /// Lets others run, or some time pass.
    async fn pause(&self) {
        match self.random.below(4) {
            0 => {}
            1 => sleep(self.pause * self.random.below(100) / 100).await,
            yields => {
                for _ in 0..yields {
                    yield_now().await;
                }
            }
        }
    }

    /// A new job, which has to save.
    fn accept(self: &Arc<Self>, own: WeakContext) -> BoxFuture<'static, ()> {
        let mut expected = self.expected.lock().unwrap();
        let id = expected.len() as u64;
        let row = vec![id.to_le_bytes()[0]; self.random.below(2_000) as usize];
        expected.insert(id, row.clone());
        drop(expected);
        Arc::clone(self).job(own, id, row).boxed()
    }

    async fn job(self: Arc<Self>, own: WeakContext, id: u64, row: Vec<u8>) {
        for _ in 0..self.random.below(4) {
            self.pause().await;
            match self.random.below(12) {
                0 => self.helper(&own).await,
                1 => self.session(&own).await,
                _ => {}
            }
        }
        if self.random.below(3) > 0 {
            own.cancelled().await;
            self.pause().await;
        }
        self.save(id, row).await;
    }

    /// Another job on the same context; when that is closing, it is done here.
    async fn helper(self: &Arc<Self>, own: &WeakContext) {
        match own.try_spawn(self.accept(own.clone())) {
            Ok(helper) if self.random.below(2) == 0 => helper.await.unwrap(),
            Ok(_) => {}
            Err(refused) => refused.into_inner().await,
        }
    }

    /// A job on a child of its own, which is closed behind it.
    async fn session(self: &Arc<Self>, own: &WeakContext) {
        if let Ok(session) = own.try_child("session") {
            match session.try_spawn(self.accept(session.downgrade())) {
                Ok(job) if self.random.below(2) == 0 => job.await.unwrap(),
                Ok(_) => {}
                Err(refused) => refused.into_inner().await,
            }
            assert!(session.close().await.is_clean());
        }
    }

    /// By itself, in a task of the database, or in a context of its own below it.
    async fn save(self: Arc<Self>, id: u64, row: Vec<u8>) {
        assert_eq!(self.db.state(), State::Open);
        let load = Arc::clone(&self);
        let write = async move {
            load.pause().await;
            let store = load.store.upgrade().unwrap();
            assert!(store.unsaved.lock().unwrap().insert(id, row).is_none());
        };
        match self.random.below(3) {
            0 => write.await,
            1 => self.db.spawn(write).await.unwrap(),
            _ => {
                let transaction = self.db.try_child("transaction").unwrap();
                transaction.spawn(write).await.unwrap();
                transaction.close().await;
            }
        }
    }

    /// The context that needs the database, and what is below it, with jobs in all of them.
    fn open_jobs(self: &Arc<Self>, registry: &Registry, db: &Context) -> Vec<Context> {
        let mut contexts = vec![registry.context_builder("jobs").needs(db).open()];
        for _ in 0..self.random.below(4) {
            let parents = u32::try_from(contexts.len()).unwrap();
            let parent = &contexts[self.random.below(parents) as usize];
            let child = parent.child("child");
            contexts.push(child);
        }
        for ctx in &contexts {
            let order = self.order.clone();
            ctx.on_close(async move || order.note("jobs")).unwrap();
            for _ in 0..self.random.below(6) {
                ctx.spawn(self.accept(ctx.downgrade()));
            }
        }
        contexts
    }

    /// Begins the close in one of several ways, and waits for that of the registry.
    async fn close(&self, registry: &Registry, db: Context, jobs: Vec<Context>) -> CloseReport {
        match self.random.below(4) {
            0 => drop(db.close()),
            1 => drop(jobs[0].close()),
            2 => drop((db, jobs)),
            _ => {}
        }
        self.pause().await;
        registry.close().await
    }

    /// Every save is there.
    fn check_saves(&self) {
        let (disk, expected) = (self.disk.lock().unwrap(), self.expected.lock().unwrap());
        let missing = expected.keys().filter(|id| !disk.contains_key(id));
        assert_eq!(missing.count(), 0, "of {}", expected.len());
        assert!(*disk == *expected, "a save is not what it was");
    }

    /// The database was closed after the jobs.
    fn check_order(&self) {
        let order = self.order.all();
        let (jobs, last) = order.split_at(order.len() - 2);
        assert!(jobs.iter().all(|name| name == "jobs"), "{order:?}");
        assert_eq!(last, ["db", "registry"]);
    }
}

async fn round(seed: u64, pause: Duration) {
    let _seed = Seed(seed);
    let registry = Registry::builder().grace(millis(60_000)).build();
    let (db, load) = Load::new(&registry, seed, pause);
    let jobs = load.open_jobs(&registry, &db);
    load.pause().await;
    let report = in_time(load.close(&registry, db, jobs)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.refused(), report.aborted()), (0, 0), "{report}");
    load.check_saves();
    load.check_order();
    assert!(registry.is_empty());
}

const ROUNDS: u64 = 1_000;

#[test]
fn every_save_is_there_whatever_the_load_on_one_thread() {
    paused().block_on(async {
        for seed in 0..ROUNDS {
            round(seed, millis(50)).await;
        }
    });
}

#[test]
fn every_save_is_there_whatever_the_load_on_several_threads() {
    multi_thread(4).block_on(async {
        for seed in 0..ROUNDS {
            round(seed, millis(1)).await;
        }
    });
}

/// The job runs on the threads of another runtime: the paused clock would stand still for one of its own.
#[test]
fn by_the_deadline_all_is_saved_but_what_one_job_does_that_ignores_everything() {
    let elsewhere = multi_thread(1);
    paused().block_on(async {
        for seed in 0..50 {
            let _seed = Seed(seed);
            let registry = Registry::new();
            let (db, load) = Load::new(&registry, seed, millis(2));
            let jobs = load.open_jobs(&registry, &db);
            let (has_started, started) = mpsc::channel();
            let (let_go, wait) = mpsc::channel::<()>();
            let ignorant = jobs[0].task("ignorant").on(elsewhere.handle());
            ignorant.spawn_blocking(move || {
                has_started.send(()).unwrap();
                wait.recv().is_ok()
            });
            started.recv().unwrap();
            load.pause().await;

            let begin = Instant::now();
            let still = in_time(registry.close_by(millis(300))).await.unwrap_err();
            assert!(begin.elapsed() <= millis(301), "{:?}", begin.elapsed());
            load.check_saves();
            let remaining = still.remaining().tasks();
            let names: Vec<_> = remaining.iter().map(headcount::Resource::name).collect();
            assert_eq!(names, ["ignorant"]);
            assert_eq!(
                (still.aborted(), still.panicked(), still.refused()),
                (0, 0, 0)
            );
            assert!(still.to_string().contains("jobs/ignorant"), "{still}");
            assert_eq!(
                (db.state(), jobs[0].state()),
                (State::Closed, State::Closing)
            );

            drop(let_go);
            let report = in_time(registry.closed()).await;
            assert!(report.is_clean(), "{report}");
            load.check_order();
        }
    });
}
