//! Prints a dump for a person.

use crate::{
    clock,
    dump::{
        dump::Dump,
        hook::{self, HookDump},
        view::{Activity, AwaitStack, StackFrame, TaskDump, Whereabouts},
    },
    name::{Printed, Quoted},
    poll::awaited::Awaited,
    table::resource::short_path,
};
use std::{collections::HashMap, fmt, panic::Location};

/// How many tasks or hooks of a group are named.
const NAMED: usize = 3;
/// How many groups are printed.
const GROUPS: usize = 50;

impl Dump {
    /// Prints every frame of every task and every hook.
    pub fn in_full(&self) -> impl fmt::Display + '_ {
        InFull(self)
    }
}

/// An entry of a dump: a task or a hook.
trait DumpEntry {
    /// The plural.
    const MANY: &'static str;
    /// The line that names it and says what it does.
    type Head<'a>: fmt::Display
    where
        Self: 'a;

    fn head(&self) -> Self::Head<'_>;
    fn whereabouts(&self) -> &Whereabouts;
    /// The line that spawned or registered it.
    fn site(&self) -> &'static Location<'static>;
}

impl DumpEntry for TaskDump {
    const MANY: &'static str = "tasks";
    type Head<'a> = Head<'a>;

    fn head(&self) -> Head<'_> {
        Head(self)
    }

    fn whereabouts(&self) -> &Whereabouts {
        &self.found
    }

    fn site(&self) -> &'static Location<'static> {
        self.resource.location()
    }
}

impl DumpEntry for HookDump {
    const MANY: &'static str = "hooks";
    type Head<'a> = hook::Head<'a>;

    fn head(&self) -> hook::Head<'_> {
        hook::Head(self)
    }

    fn whereabouts(&self) -> &Whereabouts {
        &self.found
    }

    fn site(&self) -> &'static Location<'static> {
        self.location()
    }
}

/// Tasks or hooks that wait at the same line, or do the same.
struct Group<'a, S> {
    members: Vec<&'a S>,
}

/// What the entries of one group have in common. They may wait for different tasks.
#[derive(PartialEq, Eq, Hash)]
struct GroupKey<'a> {
    stacks: Vec<StackKey<'a>>,
    activity: &'static str,
    /// The line that spawned or registered it, if a stack has no line of the program's own code.
    site: Option<&'static Location<'static>>,
}

/// Frames, leaf, whether the task only yields, and what it waits for unless that is a task.
type StackKey<'a> = (&'a [StackFrame], Option<&'a str>, bool, Option<&'a Awaited>);

impl<'a> GroupKey<'a> {
    fn of(entry: &'a impl DumpEntry) -> Self {
        let found = entry.whereabouts();
        let of_stack = |stack: &'a AwaitStack| {
            let is_task = |awaited: &&Awaited| matches!(awaited, Awaited::Task { .. });
            let awaited = stack.awaited.as_ref().filter(|awaited| !is_task(awaited));
            (&*stack.frames, stack.leaf.as_deref(), stack.yields, awaited)
        };
        let has_own = |stack: &AwaitStack| stack.own_frames().next().is_some();
        let is_vague = !found.stacks.iter().all(has_own);
        Self {
            stacks: found.stacks.iter().map(of_stack).collect(),
            activity: found.activity.word(),
            site: is_vague.then(|| entry.site()),
        }
    }
}

fn group<S: DumpEntry>(all: &[S]) -> Vec<Group<'_, S>> {
    let mut groups: Vec<Group<'_, S>> = Vec::new();
    let mut known: HashMap<GroupKey<'_>, usize> = HashMap::new();
    for entry in all {
        let at = *known.entry(GroupKey::of(entry)).or_insert_with(|| {
            groups.push(Group {
                members: Vec::new(),
            });
            groups.len() - 1
        });
        groups[at].members.push(entry);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
    groups
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            Top(self),
            Groups(&self.tasks),
            Groups(&self.hooks)
        )
    }
}

/// All tasks, or all hooks, in groups.
struct Groups<'a, S>(&'a [S]);

impl<S: DumpEntry> fmt::Display for Groups<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = group(self.0);
        for group in groups.iter().take(GROUPS) {
            write!(f, "\n\n{group}")?;
        }
        match groups.len().saturating_sub(GROUPS) {
            0 => Ok(()),
            more => write!(f, "\n\n… {more} more groups are not printed"),
        }
    }
}

/// The head of a dump: how many tasks and hooks there are, what is unknown, and the deadlocks.
struct Top<'a>(&'a Dump);

impl fmt::Display for Top<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dump = self.0;
        let plural = if dump.tasks.len() == 1 { "" } else { "s" };
        write!(f, "{} task{plural}", dump.tasks.len())?;
        match dump.hooks.len() {
            0 => {}
            1 => f.write_str(", 1 hook")?,
            n => write!(f, ", {n} hooks")?,
        }
        let silent = |hook: &&HookDump| hook.found.is_silent();
        let silent = dump.unanswered().count() + dump.hooks.iter().filter(silent).count();
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
    /// What the dump does not know, and what to do about it.
    fn notes(&self) -> impl Iterator<Item = &'static str> {
        let is_untimed = |task: &TaskDump| task.found.activity == Activity::Parked(None);
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
                "how long they have been parked is not known: `headcount::dump::set_long_poll_threshold` turns on the timing of polls",
            ),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
    }
}

impl<S: DumpEntry> fmt::Display for Group<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, count) = (self.members[0], self.members.len());
        if count == 1 {
            write!(f, "{}", first.head())?;
        } else {
            write!(f, "{count} {}:", S::MANY)?;
            for entry in self.members.iter().take(NAMED) {
                write!(f, "\n  {}", entry.head())?;
            }
            if count > NAMED {
                write!(f, "\n  … {} more", count - NAMED)?;
            }
        }
        let first = first.whereabouts();
        let is_like_first = |other: &&S| other.whereabouts().stacks == first.stacks;
        let is_same = self.members.iter().all(is_like_first);
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
            task.found.activity
        )?;
        if polls > 0 {
            write!(f, ", {polls} poll{plural}")?;
        }
        write!(f, ", spawned at {}:{}", location.file(), location.line())
    }
}

/// The stacks of one task or hook, one after the other.
struct Stacks<'a, P>(&'a Whereabouts, P);

impl<P: Fn(&AwaitStack) -> String> fmt::Display for Stacks<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.0;
        for (n, stack) in found.stacks.iter().enumerate() {
            let is_alone = found.stacks.len() == 1;
            let corner = if is_alone { "" } else { "either " };
            let corner = if n > 0 { "or " } else { corner };
            write!(f, "\n    {corner}{}", self.1(stack))?;
        }
        if found.cut > 0 {
            write!(f, "\n    … {} more stacks", found.cut)?;
        }
        if found.stacks.is_empty() && matches!(found.activity, Activity::Parked(_)) {
            f.write_str("\n    waits for nothing that could wake it")?;
        }
        Ok(())
    }
}

/// Prints the lines of the program's own code, then what is awaited.
impl fmt::Display for AwaitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stack(self, true).fmt(f)
    }
}

/// One stack. The flag says whether to print which task or close is awaited, instead of the type of the awaited future.
struct Stack<'a>(&'a AwaitStack, bool);

impl fmt::Display for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stack, names_awaited) = *self;
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
            stack.awaited.as_ref().filter(|_| names_awaited),
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
            (None, None, None) => f.write_str("at an unknown place")?,
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
            write!(f, "{}", Whole(task))?;
        }
        for hook in &self.0.hooks {
            write!(f, "{}", Whole(hook))?;
        }
        Ok(())
    }
}

/// Every frame of a task or a hook.
struct Whole<'a, S>(&'a S);

impl<S: DumpEntry> fmt::Display for Whole<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n\n{}", self.0.head())?;
        for (n, stack) in self.0.whereabouts().stacks.iter().enumerate() {
            write!(f, "\n    stack {}", n + 1)?;
            for frame in &stack.frames {
                write!(f, "\n      {frame}")?;
            }
        }
        Ok(())
    }
}

/// Prints the entry as a dump does.
impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stacks = Stacks(&self.found, AwaitStack::to_string);
        write!(f, "{}{stacks}", Head(self))
    }
}

/// Prints the entry as a dump does.
impl fmt::Display for HookDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stacks = Stacks(&self.found, AwaitStack::to_string);
        write!(f, "{}{stacks}", hook::Head(self))
    }
}
