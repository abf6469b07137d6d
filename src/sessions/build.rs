//! How a session gets its contexts and its init runs, for the first generation and for each next one.

use crate::{
    context::{
        builder::ContextBuilder,
        close_reason::CloseReason,
        context::Context,
        driver,
        failure::{Failure, FailureKind, Subject},
        observers::CloseObserver,
        state::Core,
        weak::WeakContext,
    },
    error::OpenError,
    events::{SessionChange, What},
    name::{Label, label},
    panics,
    sessions::{
        error::AttachError,
        key::{Key, SessionKey},
        opening::Restart,
        session::Id,
        shared::{Code, InitFailed, Shared},
        signal::{Generation, InitError, Value, Watch},
    },
    sync::lock,
    table::resource,
    task::builder::TaskBuilder,
};
use futures::FutureExt;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, Location},
    sync::{Arc, Weak},
};

/// Builds a session that has a place: its context, that of its first generation, and begins its init.
///
/// # Errors
///
/// Why that is not possible. Those who wait for it as well find that it is gone.
pub(crate) fn build<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    id: Id,
    key: &Key<K>,
    location: &'static Location<'static>,
) -> Result<(), AttachError> {
    let unless_built = NotBuilt { shared, id };
    let code = shared.code().ok_or(AttachError::Closed)?;
    let name = match panics::guarded(|| (code.label)(key.key())) {
        Ok(name) => label(name),
        Err(payload) => {
            let message = panics::message(&*payload);
            panics::bury(payload);
            let error = InitError::Panicked(message);
            shared.with(|table, now, fx| table.not_built(id, Some(error.clone()), now, fx));
            return Err(error.into());
        }
    };
    let root = shared.root.node().core.upgrade();
    let root = root.ok_or(AttachError::Closed)?;
    let outer = ContextBuilder::new(&root, name, location).kind("session");
    let outer = outer.try_open().map_err(|_| AttachError::Closed)?;
    let parts = shared.ask(|table| table.parts(id));
    let (watch, status) = parts.ok_or(AttachError::Closed)?;
    outer.node().set_detail(status);
    let inner = open_generation(shared, outer.core(), (id, 1), location);
    let inner = inner.map_err(|_| AttachError::Closed)?;
    let context = inner.downgrade();
    watch.set_generation(Generation::new(1, context.clone()));
    let core = Arc::clone(outer.core());
    let built = shared.with(|table, _, fx| table.built(id, (outer, inner), fx));
    std::mem::forget(unless_built);
    core.observe(Arc::new(SessionObserver {
        shared: Arc::downgrade(shared),
        id,
    }));
    match built {
        Ok(()) => {
            start_init(shared, (id, 1), &context, key, &code);
            // If other code closed the generation before it was in the table.
            if let Some(reason) = context.close_reason() {
                shared.with(|table, _, fx| table.generation_closing(id, 1, &reason, fx));
            }
        }
        Err((outer, inner, reason)) => {
            driver::request(outer.core(), reason);
            drop((inner, outer));
        }
    }
    Ok(())
}

/// Takes the entry out if the session cannot be built.
struct NotBuilt<'a, K: SessionKey> {
    shared: &'a Arc<Shared<K>>,
    id: Id,
}

impl<K: SessionKey> Drop for NotBuilt<'_, K> {
    fn drop(&mut self) {
        let (shared, id) = (self.shared, self.id);
        shared.with(|table, now, fx| table.not_built(id, None, now, fx));
    }
}

/// Opens the context of a generation.
fn open_generation<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    outer: &Arc<Core>,
    (id, number): (Id, u64),
    location: &'static Location<'static>,
) -> Result<Context, OpenError> {
    let name = match number {
        1 => Label::borrowed("generation 1"),
        _ => label(format!("generation {number}").into()),
    };
    let inner = ContextBuilder::new(outer, name, location).kind("generation");
    let inner = inner.try_open()?;
    inner.core().observe(Arc::new(GenerationObserver {
        shared: Arc::downgrade(shared),
        id,
        number,
    }));
    Ok(inner)
}

/// Tells the table of the close of a session's context.
struct SessionObserver<K> {
    shared: Weak<Shared<K>>,
    id: Id,
}

impl<K: SessionKey> CloseObserver for SessionObserver<K> {
    fn closing(&self, reason: &CloseReason) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|table, _, fx| table.closing(self.id, reason, fx));
        }
    }

    fn closed(&self, reason: &CloseReason) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|table, now, fx| table.ended(self.id, reason, now, fx));
        }
    }
}

/// Closes the session when a generation of it closes by itself.
struct GenerationObserver<K> {
    shared: Weak<Shared<K>>,
    id: Id,
    number: u64,
}

impl<K: SessionKey> CloseObserver for GenerationObserver<K> {
    fn closing(&self, reason: &CloseReason) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|table, _, fx| table.generation_closing(self.id, self.number, reason, fx));
        }
    }

    fn closed(&self, _: &CloseReason) {}
}

/// Begins the init of a generation, as a task of it.
fn start_init<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    (id, number): (Id, u64),
    context: &WeakContext,
    key: &Key<K>,
    code: &Arc<Code<K>>,
) {
    let Some(init) = &code.on_open else {
        return shared.with(|table, _, fx| table.ready(id, number, fx));
    };
    let opening = Opening {
        shared: Arc::downgrade(shared),
        id,
        number,
        context: context.clone(),
        location: init.location,
        is_over: false,
    };
    let (context, key, code) = (context.clone(), Arc::clone(key.key()), Arc::clone(code));
    let own = context.clone();
    let run = async move {
        let mut opening = opening;
        let run = async {
            let init = code.on_open.as_ref();
            let init = init.expect("it was there when the task was made");
            (init.run)(K::clone(&key), own).await
        };
        let ended = AssertUnwindSafe(run).catch_unwind().await;
        drop((key, code));
        opening.end(ended);
    };
    // Refused, the task is dropped here, and says so.
    let started = context.task("open").try_spawn(run);
    drop(started);
}

/// A generation that is being opened: however that ends, those that wait for it are told.
struct Opening<K: SessionKey> {
    shared: Weak<Shared<K>>,
    id: Id,
    number: u64,
    context: WeakContext,
    location: &'static Location<'static>,
    is_over: bool,
}

impl<K: SessionKey> Opening<K> {
    fn end(&mut self, ended: Result<Result<Option<Value>, InitFailed>, Box<dyn Any + Send>>) {
        match ended {
            Ok(Ok(value)) => {
                self.is_over = true;
                if let Some(shared) = self.shared.upgrade() {
                    // Before those that wait find it open.
                    let watch = shared.ask(|table| Some(table.parts(self.id)?.0));
                    if let Some((watch, value)) = watch.zip(value) {
                        watch.set_value(value);
                    }
                    shared.with(|table, _, fx| table.ready(self.id, self.number, fx));
                }
            }
            Ok(Err(error)) => {
                let said = ("failed: ", error.to_string());
                self.fail(
                    FailureKind::TaskFailed,
                    said,
                    InitError::Error(error.into()),
                );
            }
            Err(payload) => {
                let message = panics::message(&*payload);
                panics::bury(payload);
                let said = ("panicked: ", message.clone());
                self.fail(
                    FailureKind::TaskPanicked,
                    said,
                    InitError::Panicked(message),
                );
            }
        }
    }

    /// The session closes. Its report lists the failure, which is seen if there is one who waits.
    fn fail(&mut self, kind: FailureKind, said: (&'static str, String), error: InitError) {
        self.is_over = true;
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let node = self.context.node();
        let subject = Subject::Task {
            name: Label::borrowed("open"),
            location: self.location,
        };
        let failure = Failure::new(kind, subject, resource::short_path(&**node), said).pending();
        let core = node.core.upgrade();
        let note = |is_awaited: bool| {
            if is_awaited {
                failure.note_seen();
            } else {
                failure.note_unseen();
            }
            if let Some(core) = &core {
                lock(&core.log).notes().failure(failure.clone());
            }
            CloseReason::Failed(failure.clone())
        };
        shared.with(|table, _, fx| table.failed(self.id, self.number, error, note, fx));
        // An error of an init that was cancelled is none; a panic always is.
        if failure.is_pending() && kind == FailureKind::TaskPanicked {
            note(false);
        }
    }
}

impl<K: SessionKey> Drop for Opening<K> {
    fn drop(&mut self) {
        if !self.is_over {
            let said = "was ended before it was done";
            let error = InitError::Error(InitFailed::from(format!("the init {said}")).into());
            self.fail(FailureKind::TaskFailed, ("", said.to_owned()), error);
        }
    }
}

/// A generation that a restart opens: the session, its number, what to wait for, and the session's context.
pub(crate) struct Restarted {
    pub(crate) id: Id,
    pub(crate) number: u64,
    pub(crate) watch: Arc<Watch>,
    pub(crate) context: Option<WeakContext>,
}

/// Begins to restart the session with this key: closes its generation, and has the next one opened by a task of the session.
pub(crate) fn restart<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    key: &K,
    location: &'static Location<'static>,
) -> Result<Restarted, AttachError> {
    let probe = shared.probe(key);
    match shared.with(|table, _, _| table.restart(&probe)) {
        Restart::Refused(error) => Err(error),
        Restart::Join(id, number, watch, outer) => Ok(Restarted {
            id,
            number,
            watch,
            context: outer.map(|outer| WeakContext::new(Arc::clone(&outer.node))),
        }),
        Restart::Begin {
            id,
            old,
            next,
            outer,
            watch,
        } => {
            let context = WeakContext::new(Arc::clone(&outer.node));
            drop(outer.node.tell(|| What::Session(SessionChange::Restarting)));
            if let Some(old) = old {
                replace(shared, (id, next), old, &outer, location);
            }
            Ok(Restarted {
                id,
                number: next,
                watch,
                context: Some(context),
            })
        }
    }
}

/// Closes the old generation, then opens the next.
fn replace<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    (id, number): (Id, u64),
    old: Context,
    outer: &Arc<Core>,
    location: &'static Location<'static>,
) {
    let mut opening = Opening {
        shared: Arc::downgrade(shared),
        id,
        number,
        context: WeakContext::new(Arc::clone(&outer.node)),
        location,
        is_over: false,
    };
    // It begins in this call.
    let closed = old.close_with(CloseReason::Restarted);
    let next = async move {
        closed.await;
        drop(old);
        if let Some(shared) = opening.shared.upgrade() {
            opening.is_over = next_generation(&shared, (id, number), location);
        }
        drop(opening);
    };
    let task = TaskBuilder::new(outer, Some(Label::borrowed("restart")));
    drop(task.cancellable().try_spawn(next));
}

/// Opens the next generation, unless the session closes. False if it could not be opened.
fn next_generation<K: SessionKey>(
    shared: &Arc<Shared<K>>,
    (id, number): (Id, u64),
    location: &'static Location<'static>,
) -> bool {
    let Some((key, outer, watch)) = shared.ask(|table| table.restarting(id, number)) else {
        return true;
    };
    let Some(code) = shared.code() else {
        return true;
    };
    let Ok(inner) = open_generation(shared, &outer, (id, number), location) else {
        return false;
    };
    let context = inner.downgrade();
    watch.set_generation(Generation::new(number, context.clone()));
    match shared.with(|table, _, _| table.restarted(id, number, inner)) {
        Ok(()) => start_init(shared, (id, number), &context, &key, &code),
        Err(inner) => driver::request(inner.core(), CloseReason::Restarted),
    }
    true
}
