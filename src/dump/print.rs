//! A dump as a person reads it.

use crate::{
    clock,
    dump::{
        hook::{self, HookDump},
        view::{Activity, AwaitStack, Dump, StackFrame, TaskDump, Whereabouts},
    },
    name::{Printed, Quoted},
    poll::awaited::Awaited,
    table::resource::short_path,
};
use std::{collections::HashMap, fmt, panic::Location};

/// Tasks or hooks of a group that are named.
const NAMED: usize = 3;
/// Groups that are printed.
const GROUPS: usize = 50;

impl Dump {
    /// Prints every frame of every task and every hook.
    pub fn in_full(&self) -> impl fmt::Display + '_ {
        InFull(self)
    }
}

/// A task, or a hook.
trait Subject {
    /// Several of them.
    const MANY: &'static str;
    /// Who it is, in a line, and what it does.
    type Head<'a>: fmt::Display
    where
        Self: 'a;

    fn head(&self) -> Self::Head<'_>;
    fn found(&self) -> &Whereabouts;
    /// The line that it comes from.
    fn site(&self) -> &'static Location<'static>;
}

impl Subject for TaskDump {
    const MANY: &'static str = "tasks";
    type Head<'a> = Head<'a>;

    fn head(&self) -> Head<'_> {
        Head(self)
    }

    fn found(&self) -> &Whereabouts {
        &self.found
    }

    fn site(&self) -> &'static Location<'static> {
        self.resource.location()
    }
}

impl Subject for HookDump {
    const MANY: &'static str = "hooks";
    type Head<'a> = hook::Head<'a>;

    fn head(&self) -> hook::Head<'_> {
        hook::Head(self)
    }

    fn found(&self) -> &Whereabouts {
        &self.found
    }

    fn site(&self) -> &'static Location<'static> {
        self.location()
    }
}

/// Tasks or hooks that wait at the same place, or do the same.
struct Group<'a, S> {
    members: Vec<&'a S>,
}

/// What those of a group have in common: not which task each waits for.
#[derive(PartialEq, Eq, Hash)]
struct Likeness<'a> {
    stacks: Vec<Place<'a>>,
    activity: &'static str,
    /// Where it was spawned or registered, if none of one's own lines is known in it.
    site: Option<&'static Location<'static>>,
}

/// Frames, leaf, whether it only lets others run, and what it waits for unless that is a task.
type Place<'a> = (&'a [StackFrame], Option<&'a str>, bool, Option<&'a Awaited>);

impl<'a> Likeness<'a> {
    fn of(subject: &'a impl Subject) -> Self {
        let found = subject.found();
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
            site: is_vague.then(|| subject.site()),
        }
    }
}

fn group<S: Subject>(all: &[S]) -> Vec<Group<'_, S>> {
    let mut groups: Vec<Group<'_, S>> = Vec::new();
    let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
    for subject in all {
        let at = *known.entry(Likeness::of(subject)).or_insert_with(|| {
            groups.push(Group {
                members: Vec::new(),
            });
            groups.len() - 1
        });
        groups[at].members.push(subject);
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

/// All of one sort, those that are alike together.
struct Groups<'a, S>(&'a [S]);

impl<S: Subject> fmt::Display for Groups<'_, S> {
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

/// How many tasks and hooks there are, what is missing, and the deadlocks.
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
    /// What is not known, and what to do about it.
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
                "since when they are parked is not known: `headcount::dump::set_long_poll_threshold` looks at the clock",
            ),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
    }
}

impl<S: Subject> fmt::Display for Group<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, count) = (self.members[0], self.members.len());
        if count == 1 {
            write!(f, "{}", first.head())?;
        } else {
            write!(f, "{count} {}:", S::MANY)?;
            for subject in self.members.iter().take(NAMED) {
                write!(f, "\n  {}", subject.head())?;
            }
            if count > NAMED {
                write!(f, "\n  … {} more", count - NAMED)?;
            }
        }
        let first = first.found();
        let is_like_first = |other: &&S| other.found().stacks == first.stacks;
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

/// Its stacks, one after the other.
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

impl<S: Subject> fmt::Display for Whole<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n\n{}", self.0.head())?;
        for (n, stack) in self.0.found().stacks.iter().enumerate() {
            write!(f, "\n    stack {}", n + 1)?;
            for frame in &stack.frames {
                write!(f, "\n      {frame}")?;
            }
        }
        Ok(())
    }
}

/// As in a dump.
impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stacks = Stacks(&self.found, AwaitStack::to_string);
        write!(f, "{}{stacks}", Head(self))
    }
}

/// As in a dump.
impl fmt::Display for HookDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stacks = Stacks(&self.found, AwaitStack::to_string);
        write!(f, "{}{stacks}", hook::Head(self))
    }
}
