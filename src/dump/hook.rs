//! [`HookDump`]: where one running hook waits.

use crate::{
    clock::human,
    dump::view::{Activity, AwaitStack, Whereabouts},
    id::ResourceId,
    name::Quoted,
    poll::running_hooks::RunningHook,
    table::resource::{path, short_path},
};
use std::{fmt, panic::Location, sync::Arc, time::Duration};

/// Where one running hook waited. Part of a [`Dump`](crate::dump::Dump).
///
/// A hook is what [`on_close`](crate::Context::on_close) or [`on_closing`](crate::Context::on_closing) was given.
///
/// Holds facts, not things: neither the hook nor its context is kept alive (I5).
#[derive(Clone)]
pub struct HookDump {
    pub(crate) hook: Arc<RunningHook>,
    pub(crate) age: Duration,
    pub(crate) found: Whereabouts,
}

impl HookDump {
    /// The id of the hook. It has one only while it runs.
    pub fn id(&self) -> ResourceId {
        self.hook.id
    }

    /// The path of the context whose close waits for it.
    pub fn context(&self) -> String {
        path(&*self.hook.context)
    }

    /// The method that registered it, which says when it runs: `on_closing` or `on_close`.
    pub fn kind(&self) -> &'static str {
        self.hook.kind
    }

    /// The function that registered it.
    pub fn what(&self) -> &'static str {
        self.hook.what
    }

    /// The line that registered it.
    pub fn location(&self) -> &'static Location<'static> {
        self.hook.location
    }

    /// How long it had been running, as precise as the [age](crate::Resource::age) of a resource.
    pub fn running_for(&self) -> Duration {
        self.age
    }

    /// What it was doing: [`Parked`](Activity::Parked) if it answered.
    pub fn activity(&self) -> Activity {
        self.found.activity
    }

    /// Where it waited; empty if it did not wait, or if nothing could wake it.
    pub fn stacks(&self) -> &[AwaitStack] {
        &self.found.stacks
    }
}

/// `the on_close hook of server/conn-7`
pub(crate) fn named(kind: &str, path: &str) -> String {
    format!("the {kind} hook of {}", Quoted(path))
}

/// `the on_close hook of server/conn-7: running for 3.2s, registered at src/main.rs:40`
pub(crate) struct Head<'a>(pub(crate) &'a HookDump);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(HookDump { hook, age, found }) = self;
        let named = named(hook.kind, &short_path(&*hook.context));
        write!(f, "{named}: running for {}", human(*age))?;
        if !matches!(found.activity, Activity::Parked(_)) {
            write!(f, ", {}", found.activity)?;
        }
        let (file, line) = (hook.location.file(), hook.location.line());
        write!(f, ", registered at {file}:{line}")
    }
}

impl fmt::Debug for HookDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookDump")
            .field("id", &self.id())
            .field("context", &self.context())
            .field("kind", &self.kind())
            .field("location", &format_args!("{}", self.location()))
            .field("age", &self.age)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for HookDump {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let Whereabouts {
            activity,
            stacks,
            cut,
        } = &self.found;
        let mut out = serializer.serialize_struct("HookDump", 9)?;
        out.serialize_field("id", &self.id())?;
        out.serialize_field("context", &self.context())?;
        out.serialize_field("kind", self.kind())?;
        out.serialize_field("what", self.what())?;
        out.serialize_field("location", &self.location().to_string())?;
        out.serialize_field("running_secs", &self.age.as_secs_f64())?;
        out.serialize_field("activity", activity)?;
        out.serialize_field("stacks", stacks)?;
        out.serialize_field("cut", cut)?;
        out.end()
    }
}
