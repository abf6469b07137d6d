//! A context that the one under test needs, and the order in which they close.

use crate::{
    limits::wait_for,
    stage::{Seen, Stage},
};
use headcount::{Context, Registry, State, WeakContext};
use std::sync::{Arc, Mutex, PoisonError};

/// A context that another one needs, below a parent of its own.
pub(crate) struct Needed {
    pub(crate) parent: Context,
    /// `None` once its own handle was dropped.
    ctx: Option<Context>,
    log: Log,
}

/// So many contexts come with it.
pub(crate) const CONTEXTS: usize = 2;

impl Needed {
    pub(crate) fn open(registry: &Registry) -> Self {
        let parent = registry.context("parent");
        let ctx = parent.child("needed");
        let log = Log::default();
        Self {
            parent,
            ctx: Some(ctx),
            log,
        }
    }

    pub(crate) fn ctx(&self) -> &Context {
        self.ctx.as_ref().expect("its handle was not dropped yet")
    }

    /// Drops its own handle; the context that needs it has another.
    pub(crate) fn drop_handle(&mut self) -> WeakContext {
        let weak = self.ctx().downgrade();
        self.ctx = None;
        weak
    }

    /// Notes what closes when: hooks of the context that needs this one come after its task is gone, and find this one open
    /// and ready for work; this one begins to close when that one has closed.
    pub(crate) fn watch(&self, dependent: &Context, stage: &Arc<Stage>) {
        let (log, stage, needed) = (self.log.clone(), Arc::clone(stage), self.ctx().downgrade());
        let first = dependent.on_close(move || async move {
            log.note(if is_gone(stage.seen()) {
                "first"
            } else {
                "too early"
            });
            let saved = needed.spawn(async {}).await;
            log.note(if saved.is_ok() { "saved" } else { "refused" });
        });
        let (log, dependent) = (self.log.clone(), dependent.downgrade());
        let closing = self.ctx().on_closing(move || async move {
            let has_closed = dependent.state() == State::Closed;
            log.note(if has_closed { "closing" } else { "too early" });
        });
        let log = self.log.clone();
        let second = self
            .ctx()
            .on_close(move || async move { log.note("second") });
        let log = self.log.clone();
        let last = self
            .parent
            .on_close(move || async move { log.note("last") });
        let are_registered = first.is_ok() && closing.is_ok() && second.is_ok() && last.is_ok();
        assert!(are_registered, "open contexts take hooks");
    }

    /// Both are closed, with the one that needed them: the handles go, and the order is looked at.
    pub(crate) fn leave(self, registry: &Registry) -> Result<(), String> {
        let Self { parent, ctx, log } = self;
        drop((ctx, parent));
        wait_for("idle, after all that needs others", registry.idle())?;
        match log.all().as_slice() {
            ["first", "saved", "closing", "second", "last"] => Ok(()),
            other => Err(format!("they closed in this order: {other:?}")),
        }
    }
}

fn is_gone(seen: Seen) -> bool {
    seen.futures == (1, 1)
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
