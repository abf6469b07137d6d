//! A dump as a person reads it.

use crate::{
    clock,
    dump::view::{Activity, AwaitStack, Dump, StackFrame, TaskDump},
    name::{Printed, Quoted},
    table::resource::short_path,
    trace::awaited::Awaited,
};
use std::{collections::HashMap, fmt, panic::Location};

/// Tasks of a group that are named.
const NAMED: usize = 3;
/// Groups that are printed.
const GROUPS: usize = 50;

impl Dump {
    /// Prints every frame of every task.
    pub fn in_full(&self) -> impl fmt::Display + '_ {
        InFull(self)
    }
}

/// Tasks that wait at the same place, or do the same.
struct Group<'a> {
    tasks: Vec<&'a TaskDump>,
}

/// What tasks of a group have in common: not which task each waits for.
#[derive(PartialEq, Eq, Hash)]
struct Likeness<'a> {
    stacks: Vec<Place<'a>>,
    activity: &'static str,
    /// Where it was spawned, if none of one's own lines is known in it.
    site: Option<&'static Location<'static>>,
}

/// Frames, leaf, whether it only lets others run, and what it waits for unless that is a task.
type Place<'a> = (&'a [StackFrame], Option<&'a str>, bool, Option<&'a Awaited>);

impl<'a> Likeness<'a> {
    fn of(task: &'a TaskDump) -> Self {
        let of_stack = |stack: &'a AwaitStack| {
            let is_task = |awaited: &&Awaited| matches!(awaited, Awaited::Task { .. });
            let awaited = stack.awaited.as_ref().filter(|awaited| !is_task(awaited));
            (&*stack.frames, stack.leaf.as_deref(), stack.yields, awaited)
        };
        let has_own = |stack: &AwaitStack| stack.own_frames().next().is_some();
        let is_vague = !task.stacks.iter().all(has_own);
        Self {
            stacks: task.stacks.iter().map(of_stack).collect(),
            activity: task.activity.word(),
            site: is_vague.then(|| task.resource.location()),
        }
    }
}

fn group(tasks: &[TaskDump]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
    for task in tasks {
        let at = *known.entry(Likeness::of(task)).or_insert_with(|| {
            groups.push(Group { tasks: Vec::new() });
            groups.len() - 1
        });
        groups[at].tasks.push(task);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks.len()));
    groups
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Top(self))?;
        let groups = group(&self.tasks);
        for group in groups.iter().take(GROUPS) {
            write!(f, "\n\n{group}")?;
        }
        match groups.len().saturating_sub(GROUPS) {
            0 => Ok(()),
            more => write!(f, "\n\n… {more} more groups are not printed"),
        }
    }
}

/// How many tasks there are, what is missing, and the deadlocks.
struct Top<'a>(&'a Dump);

impl fmt::Display for Top<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dump = self.0;
        let plural = if dump.tasks.len() == 1 { "" } else { "s" };
        write!(f, "{} task{plural}", dump.tasks.len())?;
        let silent = dump.unanswered().count();
        if silent > 0 {
            let limit = clock::human(dump.limit);
            write!(f, ", {silent} did not answer within {limit}")?;
        }
        for note in dump.notes() {
            write!(f, "\n· {note}")?;
        }
        for deadlock in dump.deadlocks.iter().take(GROUPS) {
            write!(f, "\n\n{deadlock}")?;
        }
        match dump.deadlocks.len().saturating_sub(GROUPS) {
            0 => Ok(()),
            more => write!(f, "\n\n… {more} more deadlocks are not printed"),
        }
    }
}

impl Dump {
    /// What is not known, and what to do about it.
    fn notes(&self) -> impl Iterator<Item = &'static str> {
        let is_untimed = |task: &TaskDump| task.activity == Activity::Parked(None);
        [
            (
                !self.has_names,
                "there are no symbols: this program was stripped; set `strip = \"none\"` in its profile",
            ),
            (
                !self.has_lines,
                "there are no line numbers: set `debug = \"limited\"` in the profile of this build",
            ),
            (
                self.tasks.iter().any(is_untimed),
                "since when they are parked is not known: `headcount::warn_of_long_polls` looks at the clock",
            ),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.tasks[0];
        if self.tasks.len() == 1 {
            write!(f, "{}", Head(first))?;
        } else {
            write!(f, "{} tasks:", self.tasks.len())?;
            for task in self.tasks.iter().take(NAMED) {
                write!(f, "\n  {}", Head(task))?;
            }
            if self.tasks.len() > NAMED {
                write!(f, "\n  … {} more", self.tasks.len() - NAMED)?;
            }
        }
        let is_same = self.tasks.iter().all(|task| task.stacks == first.stacks);
        let whole = |stack: &AwaitStack| Stack(stack, is_same).to_string();
        write!(f, "{}", Stacks(first, whole))
    }
}

/// `server/conn-7/reader: parked for 3.2s, 12 polls, spawned at src/main.rs:40`
struct Head<'a>(&'a TaskDump);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.0;
        let (resource, polls) = (&task.resource, task.polls);
        let location = resource.location();
        let plural = if polls == 1 { "" } else { "s" };
        write!(
            f,
            "{}: {}",
            Quoted(&short_path(resource.record())),
            task.activity
        )?;
        if polls > 0 {
            write!(f, ", {polls} poll{plural}")?;
        }
        write!(f, ", spawned at {}:{}", location.file(), location.line())
    }
}

/// Its stacks, one after the other.
struct Stacks<'a, P>(&'a TaskDump, P);

impl<P: Fn(&AwaitStack) -> String> fmt::Display for Stacks<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.0;
        for (n, stack) in task.stacks.iter().enumerate() {
            let is_alone = task.stacks.len() == 1;
            let corner = if is_alone { "" } else { "either " };
            let corner = if n > 0 { "or " } else { corner };
            write!(f, "\n    {corner}{}", self.1(stack))?;
        }
        if task.cut > 0 {
            write!(f, "\n    … {} more stacks", task.cut)?;
        }
        if task.stacks.is_empty() && matches!(task.activity, Activity::Parked(_)) {
            f.write_str("\n    waits for nothing that could wake it")?;
        }
        Ok(())
    }
}

/// The lines of one's own, then what is awaited.
impl fmt::Display for AwaitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stack(self, true).fmt(f)
    }
}

/// A stack, with what it waits for if that shall be said, else the name of what is awaited.
struct Stack<'a>(&'a AwaitStack, bool);

impl fmt::Display for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stack, says_what) = *self;
        let mut own: Vec<_> = stack.own_frames().collect();
        own.dedup_by(|one, other| one.file == other.file && one.line == other.line);
        for (n, frame) in own.iter().enumerate() {
            if n > 0 {
                f.write_str("\n      ")?;
            }
            write!(f, "{frame}")?;
        }
        let leaf = stack.leaf.as_deref().filter(|leaf| !leaf.is_empty());
        let separator = if own.is_empty() { "" } else { "\n      → " };
        match (
            stack.awaited.as_ref().filter(|_| says_what),
            leaf,
            stack.frames.last(),
        ) {
            (Some(awaited), ..) => {
                let whole = if own.is_empty() {
                    "waits for "
                } else {
                    separator
                };
                write!(f, "{whole}{awaited}")?;
            }
            (None, Some(leaf), _) => write!(f, "{separator}{}", Printed(leaf))?,
            (None, None, Some(last)) if own.is_empty() || !last.is_own() => {
                write!(f, "{separator}{last}")?;
            }
            (None, None, None) => f.write_str("somewhere")?,
            _ => {}
        }
        if stack.yields {
            f.write_str(" (only lets others run)")?;
        }
        Ok(())
    }
}

/// `app::serve at src/main.rs:12`
impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.function.is_empty(), self.line) {
            (true, 0) => f.write_str("?"),
            (false, 0) => write!(f, "{}", Printed(&self.function)),
            (true, line) => write!(f, "{}:{line}", Quoted(&self.file)),
            (false, line) => {
                write!(
                    f,
                    "{} at {}:{line}",
                    Printed(&self.function),
                    Quoted(&self.file)
                )
            }
        }
    }
}

struct InFull<'a>(&'a Dump);

impl fmt::Display for InFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Top(self.0))?;
        for task in &self.0.tasks {
            write!(f, "\n\n{}", Head(task))?;
            for (n, stack) in task.stacks.iter().enumerate() {
                write!(f, "\n    stack {}", n + 1)?;
                for frame in &stack.frames {
                    write!(f, "\n      {frame}")?;
                }
            }
        }
        Ok(())
    }
}

/// As in a dump.
impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Head(self), Stacks(self, AwaitStack::to_string))
    }
}
