//! The runtimes of a round, and how they end.

use crate::common::{Dice, lock};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime::{Builder, EnterGuard, Handle, Runtime},
    sync::{Notify, mpsc},
    task::LocalSet,
};

/// On which runtimes a round takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    CurrentThread,
    OneWorker,
    TwoWorkers,
    /// Several of all sorts, which end at any moment.
    SeveralThatEnd,
}

/// How a runtime ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    Drop,
    Background,
    Timeout,
}

impl Shutdown {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        [Self::Drop, Self::Background, Self::Timeout][dice.below(3)]
    }

    fn run(self, runtime: Runtime) {
        match self {
            Self::Drop => drop(runtime),
            Self::Background => runtime.shutdown_background(),
            Self::Timeout => runtime.shutdown_timeout(Duration::from_millis(1)),
        }
    }
}

/// Something to be done on the `LocalSet` of a runtime.
pub(crate) type LocalJob = Box<dyn FnOnce() + Send>;

/// One runtime of a round.
pub(crate) struct TestRuntime {
    pub(crate) handle: Handle,
    is_idle: bool,
    state: Mutex<State>,
    jobs: Mutex<Option<mpsc::UnboundedSender<LocalJob>>>,
    local: Mutex<Option<JoinHandle<()>>>,
}

enum State {
    /// A `multi_thread` one, or a `current_thread` one that is not run.
    Owned(Runtime),
    /// A `current_thread` one, with the thread that runs it.
    Run(Arc<Notify>, Arc<Mutex<Shutdown>>, JoinHandle<()>),
    Ended,
}

impl TestRuntime {
    /// With so many workers; none is a `current_thread` one, run by a thread of its own.
    pub(crate) fn new(workers: usize) -> Self {
        if workers > 0 {
            return Self::owned(multi_thread(workers), true);
        }
        let runtime = current_thread();
        let handle = runtime.handle().clone();
        let (stop, shutdown) = (
            Arc::new(Notify::new()),
            Arc::new(Mutex::new(Shutdown::Drop)),
        );
        let (jobs, todo) = mpsc::unbounded_channel();
        let (stopped, how) = (Arc::clone(&stop), Arc::clone(&shutdown));
        let run = move || {
            let set = LocalSet::new();
            let serving = set.run_until(serve(todo));
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.notified() => {}
                    () = serving => stopped.notified().await,
                }
            });
            let how = *lock(&how);
            // Local tasks end before their runtime, or with it.
            if how == Shutdown::Background {
                how.run(runtime);
                drop(set);
            } else {
                drop(set);
                how.run(runtime);
            }
        };
        Self {
            handle,
            is_idle: false,
            state: Mutex::new(State::Run(stop, shutdown, named("fuzz runtime", run))),
            jobs: Mutex::new(Some(jobs)),
            local: Mutex::new(None),
        }
    }

    /// A `current_thread` one that takes tasks and runs none.
    pub(crate) fn idle() -> Self {
        Self::owned(current_thread(), false)
    }

    fn owned(runtime: Runtime, has_local: bool) -> Self {
        let handle = runtime.handle().clone();
        let (jobs, local) = if has_local {
            let (jobs, todo) = mpsc::unbounded_channel();
            let handle = handle.clone();
            let run = move || {
                let set = LocalSet::new();
                handle.block_on(set.run_until(serve(todo)));
            };
            (Some(jobs), Some(named("fuzz local", run)))
        } else {
            (None, None)
        };
        Self {
            handle,
            is_idle: !has_local,
            state: Mutex::new(State::Owned(runtime)),
            jobs: Mutex::new(jobs),
            local: Mutex::new(local),
        }
    }

    /// Has something done on the `LocalSet`, unless that has gone.
    pub(crate) fn on_local_set(&self, job: LocalJob) {
        let jobs = lock(&self.jobs).clone();
        if let Some(jobs) = jobs {
            drop(jobs.send(job));
        }
    }

    /// Begins the end; only the first time. Waits for it where that is allowed, outside of runtimes.
    pub(crate) fn end(&self, how: Shutdown, may_wait: bool) {
        let state = std::mem::replace(&mut *lock(&self.state), State::Ended);
        let how = if may_wait { how } else { Shutdown::Background };
        match state {
            State::Owned(runtime) => how.run(runtime),
            State::Run(stop, shutdown, thread) => {
                *lock(&shutdown) = how;
                stop.notify_one();
                if may_wait {
                    thread.join().expect("it ends its runtime without a panic");
                }
            }
            State::Ended => {}
        }
    }

    /// Ends the `LocalSet` of a `multi_thread` runtime.
    pub(crate) fn end_local_set(&self) {
        drop(lock(&self.jobs).take());
        if let Some(local) = lock(&self.local).take() {
            local.join().expect("it ends its set without a panic");
        }
    }
}

/// Does what comes until nothing can come.
fn serve(mut todo: mpsc::UnboundedReceiver<LocalJob>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        while let Some(job) = todo.recv().await {
            super::panics::contain(job);
        }
    })
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).expect("a thread")
}

fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

fn multi_thread(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_all().build();
    runtime.expect("a runtime")
}

/// All runtimes of a round.
pub(crate) struct Runtimes(Vec<TestRuntime>);

impl Runtimes {
    pub(crate) fn new(shape: Shape, dice: &mut Dice) -> Self {
        Self(match shape {
            Shape::CurrentThread => vec![TestRuntime::new(0)],
            Shape::OneWorker => vec![TestRuntime::new(1)],
            Shape::TwoWorkers => vec![TestRuntime::new(2)],
            Shape::SeveralThatEnd => (0..2 + dice.below(2))
                .map(|_| match dice.below(8) {
                    0 => TestRuntime::idle(),
                    n => TestRuntime::new(n % 3),
                })
                .collect(),
        })
    }

    pub(crate) fn any(&self, dice: &mut Dice) -> &TestRuntime {
        &self.0[dice.below(self.0.len())]
    }

    pub(crate) fn enter(&self, dice: &mut Dice) -> EnterGuard<'_> {
        self.any(dice).handle.enter()
    }

    /// Ends those that are not run: a close that was begun there would wait for that.
    pub(crate) fn end_idle(&self) {
        for runtime in self.0.iter().filter(|runtime| runtime.is_idle) {
            runtime.end(Shutdown::Drop, true);
        }
    }

    pub(crate) fn end_all(&self, dice: &mut Dice) {
        for runtime in &self.0 {
            if dice.once_in(2) {
                runtime.end_local_set();
                runtime.end(Shutdown::any(dice), true);
            } else {
                runtime.end(Shutdown::any(dice), true);
                runtime.end_local_set();
            }
        }
    }
}
