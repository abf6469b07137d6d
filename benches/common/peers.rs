//! What people use today, doing the same work: spawn named tasks, know which are alive, end them all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a registry made by hand knows of a task.
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) created: Instant,
    pub(crate) token: CancellationToken,
}

/// A registry as one writes it in an afternoon: a `JoinSet` for the end, a map for the head count,
/// a child token for each task.
#[derive(Default)]
pub(crate) struct HandRolled {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    token: CancellationToken,
}

#[derive(Default)]
struct Shared {
    alive: Mutex<HashMap<u64, Weak<Facts>>>,
    next: AtomicU64,
}

/// Takes a task off the map when its future is dropped.
struct Listed {
    id: u64,
    facts: Arc<Facts>,
    shared: Arc<Shared>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.alive.lock().unwrap().remove(&self.id);
    }
}

impl HandRolled {
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &str,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        let id = self.shared.next.fetch_add(1, Relaxed);
        let facts = Arc::new(Facts {
            name: name.to_owned(),
            created: Instant::now(),
            token: self.token.child_token(),
        });
        let weak = Arc::downgrade(&facts);
        self.shared.alive.lock().unwrap().insert(id, weak);
        let future = task(facts.token.clone());
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let _listed = Listed { id, facts, shared };
            future.await;
        });
    }

    pub(crate) async fn close(mut self) {
        self.token.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
