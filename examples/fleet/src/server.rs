//! What the server does: sessions, jobs, and a feed that is restarted when it fails.

use headcount::{
    Context, TaskError,
    sessions::{AttachError, Lease, Sessions},
    supervision::Restart,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// How many sessions there are at most, and how many jobs at once.
const SESSIONS: usize = 100;
const JOBS: usize = 2;

/// The server while it runs. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Server(Arc<Parts>);

struct Parts {
    sessions: Sessions<String>,
    /// The clients that are in.
    leases: Mutex<HashMap<String, Lease<String>>>,
    jobs: headcount::WeakContext,
    /// Told when the feed is to fail.
    feed: Notify,
    /// What is held after its close, on purpose.
    held: Mutex<Vec<Context>>,
    has_faults: bool,
    top: headcount::WeakContext,
}

impl Server {
    pub(crate) fn open(top: &Context, has_faults: bool) -> Self {
        let sessions = top.sessions::<String>("sessions").max(SESSIONS);
        let sessions = sessions.on_open(async |_, _| Ok::<_, Infallible>(()));
        let jobs = top.child_builder("jobs").max_tasks(JOBS).open();
        let parts = Arc::new(Parts {
            sessions: sessions.open(),
            leases: Mutex::default(),
            jobs: jobs.downgrade(),
            feed: Notify::new(),
            held: Mutex::default(),
            has_faults,
            top: top.downgrade(),
        });
        // A task of the top holds the context of the jobs open until the close.
        let own = top.downgrade();
        top.task("jobs").spawn(async move {
            own.cancelled().await;
            drop(jobs);
        });
        let told = Arc::clone(&parts);
        let feed = top
            .task("feed")
            .cancellable()
            .restart(Restart::on_failure());
        drop(feed.run(move |_| {
            let told = Arc::clone(&told);
            async move {
                told.feed.notified().await;
                Err::<(), _>("the feed has failed")
            }
        }));
        Self(parts)
    }

    /// Opens the session of a client, or comes back to it.
    pub(crate) async fn enter(&self, key: String) -> Result<(), AttachError> {
        let lease = self.0.sessions.attach(key.clone(), "fleet").await?;
        lock(&self.0.leases).insert(key, lease);
        Ok(())
    }

    /// Ends the session of a client. False if it has none.
    pub(crate) fn leave(&self, key: &str) -> bool {
        let lease = lock(&self.0.leases).remove(key);
        lease.map(Lease::leave).is_some()
    }

    /// A job that takes so long.
    pub(crate) async fn work(&self, time: Duration) -> Result<(), TaskError> {
        let job = self.0.jobs.task("job").kind("job").cancellable();
        job.spawn(sleep(time)).await
    }

    /// Whether faults may be made.
    pub(crate) fn has_faults(&self) -> bool {
        self.0.has_faults
    }

    pub(crate) fn fail_feed(&self) {
        self.0.feed.notify_one();
    }

    /// Keeps a handle to a context that is closed. False while the server closes.
    pub(crate) async fn hold(&self) -> bool {
        let Ok(ctx) = self.0.top.try_child("held") else {
            return false;
        };
        ctx.close().await;
        lock(&self.0.held).push(ctx);
        true
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
