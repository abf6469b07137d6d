//! The commands of a supervised task: a stop, a restart and the close of its context, each against the end of an attempt.
//!
//! What a task is doing, and the gate of its context, are the real ones. The attempts are numbers, with a flag each that says that it
//! was to be aborted, and the code that runs them takes the steps that it takes in the crate, in that order.

use super::outcomes::Outcomes;
use crate::{
    context::gate::Gate,
    supervision::control::{Command, Control, Stage, Taken},
    sync::{Mutex, lock},
    table::record::State,
};
use loom::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};
use std::sync::Arc;

/// Attempts of a model at most.
const ATTEMPTS: usize = 4;

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Finished,
    Stopped,
    Closed,
}

struct Task {
    control: Mutex<Control<usize, End>>,
    gate: Gate,
    /// Of each attempt, whether it was to be aborted.
    aborted: [AtomicBool; ATTEMPTS],
}

impl Task {
    /// One whose first attempt is listed.
    fn new() -> Arc<Self> {
        let gate = Gate::new();
        assert!(gate.enter(|| true).is_ok());
        Arc::new(Self {
            control: Mutex::new(Control::new(Stage::Attempt(0))),
            gate,
            aborted: std::array::from_fn(|_| AtomicBool::new(false)),
        })
    }

    fn is_aborted(&self, attempt: usize) -> bool {
        self.aborted[attempt].load(SeqCst)
    }

    /// What a handle does. False if it was too late.
    fn command(&self, command: Command) -> bool {
        let taken = lock(&self.control).command(command);
        if let Taken::Abort(attempt) = taken {
            self.aborted[attempt].store(true, SeqCst);
        }
        taken != Taken::TooLate
    }

    /// An attempt is over, after which none is to follow if it comes to an end. Lists the next one, or says why there is none.
    fn after(&self, attempt: usize, comes_to: Option<End>) -> Result<(), End> {
        let command = lock(&self.control).leave();
        let end = match (command, comes_to) {
            (Some(Command::Stop), _) => Some(End::Stopped),
            (Some(Command::Restart), _) | (None, None) => None,
            // Unless a restart came since that was decided.
            (None, Some(end)) => lock(&self.control).begin_to_end().is_none().then_some(end),
        };
        let is_refused = || self.gate.enter(|| true).is_err();
        if let Some(end) = end.or_else(|| is_refused().then_some(End::Closed)) {
            let mut control = lock(&self.control);
            control.must_end();
            drop(control.end(end));
            drop(control);
            let _ = self.gate.leave();
            return Err(end);
        }
        let _ = self.gate.leave();
        let aborted = lock(&self.control).enter(Stage::Attempt(attempt + 1));
        if let Some(aborted) = aborted {
            self.aborted[aborted].store(true, SeqCst);
        }
        Ok(())
    }

    /// Runs so many attempts that fail, and then one that returns. The number of the last one that began, and why it was.
    fn run(&self, fails: usize) -> (usize, End) {
        let mut attempt = 0;
        loop {
            let comes_to = (attempt >= fails).then_some(End::Finished);
            match self.after(attempt, comes_to) {
                Ok(()) => attempt += 1,
                Err(end) => return (attempt, end),
            }
        }
    }
}

/// A stop that was not too late stops it: the attempt that runs then is aborted, or none follows.
#[test]
fn a_stop_ends_the_attempt_that_runs_or_that_is_about_to() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let task = Task::new();
        let stopper = thread::spawn({
            let task = Arc::clone(&task);
            move || task.command(Command::Stop)
        });
        let (last, end) = task.run(1);
        let is_in_time = stopper.join().unwrap();
        // One that came when the last attempt was over already, and it was decided that it has finished, has nothing to abort.
        assert_eq!(task.is_aborted(last), end == End::Stopped);
        saw.saw((is_in_time, last, end));
    });
    outcomes.assert_all([
        (false, 1, End::Finished),
        (true, 0, End::Stopped),
        (true, 1, End::Finished),
        (true, 1, End::Stopped),
    ]);
}

/// A restart that was not too late is followed by an attempt that began after it was asked for.
#[test]
fn an_attempt_follows_a_restart() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let task = Task::new();
        let restarter = thread::spawn({
            let task = Arc::clone(&task);
            move || task.command(Command::Restart)
        });
        let (last, end) = task.run(0);
        let is_in_time = restarter.join().unwrap();
        assert_eq!(end, End::Finished);
        assert_eq!(last, usize::from(is_in_time), "an attempt for each restart");
        assert!(!task.is_aborted(last), "what was asked for is not aborted");
        saw.saw((is_in_time, task.is_aborted(0)));
    });
    // The last but one came when the attempt was over already.
    outcomes.assert_all([(false, false), (true, false), (true, true)]);
}

/// A stop is final: a restart after it does not make the task go on.
#[test]
fn a_stop_wins_over_a_restart() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let task = Task::new();
        let commands = thread::spawn({
            let task = Arc::clone(&task);
            move || [Command::Stop, Command::Restart].map(|command| task.command(command))
        });
        let (last, end) = task.run(0);
        let in_time = commands.join().unwrap();
        assert_eq!(last, 0, "no attempt follows a stop");
        saw.saw((in_time, end));
    });
    outcomes.assert_all([
        ([false, false], End::Finished),
        ([true, false], End::Finished),
        ([true, false], End::Stopped),
        ([true, true], End::Finished),
        ([true, true], End::Stopped),
    ]);
}

/// No attempt begins once the close has begun, and none is inside the gate in the end.
#[test]
fn no_attempt_begins_after_the_close_has() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let task = Task::new();
        let closer = thread::spawn({
            let task = Arc::clone(&task);
            move || {
                task.gate.begin();
                task.command(Command::Restart)
            }
        });
        let (last, end) = task.run(1);
        let is_in_time = closer.join().unwrap();
        assert_eq!(task.gate.inside(), 0);
        assert_ne!(task.gate.state(), State::Open);
        saw.saw((is_in_time, last, end));
    });
    outcomes.assert_all([
        (false, 0, End::Closed),
        (false, 1, End::Finished),
        (true, 0, End::Closed),
        (true, 1, End::Closed),
        (true, 1, End::Finished),
    ]);
}
