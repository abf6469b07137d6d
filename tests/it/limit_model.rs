//! A limit against a model of it: random operations, and after each the same usage, the same ones inside, and the same wakes.

use headcount::{
    AcquireError, Context, Limit, Permit, RefusedError, RefusedReason, Registry, Task,
};
use std::{
    future::Pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context as Cx, Poll, Wake, Waker},
};

const MOST_WAITING: usize = 12;

pub(crate) struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 8) % end as u64).expect("it is below the end")
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// What has a place.
enum Inside {
    Permit(Permit),
    Task(Task<()>),
}

type Refused = RefusedError<Pending<()>>;

/// What waits for one.
enum Coming {
    Permit(Pin<Box<dyn Future<Output = Result<Permit, AcquireError>>>>),
    Task(Pin<Box<dyn Future<Output = Result<Task<()>, Refused>>>>),
}

struct Waiter {
    coming: Coming,
    wakes: Arc<Wakes>,
    /// In the model: whether it was given a place.
    is_given: bool,
    /// In the model: how often it was woken.
    woken: usize,
}

impl Coming {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<Inside, AcquireError>> {
        let mut cx = Cx::from_waker(waker);
        match self {
            Self::Permit(coming) => coming.as_mut().poll(&mut cx).map_ok(Inside::Permit),
            Self::Task(coming) => {
                let polled = coming.as_mut().poll(&mut cx);
                let refused = |refused: Refused| match refused.reason() {
                    RefusedReason::Full => AcquireError::Full,
                    RefusedReason::Closed => AcquireError::Closed,
                    other => panic!("{other}"),
                };
                polled.map_ok(Inside::Task).map_err(refused)
            }
        }
    }
}

struct Model {
    ctx: Context,
    limit: Limit,
    max: usize,
    queue: usize,
    is_closed: bool,
    inside: Vec<Inside>,
    line: Vec<Waiter>,
}

impl Model {
    fn new(random: &mut Random) -> Self {
        let ctx = Registry::new().context("ctx");
        let (max, queue) = (random.below(5), random.below(MOST_WAITING));
        Self {
            limit: ctx.limit("jobs", max).queue(queue),
            ctx,
            max,
            queue,
            is_closed: false,
            inside: Vec::new(),
            line: Vec::new(),
        }
    }

    fn given(&self) -> usize {
        self.line.iter().filter(|waiter| waiter.is_given).count()
    }

    fn used(&self) -> usize {
        self.inside.len() + self.given()
    }

    fn waiting(&self) -> usize {
        let all = self.line.len() - self.given();
        if self.is_closed { 0 } else { all }
    }

    /// Places that are free go to the first ones in line.
    fn give(&mut self) {
        while !self.is_closed && self.used() < self.max {
            let Some(next) = self.line.iter_mut().find(|waiter| !waiter.is_given) else {
                return;
            };
            (next.is_given, next.woken) = (true, next.woken + 1);
        }
    }

    fn expected(&self) -> Option<AcquireError> {
        let is_full = self.used() >= self.max;
        match (self.is_closed, is_full) {
            (true, _) => Some(AcquireError::Closed),
            (false, true) => Some(AcquireError::Full),
            (false, false) => None,
        }
    }

    /// One comes without waiting.
    fn try_come(&mut self, as_task: bool) {
        let expected = self.expected();
        let came = if as_task {
            let came = self.limit.try_spawn(std::future::pending());
            came.map(Inside::Task).map_err(|refused| refused.reason())
        } else {
            let came = self.limit.try_acquire();
            came.map(Inside::Permit).map_err(RefusedReason::from)
        };
        assert_eq!(
            came.as_ref().err().copied(),
            expected.map(RefusedReason::from)
        );
        self.inside.extend(came.ok());
    }

    /// One comes, and waits if it may.
    fn come(&mut self, as_task: bool) {
        let expected = match self.expected() {
            Some(AcquireError::Full) if self.waiting() < self.queue => Poll::Pending,
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        };
        let coming = if as_task {
            Coming::Task(Box::pin(self.limit.spawn(std::future::pending())))
        } else {
            Coming::Permit(Box::pin(self.limit.acquire()))
        };
        let mut waiter = Waiter {
            coming,
            wakes: Arc::default(),
            is_given: false,
            woken: 0,
        };
        let waker = Waker::from(Arc::clone(&waiter.wakes));
        let came = waiter.coming.poll(&waker);
        let said = match &came {
            Poll::Pending => Poll::Pending,
            Poll::Ready(came) => Poll::Ready(came.as_ref().map(drop).map_err(|error| *error)),
        };
        assert_eq!(said, expected);
        match came {
            Poll::Pending => self.line.push(waiter),
            Poll::Ready(came) => self.inside.extend(came.ok()),
        }
    }

    /// One in line is polled.
    fn poll(&mut self, at: usize) {
        let waiter = &mut self.line[at];
        let waker = Waker::from(Arc::clone(&waiter.wakes));
        let came = waiter.coming.poll(&waker);
        match came {
            Poll::Pending => assert!(!waiter.is_given && !self.is_closed, "it hangs"),
            Poll::Ready(Ok(inside)) => {
                assert!(waiter.is_given && !self.is_closed, "it overtakes");
                drop(self.line.remove(at));
                self.inside.push(inside);
            }
            Poll::Ready(Err(error)) => {
                assert_eq!((error, self.is_closed), (AcquireError::Closed, true));
                drop(self.line.remove(at));
            }
        }
    }

    fn close(&mut self) {
        self.ctx.request_close("enough");
        self.is_closed = true;
        for waiter in &mut self.line {
            // One that was given a place was woken before.
            waiter.woken += usize::from(!waiter.is_given);
        }
    }

    fn check(&self) {
        let usage = self.limit.usage();
        let said = (usage.used, usage.max, usage.waiting, usage.queue);
        let expected = (self.used(), self.max, self.waiting(), self.queue);
        assert_eq!(said, expected);
        for waiter in &self.line {
            assert_eq!(waiter.wakes.0.load(SeqCst), waiter.woken);
        }
    }

    /// One goes out.
    async fn release(&mut self, at: usize) {
        match self.inside.swap_remove(at) {
            Inside::Permit(permit) => drop(permit),
            Inside::Task(task) => {
                task.abort();
                assert!(task.await.is_err());
            }
        }
    }

    async fn step(&mut self, random: &mut Random) {
        match random.below(200) {
            0..30 => self.try_come(random.below(3) == 0),
            30..80 => self.come(random.below(3) == 0),
            80..120 if !self.line.is_empty() => self.poll(random.below(self.line.len())),
            120..140 if !self.line.is_empty() => {
                drop(self.line.remove(random.below(self.line.len())));
            }
            140..180 if !self.inside.is_empty() => {
                self.release(random.below(self.inside.len())).await;
            }
            180..196 => {
                self.max = random.below(6);
                self.limit.set(self.max);
            }
            196..198 => {
                self.queue = random.below(MOST_WAITING);
                self.limit = self.limit.clone().queue(self.queue);
            }
            198 if !self.is_closed && random.below(10) == 0 => self.close(),
            _ => {}
        }
        self.give();
    }
}

/// Runs so many random operations, with a new limit now and then.
pub(crate) async fn run(seed: u64, operations: usize) {
    let mut random = Random(seed | 1);
    let mut model = Model::new(&mut random);
    let mut most = (0, 0);
    for _ in 0..operations {
        model.step(&mut random).await;
        model.check();
        most = (most.0.max(model.used()), most.1.max(model.waiting()));
        if model.is_closed && random.below(40) == 0 {
            let Model { ctx, limit, .. } = std::mem::replace(&mut model, Model::new(&mut random));
            let report = ctx.close_now().await;
            assert_eq!(report.panicked(), 0, "{report}");
            assert_eq!(limit.usage().used, 0);
        }
    }
    assert!(most.0 > 4 && most.1 > 5, "it was never full: {most:?}");
}
