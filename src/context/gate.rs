//! The gate of a context: its state and the number of those inside, in one atomic word (I2).
//!
//! Inside are accepted tasks, wrapped futures and open children. Because state and number change in
//! one word, an [`enter`](Gate::enter) comes either before the [`begin`](Gate::begin) of the close,
//! and then the close sees it and waits, or after it, and then it is refused. There is no third outcome.

use crate::{
    sync::{
        AtomicU64, Mutex,
        Ordering::{Relaxed, SeqCst},
        lock, order,
    },
    table::record::State,
};

/// Set once the close has begun; never cleared.
const CLOSING: u64 = 1;
/// Set once nothing is left; never cleared.
const CLOSED: u64 = 1 << 1;
/// Set when tasks that are still there are to be aborted; never cleared. A spawn that got in before
/// the close but is spawned too late for the abort to find it sees it, and aborts its task itself.
const ABORTING: u64 = 1 << 2;
/// Set when no runtime is left to drive the close: the last one to leave finishes it.
const UNDRIVEN: u64 = 1 << 3;
/// Set when a waiter wants to know that the gate is empty whatever its state: `idle`. Also of a
/// closed gate, where one who is being refused counts as inside for a moment.
const WATCHED: u64 = 1 << 4;
/// Set when every one that leaves is to say so: what the close waits for is not that the gate is empty, or not only this.
const TELL_EACH: u64 = 1 << 5;
/// Set when the context is to close once it has run dry: only code that belongs to it comes in.
const FINISHING: u64 = 1 << 6;
/// One of those inside; there is room for two billion.
const ONE: u64 = 1 << 7;
const INSIDE: u64 = FINISHED - ONE;
/// Set once a billion are inside: no more come in, long before they run into their neighbours in the word.
const OVERFULL: u64 = FINISHED >> 1;
/// One of those who left because they were finished.
const FINISHED: u64 = 1 << 38;
/// At this count finished tasks move to `aside`, so that the field cannot overflow.
pub(crate) const MANY: u64 = 1 << 25;

/// What the last one to leave has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last one to leave owes it to the close"]
pub(crate) enum OnLeave {
    /// Others are inside, or nothing is waiting for the gate to be empty.
    Nothing,
    /// A waiter is to be woken.
    NotifyDrained,
    /// The close has no driver: [finish](Gate::take_undriven) it, or see what is left of it.
    FinishClose,
}

#[derive(Debug)]
pub(crate) struct Gate {
    /// How many finished, how many are inside, and the flags.
    word: AtomicU64,
    /// Those who finished and have no room in the word. Locked where they are moved or counted, so that none is missed meanwhile.
    aside: Mutex<u64>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            aside: Mutex::new(0),
        }
    }

    /// A gate that so many have left because they were finished.
    #[cfg(test)]
    pub(crate) fn after(finished: u64) -> Self {
        Self {
            word: AtomicU64::new(finished * FINISHED),
            aside: Mutex::new(0),
        }
    }

    /// Comes in, or is refused. One that came in must [`leave`](Self::leave) once. A context that is finishing asks
    /// whether the code that comes belongs to it.
    ///
    /// # Panics
    ///
    /// If a billion are inside.
    #[inline]
    pub(crate) fn enter(&self, belongs: impl FnOnce() -> bool) -> Result<(), OnLeave> {
        // It counts first and asks afterwards: the answer is of the same instant as the count, so a close that begins right
        // after it waits for this one. To ask first would leave a gap.
        let before = self.word.fetch_add(ONE, SeqCst);
        if before & (CLOSING | FINISHING | OVERFULL) == 0 {
            return Ok(());
        }
        if before & (CLOSING | OVERFULL) == 0 && belongs() {
            return Ok(());
        }
        Err(self.turn_away(before))
    }

    #[cold]
    fn turn_away(&self, before: u64) -> OnLeave {
        // It was counted for a moment, so it may be the last one to leave, and then owes what the last one owes. Left before the
        // panic: a count that stayed would keep the close waiting for ever.
        let left = self.leave();
        assert!(
            before & (CLOSING | FINISHING) != 0,
            "a context has room for a billion tasks and children"
        );
        left
    }

    /// Goes out.
    #[inline]
    pub(crate) fn leave(&self) -> OnLeave {
        left(self.word.fetch_sub(ONE, SeqCst))
    }

    /// Goes out, and is counted as finished.
    #[inline]
    pub(crate) fn leave_finished(&self) -> OnLeave {
        // A stale answer does no harm: the field has room for as many again, and the next one that leaves asks as well.
        if self.word.load(Relaxed) / FINISHED >= MANY {
            self.put_aside();
        }
        left(self.word.fetch_add(FINISHED - ONE, SeqCst))
    }

    /// Makes room in the word. The caller is inside, so the last count is not read meanwhile.
    #[cold]
    fn put_aside(&self) {
        let fewer = |word: u64| (word / FINISHED >= MANY).then(|| word - MANY * FINISHED);
        let mut aside = lock(&self.aside);
        if self.word.fetch_update(SeqCst, Relaxed, fewer).is_ok() {
            *aside += MANY;
        }
    }

    /// How many have finished, and how many are inside at that moment. The first is exact once the gate is empty.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let aside = lock(&self.aside);
        let word = self.word.load(SeqCst);
        (*aside + word / FINISHED, (word & INSIDE) / ONE)
    }

    /// How many have finished; exact once the gate is empty.
    pub(crate) fn finished(&self) -> u64 {
        self.counts().0
    }

    /// Begins the close, unless it has begun; returns the state before: `Open` for the one caller who
    /// began it (I8).
    pub(crate) fn begin(&self) -> State {
        state_of(self.word.fetch_or(CLOSING, SeqCst))
    }

    /// The state, by a read-modify-write: what the caller wrote before it is seen by the one that [`end`](Self::end)s the close
    /// later.
    pub(crate) fn look(&self) -> State {
        state_of(self.word.fetch_or(0, SeqCst))
    }

    /// Ends the close; true for the one caller who did.
    pub(crate) fn end(&self) -> bool {
        self.word.fetch_or(CLOSED, SeqCst) & CLOSED == 0
    }

    /// From here on every task that is still there is to be aborted.
    pub(crate) fn abort(&self) {
        // Pairs with `is_aborting`: the caller scans for tasks next, and a task that is listed too late for the scan reads this
        // after it was listed.
        self.word.fetch_or(ABORTING, SeqCst);
        order();
    }

    /// Whether the tasks that are there are to be aborted. `SeqCst`: who made a task abortable, and then does
    /// not see the abort here, is seen by the scan for tasks after the abort.
    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        self.word.load(SeqCst) & ABORTING != 0
    }

    /// Leaves the rest of the close to those inside. What they need for it lies in its slot already, and the caller is
    /// the first to [try](Self::take_undriven).
    pub(crate) fn leave_undriven(&self) {
        self.word.fetch_or(UNDRIVEN, SeqCst);
    }

    /// Takes what is needed to finish a close that nothing drives, once the gate is empty. Before that, `tend` does what
    /// can be done. All that leave call this: one of them finds the gate empty, or finds the slot empty because another
    /// has it, which looks again after putting it back.
    pub(crate) fn take_undriven<T>(
        &self,
        slot: &Mutex<Option<T>>,
        mut tend: impl FnMut(&T),
    ) -> Option<T> {
        loop {
            let undriven = lock(slot).take()?;
            // Read while nothing is in the slot: one that leaves from here on finds it empty, and relies on the second look below.
            let inside = self.inside();
            if inside == 0 {
                return Some(undriven);
            }
            tend(&undriven);
            *lock(slot) = Some(undriven);
            order();
            // If the number has changed, one left meanwhile and found the slot empty: what it would have done is ours.
            if self.inside() == inside {
                return None;
            }
        }
    }

    /// From here on the last one to leave says so, though the gate is open.
    pub(crate) fn watch(&self) {
        self.word.fetch_or(WATCHED, SeqCst);
    }

    /// From here on everyone that leaves says so.
    pub(crate) fn tell_each(&self) {
        self.word.fetch_or(TELL_EACH, SeqCst);
    }

    /// From here on only code that belongs to the context comes in, and each that leaves says so.
    pub(crate) fn finish(&self) {
        self.word.fetch_or(FINISHING | TELL_EACH, SeqCst);
    }

    /// Whether it is to close once it has run dry.
    pub(crate) fn is_finishing(&self) -> bool {
        self.word.load(SeqCst) & FINISHING != 0
    }

    /// How many are inside: tasks and open children, and for a moment each that is being refused.
    pub(crate) fn inside(&self) -> u64 {
        (self.word.load(SeqCst) & INSIDE) / ONE
    }

    pub(crate) fn state(&self) -> State {
        state_of(self.word.load(SeqCst))
    }
}

/// What one that left has to do, by the word as it was before.
#[inline]
fn left(before: u64) -> OnLeave {
    let is_last = before & INSIDE == ONE;
    let is_closed = before & CLOSED != 0;
    if !is_closed && before & UNDRIVEN != 0 {
        OnLeave::FinishClose
    } else if !is_closed && before & TELL_EACH != 0
        || is_last && (before & WATCHED != 0 || !is_closed && before & CLOSING != 0)
    {
        OnLeave::NotifyDrained
    } else {
        OnLeave::Nothing
    }
}

fn state_of(word: u64) -> State {
    if word & CLOSED != 0 {
        State::Closed
    } else if word & CLOSING != 0 {
        State::Closing
    } else {
        State::Open
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    /// Enters twice and leaves twice, after `prepare` on a gate with one inside.
    fn leaves(prepare: impl FnOnce(&Gate)) -> (OnLeave, OnLeave) {
        let gate = Gate::new();
        assert!(gate.enter(|| false).is_ok() && gate.enter(|| false).is_ok());
        prepare(&gate);
        (gate.leave(), gate.leave())
    }

    /// Nothing is woken in vain: only the last one out has something to do, and only if asked.
    #[test]
    fn the_last_one_out_does_what_is_asked_for() {
        use OnLeave::{FinishClose, Nothing, NotifyDrained};
        assert_eq!(leaves(|_| ()), (Nothing, Nothing));
        assert_eq!(leaves(Gate::watch), (Nothing, NotifyDrained));
        assert_eq!(leaves(Gate::abort), (Nothing, Nothing));
        assert_eq!(leaves(Gate::tell_each), (NotifyDrained, NotifyDrained));
        assert_eq!(leaves(Gate::finish), (NotifyDrained, NotifyDrained));
        let close = |gate: &Gate| assert_eq!(gate.begin(), State::Open);
        assert_eq!(leaves(close), (Nothing, NotifyDrained));
        let undriven = |gate: &Gate| {
            close(gate);
            gate.leave_undriven();
        };
        assert_eq!(leaves(undriven), (FinishClose, FinishClose));
        let end = |gate: &Gate| {
            close(gate);
            assert!(gate.end() && !gate.end());
        };
        assert_eq!(leaves(end), (Nothing, Nothing));
        let end_undriven = |gate: &Gate| {
            undriven(gate);
            gate.end();
        };
        assert_eq!(leaves(end_undriven), (Nothing, Nothing));
        let end_watched = |gate: &Gate| {
            end(gate);
            gate.watch();
        };
        assert_eq!(leaves(end_watched), (Nothing, NotifyDrained));
    }

    #[test]
    fn a_gate_that_closes_refuses_and_says_how_far_it_is() {
        let gate = Gate::new();
        assert_eq!((gate.state(), gate.inside()), (State::Open, 0));
        assert_eq!(gate.enter(|| false), Ok(()));
        assert_eq!((gate.begin(), gate.begin()), (State::Open, State::Closing));
        assert_eq!(gate.enter(|| false), Err(OnLeave::Nothing));
        assert_eq!((gate.state(), gate.inside()), (State::Closing, 1));
        assert!(!gate.is_aborting());
        gate.abort();
        assert!(gate.is_aborting());
        assert_eq!(gate.leave(), OnLeave::NotifyDrained);
        gate.leave_undriven();
        assert_eq!(gate.enter(|| false), Err(OnLeave::FinishClose));
        gate.end();
        assert_eq!(
            (gate.state(), gate.enter(|| false)),
            (State::Closed, Err(OnLeave::Nothing))
        );
    }

    /// Each of those who leave tends it, and the last one takes it.
    #[test]
    fn what_is_undriven_is_tended_until_the_gate_is_empty() {
        let (gate, slot) = (Gate::new(), Mutex::new(Some("undriven")));
        let tended = std::cell::Cell::new(0);
        let take = || gate.take_undriven(&slot, |_| tended.set(tended.get() + 1));
        assert!(gate.enter(|| false).is_ok() && gate.enter(|| false).is_ok());
        gate.begin();
        gate.leave_undriven();
        assert_eq!((take(), tended.get()), (None, 1));
        assert_eq!(gate.leave(), OnLeave::FinishClose);
        assert_eq!((take(), tended.get()), (None, 2));
        assert_eq!(gate.leave(), OnLeave::FinishClose);
        assert_eq!((take(), take(), tended.get()), (Some("undriven"), None, 2));
    }

    #[test]
    fn a_gate_that_finishes_asks_who_comes() {
        let gate = Gate::new();
        gate.finish();
        assert_eq!(gate.enter(|| true), Ok(()));
        assert_eq!(gate.enter(|| false), Err(OnLeave::NotifyDrained));
        assert_eq!((gate.state(), gate.inside()), (State::Open, 1));
        gate.begin();
        assert!(gate.enter(|| true).is_err());
    }

    /// They are counted out again before it panics.
    #[test]
    fn no_more_come_in_when_a_billion_are_inside() {
        let gate = Gate::new();
        gate.word.fetch_add(OVERFULL - ONE, SeqCst);
        assert_eq!(gate.enter(|| false), Ok(()));
        for _ in 0..3 {
            let refused = crate::panics::guarded(|| gate.enter(|| false));
            assert!(refused.is_err());
        }
        assert_eq!((gate.word.load(SeqCst), gate.finished()), (OVERFULL, 0));
        gate.begin();
        assert_eq!(gate.enter(|| false), Err(OnLeave::Nothing));
        assert_eq!(gate.word.load(SeqCst), OVERFULL | CLOSING);
    }

    #[test]
    fn those_who_finished_are_counted_and_others_are_not() {
        let gate = Gate::new();
        assert!((0..3).all(|_| gate.enter(|| false).is_ok()));
        let _ = gate.leave_finished();
        let _ = gate.leave();
        assert_eq!((gate.finished(), gate.inside()), (1, 1));
        gate.begin();
        assert_eq!(gate.leave_finished(), OnLeave::NotifyDrained);
        assert_eq!((gate.finished(), gate.inside()), (2, 0));
        assert_eq!(gate.state(), State::Closing);
    }

    #[test]
    fn those_who_finished_are_put_aside_before_they_run_out_of_the_word() {
        let gate = Gate::after(MANY - 1);
        for finished in MANY..MANY + 3 {
            assert!(gate.enter(|| false).is_ok());
            let _ = gate.leave_finished();
            assert_eq!((gate.finished(), gate.inside()), (finished, 0));
        }
        assert_eq!(*lock(&gate.aside), MANY);
        assert_eq!(gate.word.load(SeqCst), 2 * FINISHED);
    }
}
