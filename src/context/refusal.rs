//! Spawns and wraps that were dropped, because a close had begun or the context was full: counted by line, and reported seldom
//! enough to be read.

use crate::{
    context::line_counts::{SoFar, Times},
    error::RefusedReason,
    event,
    ledger::acquirer::Acquirer,
    name::{Label, Printed},
    poll::scope,
};
use std::{fmt, panic::Location};

/// So many from one line while its context closes are no accident any more: the code that spawns does not notice the close.
const MANY: u64 = 10;
/// Lines of which a close keeps count.
const LINES: usize = 32;

type CallSite = &'static Location<'static>;
/// Where something was refused, and why.
pub(crate) type RefusedOn = (CallSite, RefusedReason);

/// The spawns that were refused on one line, for one reason: the context was closing, or
/// [full](crate::ContextBuilder::max_tasks).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let weak = ctx.downgrade();
/// ctx.task("supervisor").spawn(async move {
///     while let Some(ctx) = weak.upgrade() {
///         let done = ctx.spawn(async {}).await;
///         if done.is_err() && ctx.is_cancelled() {
///             break;
///         }
///     }
/// });
/// tokio::task::yield_now().await;
/// let report = ctx.close().await;
/// assert_eq!(report.refused(), 1);
/// let refusal = &report.refusals()[0];
/// assert_eq!((refusal.task(), refusal.count()), (Some("supervisor"), 1));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    line: CallSite,
    reason: RefusedReason,
    count: u64,
    task: Option<Label>,
}

impl Refusal {
    /// The line that spawned or wrapped.
    pub fn location(&self) -> &'static Location<'static> {
        self.line
    }

    /// Why: [`Closed`](RefusedReason::Closed) or [`Full`](RefusedReason::Full).
    pub fn reason(&self) -> RefusedReason {
        self.reason
    }

    /// How many were refused there.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The name of the task that was the first to be refused there, if it was a task of this crate's.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Whether the code that spawns there does not notice the close.
    pub(crate) fn is_repeated(&self) -> bool {
        self.reason == RefusedReason::Closed && self.count >= MANY
    }
}

/// `supervisor keeps spawning on its closing context: refused 1,204 times at src/main.rs:12`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.line.file(), self.line.line());
        let times = Times(self.count);
        let full = match self.reason {
            RefusedReason::Full => ", because the context was full",
            _ => "",
        };
        match &self.task {
            Some(task) if self.is_repeated() => write!(
                f,
                "{} keeps spawning on its closing context: refused {times} at {file}:{line}",
                Printed(task)
            ),
            Some(task) => write!(
                f,
                "spawns by task {} were refused {times} at {file}:{line}{full}",
                Printed(task)
            ),
            None => write!(f, "spawns were refused {times} at {file}:{line}{full}"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Refusal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Refusal", 4)?;
        out.serialize_field("location", &self.line.to_string())?;
        let reason = match self.reason {
            RefusedReason::Full => "full",
            _ => "closed",
        };
        out.serialize_field("reason", reason)?;
        out.serialize_field("count", &self.count)?;
        out.serialize_field("task", &self.task())?;
        out.end()
    }
}

/// The refusals of one close, by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Counts one more from this line, by the task that is running.
    pub(crate) fn note(&mut self, line: RefusedOn) {
        self.add(line, 1, running_task);
    }

    fn add(&mut self, (line, reason): RefusedOn, count: u64, task: impl FnOnce() -> Option<Label>) {
        let mut known = self.0.iter_mut();
        let known = known.find(|known| *known.line == *line && known.reason == reason);
        if let Some(known) = known {
            known.count += count;
        } else if self.0.len() < LINES {
            self.0.push(Refusal {
                line,
                reason,
                count,
                task: task(),
            });
        }
    }

    /// Adds those of a child.
    pub(crate) fn child(&mut self, child: &Self) {
        for refusal in &child.0 {
            let line = (refusal.line, refusal.reason);
            self.add(line, refusal.count, || refusal.task.clone());
        }
    }

    pub(crate) fn as_slice(&self) -> &[Refusal] {
        &self.0
    }

    /// Those of code that does not notice the close.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter().filter(|refusal| refusal.is_repeated())
    }
}

/// The code that keeps spawning on a context that closes.
pub(crate) struct Repeated<'a>(pub(crate) &'a Refusals);

impl fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in self.0.repeated() {
            write!(f, "; {refusal}")?;
        }
        Ok(())
    }
}

/// Says that something was refused on this line, for the so-manieth time: because the context may have so many tasks, else because it
/// closes.
#[cold]
pub(crate) fn warn(
    context: &str,
    max_tasks: Option<usize>,
    (what, name): (&str, &str),
    (line, so_far): (CallSite, &SoFar),
) {
    if let Some(max_tasks) = max_tasks {
        event::emit!(target: "headcount::task", WARN,
            context = %Printed(context),
            task = %Printed(name),
            max_tasks,
            count = so_far.0,
            "{what} was refused because its context {} is full: `max_tasks` is {max_tasks} (at {}:{}{so_far})",
            Printed(context),
            line.file(),
            line.line()
        );
        return;
    }
    event::emit!(target: "headcount::task", WARN,
        context = %Printed(context),
        task = %Printed(name),
        count = so_far.0,
        "{what} was refused because its context {} is closing or closed (at {}:{}{so_far})",
        Printed(context),
        line.file(),
        line.line()
    );
}

/// The name of the task that is running, if one is.
fn running_task() -> Option<Label> {
    match scope::acquirer() {
        Acquirer::Task(who) => Some(who.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_each_by_itself_and_only_so_many() {
        let line = Location::caller();
        let mut refusals = Refusals::default();
        for _ in 0..MANY {
            let line = (line, RefusedReason::Closed);
            refusals.add(line, 1, || Some(Label::borrowed("supervisor")));
        }
        let mut all = Refusals::default();
        all.child(&refusals);
        all.child(&refusals);
        assert_eq!(all.as_slice().len(), 1);
        let said = all.repeated().next().unwrap().to_string();
        let whole = "supervisor keeps spawning on its closing context: refused 20 times at src/";
        assert!(said.starts_with(whole), "{said}");
    }
}
