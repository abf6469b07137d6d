//! A service whose jobs write to a database: what its close waits for, and what a deadline changes.
//!
//! Two contexts: `db` owns the store, and `jobs` needs `db`. So the close of the registry closes `jobs`
//! first, and a job that saves its state when it is cancelled finds the database open.
//!
//! Run it with `cargo run --example service`. It takes about a second, and panics if a save is missing.

use headcount::{Context, Registry, Tracked, WeakContext, WeakTracked};
use std::{
    mem,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};
use tokio::time::sleep;

pub(crate) const JOBS: usize = 20;

#[tokio::main]
async fn main() {
    close_and_wait().await;
    close_by_a_deadline().await;
}

/// Every job saves, then the database is flushed, then the close is over.
async fn close_and_wait() {
    let (registry, disk) = (Registry::new(), Disk::default());
    let (jobs, db) = open(&registry, &disk);
    sleep(Duration::from_millis(50)).await;
    println!("== at work ==\n{}\n", registry.live().await.trimmed(3));

    let report = registry.close().await;
    println!("== closed ==\n{report}\n");
    assert!(report.is_clean());
    assert_eq!(disk.rows(), JOBS);
    drop((jobs, db));
}

/// One job does not look at anything. The others save all the same, and the one is named.
async fn close_by_a_deadline() {
    let (registry, disk) = (Registry::new(), Disk::default());
    let (jobs, db) = open(&registry, &disk);
    let (let_go, wait) = mpsc::channel::<()>();
    jobs.task("video encoder")
        .spawn_blocking(move || wait.recv().is_ok());
    sleep(Duration::from_millis(50)).await;

    let still_closing = registry
        .close_by(Duration::from_millis(300))
        .await
        .expect_err("the encoder still runs");
    println!("== at the deadline ==\n{still_closing}\n");
    assert!(still_closing.remaining().find("video encoder").is_some());
    assert_eq!(disk.rows(), JOBS);

    // The close goes on, and ends with the encoder.
    drop(let_go);
    println!("== at last ==\n{}", registry.closed().await);
    drop((jobs, db));
}

/// Opens both contexts, and starts the jobs.
pub(crate) fn open(registry: &Registry, disk: &Disk) -> (Context, Context) {
    let db = registry.context("db");
    let store = Store::open(&db, disk);
    let jobs = registry.context_builder("jobs").needs(&db).open();
    for n in 1..=JOBS {
        let database = Database {
            db: db.downgrade(),
            store: store.downgrade(),
        };
        jobs.task(format!("job {n}"))
            .spawn(work(jobs.downgrade(), database, n));
    }
    (jobs, db)
}

/// Works until it is cancelled, and then saves how far it has come.
async fn work(jobs: WeakContext, database: Database, n: usize) {
    let mut steps = 0;
    loop {
        tokio::select! {
            reason = jobs.cancelled() => {
                let row = format!("job {n} stopped after {steps} steps: {reason}");
                return database.save(row).await;
            }
            () = sleep(Duration::from_millis(3)) => steps += 1,
        }
    }
}

/// What a job needs to save. It keeps neither the context nor the store.
struct Database {
    db: WeakContext,
    store: WeakTracked<Store>,
}

impl Database {
    /// Adds a row, in a task of the database.
    async fn save(&self, row: String) {
        let store = self.store.clone();
        let saved = self.db.spawn(async move {
            sleep(Duration::from_millis(2)).await;
            let store = store
                .upgrade()
                .expect("the store is there until all jobs have ended");
            locked(&store.unsaved).push(row);
        });
        saved
            .await
            .expect("the database is open until all jobs have ended");
    }
}

/// Rows in memory, which are lost unless they are flushed.
struct Store {
    unsaved: Mutex<Vec<String>>,
    disk: Disk,
}

impl Store {
    /// Gives a store to the context, which flushes it when it closes and then drops it.
    fn open(db: &Context, disk: &Disk) -> Tracked<Self> {
        let store = Self {
            unsaved: Mutex::default(),
            disk: disk.clone(),
        };
        let store = db
            .own("store", "store", store)
            .expect("the context is open");
        let weak = store.downgrade();
        db.on_close(async move || {
            let store = weak.upgrade().expect("it was there before the hook");
            store.flush().await;
        })
        .expect("the context is open");
        store
    }

    async fn flush(&self) {
        sleep(Duration::from_millis(10)).await;
        let rows = mem::take(&mut *locked(&self.unsaved));
        locked(&self.disk.0).extend(rows);
    }
}

/// What is left when everything is closed.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Vec<String>>>);

impl Disk {
    pub(crate) fn rows(&self) -> usize {
        locked(&self.0).len()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
