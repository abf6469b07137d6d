//! [`LeakWatch`]: looking for leaks in a program that runs.

use crate::{
    clock,
    context::state::Core,
    event,
    events::What,
    leaks::{
        find,
        finding::{self, Finding},
        policy::LeakPolicy,
        report::Alike,
    },
    offload::beside_the_runtime,
};
use std::{collections::HashMap, fmt, sync::Weak, time::Duration};
use tokio::{task::AbortHandle, time::Instant};

/// Stops the looking when it is dropped. Made by [`Registry::watch_leaks`](crate::Registry::watch_leaks).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::LeakPolicy};
/// use std::time::Duration;
/// let registry = Registry::new();
/// let watch = registry.watch_leaks(LeakPolicy::new(), Duration::from_secs(30));
/// let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
/// assert_eq!(tasks(), 1);
///
/// drop(watch); // the looking is over
/// tokio::task::yield_now().await;
/// assert_eq!(tasks(), 0);
/// # }
/// ```
#[must_use = "it stops when the guard is dropped"]
pub struct LeakWatch(AbortHandle);

impl LeakWatch {
    pub(crate) fn new(root: Weak<Core>, policy: LeakPolicy, after: Duration) -> Self {
        let watching = tokio::spawn(watch(root, policy, after));
        Self(watching.abort_handle())
    }

    /// Goes on looking for as long as the registry and the runtime live.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for LeakWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for LeakWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ended = self.0.is_finished();
        f.debug_struct("LeakWatch")
            .field("has_ended", &has_ended)
            .finish()
    }
}

/// Between two looks; without any time between them a paused clock would stand still.
const SHORTEST: Duration = Duration::from_millis(1);
/// Where nothing closes, a look for each so many that are left out: no close leaves a context behind that only its own
/// tasks hold.
const QUIET: u32 = 10;

async fn watch(root: Weak<Core>, policy: LeakPolicy, after: Duration) {
    let mut told = Told::default();
    let mut quiet = 0;
    let after = after.max(SHORTEST);
    loop {
        clock::sleep(after).await;
        let Some(has_closed) = has_closed(&root) else {
            return;
        };
        // Limits are exceeded while nothing closes, and just because of that.
        if has_closed || policy.has_limits() {
            quiet = 0;
        } else {
            quiet += 1;
        }
        if quiet % QUIET > 0 {
            continue;
        }
        let Some((found, _)) = find::settle(&root, &policy, || false).await else {
            return;
        };
        #[cfg(feature = "metrics")]
        if let Some(root) = root.upgrade() {
            root.registry.figures.note_leaks(found.findings.len());
        }
        let (things, is_closing, now) = (found.things, found.is_closing, clock::now());
        let tell = move || {
            let news = told.news(&found.findings, now);
            (told, news)
        };
        let news;
        (told, news) = beside_the_runtime(things, tell).await;
        if is_closing || news.len() == NEWS {
            // A close that does not come to an end is scanned again, and there may be more to tell.
            let Some(root) = root.upgrade() else { return };
            root.node.table.tracking.closing();
        }
        for news in &news {
            let Some(root) = root.upgrade() else { return };
            drop(root.node.tell(|| news.what()));
            drop(root);
            news.emit();
        }
    }
}

/// Whether a context has closed since the last look; `None` if the registry is gone.
fn has_closed(root: &Weak<Core>) -> Option<bool> {
    let root = root.upgrade()?;
    Some(root.node.table.tracking.take_closes())
}

/// How many makes of leaks one look tells of. The others are told at the next.
const NEWS: usize = 20;
/// So long nothing is said again of leaks that are alike, unless there are ten times as many.
const HOUR: Duration = Duration::from_secs(3_600);
/// How many makes are remembered of which nothing is left.
const REMEMBERED: usize = 64;

/// What was told, by [`Finding::likeness`]: as much as is found, and a little of what was found before.
#[derive(Default)]
struct Told {
    makes: HashMap<u64, Make>,
    looks: u64,
}

/// What was told of leaks that are alike.
struct Make {
    at: Instant,
    /// The most that were told of.
    most: usize,
    /// The fewest that there were since.
    fewest: usize,
    /// The number of the look that found one last.
    found: u64,
}

/// What is to be told.
struct News {
    fingerprint: String,
    alike: usize,
    /// How many there were when they were told of last.
    before: Option<usize>,
    block: String,
}

impl Told {
    /// What is new, or ten times as much, or more after an hour.
    fn news(&mut self, findings: &[Finding], now: Instant) -> Vec<News> {
        self.looks += 1;
        let mut news = Vec::new();
        for group in &finding::group(findings) {
            let (likeness, alike) = (group[0].likeness(), group.len());
            let known = self.makes.get_mut(&likeness);
            let before = known.as_ref().map(|make| make.most);
            let is_new = known.as_ref().is_none_or(|make| make.is_news(alike, now));
            if let Some(make) = known {
                make.fewest = make.fewest.min(alike);
                make.found = self.looks;
            }
            if !is_new || news.len() == NEWS {
                continue;
            }
            let make = Make {
                at: now,
                most: alike.max(before.unwrap_or(0)),
                fewest: alike,
                found: self.looks,
            };
            self.makes.insert(likeness, make);
            news.push(News {
                fingerprint: group[0].fingerprint().to_owned(),
                alike,
                before,
                block: Alike(group).to_string(),
            });
        }
        self.forget();
        news
    }

    /// Forgets what was found longest ago, where there are too many of which nothing is left.
    fn forget(&mut self) {
        let gone = self.makes.values().map(|make| make.found);
        let mut gone: Vec<_> = gone.filter(|found| *found < self.looks).collect();
        if gone.len() <= REMEMBERED {
            return;
        }
        gone.sort_unstable();
        let oldest = gone[gone.len() - REMEMBERED];
        self.makes.retain(|_, make| make.found >= oldest);
    }
}

impl Make {
    fn is_news(&self, alike: usize, now: Instant) -> bool {
        let is_long_ago = now.saturating_duration_since(self.at) >= HOUR;
        alike >= 10 * self.most || is_long_ago && alike > self.fewest
    }
}

impl News {
    /// As subscribers of the registry are told.
    fn what(&self) -> What {
        What::Leak {
            fingerprint: self.fingerprint.as_str().into(),
            count: self.alike,
            text: self.block.as_str().into(),
        }
    }

    fn emit(&self) {
        let Self {
            fingerprint,
            alike,
            before,
            block,
        } = self;
        match before {
            None => {
                event::emit!(target: "headcount::leak", WARN, fingerprint, alike, "leak: {block}");
            }
            Some(before) => event::emit!(target: "headcount::leak", WARN,
                fingerprint,
                alike,
                "leak: now {alike} of the same kind, at most {before} were reported before: {block}"
            ),
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::leaks::{judge::LeakKind, snapshot::Subject};

    fn findings(kinds: impl Iterator<Item = usize>) -> Vec<Finding> {
        let subject = |kind| Subject::unlisted(&format!("kind {kind}"), String::new());
        kinds
            .map(|kind| {
                Finding::of_fact(LeakKind::TooMany, subject(kind), Vec::new(), String::new())
            })
            .collect()
    }

    #[test]
    fn what_is_told_is_remembered_for_as_long_as_it_is_found() {
        let (mut told, now) = (Told::default(), clock::now());
        let mut all = 0;
        for round in 0..1_000 {
            all += told
                .news(
                    &findings([0].into_iter().chain(10 * round + 1..10 * round + 10)),
                    now,
                )
                .len();
            assert!(
                told.makes.len() <= 10 + 2 * REMEMBERED,
                "{}",
                told.makes.len()
            );
        }
        assert_eq!(all, 1 + 9_000);
    }

    #[test]
    fn many_makes_are_told_at_several_looks() {
        let (mut told, now) = (Told::default(), clock::now());
        let found = findings(0..=2 * NEWS);
        let news = [0; 4].map(|_| told.news(&found, now).len());
        assert_eq!(news, [NEWS, NEWS, 1, 0]);
    }

    #[test]
    fn more_of_a_make_are_told_at_ten_times_and_after_an_hour() {
        let (mut told, now) = (Told::default(), clock::now());
        let mut count = |alike: usize, minutes: u64| {
            let found = findings((0..alike).map(|_| 0));
            told.news(&found, now + Duration::from_secs(60 * minutes))
                .first()
                .map(|news| news.alike)
        };
        assert_eq!(count(2, 0), Some(2));
        assert_eq!(
            [count(2, 1), count(19, 2), count(20, 3), count(20, 4)],
            [None, None, Some(20), None]
        );
        assert_eq!(
            [count(21, 62), count(21, 63), count(21, 900)],
            [None, Some(21), None]
        );
        assert_eq!(
            [count(5, 901), count(6, 902), count(6, 903)],
            [None, Some(6), None]
        );
    }
}
