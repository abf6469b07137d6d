//! By when a close is to be over, and what that leaves to each context that it closes.
//!
//! There are no barriers: a context leaves a second to each context that closes after it on the longest way to the last one and
//! has something to do, and has the rest of the time itself. Where that would be less than a second, all get the same. After three
//! quarters of its time, or after its grace period if that is over before, its tasks are aborted; what is left then is for its
//! hooks and values.

use std::time::Duration;
use tokio::time::Instant;

/// What a hook gets in a close that is to end at once.
pub(crate) const HOOK_AT_ONCE: Duration = Duration::from_secs(1);

/// What a context leaves to each that closes after it, if there is so much.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(1);

/// What tasks get to answer where they are in a close that is to end at once.
#[cfg(feature = "dump")]
const ANSWER_AT_ONCE: Duration = Duration::from_millis(10);

/// How long a close waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For tasks, between their cancellation and their abort.
    pub(crate) grace: Duration,
    /// For each hook.
    pub(crate) hook: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            hook: Duration::from_secs(5),
        }
    }
}

/// When a close is to be over. Made of a [`Duration`] from now, or of an instant; one that lies too far ahead is none.
///
/// ```
/// use std::time::Duration;
/// use headcount::Deadline;
/// use tokio::time::Instant;
///
/// let at = Instant::now() + Duration::from_secs(20);
/// assert_eq!(Deadline::from(at).instant(), Some(at));
/// assert_eq!(Deadline::from(at.into_std()), Deadline::from(at));
/// assert!(Deadline::from(Duration::from_secs(20)).instant() >= Some(at));
/// assert_eq!(Deadline::from(Duration::MAX).instant(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The moment, on tokio's clock; `None` if there is no limit.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }
}

impl From<Duration> for Deadline {
    fn from(from_now: Duration) -> Self {
        Self(crate::clock::now().checked_add(from_now))
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self(Some(at))
    }
}

impl From<std::time::Instant> for Deadline {
    fn from(at: std::time::Instant) -> Self {
        Self(Some(at.into()))
    }
}

/// How a close is to be hurried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// Tasks are aborted at once, and hooks get a second.
    Now,
    /// All is to be over by then.
    By(Instant),
}

/// The haste of one context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Haste {
    is_now: bool,
    deadline: Option<Instant>,
    /// How many contexts that have something to do close after this one, one after the other.
    after: u32,
    /// When its part of the time began.
    from: Option<Instant>,
}

impl Haste {
    /// More haste; less changes nothing, and then this is false.
    pub(crate) fn hurry(&mut self, hurry: Hurry, after: u32, now: Instant) -> bool {
        let (is_now, deadline) = match hurry {
            Hurry::Now => (true, None),
            Hurry::By(deadline) if deadline <= now => (true, now.checked_add(HOOK_AT_ONCE)),
            Hurry::By(deadline) => (false, Some(deadline)),
        };
        let earliest = earlier(self.deadline, deadline);
        let is_more = is_now && !self.is_now || earliest != self.deadline;
        if is_more {
            self.is_now |= is_now;
            self.deadline = earliest;
            (self.after, self.from) = (after, Some(now));
        }
        is_more
    }

    /// The close of the context begins only now: others needed it, or what it is in, until now.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.from = self.from.map(|_| now);
    }

    /// The haste of a child that has none of its own.
    pub(crate) fn inherit(&mut self, parent: &Self, now: Instant) {
        if self.from.is_none() && parent.from.is_some() {
            *self = Self {
                after: parent.after.saturating_add(1),
                from: Some(now),
                ..*parent
            };
        }
    }

    /// The end of the context's part of the time.
    fn end(&self) -> Option<Instant> {
        let (from, deadline) = (self.from?, self.deadline?);
        let left = deadline.saturating_duration_since(from);
        let to_others = LEFT_TO_OTHERS.min(left / self.after.saturating_add(1));
        Some(from + left.saturating_sub(to_others * self.after))
    }

    /// When its tasks are aborted at the latest.
    pub(crate) fn abort_at(&self) -> Option<Instant> {
        if self.is_now {
            return self.from;
        }
        let (from, end) = (self.from?, self.end()?);
        Some(from + (end - from) / 4 * 3)
    }

    /// Why tasks are aborted at this moment.
    pub(crate) fn why_abort(&self, now: Instant) -> &'static str {
        match self.abort_at() {
            Some(_) if self.is_now => "`close_now` was called, aborting these tasks",
            Some(at) if at <= now => {
                "their part of the time until the deadline is over, aborting these tasks"
            }
            _ => "the grace period is over, aborting these tasks",
        }
    }

    /// When it does not wait any longer for what could not be ended, so that hooks and values have their turn.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        let (abort_at, end) = (self.abort_at()?, self.end()?);
        Some(abort_at + end.saturating_duration_since(abort_at) / 2)
    }

    /// How long tasks may take to answer where they are, before they are aborted.
    #[cfg(feature = "dump")]
    pub(crate) fn time_to_answer(&self, now: Instant) -> Duration {
        match self.release_at() {
            _ if self.is_now => ANSWER_AT_ONCE,
            Some(at) => at.saturating_duration_since(now) / 2,
            None => Duration::MAX,
        }
    }

    /// When its hooks have run: a little is left for what comes after them.
    fn hooks_end(&self) -> Option<Instant> {
        let (abort_at, end) = (self.abort_at()?, self.end()?);
        Some(end - end.saturating_duration_since(abort_at) / 8)
    }

    /// When a hook that runs since `started` is dropped at the latest, with so many more to come.
    pub(crate) fn hook_until(&self, started: Instant, more: usize) -> Option<Instant> {
        let from = started.max(self.from?);
        let now = self.is_now.then(|| from + HOOK_AT_ONCE);
        let share = self.hooks_end().map(|end| {
            let others = u32::try_from(more).unwrap_or(u32::MAX);
            from + end.saturating_duration_since(from) / others.saturating_add(1)
        });
        earlier(now, share)
    }

    /// When a hook that runs beside the drain is dropped at the latest.
    pub(crate) fn closing_hook_until(&self) -> Option<Instant> {
        let now = self.is_now.then_some(self.from? + HOOK_AT_ONCE);
        earlier(now, self.deadline.and_then(|_| self.release_at()))
    }
}

/// The earlier of two moments, where none is never.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn hurried(hurry: Hurry, after: u32, now: Instant) -> Haste {
        let mut haste = Haste::default();
        assert!(haste.hurry(hurry, after, now));
        haste
    }

    #[test]
    fn each_context_gets_its_part_of_the_time() {
        let now = Instant::now();
        let by = Hurry::By(now + millis(1_200));
        let parts = [0, 1, 2].map(|after| {
            let haste = hurried(by, after, now);
            let at = |at: Option<Instant>| (at.unwrap() - now).as_millis();
            let hook = haste.hook_until(now + millis(300), 1);
            (at(haste.abort_at()), at(haste.release_at()), at(hook))
        });
        assert_eq!(parts, [(900, 1_050, 731), (450, 525, 440), (300, 350, 343)]);
    }

    #[test]
    fn those_that_come_after_get_a_second_each_where_there_is_more() {
        let now = Instant::now();
        let haste = hurried(Hurry::By(now + millis(25_000)), 6, now);
        let at = |at: Option<Instant>| (at.unwrap() - now).as_millis();
        assert_eq!(at(haste.end()), 19_000);
        assert_eq!(
            (at(haste.abort_at()), at(haste.release_at())),
            (14_250, 16_625)
        );
        let most = hurried(Hurry::By(now + millis(8_000)), u32::MAX, now);
        assert!(most.abort_at().unwrap() <= now + millis(8_000));
    }

    #[test]
    fn more_haste_wins_and_less_changes_nothing() {
        let now = Instant::now();
        let mut haste = hurried(Hurry::By(now + millis(400)), 0, now);
        assert!(!haste.hurry(Hurry::By(now + millis(500)), 0, now));
        assert_eq!(haste.abort_at(), Some(now + millis(300)));
        assert!(haste.hurry(Hurry::By(now + millis(200)), 0, now));
        assert_eq!(haste.abort_at(), Some(now + millis(150)));
        let later = now + millis(50);
        assert!(haste.hurry(Hurry::Now, 0, later) && !haste.hurry(Hurry::Now, 0, now));
        assert_eq!(haste.abort_at(), Some(later));
    }

    #[test]
    fn a_deadline_that_has_passed_aborts_at_once_and_leaves_a_second() {
        let now = Instant::now();
        let haste = hurried(Hurry::By(now), 0, now);
        assert_eq!(haste.abort_at(), Some(now));
        assert_eq!(haste.hook_until(now, 0), Some(now + HOOK_AT_ONCE / 8 * 7));
        assert_eq!(haste.release_at(), Some(now + HOOK_AT_ONCE / 2));
    }

    #[test]
    fn a_deadline_that_has_passed_is_not_put_off_by_another_one() {
        let now = Instant::now();
        let mut haste = hurried(Hurry::By(now), 0, now);
        let (later, by) = (now + millis(500), Hurry::By(now + millis(400)));
        assert!(!haste.hurry(by, 0, later));
        assert_eq!(haste.abort_at(), Some(now));
        let mut haste = hurried(by, 0, now);
        assert!(haste.hurry(Hurry::By(now), 0, now));
        assert_eq!(haste.release_at(), Some(now + millis(200)));
    }

    #[test]
    fn without_haste_there_are_no_limits() {
        let (now, none) = (Instant::now(), Haste::default());
        assert_eq!((none.abort_at(), none.release_at()), (None, None));
        assert_eq!(
            (none.hook_until(now, 3), none.closing_hook_until()),
            (None, None)
        );
        let at_once = hurried(Hurry::Now, 0, now);
        assert_eq!(
            (at_once.abort_at(), at_once.release_at()),
            (Some(now), None)
        );
    }

    #[test]
    fn the_part_of_a_context_that_was_needed_begins_when_its_close_does() {
        let now = Instant::now();
        let mut haste = hurried(Hurry::By(now + millis(1_000)), 0, now);
        haste.begin(now + millis(600));
        assert_eq!(haste.abort_at(), Some(now + millis(900)));
        let mut child = Haste::default();
        child.inherit(&haste, now + millis(600));
        assert_eq!(child.abort_at(), Some(now + millis(750)));
    }
}
