//! One case, from the spawn to the empty registry.

use crate::{
    axes::{Carrier, Case, Ending, Flavor, Handle, Moment, Shape},
    closing::{self, Close},
    limits::{until, wait_for},
    needed::{self, Needed},
    outcome::{Held, Others, Outcome, counted, expected, is_reason},
    runtime::{Shutdown, TestRuntime},
    stage::{GRACE, Seen, Stage},
    start::{open, start},
};
use headcount::{CloseReport, CloseStatus, Context, Registry, State, WeakContext};
use std::{
    sync::{Arc, OnceLock, atomic::Ordering::SeqCst},
    task, thread,
    time::Duration,
};
use tokio::runtime::Runtime;

/// Everything there is in one case.
struct Play {
    case: Case,
    registry: Registry,
    runtime: TestRuntime,
    stage: Arc<Stage>,
    weak: WeakContext,
    held: Option<Held>,
    /// What the context needs.
    needed: Option<Needed>,
    /// What failed beside the task.
    failed: u64,
}

/// How the ending went.
struct Ended {
    /// What had been dropped when the wait for the end was over.
    seen: Seen,
    /// `None` if no handle was left to get one.
    report: Option<CloseReport>,
    /// `None` where the ending was the drop of the last handle.
    ctx: Option<Context>,
}

/// Runs a case; says what went wrong.
pub(crate) fn play(case: Case) -> Result<(), String> {
    let registry = Registry::new();
    let mut runtime = TestRuntime::open(case.flavor)?;
    let stage = Arc::new(Stage::default());
    let needed = {
        let _inside = runtime.handle.enter();
        case.ending.needs().then(|| Needed::open(&registry))
    };
    let ctx = open(case, &registry, &runtime, needed.as_ref());
    if let Some(needed) = &needed {
        needed.watch(&ctx, &stage);
    }
    let held = start(case, &mut runtime, &ctx, &stage)?;
    let mut play = Play {
        case,
        registry,
        runtime,
        stage,
        weak: ctx.downgrade(),
        held: Some(held),
        needed,
        failed: 0,
    };
    if case.handle == Handle::Dropped && case.ending != Ending::Abort {
        play.held = None;
    }
    play.await_moment()?;
    let ended = play.end(ctx)?;
    play.examine(ended)
}

impl Play {
    /// Waits until the task is where it is to be ended, and asks the registry whether it is there.
    fn await_moment(&mut self) -> Result<(), String> {
        match self.case.moment {
            Moment::BeforeFirstPoll => {}
            Moment::Parked | Moment::Running => {
                if !self.stage.reached.pass() {
                    return Err("the task did not get to its moment".to_owned());
                }
                if self.case.moment == Moment::Parked {
                    self.await_end_of_poll()?;
                }
            }
            Moment::Finished => {
                let contexts = 1 + self.needed.as_ref().map_or(0, |_| needed::CONTEXTS);
                let is_gone = || self.registry.count() == contexts;
                until("the task's end", is_gone)?;
                let is_finished = || self.held.as_ref().is_none_or(Held::is_finished);
                until("the handle's knowledge of it", is_finished)?;
            }
        }
        let tasks = self.registry.live_now().tasks();
        let states: Vec<State> = tasks.iter().map(headcount::Resource::state).collect();
        let should: &[State] = match self.case.moment {
            Moment::BeforeFirstPoll => &[State::Waiting],
            Moment::Parked | Moment::Running => &[State::Running],
            Moment::Finished => &[],
        };
        if states == should {
            Ok(())
        } else {
            let polled = self.stage.polled.load(SeqCst);
            Err(format!(
                "listed as {states:?} instead of {should:?}; polled: {polled}"
            ))
        }
    }

    /// The task says that it waits while it is still being polled. It is not any more when everybody
    /// who could do that does something else.
    fn await_end_of_poll(&mut self) -> Result<(), String> {
        if self.case.carrier == Carrier::Local {
            self.runtime.on_thread(false, || ())?;
        } else {
            self.runtime.plug_workers()?;
        }
        self.runtime.unplug();
        Ok(())
    }

    /// Applies the ending and waits until it says that it is over.
    fn end(&mut self, ctx: Context) -> Result<Ended, String> {
        match self.case.ending {
            Ending::Close => self.close(ctx),
            Ending::CloseDropped => {
                self.begin_and_drop_close(&ctx);
                self.closed(ctx)
            }
            Ending::CloseDroppedThenIdle => {
                self.begin_and_drop_close(&ctx);
                let seen = self.idle()?;
                let closed = self.closed(ctx)?;
                Ok(Ended { seen, ..closed })
            }
            Ending::LastHandleDropped | Ending::DroppedOutside => {
                drop(ctx);
                self.let_go();
                self.idle().map(Ended::without_report)
            }
            Ending::Abort => self.abort(ctx),
            Ending::ShutDown => {
                self.shut_down(Shutdown::Drop)?;
                self.is_swept("by the drop of the runtime")?;
                let _inside = elsewhere().enter();
                Self::finish_close(self.own_close(&ctx), ctx)
            }
            Ending::ShutDownBehind => {
                self.shut_down(Shutdown::Background)?;
                let _inside = elsewhere().enter();
                Self::finish_close(self.own_close(&ctx), ctx)
            }
            Ending::ShutDownThenDrop => {
                self.shut_down(Shutdown::Drop)?;
                self.is_swept("by the drop of the runtime")?;
                drop(ctx);
                if self.registry.count() != 0 {
                    return Err("the last drop left something in the registry".to_owned());
                }
                self.idle().map(Ended::without_report)
            }
            Ending::ShutDownBehindThenDrop => {
                self.shut_down(Shutdown::Background)?;
                drop(ctx);
                self.idle().map(Ended::without_report)
            }
            Ending::ShutDownWhileClosing => {
                let mut close = self.own_close(&ctx);
                self.begin(&mut close);
                self.shut_down(Shutdown::Timeout)?;
                let _inside = elsewhere().enter();
                Self::finish_close(close, ctx)
            }
            Ending::ShutDownWhileDropped => {
                drop(ctx);
                self.shut_down(Shutdown::Drop)?;
                self.is_swept("by the drop of the runtime")?;
                self.idle().map(Ended::without_report)
            }
            Ending::HurriedBy | Ending::HurriedNow => {
                let mut close = self.own_close(&ctx);
                self.begin(&mut close);
                drop(close);
                self.call(ctx)
            }
            Ending::Failure => {
                self.failed = u64::from(closing::fail(&ctx)?);
                self.let_go();
                self.closed(ctx)
            }
            Ending::FinishThenClose => {
                let finish = {
                    let _inside = self.runtime.handle.enter();
                    ctx.finish()
                };
                let ended = self.close(ctx)?;
                let (seen, report) = (ended.seen, self.runtime.run("finish", finish)?);
                Ok(Ended {
                    seen,
                    report: Some(report),
                    ..ended
                })
            }
            Ending::NeededDropped => self.drop_needed(ctx),
            _ => self.call(ctx),
        }
    }

    /// One of the calls that say by themselves what they do.
    fn call(&mut self, ctx: Context) -> Result<Ended, String> {
        let mut close = {
            let _inside = self.runtime.handle.enter();
            let needed = self.needed.as_ref();
            closing::call(self.case, &ctx, needed, &self.registry, &self.stage)
        };
        if self.case.ending.finishes() {
            closing::check_finishing(self.case, &ctx)?;
        }
        self.begin(&mut close);
        self.let_go();
        let (report, seen) = self.runtime.run("close", close)??;
        Ok(Ended::reported(report, seen, ctx))
    }

    /// What is needed stays open until nothing needs it.
    fn drop_needed(&mut self, ctx: Context) -> Result<Ended, String> {
        let weak = self.needed.as_mut().map(Needed::drop_handle);
        let weak = weak.ok_or("nothing is needed")?;
        if weak.state() != State::Open {
            return Err("what is needed closed with its own handle".to_owned());
        }
        drop(ctx);
        self.let_go();
        wait_for("the close of what was needed", weak.closed())?;
        Ok(Ended::without_report(self.stage.seen()))
    }

    /// A close that looks, right when it is over, at what was dropped.
    fn own_close(&self, ctx: &Context) -> Close {
        let (ctx, stage) = (ctx.clone(), Arc::clone(&self.stage));
        Box::pin(async move {
            let report = ctx.close().await;
            Ok((report, stage.seen()))
        })
    }

    /// Polls a close once. The handle of one that has ended already is as good as dropped.
    fn begin(&self, close: &mut Close) {
        let _inside = self.runtime.handle.enter();
        let mut cx = task::Context::from_waker(task::Waker::noop());
        if let task::Poll::Ready(done) = close.as_mut().poll(&mut cx) {
            *close = Box::pin(std::future::ready(done));
        }
    }

    fn begin_and_drop_close(&mut self, ctx: &Context) {
        let mut close = self.own_close(ctx);
        self.begin(&mut close);
        drop(close);
        self.let_go();
    }

    fn close(&mut self, ctx: Context) -> Result<Ended, String> {
        let mut close = self.own_close(&ctx);
        self.begin(&mut close);
        self.let_go();
        let (report, seen) = self.runtime.run("close", close)??;
        Ok(Ended::reported(report, seen, ctx))
    }

    /// Awaits a close from outside of the runtime under test.
    fn finish_close(close: Close, ctx: Context) -> Result<Ended, String> {
        let (report, seen) = wait_for("close", close)??;
        Ok(Ended::reported(report, seen, ctx))
    }

    fn closed(&self, ctx: Context) -> Result<Ended, String> {
        let _inside = self.runtime.handle.enter();
        let report = wait_for("closed", ctx.closed())?;
        Ok(Ended::reported(report, self.stage.seen(), ctx))
    }

    fn idle(&self) -> Result<Seen, String> {
        wait_for("idle", self.registry.idle())?;
        Ok(self.stage.seen())
    }

    fn abort(&mut self, ctx: Context) -> Result<Ended, String> {
        if let Some(held) = &self.held {
            held.abort();
            held.abort();
        }
        if self.case.handle == Handle::Dropped {
            self.held = None;
        }
        self.let_go();
        until("the aborted task's end", || self.registry.count() == 1)?;
        self.is_swept("by the abort")?;
        self.close(ctx)
    }

    /// Takes the runtime down, and lets what is running there go on as soon as that has begun.
    fn shut_down(&mut self, how: Shutdown) -> Result<(), String> {
        self.runtime.demolish(how);
        if self.can_outlive_shutdown(how) {
            self.runtime.await_gone()?;
            self.let_go();
            Ok(())
        } else {
            // So that a thread that is free to begin with the shutdown does.
            thread::sleep(Duration::from_millis(1));
            self.let_go();
            self.runtime.await_gone()
        }
    }

    /// Whether the shutdown is over while a poll or closure is still under way: it must not wait for
    /// that, and nothing may keep the runtime's own thread busy, which does the shutdown.
    fn can_outlive_shutdown(&self, how: Shutdown) -> bool {
        let waits = matches!(how, Shutdown::Drop);
        let on_own_thread = match self.case.carrier {
            Carrier::Local => true,
            Carrier::Blocking => false,
            _ => self.case.flavor == Flavor::CurrentThread,
        };
        !waits && !on_own_thread
    }

    /// Lets a running task go on, and free threads do what they have to do.
    fn let_go(&mut self) {
        let is_stubborn = self.case.shape == Shape::Ignores && self.case.moment == Moment::Running;
        if is_stubborn && self.case.ending != Ending::Abort {
            // The abort after the grace period finds it in the middle of a poll, where that can be.
            thread::sleep(2 * GRACE);
        }
        self.stage.go_on.open();
        self.runtime.unplug();
    }

    /// The future is dropped, and counted once.
    fn is_swept(&self, by: &str) -> Result<(), String> {
        match self.stage.seen().futures {
            (1, 1) => Ok(()),
            other => Err(format!("(made, dropped) futures {by}: {other:?}")),
        }
    }

    /// Everything is gone, once, and everybody says the same of it.
    fn examine(mut self, ended: Ended) -> Result<(), String> {
        let Ended { seen, report, ctx } = ended;
        if seen.futures != (1, 1) {
            return Err(format!("futures at the end: {seen:?}"));
        }
        drop(ctx);
        if let Some(needed) = self.needed.take() {
            needed.leave(&self.registry)?;
        }
        self.nothing_is_left()?;
        let outcome = self.outcome(report)?;
        // What tokio keeps for a handle of its own is tokio's.
        let is_ours = self.case.carrier != Carrier::Wrapped;
        let is_claimable = self.held.is_some() && outcome == Outcome::Finished;
        let (made, dropped) = seen.outputs;
        if is_ours && dropped != if is_claimable { 0 } else { made } {
            return Err(format!("{outcome:?}, outputs at the end: {seen:?}"));
        }
        if let Some(held) = self.held.take() {
            if is_ours && !held.is_finished() {
                return Err("the handle does not know of the end".to_owned());
            }
            let said = held.resolve()?;
            if !said.contains(&outcome) {
                return Err(format!("counted as {outcome:?}, but the handle: {said:?}"));
            }
        }
        until("the output's end", || self.stage.seen().outputs.1 == made)?;
        self.is_swept("in all")?;
        let should = match (outcome, self.case.shape) {
            (Outcome::Finished, _) => 1..=1,
            // It returned, or it did not get as far.
            (Outcome::Panicked, Shape::PanicsInDrop) => 0..=1,
            _ => 0..=0,
        };
        let outputs = self.stage.seen().outputs;
        if outputs != (made, made) || !should.contains(&made) {
            return Err(format!("{outcome:?}, outputs in all: {outputs:?}"));
        }
        self.leave()
    }

    fn nothing_is_left(&self) -> Result<(), String> {
        let live = self.registry.live_now();
        let (count, state) = (self.registry.count(), self.weak.state());
        if count != 0 || !live.is_empty() {
            return Err(format!("count {count}, live:\n{live}"));
        }
        if state != State::Closed || self.weak.upgrade().is_some() {
            return Err(format!("the context is {state}, or can be upgraded"));
        }
        wait_for("idle, which is so", self.registry.idle())
    }

    /// The outcome by the report of the context, which is that of the registry, which is expected.
    fn outcome(&self, report: Option<CloseReport>) -> Result<Outcome, String> {
        let _inside = elsewhere().enter();
        let whole = wait_for("the registry's close", self.registry.close())?;
        let others = self.others()?;
        let (saved, contexts) = if self.case.ending.needs() {
            (1, 1 + needed::CONTEXTS)
        } else {
            (0, 1)
        };
        let in_all = Others {
            finished: others.finished + saved,
            ..others
        };
        let outcome = counted(&self.case, &whole, in_all)?;
        if whole.children() != contexts as u64 {
            return Err(format!("not so many contexts: {whole}"));
        }
        let reason = self.weak.close_reason();
        if !reason
            .as_ref()
            .is_some_and(|reason| is_reason(&self.case, reason))
        {
            return Err(format!("closed for another reason: {reason:?}"));
        }
        if let Some(report) = report {
            let own = counted(&self.case, &report, others)?;
            if own != outcome || report.status() != CloseStatus::Closed {
                return Err(format!("the reports differ: {report}\n{whole}"));
            }
        }
        let expected = expected(&self.case);
        if expected.contains(&outcome) {
            Ok(outcome)
        } else {
            Err(format!("{outcome:?} instead of {expected:?}"))
        }
    }

    /// What else there was in the context.
    fn others(&self) -> Result<Others, String> {
        let started = self.stage.started.load(SeqCst);
        if started != usize::from(self.case.starts_another()) {
            return Err(format!("the task has started {started} others"));
        }
        Ok(Others {
            finished: started as u64,
            panicked: self.failed,
        })
    }

    /// Shuts the runtime down, unless that was the ending.
    fn leave(self) -> Result<(), String> {
        if self.case.ending.is_shutdown() {
            return Ok(());
        }
        self.runtime.demolish(Shutdown::Drop);
        self.runtime.await_gone()
    }
}

impl Ended {
    fn reported(report: CloseReport, seen: Seen, ctx: Context) -> Self {
        Self {
            seen,
            report: Some(report),
            ctx: Some(ctx),
        }
    }

    fn without_report(seen: Seen) -> Self {
        Self {
            seen,
            report: None,
            ctx: None,
        }
    }
}

/// A runtime that is always there.
fn elsewhere() -> &'static Runtime {
    static ELSEWHERE: OnceLock<Runtime> = OnceLock::new();
    ELSEWHERE.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build();
        runtime.expect("a runtime")
    })
}
