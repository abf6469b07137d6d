//! Asks tasks and hooks where they wait, and collects their answers.

use crate::{
    clock::{self, Stamp},
    dump::{
        deadlock,
        dump::Dump,
        fold::{self, Symbol},
        turns,
        view::{Activity, AwaitStack, HookDump, TaskDump, Whereabouts},
    },
    id::ResourceId,
    offload::offload,
    poll::{
        awaited::Awaited,
        capture::{Captured, RawStack},
        replies::Question,
        running_hooks::RunningHook,
        scope::{self, Owner},
        state::PollState,
    },
    table::{
        record::{Record as _, State},
        resource::Resource,
        store::Table,
    },
};
use futures::future::select;
use std::{pin::pin, sync::Arc, time::Duration};

/// How many tasks are asked between two yields.
const STEP: usize = 64;
/// How long to wait before the tasks that have not answered are asked again.
const INTERVAL: Duration = Duration::from_millis(10);

/// The tasks whose code is running on this thread: they cannot answer what they ask themselves.
pub(crate) fn asking() -> Vec<ResourceId> {
    let mut tasks = Vec::new();
    let _ = scope::find(|owner| -> Option<()> {
        if let Owner::Task(task) = owner {
            tasks.push(task.meta().id);
        }
        None
    });
    tasks
}

/// A task, or a hook with the time for which it has been running.
enum Subject {
    Task(Resource),
    Hook(Arc<RunningHook>, Duration),
}

impl Subject {
    fn hook(hook: Arc<RunningHook>) -> Self {
        let age = Stamp::now().since(hook.started);
        Self::Hook(hook, Duration::from_nanos(age))
    }

    fn id(&self) -> ResourceId {
        match self {
            Self::Task(task) => task.id(),
            Self::Hook(hook, _) => hook.id,
        }
    }

    /// The file of the line that spawned or registered it.
    fn file(&self) -> &'static str {
        match self {
            Self::Task(task) => task.location().file(),
            Self::Hook(hook, _) => hook.location.file(),
        }
    }

    /// The flags and counters through which it is asked; `None` if it cannot answer.
    fn poll_state(&self) -> Option<&PollState> {
        match self {
            Self::Task(task) if task.is_blocking() => None,
            Self::Task(task) => task.poll_state().filter(|state| !state.is_place()),
            Self::Hook(hook, _) => Some(&hook.poll_state),
        }
    }

    /// Asks it, if it can answer. Returns false if it was never polled: it answers at its first poll.
    fn ask(&self) -> bool {
        match self {
            Self::Task(task) => !task.is_blocking() && !self.is_place() && task.ask(),
            Self::Hook(hook, _) => hook.ask(),
        }
    }

    /// Whether it stands for a socket that others have.
    fn is_place(&self) -> bool {
        match self {
            Self::Task(task) => task.poll_state().is_some_and(PollState::is_place),
            Self::Hook(..) => false,
        }
    }

    /// What a task is at work on.
    fn work(&self) -> Option<String> {
        match self {
            Self::Task(task) => task.work(),
            Self::Hook(..) => None,
        }
    }

    /// What is known without asking.
    fn unasked_answer(&self) -> Captured {
        if !self.is_place() {
            return Captured::default();
        }
        let waits = RawStack {
            frames: Box::default(),
            yields: false,
            awaited: Some((Awaited::Socket, self.id().table)),
        };
        Captured {
            stacks: vec![waits],
            cut: 0,
        }
    }

    /// Whether it is still alive.
    fn is_there(&self, table: &Table) -> bool {
        match self {
            Self::Task(task) => table.table_ref().state_of(task.id()).is_some(),
            Self::Hook(hook, _) => !hook.waker.is_closed(),
        }
    }

    /// What it is doing, if it is of the kind that cannot be asked.
    fn unasked_activity(&self) -> Activity {
        match self {
            Self::Task(task) if task.is_blocking() => match task.record().state() {
                State::Waiting => Activity::Queued,
                _ => Activity::Blocking(task.age()),
            },
            _ if self.is_place() => Activity::Parked(None),
            _ => Activity::NotAnswered,
        }
    }
}

/// One task or hook that was asked where it waits.
struct Asked {
    subject: Subject,
    /// How many of its polls had begun or ended when it was asked: an odd number means that it was being polled.
    steps: u32,
    /// How long before the question its latest poll began or ended, if polls are timed.
    since: Option<Duration>,
    /// Whether an answer is to be expected: it was polled at least once.
    can_answer: bool,
    /// What it is at work on.
    work: Option<String>,
}

/// Asks tasks and hooks where they wait, and waits for the answers no longer than `limit`.
pub(crate) async fn dump(
    table: Arc<Table>,
    tasks: Vec<Resource>,
    hooks: Vec<Arc<RunningHook>>,
    limit: Duration,
) -> Dump {
    let mut dump = ask(&table, tasks, hooks, limit).await.resolve().await;
    turns::compare(&table, &mut dump.tasks);
    dump
}

/// Asks tasks and hooks where they wait, waits for the answers no longer than `limit`, and leaves them as they are: to look up
/// what they mean takes much longer.
pub(crate) async fn ask(
    table: &Table,
    tasks: Vec<Resource>,
    hooks: Vec<Arc<RunningHook>>,
    limit: Duration,
) -> Answers {
    let started = clock::now();
    let mut question = table.replies.open();
    let mut asked = Vec::with_capacity(tasks.len() + hooks.len());
    let tasks = tasks.into_iter().map(Subject::Task);
    let hooks = hooks.into_iter().map(Subject::hook);
    for (n, subject) in tasks.chain(hooks).enumerate() {
        if n % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
        asked.push(Asked::ask(subject, &mut question));
    }
    wait_for_answers(table, &asked, &question, limit).await;
    let took = clock::now().saturating_duration_since(started);
    Answers::of(table, asked, question, (took, limit))
}

/// Who was asked and what it is at work on, what it does, and what it has answered.
type Given = ((Subject, Option<String>), Activity, Captured);

/// What tasks and hooks have answered, and what those were doing that have not.
pub(crate) struct Answers {
    given: Vec<Given>,
    took: Duration,
    limit: Duration,
}

impl Answers {
    fn of(
        table: &Table,
        asked: Vec<Asked>,
        question: Question,
        (took, limit): (Duration, Duration),
    ) -> Self {
        let mut answers = question.take();
        let given = asked.into_iter().map(|asked| {
            let answer = answers.remove(&asked.subject.id());
            let is_there = asked.subject.is_there(table);
            let activity = asked.activity(answer.is_some(), is_there, took);
            let answer = answer.unwrap_or_else(|| asked.subject.unasked_answer());
            ((asked.subject, asked.work), activity, answer)
        });
        Self {
            given: given.collect(),
            took,
            limit,
        }
    }

    /// Looks up the symbols of every stack, and finds the deadlocks.
    pub(crate) async fn resolve(self) -> Dump {
        if self.given.is_empty() {
            return self.look_up();
        }
        let (started, collecting) = (clock::now(), self.took);
        let mut dump = offload(move || self.look_up()).await;
        dump.took = collecting + clock::now().saturating_duration_since(started);
        dump
    }

    fn look_up(self) -> Dump {
        let stacks = self.given.iter().flat_map(|(_, _, answer)| &answer.stacks);
        let mut symbols = fold::look_up(stacks);
        fold::cut_workspace(
            &mut symbols,
            self.given.iter().map(|((subject, _), ..)| subject.file()),
        );
        let any =
            |is: fn(&Symbol) -> bool| symbols.is_empty() || symbols.values().flatten().any(is);
        let has_lines = any(|symbol| symbol.line > 0);
        let has_names = any(|symbol| !symbol.function.is_empty());
        let (mut tasks, mut hooks) = (Vec::new(), Vec::new());
        let fold = |stack: &RawStack| fold::fold(stack, &symbols);
        for ((subject, work), activity, answer) in self.given {
            let stacks: Vec<_> = answer.stacks.iter().map(fold).collect();
            let yields = stacks.iter().any(AwaitStack::yields);
            let found = Whereabouts {
                activity: match activity {
                    Activity::Parked(_) if yields => Activity::Yielding,
                    other => other,
                },
                stacks,
                cut: answer.cut,
            };
            match subject {
                Subject::Task(task) => tasks.push(task_dump(task, work, found)),
                Subject::Hook(hook, age) => hooks.push(HookDump { hook, age, found }),
            }
        }
        Dump {
            deadlocks: deadlock::find(&tasks, &hooks),
            tasks,
            hooks,
            took: self.took,
            leaves_out: false,
            limit: self.limit,
            has_lines,
            has_names,
        }
    }
}

/// How long a close and a leak report wait for the answers of what holds them up.
pub(crate) const SHORT_LIMIT: Duration = Duration::from_millis(100);

/// Asks the tasks and hooks that have ever waited for a task, a close or a registry: only those can be in a deadlock.
pub(crate) async fn ask_waiting(table: &Table, limit: Duration) -> Answers {
    let (now, mut tasks) = (Stamp::now(), Vec::new());
    let visit = table.visit(|entry| {
        if entry.poll_state().is_some_and(PollState::has_waited) {
            tasks.push(Resource::of_task(entry, &table.tasks, now));
        }
    });
    visit.await;
    tasks.sort_unstable_by_key(|task| task.record().meta().order());
    let mut hooks = table.hooks.all();
    hooks.retain(|hook| hook.poll_state.has_waited());
    ask(table, tasks, hooks, limit).await
}

/// Asks the tasks and hooks that hold up a close, or that a leak report names. They answer at once or not at all.
pub(crate) async fn in_the_way(
    table: &Arc<Table>,
    tasks: Vec<Resource>,
    hooks: Vec<Arc<RunningHook>>,
) -> Dump {
    dump(Arc::clone(table), tasks, hooks, SHORT_LIMIT).await
}

/// The question to a hook at its time limit: the close polls it once more, and drops it then.
pub(crate) struct FinalPoll {
    table: Arc<Table>,
    question: Question,
    asked: Asked,
}

impl FinalPoll {
    pub(crate) fn of(table: &Arc<Table>, hook: Arc<RunningHook>) -> Self {
        let mut question = table.replies.open();
        Self {
            asked: Asked::ask(Subject::hook(hook), &mut question),
            table: Arc::clone(table),
            question,
        }
    }

    /// What the hook said in the poll that followed the question.
    pub(crate) fn take(self) -> Answers {
        let times = (Duration::ZERO, SHORT_LIMIT);
        Answers::of(&self.table, vec![self.asked], self.question, times)
    }
}

/// Looks up the stacks of a future that was polled by hand, outside of any task.
#[cfg(feature = "testing")]
pub(crate) async fn folded(captured: Captured) -> Vec<AwaitStack> {
    offload(move || {
        let symbols = fold::look_up(&captured.stacks);
        let fold = |stack| fold::fold(stack, &symbols);
        captured.stacks.iter().map(fold).collect()
    })
    .await
}

impl Asked {
    fn ask(subject: Subject, question: &mut Question) -> Self {
        let poll_state = subject.poll_state();
        let steps = poll_state.map_or(0, PollState::steps);
        let since = poll_state.and_then(|poll_state| poll_state.since(Stamp::now()));
        if poll_state.is_some() {
            question.put_to(subject.id());
        }
        // One that was never polled cannot be woken to answer.
        let can_answer = poll_state
            .is_some_and(|poll_state| !poll_state.is_dropping() && (subject.ask() || steps > 0));
        Self {
            work: subject.work(),
            subject,
            steps,
            since,
            can_answer,
        }
    }

    fn activity(&self, has_answered: bool, is_there: bool, took: Duration) -> Activity {
        if !is_there {
            return Activity::Finished;
        }
        let Some(poll_state) = self.subject.poll_state() else {
            return self.subject.unasked_activity();
        };
        let steps = poll_state.steps();
        if has_answered {
            return Activity::Parked(self.since.filter(|_| self.steps % 2 == 0));
        }
        match steps {
            _ if poll_state.is_dropping() => Activity::Dropping,
            0 => Activity::NeverPolled,
            _ if steps == self.steps && steps % 2 == 1 => {
                Activity::Polling(self.since.unwrap_or_default() + took)
            }
            _ => Activity::NotAnswered,
        }
    }
}

/// Makes the entry of a task. A cancellable task also waits for its context's token, and a server for its stop: such a stack is
/// left out if there is another one.
fn task_dump(resource: Resource, work: Option<String>, mut found: Whereabouts) -> TaskDump {
    let stacks = &mut found.stacks;
    let is_cancellable = stacks.iter().any(AwaitStack::is_for_cancellation);
    if stacks.iter().all(AwaitStack::is_beside) {
        stacks.truncate(1);
    } else {
        stacks.retain(|stack| !stack.is_beside());
    }
    TaskDump {
        polls: resource.poll_state().map_or(0, PollState::polls),
        resource,
        found,
        is_cancellable,
        polled_in_vain: None,
        work,
    }
}

/// Waits until every task and hook has answered or ended, or until the limit.
async fn wait_for_answers(table: &Table, asked: &[Asked], question: &Question, limit: Duration) {
    let started = clock::now();
    let mut pending: Vec<_> = asked.iter().filter(|asked| asked.can_answer).collect();
    while !pending.is_empty() {
        let left = limit.saturating_sub(clock::now().saturating_duration_since(started));
        if left.is_zero() {
            return;
        }
        let rest = pin!(clock::sleep(INTERVAL.min(left)));
        select(pin!(question.answered(pending.len())), rest).await;
        pending = silent(table, pending, question).await;
    }
}

/// Returns the tasks and hooks that have not answered and have not ended, and asks them again: one that was polled for
/// the first time after the question has a waker only now.
async fn silent<'a>(table: &Table, asked: Vec<&'a Asked>, question: &Question) -> Vec<&'a Asked> {
    let mut silent = Vec::new();
    for some in asked.chunks(STEP) {
        silent.extend(
            some.iter()
                .copied()
                .filter(|asked| !question.has(asked.subject.id()) && asked.subject.is_there(table)),
        );
        tokio::task::yield_now().await;
    }
    for some in silent.chunks(STEP) {
        for asked in some
            .iter()
            .filter(|asked| !question.has(asked.subject.id()))
        {
            asked.subject.ask();
        }
        tokio::task::yield_now().await;
    }
    silent
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::Registry;

    /// To look symbols up takes nearly all of the time: the first look reads the program's debug information.
    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_dump_took_includes_the_symbols() {
        let ctx = Registry::new().context("ctx");
        ctx.task("task")
            .cancellable()
            .spawn(std::future::pending::<()>());
        tokio::task::yield_now().await;
        let table = Arc::clone(&ctx.core().node.table);
        let later = Duration::from_secs(1_000);
        // Once in a while the other thread is done before this one looks.
        for _ in 0..100 {
            let tasks = table.live().await.tasks().into_iter().collect();
            let answers = ask(&table, tasks, Vec::new(), SHORT_LIMIT).await;
            let mut dump = pin!(answers.resolve());
            if futures::poll!(&mut dump).is_pending() {
                tokio::time::advance(later).await;
                assert!(dump.await.took() >= later);
                return;
            }
        }
        panic!("the symbols were never looked up on another thread");
    }
}
