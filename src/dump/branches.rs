//! What a task waits for at once: which of its stacks read alike, and how the others belong together.

use crate::{
    codebase,
    dump::view::{AwaitStack, StackFrame},
    poll::awaited::Awaited,
};
use std::collections::HashMap;

/// What is printed of a stack. Which task it waits for is no part of it.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct StackKey<'a> {
    own: Vec<&'a StackFrame>,
    leaf: Option<&'a str>,
    beneath: &'a [String],
    /// Printed where no leaf is known.
    last: Option<&'a StackFrame>,
    yields: bool,
    awaited: Option<&'a Awaited>,
}

impl<'a> StackKey<'a> {
    pub(super) fn of(stack: &'a AwaitStack) -> Self {
        let differs =
            |awaited: &&Awaited| matches!(awaited, Awaited::Task { .. } | Awaited::BackOff { .. });
        Self {
            own: stack.own_lines(),
            leaf: stack.leaf.as_deref(),
            beneath: &stack.beneath,
            last: stack.frames.last().filter(|_| stack.leaf.is_none()),
            yields: stack.yields,
            awaited: stack.awaited.as_ref().filter(|awaited| !differs(awaited)),
        }
    }
}

/// Stacks that read differently, in the order in which they were found, each with the number of branches that wait there.
pub(super) fn distinct(stacks: &[AwaitStack]) -> Vec<(&AwaitStack, usize)> {
    let mut groups: Vec<Vec<&AwaitStack>> = Vec::new();
    let mut known: HashMap<StackKey<'_>, usize> = HashMap::new();
    for stack in stacks {
        let at = *known.entry(StackKey::of(stack)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        let branches = &mut groups[at];
        // Thousands of equal ones are compared with the first of them.
        let mut others = branches.iter().take(1).chain(branches.last());
        if !others.any(|other| is_one_await(other, stack)) {
            branches.push(stack);
        }
    }
    let groups = groups.into_iter();
    groups.map(|all| (all[0], all.len())).collect()
}

/// Whether two stacks that read alike are of one `.await`: it has kept two wakers, or was polled twice. Others part where the
/// program, or a combinator, polls both; or nowhere, as those of `join_all`.
fn is_one_await(one: &AwaitStack, other: &AwaitStack) -> bool {
    let both = || one.frames.iter().zip(&other.frames);
    let Some(parting) = both().position(|(one, other)| one != other) else {
        return one.frames.len() != other.frames.len();
    };
    let (here, there) = (&one.frames[parting], &other.frames[parting]);
    // One function that polls on two lines, or the function before, which polls two others.
    let polls_both = here.function == there.function && here.file == there.file;
    let common = &one.frames[..parting + usize::from(polls_both)];
    let polling = common.iter().rev().find(|frame| !frame.is_glue());
    polling.is_some_and(|frame| {
        let is_branching = frame.is_own()
            || frame.is_combinator()
            || codebase::is_macro(&frame.file)
            || frame.is_one_of(&ALL)
            || frame.is_one_of(&ANY);
        !is_branching
    })
}

/// How two waits of one task belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// The task goes on when both are over.
    And,
    /// The task goes on when one of them is over.
    Or,
    /// It is not known which.
    Also,
}

/// What frames are like that await all that they were given.
const ALL: [&str; 6] = [
    "MaybeDone",
    "maybe_done.rs",
    "/src/macros/join.rs",
    "/src/macros/try_join.rs",
    "/src/async_await/join_mod.rs",
    "JoinAll",
];

/// What frames are like that await one of what they were given.
const ANY: [&str; 8] = [
    "/src/macros/select.rs",
    "/src/async_await/select_mod.rs",
    "future::Select",
    "/src/future/select",
    "time::Timeout",
    "/src/time/timeout.rs",
    "TakeUntil",
    "Abortable",
];

impl Joint {
    /// Two stacks part in the code that polls both: the innermost of the frames that they have in common.
    pub(super) fn between(one: &AwaitStack, other: &AwaitStack) -> Self {
        let is_common = |(one, other): &(&StackFrame, &StackFrame)| {
            one.function == other.function
                && one.file == other.file
                && (!one.is_own() || one.line == other.line)
        };
        let both = one.frames.iter().zip(&other.frames);
        let common = both.take_while(is_common).count();
        let mut between = one.frames[..common].iter().rev();
        let between = between.by_ref().take_while(|frame| !frame.is_own());
        for frame in between {
            if frame.is_one_of(&ALL) {
                return Self::And;
            }
            if frame.is_one_of(&ANY) {
                return Self::Or;
            }
        }
        Self::Also
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::Also => "also",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebase::Codebase;

    /// `function` at a line, of the program where the function is in `app`.
    fn frame((function, line): (&str, u32)) -> StackFrame {
        let is_own = function.starts_with("app::");
        StackFrame {
            function: function.to_owned(),
            file: function.split("::").next().unwrap_or_default().to_owned(),
            line,
            is_own,
            code: if is_own {
                Codebase::Own
            } else {
                Codebase::Dependency
            },
        }
    }

    fn stack<const N: usize>(frames: [(&str, u32); N]) -> AwaitStack {
        AwaitStack {
            frames: frames.map(frame).into(),
            leaf: Some("net::Socket::recv".to_owned()),
            beneath: Vec::new(),
            yields: false,
            awaited: None,
            registry: 0,
            is_of_server: false,
        }
    }

    fn counts(stacks: &[AwaitStack]) -> Vec<usize> {
        let distinct = distinct(stacks);
        distinct.into_iter().map(|(_, count)| count).collect()
    }

    const AWAIT: (&str, u32) = ("app::serve", 7);
    const LEAF: (&str, u32) = ("net::Socket::recv", 1);

    #[test]
    fn an_await_that_keeps_two_wakers_is_one() {
        let first = stack([AWAIT, LEAF, ("net::compat::set_waker", 90)]);
        let second = stack([AWAIT, LEAF, ("net::compat::set_waker", 91)]);
        let deeper = stack([AWAIT, LEAF, ("net::compat::set_waker", 90), ("net::x", 1)]);
        assert_eq!(counts(&[first.clone(), second]), [1]);
        assert_eq!(counts(&[first, deeper]), [1]);
    }

    #[test]
    fn an_await_that_is_polled_twice_is_one() {
        let twice = |line| stack([("http::poll_loop", line), AWAIT, LEAF]);
        assert_eq!(counts(&[twice(174), twice(207)]), [1]);
        assert_eq!(counts(&[twice(174), twice(207), twice(174)]), [2]);
    }

    #[test]
    fn branches_are_counted() {
        let of_select = |line| stack([AWAIT, ("futures_util::future::Select", line), LEAF]);
        assert_eq!(counts(&[of_select(113), of_select(117)]), [2]);
        let of_join_all = || stack([AWAIT, LEAF]);
        assert_eq!(counts(&[of_join_all(), of_join_all(), of_join_all()]), [3]);
    }

    #[test]
    fn what_reads_differently_is_not_one() {
        let other = stack([("app::serve", 8), LEAF]);
        assert_eq!(counts(&[stack([AWAIT, LEAF]), other]), [1, 1]);
    }
}
