//! What to do about a leak, in one sentence.

use crate::{
    codebase::Codebase,
    holders::{Holder, Holders},
    leaks::{finding::Finding, judge::LeakKind, snapshot::Subject},
    table::{
        record::{Class, State},
        resource::Resource,
    },
};

pub(crate) fn of(finding: &Finding) -> String {
    let subject = &finding.subject;
    match finding.kind {
        LeakKind::PinsItself => pinned(finding),
        _ if is_kept_by_its_own_task(finding) => pinned(finding),
        LeakKind::StillRunning => running(subject),
        LeakKind::ClosedButHeld => release(finding),
        LeakKind::TooOld if class(subject) == Some(Class::Task) => {
            format!(
                "find out what the task spawned at {} waits for",
                subject.site()
            )
        }
        _ => still_there(finding),
    }
}

/// Whether an open context is in a cycle with a task that runs in it.
fn is_kept_by_its_own_task(finding: &Finding) -> bool {
    let last = finding.chain.last().and_then(|link| link.thing.as_deref());
    class(&finding.subject) == Some(Class::Context)
        && !finding.cycle.is_empty()
        && last.is_some_and(Subject::is_task)
}

fn class(subject: &Subject) -> Option<Class> {
    subject.resource.as_ref().map(Resource::class)
}

fn still_there(finding: &Finding) -> String {
    let subject = &finding.subject;
    let state = subject.resource.as_ref().map(Resource::state);
    match (class(subject), state) {
        (Some(Class::Task), _) => format!(
            "await or abort the task spawned at {}, or spawn it on a context that you close",
            subject.site()
        ),
        (Some(Class::Context), Some(State::Open)) => match held_at(finding) {
            Some(line) => {
                let says = format!(
                    "close the context with `close().await` when it is no longer used, and drop the handle taken at {line}"
                );
                says + &in_a_hook(finding).unwrap_or_default()
            }
            None => format!("close the context opened at {}", subject.site()),
        },
        (Some(Class::Context), _) => match running_hook(finding) {
            Some(hook) => format!(
                "find out what the {hook} waits for: it holds up the close of the context opened at {}",
                subject.site()
            ),
            None => format!(
                "find out what the close of the context opened at {} waits for (`close_within` names it)",
                subject.site()
            ),
        },
        _ => release(finding),
    }
}

/// A hook that has a handle to its own context keeps it open for ever. Which hook has what is not known.
fn in_a_hook(finding: &Finding) -> Option<String> {
    let hooks = fact(finding, "hooks")?;
    Some(format!(
        "; if a hook captured the handle, capture a `WeakContext` instead (hooks were registered at {hooks})"
    ))
}

fn fact<'a>(finding: &'a Finding, wanted: &str) -> Option<&'a str> {
    let mut facts = finding.facts.iter();
    facts.find_map(|(label, fact)| (*label == wanted).then_some(&**fact))
}

fn running_hook(finding: &Finding) -> Option<&str> {
    fact(finding, "running")
}

fn pinned(finding: &Finding) -> String {
    let task = finding.chain.nearest_task().map(Subject::site);
    let task = task.unwrap_or_default();
    let line = held_at(finding).unwrap_or_default();
    format!(
        "in the task spawned at {task}, keep a `WeakContext` (`downgrade()`) instead of the handle taken at {line}"
    )
}

fn running(subject: &Subject) -> String {
    let kind = &*subject.kind;
    let site = subject.site();
    match kind {
        "blocking" => format!(
            "make the blocking closure spawned at {site} check `is_cancelled()`: nothing can end it from outside"
        ),
        "wrapped" => format!(
            "poll or drop the future wrapped at {site}: its context waits for it and cannot drop it"
        ),
        _ => format!(
            "make the task spawned at {site} watch `cancelled()`, or spawn it with `cancellable()`"
        ),
    }
}

/// Of a task that has been in one poll all the time: it does not come to look at anything.
#[cfg(feature = "dump")]
pub(crate) fn never_waits(subject: &Subject) -> String {
    format!(
        "add an `.await` that yields, such as `yield_now().await`, to the task spawned at {}, or move its work to `spawn_blocking` \
         and check `is_cancelled()` there: the task never yields, so neither a cancellation nor an abort reaches it",
        subject.site()
    )
}

/// Handles are dropped; a registration goes with what it was put into.
fn release(finding: &Finding) -> String {
    let subject = &finding.subject;
    let Some(holders) = &finding.holders else {
        return format!(
            "drop the registration made at {}, or the value that holds it",
            subject.site()
        );
    };
    match held_at(finding) {
        Some(line) if is_library(&line) => behind(&line, holders),
        Some(line) => {
            format!("drop the handle taken at {line}, or keep a weak handle there instead")
        }
        None => unknown(subject, holders),
    }
}

/// Whether a file and a line are those of a library.
fn is_library(line: &str) -> bool {
    let (file, _) = line.rsplit_once(':').unwrap_or((line, ""));
    Codebase::is_library(file)
}

/// The line is a library's, and none of the program's own is known behind it.
fn behind(line: &str, holders: &Holders) -> String {
    let holder = holders
        .iter()
        .find(|holder| holder.site().to_string() == line);
    match holder.and_then(Holder::dependency) {
        Some(what) => format!(
            "give the library a weak handle (`downgrade()`), or end what keeps the handle that {what} took: no line of yours is on its stack"
        ),
        None => format!(
            "build with `debug = \"limited\"` and set HEADCOUNT_LEVEL=holders: the report then names the line that called the library at {line}"
        ),
    }
}

fn unknown(subject: &Subject, holders: &Holders) -> String {
    let untracked = holders.untracked();
    match subject.resource.as_ref() {
        Some(resource) if resource.record().ledger().is_none() => format!(
            "find the holders of the `Arc` tracked at {} ({untracked} strong); with `registry.own` instead of `track` the report would name them",
            subject.site()
        ),
        _ => format!(
            "set HEADCOUNT_LEVEL=holders and run again: nothing was recorded when these handles were taken ({untracked})"
        ),
    }
}

/// Where the handle was taken that keeps it: the last step of the chain, else the oldest.
fn held_at(finding: &Finding) -> Option<String> {
    let holders = finding.holders.as_ref()?;
    let last = finding
        .chain
        .last()
        .and_then(|link| link.reference.taken.as_ref())
        .map(ToString::to_string);
    let oldest = || {
        holders
            .iter()
            .next()
            .map(|holder| holder.site().to_string())
    };
    last.or_else(oldest)
}
