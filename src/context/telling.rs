//! [`Telling`]: what the contexts of one close have to tell is told by the outermost of them, in one event (I19).
//!
//! A context whose parent is closing leaves it to that one to tell which tasks did not end in time, and which hooks failed. The
//! outermost one waits for a moment, since those below it come to the same end at the same moment, and tells of what is alike
//! once, with its number.

use crate::{
    clock,
    context::{
        alike::{Alike, NAMED, Paths},
        failure::Failure,
        line_counts::{Event, SoFar, Times, is_told_with, next_told},
        refusal::{Refusals, Repeated},
    },
    event,
    id::ResourceId,
    name::{Printed, Shape},
    panics,
    plural::plural,
    registry::state::RegistryState,
    table::record::{Meta, Record},
};
use std::{
    fmt,
    future::pending,
    mem,
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long it waits for others to come to the same end.
const GATHER: Duration = Duration::from_millis(20);
/// How long it waits for those that are about to.
const GATHER_MOST: Duration = Duration::from_secs(1);
/// How many tasks one event shows the stacks of.
const SHOWN: usize = 256;
/// Of so many lines it is remembered whether they were told.
const LINES: usize = 64;

/// What is said of tasks that have outlived an abort.
pub(crate) const STILL: &str =
    "still closing, because these tasks did not end when they were aborted";

type CallSite = &'static Location<'static>;

/// Where a task was before it was aborted.
#[cfg(feature = "dump")]
pub(crate) use crate::dump::view::TaskDump as Whereabouts;

/// Without the feature `dump` that is not known.
#[cfg(not(feature = "dump"))]
pub(crate) enum Whereabouts {}

#[cfg(not(feature = "dump"))]
impl fmt::Display for Whereabouts {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// What one close has to tell.
pub(crate) struct Telling {
    /// The outermost context of the close, whose driver tells.
    owner: ResourceId,
    news: Mutex<News>,
    /// How many contexts are about to add something.
    coming: AtomicUsize,
    added: Notify,
    /// Whether a line was told.
    told: Mutex<Vec<(Event, CallSite, bool)>>,
}

/// Not one of those that loom knows: nothing is decided by what is told.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct News {
    forced: Vec<Forced>,
    hooks: Vec<Hooks>,
    /// How many hooks are in none of those.
    more_hooks: usize,
}

/// Tasks that did not end in time.
pub(crate) struct Forced {
    pub(crate) said: &'static str,
    /// How long their closes have lasted.
    pub(crate) since: Duration,
    /// How many contexts they are of.
    pub(crate) contexts: usize,
    pub(crate) tasks: Alike,
    /// Where some of them were.
    pub(crate) stacks: Vec<Whereabouts>,
    pub(crate) refusals: Refusals,
}

/// Hooks of one line that failed in the same way.
struct Hooks {
    site: Option<CallSite>,
    /// What is said of the first one.
    sentence: String,
    /// The name of its context.
    context: String,
    stacks: Option<Arc<str>>,
    outside: Option<String>,
    count: u64,
    paths: Paths,
}

/// A context that is about to add something, until this is dropped.
pub(crate) struct Coming(Arc<Telling>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, SeqCst);
    }
}

impl Telling {
    pub(crate) fn of(owner: ResourceId) -> Self {
        Self {
            owner,
            news: Mutex::default(),
            coming: AtomicUsize::new(0),
            added: Notify::new(),
            told: Mutex::default(),
        }
    }

    /// A context is about to add something.
    pub(crate) fn expect(self: &Arc<Self>) -> Coming {
        self.coming.fetch_add(1, SeqCst);
        Coming(Arc::clone(self))
    }

    pub(crate) fn add(&self, forced: Forced) {
        let mut news = lock(&self.news);
        let known = news.forced.iter_mut();
        match known.into_iter().find(|known| known.said == forced.said) {
            Some(known) => known.merge(forced),
            None => news.forced.push(forced),
        }
        drop(news);
        self.notify();
    }

    fn notify(&self) {
        panics::contain(|| self.added.notify_one());
    }

    /// Adds a hook of this context that failed.
    pub(crate) fn add_hook(
        &self,
        context: &dyn Record,
        failure: &Failure,
        stacks: Option<Arc<str>>,
        outside: Option<String>,
    ) {
        let (site, sentence) = (failure.location(), failure.sentence());
        let mut news = lock(&self.news);
        let is_like =
            |known: &&mut Hooks| known.site == site && Shape(&known.sentence) == Shape(&sentence);
        if let Some(known) = news.hooks.iter_mut().find(is_like) {
            known.count += 1;
            known.paths.add(context);
            if known.stacks.is_none() {
                known.stacks = stacks;
            }
        } else if news.hooks.len() < NAMED {
            news.hooks.push(Hooks {
                site,
                sentence,
                context: context.meta().name.to_string(),
                stacks,
                outside,
                count: 1,
                paths: Paths::of(context),
            });
        } else {
            news.more_hooks += 1;
        }
        drop(news);
        self.notify();
    }

    /// Whether there is something to tell: also of a driver that did not come to it.
    fn has_news(&self) -> bool {
        let news = lock(&self.news);
        !news.forced.is_empty() || !news.hooks.is_empty()
    }

    /// Tells what comes, in the driver of the outermost context; never ends.
    pub(crate) async fn keep_telling(&self, context: &Meta, registry: &RegistryState) {
        if self.owner != context.id {
            return pending().await;
        }
        loop {
            while !self.has_news() {
                self.added.notified().await;
            }
            let began = clock::now();
            clock::sleep(GATHER).await;
            while self.coming.load(SeqCst) > 0 && clock::now() - began < GATHER_MOST {
                clock::sleep(GATHER).await;
            }
            self.tell(context, registry);
        }
    }

    /// Tells what has come, if this is the outermost context.
    pub(crate) fn tell(&self, context: &Meta, registry: &RegistryState) {
        if self.owner != context.id {
            return;
        }
        let mut news = mem::take(&mut *lock(&self.news));
        for hooks in &news.hooks {
            hooks.tell(context, registry);
        }
        if news.more_hooks > 0 {
            tell_of_more_hooks(context, news.more_hooks, registry);
        }
        for forced in &mut news.forced {
            if let Some(count) = self.is_due(forced, context.location, registry) {
                forced.tell(context, count);
            }
        }
    }

    /// Whether something of this is told, and how many closes have come to it so far. Of one close a line is told each time, or
    /// not at all.
    fn is_due(&self, forced: &Forced, opened: CallSite, registry: &RegistryState) -> Option<u64> {
        let event = match forced.said {
            STILL => Event::Outlived,
            _ => Event::Forced,
        };
        let mut due = None;
        let mut told = lock(&self.told);
        for site in forced.tasks.sites() {
            let is_it = |known: &&(Event, CallSite, bool)| known.0 == event && known.1 == site;
            let known = told.iter().find(is_it).map(|known| known.2);
            let (is_due, count) = known.map_or_else(
                || {
                    let count = registry.repeats.add((event, site), opened, 1);
                    (is_told_with(1, count), count)
                },
                |is_due| (is_due, 1),
            );
            if known.is_none() && told.len() < LINES {
                told.push((event, site, is_due));
            }
            if is_due {
                due = due.max(Some(count));
            }
        }
        due
    }
}

/// Each of them failed in its own way, and there were too many to tell.
fn tell_of_more_hooks(context: &Meta, more: usize, registry: &RegistryState) {
    let so_far = registry.repeats.tell(Event::HookFailed, context.location);
    if let Some(so_far) = so_far {
        event::emit!(target: "headcount::hook", WARN,
            context = %Printed(&context.name),
            "{} failed, each in its own way{so_far}",
            plural(more, "more hook")
        );
    }
}

impl Forced {
    fn merge(&mut self, other: Self) {
        self.since = self.since.max(other.since);
        self.contexts += other.contexts;
        self.tasks.merge(other.tasks);
        self.refusals.child(&other.refusals);
        let room = SHOWN.saturating_sub(self.stacks.len());
        self.stacks.extend(other.stacks.into_iter().take(room));
    }

    fn tell(&mut self, context: &Meta, count: u64) {
        let contexts = (self.contexts > 1).then_some(self.contexts);
        let (said, since) = (self.said, clock::human(self.since));
        let shown = self.shown();
        event::emit!(target: "headcount::context", WARN,
            context = %Printed(&context.name),
            id = %context.id,
            contexts,
            tasks = self.tasks.count(),
            stacks = shown.as_ref().map(tracing::field::display),
            "{said} ({since} after the close began): {}{}{}",
            self.tasks,
            Repeated(&self.refusals),
            Closes(context.location, count)
        );
    }

    /// Where the tasks were, each stack once.
    #[cfg(feature = "dump")]
    fn shown(&mut self) -> Option<String> {
        if self.stacks.is_empty() {
            return None;
        }
        let order = |task: &Whereabouts| task.resource().record().meta().order();
        self.stacks.sort_by_key(order);
        let mut texts = crate::dump::dump::group_texts(&self.stacks, NAMED);
        match self.tasks.count().saturating_sub(self.stacks.len()) {
            0 => {}
            1 => texts.push("1 more was not asked".to_owned()),
            more => texts.push(format!("{more} more were not asked")),
        }
        Some(texts.join("\n"))
    }

    #[cfg(not(feature = "dump"))]
    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "it is asked with the feature `dump`"
    )]
    fn shown(&mut self) -> Option<String> {
        None
    }
}

impl Hooks {
    fn tell(&self, outermost: &Meta, registry: &RegistryState) {
        let (count, site) = (self.count, self.site.unwrap_or(outermost.location));
        let what = (outermost.location, Shape(&self.sentence));
        let all = registry.repeats.add((Event::HookFailed, site), what, count);
        if !is_told_with(count, all) {
            return;
        }
        let (context, more) = if count == 1 {
            (&*self.context, String::new())
        } else {
            let more = format!("; {} more like it, in {}", count - 1, self.paths);
            (&*outermost.name, more)
        };
        let so_far = if all > count {
            SoFar(all).to_string()
        } else {
            String::new()
        };
        let stacks = self.stacks.as_ref().map(tracing::field::display);
        let outside = self.outside.as_ref().map_or_else(String::new, |tasks| {
            format!(
                "; tasks outside of the context still run, and the hook may wait for one of them: {tasks}"
            )
        });
        let sentence = &self.sentence;
        event::emit!(target: "headcount::hook", WARN, context = %Printed(context), stacks, "{sentence}{more}{so_far}{outside}");
    }
}

/// How many closes have come to the same end, if this is not the first.
struct Closes(CallSite, u64);

impl fmt::Display for Closes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 == 1 {
            return Ok(());
        }
        let (file, line, times) = (self.0.file(), self.0.line(), Times(self.1));
        let next = Times(next_told(self.1));
        write!(
            f,
            "; closes of contexts opened at {file}:{line} have come to this {times} so far; reported again at {next}"
        )
    }
}
