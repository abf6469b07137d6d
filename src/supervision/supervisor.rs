//! [`Supervisor`]: the future that runs the attempts of a supervised task, one after the other, and the pauses between them.
//!
//! It is one task of the runtime. Each attempt and each pause in it is a listed task of the context, which is polled here.

use super::{
    attempt::Attempt,
    code::Code,
    ends::{AttemptEnd, PauseEnd},
    pause::{Pause, pause},
    state::{Next, Supervision},
};
use crate::task::future::{Configured, Plain, Running};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

pin_project_lite::pin_project! {
    /// Runs attempts and pauses until none follows. What is dropped before that ends as a task does that is dropped.
    pub(super) struct Supervisor<F>
    where
        F: Future,
        F: 'static,
    {
        supervision: Arc<Supervision>,
        code: Arc<dyn Code<F>>,
        #[pin]
        phase: Phase<F>,
    }

    impl<F> PinnedDrop for Supervisor<F>
    where
        F: Future,
        F: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.phase.set(Phase::Over);
            // One that a command has made follow is in the gate, and nothing will poll it.
            while let Some(next) = this.supervision.take_next() {
                let next = Phase::of(next, this.supervision, this.code);
                this.phase.set(next);
                this.phase.set(Phase::Over);
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// What is polled.
    #[project = PhaseProjection]
    enum Phase<F>
    where
        F: Future,
        F: 'static,
    {
        Attempt {
            #[pin]
            running: Running<Configured<Start<F>>, AttemptEnd<F>>,
        },
        Pause {
            #[pin]
            running: Running<Plain<Pause>, PauseEnd<F>>,
        },
        Over,
    }
}

pin_project_lite::pin_project! {
    /// One attempt: the first poll calls the closure, as code of the task.
    struct Start<F>
    where
        F: Future,
        F: 'static,
    {
        supervision: Arc<Supervision>,
        code: Arc<dyn Code<F>>,
        // `None` once the closure was called.
        number: Option<u64>,
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future + 'static> Supervisor<F> {
    /// Runs a task whose first attempt is listed.
    pub(super) fn new(supervision: &Arc<Supervision>, code: Arc<dyn Code<F>>, first: Next) -> Self {
        Self {
            phase: Phase::of(first, supervision, &code),
            supervision: Arc::clone(supervision),
            code,
        }
    }
}

impl<F: Future + 'static> Phase<F> {
    fn of(next: Next, supervision: &Arc<Supervision>, code: &Arc<dyn Code<F>>) -> Self {
        let (supervision, code) = (Arc::clone(supervision), Arc::clone(code));
        match next {
            Next::Attempt {
                guard,
                mut options,
                number,
            } => {
                let start = Start {
                    supervision: Arc::clone(&supervision),
                    code: Arc::clone(&code),
                    number: Some(number),
                    future: None,
                };
                let future = options.configure(start, &supervision.node);
                let end = AttemptEnd { supervision, code };
                Self::Attempt {
                    running: Running::new(future, end, guard),
                }
            }
            Next::Pause {
                guard,
                number,
                length,
            } => {
                let future = pause(Arc::clone(&supervision.node), number, length);
                let end = PauseEnd { supervision, code };
                Self::Pause {
                    running: Running::new(Plain { future }, end, guard),
                }
            }
        }
    }
}

impl<F: Future + 'static> Future for Supervisor<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            match this.phase.as_mut().project() {
                PhaseProjection::Attempt { running } => ready!(running.poll(cx)),
                PhaseProjection::Pause { running } => ready!(running.poll(cx)),
                PhaseProjection::Over => return Poll::Ready(()),
            }
            let Some(next) = this.supervision.take_next() else {
                this.phase.set(Phase::Over);
                return Poll::Ready(());
            };
            let is_attempt = matches!(next, Next::Attempt { .. });
            let next = Phase::of(next, this.supervision, this.code);
            this.phase.set(next);
            if is_attempt {
                // Attempts that fail at once, without pauses, let others run in between.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<F: Future> Future for Start<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Some(number) = this.number.take() {
            let attempt = Attempt::new(number, this.supervision.begin());
            let future = this.code.call(attempt);
            this.future.set(Some(future));
        }
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            // The closure panicked, and the task ends with that.
            None => Poll::Pending,
        }
    }
}
