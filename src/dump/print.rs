//! How a dump is printed for a person: equal stacks once, with the number of tasks that wait there.

use crate::{
    clock,
    dump::{
        branches::{Joint, StackKey, distinct},
        dump::Dump,
        view::{Activity, AwaitStack, HookDump, StackFrame, TaskDump, Whereabouts, named},
    },
    name::{Printed, Quoted},
    plural::{are, plural},
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
pub(crate) trait DumpEntry {
    /// The plural.
    const MANY: &'static str;

    /// The line that names it and says what it does.
    fn head(&self) -> String;
    fn whereabouts(&self) -> &Whereabouts;
    /// What is to be said after its stacks.
    fn remark(&self) -> Option<String> {
        None
    }
    /// The line that spawned or registered it.
    fn site(&self) -> &'static Location<'static>;
}

impl DumpEntry for TaskDump {
    const MANY: &'static str = "tasks";

    /// `server/conn-7/reader: parked for 3.2s, 12 polls, spawned at src/main.rs:40`
    fn head(&self) -> String {
        let path = short_path(self.resource.record());
        let polls = match self.polls {
            0 => String::new(),
            1 => ", 1 poll".to_owned(),
            polls => format!(", {polls} polls"),
        };
        let work = self.work.as_ref();
        let work = work.map_or(String::new(), |work| format!(", {work}"));
        let (activity, at) = (self.found.activity, self.site());
        format!(
            "{}: {activity}{polls}{work}, spawned at {}:{}",
            Quoted(&path),
            at.file(),
            at.line()
        )
    }

    fn whereabouts(&self) -> &Whereabouts {
        &self.found
    }

    fn remark(&self) -> Option<String> {
        let polls = match self.polled_in_vain? {
            1 => "once".to_owned(),
            polls => format!("{polls} times"),
        };
        Some(format!(
            "polled {polls} since a dump first found it waiting there: if it has not moved on meanwhile, its turn may have \
             gone to another future of this task, which it does not poll"
        ))
    }

    fn site(&self) -> &'static Location<'static> {
        self.resource.location()
    }
}

impl DumpEntry for HookDump {
    const MANY: &'static str = "hooks";

    /// `the on_close hook of server/conn-7: running for 3.2s, registered at src/main.rs:40`
    fn head(&self) -> String {
        let named = named(self.kind(), &short_path(&*self.hook.context));
        let activity = match self.found.activity {
            Activity::Parked(_) => String::new(),
            activity => format!(", {activity}"),
        };
        let (age, at) = (clock::human(self.age), self.site());
        format!(
            "{named}: running for {age}{activity}, registered at {}:{}",
            at.file(),
            at.line()
        )
    }

    fn whereabouts(&self) -> &Whereabouts {
        &self.found
    }

    fn site(&self) -> &'static Location<'static> {
        self.location()
    }
}

/// What the entries of one group have in common. They may wait for different tasks.
#[derive(PartialEq, Eq, Hash)]
struct GroupKey<'a> {
    stacks: Vec<(StackKey<'a>, usize)>,
    activity: &'static str,
    /// The line that spawned or registered it, if a stack has no line of the program's own code.
    site: Option<&'static Location<'static>>,
}

impl<'a> GroupKey<'a> {
    fn of(entry: &'a impl DumpEntry) -> Self {
        let found = entry.whereabouts();
        let has_own = |stack: &AwaitStack| stack.own_frames().next().is_some();
        let is_vague = !found.stacks.iter().all(has_own);
        let distinct = distinct(&found.stacks).into_iter();
        let keys = distinct.map(|(stack, count)| (StackKey::of(stack), count));
        Self {
            stacks: keys.collect(),
            activity: found.activity.word(),
            site: is_vague.then(|| entry.site()),
        }
    }
}

/// Tasks or hooks that wait at the same line, or do the same: the largest group first.
pub(crate) fn group<S: DumpEntry>(all: &[S]) -> Vec<Vec<&S>> {
    let mut groups: Vec<Vec<&S>> = Vec::new();
    let mut known: HashMap<GroupKey<'_>, usize> = HashMap::new();
    for entry in all {
        let at = *known.entry(GroupKey::of(entry)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(entry);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_top(f, self)?;
        write_groups(f, &self.tasks)?;
        write_groups(f, &self.hooks)
    }
}

/// The head of a dump: how many tasks and hooks there are, what is unknown, and the deadlocks.
fn write_top(f: &mut fmt::Formatter<'_>, dump: &Dump) -> fmt::Result {
    write!(f, "{}", plural(dump.tasks.len(), "task"))?;
    if !dump.hooks.is_empty() {
        write!(f, ", {}", plural(dump.hooks.len(), "hook"))?;
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
        more => write!(
            f,
            "\n\n… {} {} not printed",
            plural(more, "more deadlock"),
            are(more)
        ),
    }
}

/// All tasks, or all hooks, in groups.
fn write_groups<S: DumpEntry>(f: &mut fmt::Formatter<'_>, all: &[S]) -> fmt::Result {
    let groups = group(all);
    for group in groups.iter().take(GROUPS) {
        f.write_str("\n\n")?;
        write_group(f, group)?;
    }
    match groups.len().saturating_sub(GROUPS) {
        0 => Ok(()),
        more => write!(
            f,
            "\n\n… {} {} not printed",
            plural(more, "more group"),
            are(more)
        ),
    }
}

/// The texts of the largest groups, one for those that wait at the same line.
pub(crate) fn group_texts<S: DumpEntry>(all: &[S], most: usize) -> Vec<String> {
    struct Group<'a, S>(&'a [&'a S]);
    impl<S: DumpEntry> fmt::Display for Group<'_, S> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_group(f, self.0)
        }
    }
    let groups = group(all);
    let texts = groups.iter().take(most);
    texts.map(|group| Group(group).to_string()).collect()
}

fn write_group<S: DumpEntry>(f: &mut fmt::Formatter<'_>, group: &[&S]) -> fmt::Result {
    let (first, count) = (group[0], group.len());
    if count == 1 {
        f.write_str(&first.head())?;
    } else {
        write!(f, "{count} {}:", S::MANY)?;
        for entry in group.iter().take(NAMED) {
            write!(f, "\n  {}", entry.head())?;
        }
        if count > NAMED {
            write!(f, "\n  … {} more", count - NAMED)?;
        }
    }
    let first = first.whereabouts();
    let is_like_first = |other: &&S| other.whereabouts().stacks == first.stacks;
    write_stacks(f, first, group.iter().all(is_like_first))?;
    let mut remarks = group.iter().filter_map(|entry| entry.remark());
    remarks
        .next()
        .map_or(Ok(()), |remark| write!(f, "\n    {remark}"))
}

/// An entry by itself: its head and its stacks.
fn write_entry(f: &mut fmt::Formatter<'_>, entry: &impl DumpEntry) -> fmt::Result {
    f.write_str(&entry.head())?;
    write_stacks(f, entry.whereabouts(), true)?;
    entry
        .remark()
        .map_or(Ok(()), |remark| write!(f, "\n    {remark}"))
}

/// Every frame of a task or a hook.
fn write_in_full(f: &mut fmt::Formatter<'_>, entry: &impl DumpEntry) -> fmt::Result {
    write!(f, "\n\n{}", entry.head())?;
    for (n, stack) in entry.whereabouts().stacks.iter().enumerate() {
        write!(f, "\n    stack {}", n + 1)?;
        for frame in &stack.frames {
            write!(f, "\n      {frame}")?;
        }
    }
    Ok(())
}

/// The stacks of one task or hook, one after the other; equal ones once.
fn write_stacks(
    f: &mut fmt::Formatter<'_>,
    found: &Whereabouts,
    names_awaited: bool,
) -> fmt::Result {
    let groups = distinct(&found.stacks);
    let joints: Vec<_> = groups
        .windows(2)
        .map(|pair| Joint::between(pair[0].0, pair[1].0))
        .collect();
    let is_choice = !joints.is_empty() && joints.iter().all(|joint| *joint == Joint::Or);
    for (n, (stack, count)) in groups.iter().enumerate() {
        f.write_str("\n    ")?;
        match n.checked_sub(1).map(|before| joints[before]) {
            None if is_choice => f.write_str("either ")?,
            None => {}
            Some(joint) => write!(f, "{} ", joint.word())?,
        }
        if *count > 1 {
            write!(f, "{count} × ")?;
        }
        write_stack(f, stack, names_awaited && *count == 1)?;
    }
    if found.cut > 0 {
        write!(f, "\n    … {}", plural(found.cut, "more stack"))?;
    }
    if found.stacks.is_empty() && matches!(found.activity, Activity::Parked(_)) {
        // It shows only the wakers that were taken in the poll that answered.
        f.write_str("\n    waits for nothing that could wake it, unless it keeps the waker of an earlier poll")?;
    }
    Ok(())
}

/// One stack: the lines of the program's own code, then what is awaited. `names_awaited` says whether to print which task
/// or close that is, instead of the type of the awaited future.
fn write_stack(f: &mut fmt::Formatter<'_>, stack: &AwaitStack, names_awaited: bool) -> fmt::Result {
    let own = stack.own_lines();
    for (n, frame) in own.iter().enumerate() {
        let separator = if n > 0 { "\n      " } else { "" };
        write!(f, "{separator}{frame}")?;
    }
    let awaited = stack.awaited.as_ref().filter(|_| names_awaited);
    let leaf = stack.leaf.as_deref().filter(|leaf| !leaf.is_empty());
    let separator = if own.is_empty() { "" } else { "\n      → " };
    match (awaited, leaf, stack.frames.last()) {
        (Some(awaited), ..) if own.is_empty() => write!(f, "waits for {awaited}")?,
        (Some(awaited), ..) => write!(f, "{separator}{awaited}")?,
        (None, Some(leaf), _) => {
            write!(f, "{separator}{}", Printed(leaf))?;
            for inner in stack.beneath() {
                write!(f, " → {}", Printed(inner))?;
            }
        }
        (None, None, Some(last)) if own.is_empty() || !last.is_own() => {
            write!(f, "{separator}{last}")?;
        }
        (None, None, None) => f.write_str("at an unknown place")?,
        _ => {}
    }
    if stack.yields {
        f.write_str(" (only yields to other tasks)")?;
    }
    Ok(())
}

/// Prints the lines of the program's own code, then what is awaited.
impl fmt::Display for AwaitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_stack(f, self, true)
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
        write_top(f, self.0)?;
        for task in &self.0.tasks {
            write_in_full(f, task)?;
        }
        for hook in &self.0.hooks {
            write_in_full(f, hook)?;
        }
        Ok(())
    }
}

/// Prints the entry as a dump does.
impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_entry(f, self)
    }
}

/// Prints the entry as a dump does.
impl fmt::Display for HookDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_entry(f, self)
    }
}
