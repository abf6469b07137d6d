//! The task under test: a future or closure that counts its own end and that of its output.

use crate::{
    axes::{Carrier, Case, Moment, Shape},
    limits::Latch,
};
use headcount::WeakContext;
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{self, Poll},
    thread,
    time::Duration,
};

/// In the message of every panic that is meant.
pub(crate) const MARKER: &str = "a panic of the matrix";

/// The grace period where a task outlasts it; where none does it is endless, so that no outcome
/// depends on the machine's load.
pub(crate) const GRACE: Duration = Duration::from_millis(20);

/// What the task and its examiner share.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// The task is at its moment.
    pub(crate) reached: Latch,
    /// The task was polled, or its closure called.
    pub(crate) polled: AtomicBool,
    /// A task in the middle of a poll may go on.
    pub(crate) go_on: Latch,
    /// How many tasks the task has started.
    pub(crate) started: AtomicUsize,
    pub(crate) futures: Count,
    pub(crate) outputs: Count,
}

/// How many there were, and how many ends they had.
#[derive(Debug, Default)]
pub(crate) struct Count {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

/// Numbers of a [`Stage`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) futures: (usize, usize),
    pub(crate) outputs: (usize, usize),
}

impl Stage {
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            futures: self.futures.get(),
            outputs: self.outputs.get(),
        }
    }

    /// The task starts another one in its context, where that finishes by now and takes work of its own.
    fn start_another(&self, case: Case, ctx: &WeakContext) {
        if case.starts_another() && ctx.try_spawn(std::future::ready(())).is_ok() {
            self.started.fetch_add(1, SeqCst);
        }
    }

    /// The task is in the middle of a poll.
    fn stay(&self) {
        self.reached.open();
        assert!(self.go_on.pass(), "the matrix forgot a running task");
    }
}

impl Count {
    fn get(&self) -> (usize, usize) {
        (self.made.load(SeqCst), self.dropped.load(SeqCst))
    }
}

/// Counts as made from here on, and as dropped when it is.
struct Guard {
    stage: Arc<Stage>,
    which: fn(&Stage) -> &Count,
    is_bomb: bool,
}

impl Guard {
    fn new(stage: &Arc<Stage>, which: fn(&Stage) -> &Count, is_bomb: bool) -> Self {
        which(stage).made.fetch_add(1, SeqCst);
        Self {
            stage: Arc::clone(stage),
            which,
            is_bomb,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        (self.which)(&self.stage).dropped.fetch_add(1, SeqCst);
        assert!(!self.is_bomb, "{MARKER}: in a destructor");
    }
}

/// What the task returns.
pub(crate) struct Output(Guard);

impl Output {
    fn new(stage: &Arc<Stage>, shape: Shape) -> Self {
        let is_bomb = shape == Shape::PanicsInOutput;
        Self(Guard::new(stage, |stage| &stage.outputs, is_bomb))
    }

    /// The handle that claims it may drop it safely.
    pub(crate) fn claim(mut self) {
        self.0.is_bomb = false;
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// The future under test; `Body<Rc<()>>` is one that may not leave its thread.
pub(crate) struct Body<S> {
    run: Pin<Box<dyn Future<Output = Output> + Send>>,
    stage: Arc<Stage>,
    is_parking: bool,
    // Last, so that its panic comes after everything else is gone, and never while unwinding.
    _guard: Guard,
    _sendness: PhantomData<S>,
}

// Nothing in it is pinned but what is in the box.
impl<S> Unpin for Body<S> {}

impl<S> Body<S> {
    pub(crate) fn new(case: Case, stage: &Arc<Stage>) -> Self {
        let is_bomb = matches!(case.shape, Shape::PanicsInDrop | Shape::PanicsTwice);
        Self {
            run: Box::pin(act(case, Arc::clone(stage))),
            stage: Arc::clone(stage),
            is_parking: case.moment == Moment::Parked,
            _guard: Guard::new(stage, |stage| &stage.futures, is_bomb),
            _sendness: PhantomData,
        }
    }
}

impl<S> Future for Body<S> {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Output> {
        self.stage.polled.store(true, SeqCst);
        let polled = self.run.as_mut().poll(cx);
        if self.is_parking {
            self.stage.reached.open();
        }
        polled
    }
}

async fn act(case: Case, stage: Arc<Stage>) -> Output {
    let ctx = headcount::Context::current().expect("a task has a current context");
    match case.moment {
        Moment::BeforeFirstPoll | Moment::Finished => {}
        Moment::Running => stage.stay(),
        Moment::Parked if case.shape == Shape::Ignores => {}
        Moment::Parked => drop(ctx.cancelled().await),
    }
    stage.start_another(case, &ctx);
    match case.shape {
        Shape::Ready | Shape::PanicsInDrop | Shape::PanicsInOutput => {}
        Shape::Yields => {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
        Shape::Sleeps => tokio::time::sleep(Duration::from_millis(1)).await,
        Shape::Ignores => std::future::pending().await,
        Shape::PanicsInPoll | Shape::PanicsTwice => panic!("{MARKER}: in a poll"),
    }
    Output::new(&stage, case.shape)
}

/// The closure under test.
pub(crate) fn closure(case: Case, stage: &Arc<Stage>) -> impl FnOnce() -> Output + Send + use<> {
    assert_eq!(case.carrier, Carrier::Blocking);
    let is_bomb = case.shape == Shape::PanicsInDrop;
    let guard = Guard::new(stage, |stage| &stage.futures, is_bomb);
    let stage = Arc::clone(stage);
    move || {
        let captured = guard;
        stage.polled.store(true, SeqCst);
        let ctx = headcount::Context::current();
        assert!(ctx.is_some(), "a blocking closure has a current context");
        if case.moment == Moment::Running {
            stage.stay();
        }
        stage.start_another(case, &ctx.expect("it was looked at"));
        match case.shape {
            Shape::Sleeps => thread::sleep(Duration::from_millis(1)),
            Shape::Ignores => thread::sleep(2 * GRACE),
            Shape::PanicsInPoll => panic!("{MARKER}: in a closure"),
            _ => {}
        }
        // Not left to the end of the scope: a value that is being returned while a destructor there
        // panics is leaked, by the language (rust-lang/rust#47949).
        drop(captured);
        Output::new(&stage, case.shape)
    }
}
