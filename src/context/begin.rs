//! The beginning of a close, which happens in the call that asks for it: gates refuse, tokens are cancelled, and there may be
//! haste.

use crate::{
    clock,
    context::{
        close_reason::CloseReason,
        haste::{Haste, Hurry},
        state::Core,
        telling::Telling,
    },
    events::{Told, What},
    id::ResourceId,
    panics::notify_all,
    sync::lock,
    table::record::State,
};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};
use tokio::time::Instant;

/// Begins the close of a context, of those below it, and of those that need one of them. Returns those whose close begins
/// here, parents first: they are to be [driven](super::close::drive).
///
/// The first reason wins (I8), and is there before the gate closes. A context that others need stays open; what needs it
/// is closed first. Wakers come after all gates: they may do anything (I9).
pub(crate) fn begin(core: &Arc<Core>, reason: CloseReason) -> Vec<Arc<Core>> {
    let (mut begun, mut wakes) = (Vec::new(), Told::default());
    let mut queue = VecDeque::from([(Arc::clone(core), reason)]);
    let mut needed = VecDeque::new();
    loop {
        while let Some((core, reason)) = queue.pop_front() {
            match close_gate(&core, reason) {
                Gated::Begun => {
                    let reason = core.node.close_reason();
                    let reason = reason.expect("a close that begins has a reason");
                    let below = reason.of_parent();
                    wakes = wakes.and(core.node.tell(|| What::Closing(reason.clone())));
                    for child in core.children() {
                        queue.push_back((child, below.clone()));
                    }
                    // Parents come first: what is below tells with them.
                    telling(&core);
                    begun.push(core);
                }
                Gated::Needed => needed.push_back(core),
                Gated::Before => {}
            }
        }
        let Some(core) = needed.pop_front() else {
            break;
        };
        let dependents = core.dependents().into_iter();
        queue.extend(dependents.map(|dependent| (dependent, CloseReason::Needed)));
    }
    for core in &begun {
        cancel(core);
    }
    drop(wakes);
    begun
}

/// What became of the gate of a context that is to close.
enum Gated {
    /// It is closed from here on.
    Begun,
    /// It closes when what needs the context is closed.
    Needed,
    /// The close has begun, or was asked for, before.
    Before,
}

fn close_gate(core: &Core, reason: CloseReason) -> Gated {
    let now = clock::now();
    let _ = core.node.begun.set(Box::new((reason, now)));
    // Held until the gate is closed: nothing can come to need the context in between.
    let mut dependents = lock(&core.dependents);
    if !dependents.open.is_empty() {
        let is_first = !mem::replace(&mut dependents.is_awaited, true);
        return if is_first {
            Gated::Needed
        } else {
            Gated::Before
        };
    }
    if core.node.gate.begin() != State::Open {
        return Gated::Before;
    }
    dependents.is_awaited = false;
    drop(dependents);
    if let Some(haste) = lock(&core.node.haste).existing() {
        haste.begin(now);
    }
    // The caller has it as well.
    lock(&core.node.kept).take();
    Gated::Begun
}

/// Where a close tells what it has to tell: with the parent of the context, if that was closing when it began.
pub(crate) fn telling(core: &Core) -> &Arc<Telling> {
    if let Some(telling) = core.telling.get() {
        return telling;
    }
    // Found before the cell is entered: others would wait for that, and the parent may be dropped here (I9).
    let parent = core.node.parent.as_ref();
    let parent = parent.filter(|parent| parent.gate.state() == State::Closing);
    let parent = parent.and_then(|parent| parent.core.upgrade());
    let above = parent.and_then(|parent| parent.telling.get().cloned());
    let telling = above.unwrap_or_else(|| Arc::new(Telling::of(core.node.meta.id)));
    core.telling.get_or_init(|| telling)
}

/// A child that is opened in a context whose close was hurried has the haste of that. Those that were there before are hurried
/// with it.
pub(crate) fn hand_down_haste(parent: &Core, child: &Core) {
    let haste = parent.node.haste();
    if haste != Haste::default() {
        let mut own = lock(&child.node.haste);
        own.get_mut().inherit(&haste, clock::now());
    }
}

/// Cancels the token, and wakes those that wait for the close to begin. Their wakers may panic.
pub(crate) fn cancel(core: &Core) {
    core.node.cancel();
    core.tell_parts_closing();
    core.node.table.tracking.closing();
    notify_all(&core.node.changed);
}

/// `dependent` is closed, or was never opened, which needed this one; its handle counts no longer. Both in one step, so that no
/// close of this one ends in between. Returns those whose close was waiting for that, and begins; and whether it was the last
/// handle.
pub(crate) fn stop_needing(core: &Arc<Core>, dependent: ResourceId) -> (Vec<Arc<Core>>, bool) {
    let mut dependents = lock(&core.dependents);
    dependents.open.remove(dependent);
    let is_awaited = dependents.open.is_empty() && dependents.is_awaited;
    let was_last = core.node.handles.remove();
    drop(dependents);
    if !is_awaited {
        return (Vec::new(), was_last);
    }
    let reason = core.node.close_reason().cloned();
    let reason = reason.expect("a close that was asked for has a reason");
    (begin(core, reason), was_last)
}

/// Hurries a close that has begun, and everything that comes before it. Each gets its part of the time, by how many that have
/// something to do come after it on the longest way.
pub(crate) fn hurry(core: &Arc<Core>, hurry: Hurry) {
    let now = clock::now();
    // Once more where there was something to hurry: a context that was opened meanwhile may have been listed after we looked, and
    // have looked at its parent's haste before we wrote that.
    while hurry_all(&core.closing_set(), hurry, now) {}
}

/// Hurries these. False if none of them has more haste now.
fn hurry_all(all: &[Arc<Core>], hurry: Hurry, now: Instant) -> bool {
    let mut all: Vec<_> = all.iter().collect();
    // Parents, and what is needed, were there before.
    all.sort_by_key(|core| core.node.meta.order());
    // How many with something to do close from this one on, itself included.
    let mut from_here: HashMap<ResourceId, u32> = HashMap::with_capacity(all.len());
    let mut has_more = false;
    for core in &all {
        let node = &core.node;
        let next = node.parent.iter().chain(&*node.needs);
        let longest = next.filter_map(|next| from_here.get(&next.meta.id)).max();
        let after = longest.copied().unwrap_or(0);
        from_here.insert(
            node.meta.id,
            after.saturating_add(u32::from(has_work(core))),
        );
        has_more |= lock(&node.haste).get_mut().hurry(hurry, after, now);
    }
    if has_more {
        for core in &all {
            notify_all(&core.node.changed);
        }
    }
    has_more
}

/// Whether the close of a context has something to do, beside closing its children.
fn has_work(core: &Core) -> bool {
    core.has_tasks() || !core.hooks.is_empty()
}
