//! The order of a depth-first walk.

use std::collections::HashSet;

/// Everything that is reached from these and was not seen before, in reverse postorder: the first of each group that
/// hangs together lies in a cycle that nothing else leads to, if the group has no other beginning (Kosaraju's
/// algorithm). Without recursion, because chains may be long (I13).
pub(crate) fn reversed<'a>(
    starts: impl Iterator<Item = usize>,
    mut seen: HashSet<usize>,
    next_of: impl Fn(usize) -> &'a [usize],
) -> Vec<usize> {
    let mut ended = Vec::new();
    for start in starts {
        if !seen.insert(start) {
            continue;
        }
        let mut stack = vec![(start, 0)];
        while let Some((at, nth)) = stack.pop() {
            let Some(&next) = next_of(at).get(nth) else {
                ended.push(at);
                continue;
            };
            stack.push((at, nth + 1));
            if seen.insert(next) {
                stack.push((next, 0));
            }
        }
    }
    ended.reverse();
    ended
}
