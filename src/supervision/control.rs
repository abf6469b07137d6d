//! [`Control`]: what a supervised task is doing, and what its handles ask for meanwhile.
//!
//! Its methods are the steps that handles and the code that runs the task take against each other, each under the lock of the state.

use tokio::time::Instant;

/// What a supervised task is doing, whose tasks are known as `T`, and which has ended as an `E`.
pub(crate) struct Control<T, E> {
    stage: Stage<T, E>,
    /// What a handle has asked for, until the attempt or the pause is over that it is to end.
    command: Option<Command>,
}

/// Between two of these it has no task, for a moment in which it is inside the gate of its context.
pub(crate) enum Stage<T, E> {
    Between,
    Attempt(T),
    BackingOff(T, Instant),
    /// What is left is dropped: commands come too late.
    Ending,
    Ended(E),
}

/// What a handle asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Restart,
    Stop,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// It has ended, or is about to.
    TooLate,
    /// This task is to be aborted.
    Abort(T),
    /// It has no task: the next one is aborted by the code that lists it, which looks for a command then.
    Noted,
}

impl<T: Copy, E> Control<T, E> {
    pub(crate) fn new(stage: Stage<T, E>) -> Self {
        let command = None;
        Self { stage, command }
    }

    pub(crate) fn stage(&self) -> &Stage<T, E> {
        &self.stage
    }

    /// A handle asks for the end of what runs or waits.
    pub(crate) fn command(&mut self, command: Command) -> Taken<T> {
        if matches!(self.stage, Stage::Ending | Stage::Ended(_)) {
            return Taken::TooLate;
        }
        // To stop is final.
        if self.command != Some(Command::Stop) {
            self.command = Some(command);
        }
        self.task().map_or(Taken::Noted, Taken::Abort)
    }

    /// What was listed last is over. What was asked for meanwhile.
    pub(crate) fn leave(&mut self) -> Option<Command> {
        self.stage = Stage::Between;
        self.command.take()
    }

    /// The next task is listed. Returns it if it is to be aborted: a command came when there was none that it could abort.
    pub(crate) fn enter(&mut self, stage: Stage<T, E>) -> Option<T> {
        self.stage = stage;
        // An attempt that is about to begin is what a restart asks for.
        let is_attempt = matches!(self.stage, Stage::Attempt(_));
        self.command
            .take_if(|command| is_attempt && *command == Command::Restart);
        self.command.and_then(|_| self.task())
    }

    /// Nothing more is to run: commands come too late from here on. Unless a restart was asked for since the last task was over; then
    /// that is returned, and another attempt is to follow.
    pub(crate) fn begin_to_end(&mut self) -> Option<Command> {
        let restart = self.command.take_if(|command| *command == Command::Restart);
        if restart.is_none() {
            self.stage = Stage::Ending;
        }
        restart
    }

    /// Nothing more can run: commands come too late from here on.
    pub(crate) fn must_end(&mut self) {
        self.stage = Stage::Ending;
    }

    /// It has ended. Returns the stage before, which may have values to drop.
    pub(crate) fn end(&mut self, end: E) -> Stage<T, E> {
        std::mem::replace(&mut self.stage, Stage::Ended(end))
    }

    fn task(&self) -> Option<T> {
        match &self.stage {
            Stage::Attempt(task) | Stage::BackingOff(task, _) => Some(*task),
            Stage::Between | Stage::Ending | Stage::Ended(_) => None,
        }
    }
}
