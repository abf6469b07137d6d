//! `/dump`: where every task and every running hook waits, equal stacks once, deadlocks first.

use crate::{
    context::{blocked::watch_dump, current::node_of, dumps::DUMP_LIMIT},
    dump::{
        deadlock::{Deadlock, Waiter},
        dump::Dump,
        print::{DumpEntry, group},
        view::{AwaitStack, HookDump, StackFrame, TaskDump},
    },
    id::ResourceId,
    labels::Wording,
    offload::offload,
    poll::awaited::Awaited,
    table::record::Record,
    window::{
        answer::answer,
        entry::site,
        params::Params,
        problem::Problem,
        shared::{Shared, turn},
    },
};
use serde::Serialize;
use std::{collections::HashMap, sync::Arc};

/// How many groups, deadlocks, and members of each are listed.
const GROUPS: usize = 100;
const NAMED: usize = 20;

#[derive(Serialize)]
struct DumpAnswer {
    tasks: usize,
    hooks: usize,
    /// How many tasks did not answer in time.
    unanswered: usize,
    took_secs: f64,
    notes: Vec<&'static str>,
    deadlocks: Vec<DeadlockView>,
    /// The largest group first.
    groups: Vec<GroupView>,
    /// How many groups are left out.
    more: usize,
}

/// Tasks or hooks that wait at the same line, or do the same.
#[derive(Serialize)]
struct GroupView {
    /// `task` or `hook`.
    what: &'static str,
    count: usize,
    activity: &'static str,
    members: Vec<MemberView>,
    stacks: Vec<StackView>,
    /// How many stacks are left out.
    cut: usize,
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    path: String,
    /// What it does, in words.
    activity: String,
    age_secs: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    polls: Option<u32>,
    location: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

/// One chain of `.await`s: the lines of the program's own code, outermost first, then what is awaited.
#[derive(Serialize)]
struct StackView {
    frames: Vec<FrameView>,
    leaf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    awaited: Option<AwaitedView>,
    /// It does not wait: it wakes itself.
    yields: bool,
}

#[derive(Serialize)]
struct FrameView {
    function: String,
    file: String,
    line: u32,
}

/// Something of the registry that is waited for.
#[derive(Serialize)]
struct AwaitedView {
    what: &'static str,
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize)]
struct DeadlockView {
    /// Each waits for the next one, and the last one for the first.
    waiters: Vec<WaiterView>,
    /// How many others wait for them.
    others: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize)]
struct WaiterView {
    id: String,
    what: &'static str,
    path: String,
    awaited: AwaitedView,
    at: Option<FrameView>,
}

pub(crate) async fn dump(shared: &Arc<Shared>, uri: &axum::http::Uri) -> Result<String, Problem> {
    let params = Params::of(uri, &["under"])?;
    let under = params
        .get("under")
        .map(|text| shared.find(text))
        .transpose()?;
    let _turn = turn(&shared.dumps)?;
    let core = shared.root.upgrade();
    let _watched = core.as_ref().and_then(watch_dump);
    drop(core);
    let dump = match &under {
        None => shared.node.dump(DUMP_LIMIT, |live| live).await,
        Some(context) => {
            let node = node_of(context.record()).ok_or_else(Problem::not_a_context)?;
            let id = context.id();
            node.dump(DUMP_LIMIT, move |live| live.under(id)).await
        }
    };
    let shared = Arc::clone(shared);
    let work = move || {
        let view = shared.wording(|wording| view(&dump, wording));
        answer(&shared, view)
    };
    Ok(offload(work).await)
}

fn view(dump: &Dump, wording: Wording<'_>) -> DumpAnswer {
    let tasks = group(dump.tasks());
    let hooks = group(dump.hooks());
    let more = (tasks.len() + hooks.len()).saturating_sub(GROUPS);
    let tasks = tasks.iter().map(|group| view_of_group(group, wording));
    let hooks = hooks.iter().map(|group| view_of_group(group, wording));
    let paths = Paths::of(dump);
    let deadlocks = dump.deadlocks().iter().take(GROUPS);
    DumpAnswer {
        tasks: dump.tasks().len(),
        hooks: dump.hooks().len(),
        unanswered: dump.unanswered().count(),
        took_secs: dump.took().as_secs_f64(),
        notes: dump.notes().collect(),
        deadlocks: deadlocks
            .map(|deadlock| view_of_deadlock(deadlock, &paths, wording))
            .collect(),
        groups: hooks.chain(tasks).take(GROUPS).collect(),
        more,
    }
}

/// The record of each entry of a dump.
struct Paths<'a>(HashMap<ResourceId, &'a dyn Record>);

impl<'a> Paths<'a> {
    fn of(dump: &'a Dump) -> Self {
        let tasks = dump.tasks().iter();
        let tasks = tasks.map(|task| (task.id(), task.record()));
        let hooks = dump.hooks().iter().map(|hook| (hook.id(), hook.record()));
        Self(tasks.chain(hooks).collect())
    }
}

/// What this file shows of an entry.
trait Member: DumpEntry {
    const WHAT: &'static str;
    fn id(&self) -> ResourceId;
    /// The task itself, or the context of the hook.
    fn record(&self) -> &dyn Record;
    fn age_secs(&self) -> f64;
    fn polls(&self) -> Option<u32> {
        None
    }
}

impl Member for TaskDump {
    const WHAT: &'static str = "task";

    fn id(&self) -> ResourceId {
        self.id()
    }

    fn record(&self) -> &dyn Record {
        self.resource.record()
    }

    fn age_secs(&self) -> f64 {
        self.resource.age().as_secs_f64()
    }

    fn polls(&self) -> Option<u32> {
        Some(self.polls)
    }
}

impl Member for HookDump {
    const WHAT: &'static str = "hook";

    fn id(&self) -> ResourceId {
        self.id()
    }

    fn record(&self) -> &dyn Record {
        &*self.hook.context
    }

    fn age_secs(&self) -> f64 {
        self.age.as_secs_f64()
    }
}

fn view_of_group<M: Member>(group: &[&M], wording: Wording<'_>) -> GroupView {
    let first = group[0].whereabouts();
    let members = group.iter().take(NAMED);
    GroupView {
        what: M::WHAT,
        count: group.len(),
        activity: first.activity.word(),
        members: members
            .map(|member| MemberView {
                id: (wording.id)(member.id()),
                path: wording.labels.path(member.record()),
                activity: member.whereabouts().activity.to_string(),
                age_secs: member.age_secs(),
                polls: member.polls(),
                location: site(member.site()),
                remark: member.remark(),
            })
            .collect(),
        stacks: first
            .stacks
            .iter()
            .map(|stack| view_of_stack(stack, wording))
            .collect(),
        cut: first.cut,
    }
}

fn view_of_stack(stack: &AwaitStack, wording: Wording<'_>) -> StackView {
    let awaited = stack.awaited.as_ref();
    StackView {
        frames: stack.own_frames().map(frame).collect(),
        leaf: stack.leaf().map(str::to_owned),
        awaited: awaited.map(|awaited| view_of_awaited(awaited, wording)),
        yields: stack.yields,
    }
}

fn frame(frame: &StackFrame) -> FrameView {
    FrameView {
        function: frame.function().to_owned(),
        file: frame.file().to_owned(),
        line: frame.line(),
    }
}

fn view_of_awaited(awaited: &Awaited, wording: Wording<'_>) -> AwaitedView {
    let (what, id) = match awaited {
        Awaited::Task { id, .. } => ("task", Some(*id)),
        Awaited::Close { id, .. } => ("close", Some(*id)),
        Awaited::Lock { id, .. } => ("lock", Some(*id)),
        Awaited::Idle => ("idle registry", None),
        Awaited::Cancellation => ("cancellation", None),
        Awaited::Socket => ("socket", None),
        Awaited::BackOff { .. } => ("restart", None),
    };
    AwaitedView {
        what,
        id: id.map(wording.id),
        text: wording.labels.are_shown().then(|| awaited.to_string()),
    }
}

fn view_of_deadlock(deadlock: &Deadlock, paths: &Paths<'_>, wording: Wording<'_>) -> DeadlockView {
    let labels = wording.labels;
    let path = |waiter: &Waiter| match paths.0.get(&waiter.id()) {
        Some(record) => labels.path(*record),
        None => labels.text(waiter.path()).unwrap_or_default().to_owned(),
    };
    let waiters = deadlock.waiters().iter().take(NAMED);
    DeadlockView {
        waiters: waiters
            .map(|waiter| WaiterView {
                id: (wording.id)(waiter.id()),
                what: waiter.kind(),
                path: path(waiter),
                awaited: view_of_awaited(waiter.awaited(), wording),
                at: waiter.at().map(frame),
            })
            .collect(),
        others: deadlock.others(),
        text: labels.are_shown().then(|| deadlock.to_string()),
    }
}
