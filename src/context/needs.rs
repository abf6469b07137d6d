//! Which closes wait for which: children are closed before their parents, and what needs a context before that (I17).
//!
//! A context is younger than its parent and than what it needs, so there are no circles.

use crate::{
    context::state::{Core, Node},
    sync::lock,
};
use std::{collections::HashSet, iter, ptr, sync::Arc};

impl Node {
    /// Whether the close of `other` waits for this context: it is the same, lies below, needs it, or needs what lies below, and
    /// so on.
    pub(crate) fn is_inside(&self, other: &Node) -> bool {
        if self.has_needs {
            return self.reaches(other);
        }
        iter::once(self)
            .chain(self.ancestors())
            .any(|node| ptr::eq(node, other))
    }

    /// Follows parents and needs to what was there before.
    #[cold]
    fn reaches(&self, other: &Node) -> bool {
        let (mut seen, mut stack) = (HashSet::new(), vec![self]);
        while let Some(node) = stack.pop() {
            if ptr::eq(node, other) {
                return true;
            }
            if seen.insert(ptr::from_ref(node)) {
                stack.extend(node.parent.as_deref());
                stack.extend(node.needs.iter().map(|need| &**need));
            }
        }
        false
    }
}

impl Core {
    /// The contexts that need this one and have not closed.
    pub(crate) fn dependents(&self) -> Vec<Arc<Core>> {
        let dependents = lock(&self.dependents);
        dependents.open.all().collect()
    }

    /// Everything that closes before this one or with it: what is below it, what needs any of that, and so on. Those further
    /// away come later.
    pub(crate) fn closing_set(self: &Arc<Self>) -> Vec<Arc<Core>> {
        let mut seen = HashSet::from([self.node.meta.id]);
        let (mut all, mut next) = (vec![Arc::clone(self)], 0);
        while let Some(core) = all.get(next) {
            let others = core.children().into_iter().chain(core.dependents());
            let new: Vec<_> = others
                .filter(|core| seen.insert(core.node.meta.id))
                .collect();
            all.extend(new);
            next += 1;
        }
        all
    }
}
