//! The runtime under test. The code that examines it does not run inside it.

use crate::{
    axes::Flavor,
    limits::{LIMIT, Latch},
};
use std::{sync::mpsc, thread, time::Duration};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::LocalSet,
};

/// When a free worker that does not come is called again.
const NUDGE: Duration = Duration::from_millis(100);

/// How a runtime goes down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shutdown {
    /// Dropped: waits for workers and running closures.
    Drop,
    /// `shutdown_background`: waits for nothing.
    Background,
    /// `shutdown_timeout`: waits a little.
    Timeout,
}

/// What happens on the runtime's own thread.
enum Order {
    Do(Box<dyn FnOnce() + Send>),
    Demolish(Shutdown),
}

/// A runtime and a `LocalSet`, on a thread of their own.
pub(crate) struct TestRuntime {
    pub(crate) handle: Handle,
    flavor: Flavor,
    orders: UnboundedSender<Order>,
    gone: mpsc::Receiver<()>,
    plugs: Vec<Latch>,
}

impl TestRuntime {
    pub(crate) fn open(flavor: Flavor) -> Result<Self, String> {
        let (orders, mut inbox) = unbounded_channel();
        let (say_ready, ready) = mpsc::channel();
        let (say_gone, gone) = mpsc::channel();
        thread::spawn(move || {
            let runtime = build(flavor);
            say_ready.send(runtime.handle().clone()).ok();
            let local = LocalSet::new();
            let order = local.block_on(&runtime, async {
                loop {
                    match inbox.recv().await {
                        Some(Order::Do(work)) => work(),
                        Some(Order::Demolish(how)) => return how,
                        None => return Shutdown::Drop,
                    }
                }
            });
            drop(local);
            match order {
                Shutdown::Drop => drop(runtime),
                Shutdown::Background => runtime.shutdown_background(),
                Shutdown::Timeout => runtime.shutdown_timeout(Duration::from_millis(5)),
            }
            say_gone.send(()).ok();
        });
        let handle = ready
            .recv_timeout(LIMIT)
            .map_err(|_| "the runtime did not start".to_owned())?;
        Ok(Self {
            handle,
            flavor,
            orders,
            gone,
            plugs: Vec::new(),
        })
    }

    /// Does something on the runtime's own thread, where `spawn_local` works, and keeps that thread
    /// busy afterwards if asked to.
    pub(crate) fn on_thread<R: Send + 'static>(
        &mut self,
        stay_there: bool,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, String> {
        let (say, said) = mpsc::channel();
        let plug = Latch::default();
        let stop = plug.clone();
        let order = move || {
            say.send(work()).ok();
            if stay_there {
                assert!(stop.pass(), "the matrix forgot a busy thread");
            }
        };
        self.orders.send(Order::Do(Box::new(order))).ok();
        self.plugs.push(plug);
        said.recv_timeout(LIMIT)
            .map_err(|_| "the runtime's thread did not answer".to_owned())
    }

    /// Keeps everybody busy who could poll a spawned task.
    pub(crate) fn plug_workers(&mut self) -> Result<(), String> {
        let workers = match self.flavor {
            Flavor::CurrentThread => 1,
            Flavor::MultiThread(workers) => workers,
        };
        for _ in 0..workers {
            let plug = Plug::default();
            let busy = plug.clone();
            self.handle.spawn(async move { busy.stay() });
            // Once in some 100,000 times tokio wakes no worker for a task while others are kept busy;
            // with the next task it does.
            let mut nudges = 0;
            while !plug.is_in.pass_within(NUDGE) && nudges < 100 {
                self.handle.spawn(async {});
                nudges += 1;
            }
            self.plugs.push(plug.hold()?);
        }
        Ok(())
    }

    /// Keeps the one blocking thread busy.
    pub(crate) fn plug_pool(&mut self) -> Result<(), String> {
        let plug = Plug::default();
        let busy = plug.clone();
        self.handle.spawn_blocking(move || busy.stay());
        self.plugs.push(plug.hold()?);
        Ok(())
    }

    /// Lets all those go.
    pub(crate) fn unplug(&mut self) {
        for plug in self.plugs.drain(..) {
            plug.open();
        }
    }

    /// Runs a future on the runtime and waits for it from outside.
    pub(crate) fn run<F>(&self, what: &str, future: F) -> Result<F::Output, String>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (say, said) = mpsc::channel();
        self.handle.spawn(async move {
            say.send(future.await).ok();
        });
        said.recv_timeout(LIMIT)
            .map_err(|error| format!("{what}: {error} after at most {LIMIT:?}"))
    }

    /// Begins to shut the runtime down.
    pub(crate) fn demolish(&self, how: Shutdown) {
        self.orders.send(Order::Demolish(how)).ok();
    }

    /// Waits until the runtime is shut down.
    pub(crate) fn await_gone(&self) -> Result<(), String> {
        self.gone
            .recv_timeout(LIMIT)
            .map_err(|error| format!("the runtime's shutdown: {error} after at most {LIMIT:?}"))
    }
}

impl Drop for TestRuntime {
    fn drop(&mut self) {
        self.unplug();
    }
}

fn build(flavor: Flavor) -> Runtime {
    let mut builder = match flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread(_) => Builder::new_multi_thread(),
    };
    if let Flavor::MultiThread(workers) = flavor {
        builder.worker_threads(workers);
    }
    // One blocking thread, so that one closure can keep it busy.
    let runtime = builder.max_blocking_threads(1).enable_time().build();
    runtime.expect("a runtime")
}

/// Keeps one thread busy.
#[derive(Clone, Debug, Default)]
struct Plug {
    is_in: Latch,
    may_go: Latch,
}

impl Plug {
    fn stay(&self) {
        self.is_in.open();
        assert!(self.may_go.pass(), "the matrix forgot a busy thread");
    }

    /// Waits until a thread is busy with it.
    fn hold(self) -> Result<Latch, String> {
        if self.is_in.pass() {
            Ok(self.may_go)
        } else {
            Err("a worker could not be kept busy".to_owned())
        }
    }
}
