//! A dump as a person reads it.

use crate::{
    clock,
    dump::view::{Activity, AwaitStack, Dump, StackFrame, TaskDump},
    name::{Printed, Quoted},
    table::resource::short_path,
};
use std::{collections::HashMap, fmt};

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

/// What tasks of a group have in common.
#[derive(PartialEq, Eq, Hash)]
struct Likeness<'a> {
    stacks: &'a [AwaitStack],
    activity: &'static str,
}

fn group(tasks: &[TaskDump]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
    for task in tasks {
        let likeness = Likeness {
            stacks: &task.stacks,
            activity: word(task.activity),
        };
        let at = *known.entry(likeness).or_insert_with(|| {
            groups.push(Group { tasks: Vec::new() });
            groups.len() - 1
        });
        groups[at].tasks.push(task);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks.len()));
    groups
}

fn word(activity: Activity) -> &'static str {
    match activity {
        Activity::NeverPolled => "never polled",
        Activity::Parked(_) => "parked",
        Activity::Polling(_) => "polling",
        Activity::Blocking(_) => "blocking",
        Activity::Queued => "queued",
        Activity::Finished => "finished",
        Activity::NotAnswered => "not answered",
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tasks.len() == 1 { "" } else { "s" };
        write!(f, "{} task{plural}", self.tasks.len())?;
        let silent = self.unanswered().count();
        if silent > 0 {
            write!(
                f,
                ", {silent} did not answer within {}",
                clock::human(self.limit)
            )?;
        }
        if !self.has_lines && !self.tasks.is_empty() {
            f.write_str(
                "\n· there are no line numbers: set `debug = \"line-tables-only\"` in the profile of this build",
            )?;
        }
        let groups = group(&self.tasks);
        for group in groups.iter().take(GROUPS) {
            f.write_str("\n\n")?;
            write!(f, "{group}")?;
        }
        match groups.len().saturating_sub(GROUPS) {
            0 => Ok(()),
            more => write!(f, "\n\n… {more} more groups are not printed"),
        }
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
        write!(f, "{}", Stacks(first))
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
struct Stacks<'a>(&'a TaskDump);

impl fmt::Display for Stacks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.0;
        for (n, stack) in task.stacks.iter().enumerate() {
            let is_alone = task.stacks.len() == 1;
            let corner = if is_alone { "" } else { "either " };
            let corner = if n > 0 { "or " } else { corner };
            write!(f, "\n    {corner}{stack}")?;
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
        let mut own: Vec<_> = self.own_frames().collect();
        own.dedup_by(|one, other| one.file == other.file && one.line == other.line);
        for (n, frame) in own.iter().enumerate() {
            if n > 0 {
                f.write_str("\n      ")?;
            }
            write!(f, "{frame}")?;
        }
        let leaf = self.leaf.as_deref().filter(|leaf| !leaf.is_empty());
        let separator = if own.is_empty() { "" } else { "\n      → " };
        match leaf {
            Some(leaf) => write!(f, "{separator}{}", Printed(leaf))?,
            None => match self.frames.last() {
                Some(last) if own.is_empty() || !last.is_own() => write!(f, "{separator}{last}")?,
                _ => {}
            },
        }
        if self.yields {
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
        for (n, task) in self.0.tasks.iter().enumerate() {
            let separator = if n > 0 { "\n\n" } else { "" };
            write!(f, "{separator}{}", Head(task))?;
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
        write!(f, "{}{}", Head(self), Stacks(self))
    }
}
