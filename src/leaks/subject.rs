//! The things that a report is about, described when it is made, and what leads to them.

use crate::{
    leaks::{
        judge,
        referrers::{Origin, Outside, Reference},
        snapshot::LeakSnapshot,
    },
    name::{Printed, Quoted},
    table::{record::Class, resource::Resource},
};
use std::{fmt, panic::Location};

/// What a finding is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) state: String,
    pub(crate) location: Option<&'static Location<'static>>,
    /// What the location is of: `opened`, `spawned`, `made`.
    pub(crate) made: &'static str,
    pub(crate) resource: Option<Resource>,
}

/// One step of a chain, and how it keeps the next.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) referrer: Referrer,
    pub(crate) how: String,
    pub(crate) brief: String,
    /// The line that took the handle, if it is one.
    pub(crate) taken: Option<String>,
    pub(crate) mark: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Referrer {
    Thing(Box<Subject>),
    Outside(Outside),
    Unknown(String),
    Itself,
}

impl Subject {
    pub(crate) fn of(snapshot: &LeakSnapshot, at: usize) -> Self {
        let thing = &snapshot.things[at];
        let resource = &thing.resource;
        Self {
            name: resource.name().to_owned(),
            kind: resource.kind().to_owned(),
            path: crate::table::resource::short_path(resource.record()),
            state: judge::state(thing),
            location: Some(resource.location()),
            made: match thing.class() {
                Class::Context => "opened",
                Class::Task => "spawned",
                Class::Resource => "made",
            },
            resource: Some(resource.clone()),
        }
    }

    pub(crate) fn is_task(&self) -> bool {
        let class = self.resource.as_ref().map(Resource::class);
        class == Some(Class::Task)
    }

    /// `src/net/conn.rs:41`
    pub(crate) fn site(&self) -> String {
        let site = |location: &Location<'_>| format!("{}:{}", location.file(), location.line());
        self.location.map(site).unwrap_or_default()
    }
}

/// `context server/conn-7`
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Quoted(&self.path);
        if self.path.is_empty() {
            return write!(f, "{}", Printed(&self.kind));
        }
        write!(f, "{} {path}", Printed(&self.kind))
    }
}

impl Link {
    pub(crate) fn of(snapshot: &LeakSnapshot, reference: &Reference) -> Self {
        let referrer = match &reference.from {
            Origin::Thing(at) => Referrer::Thing(Box::new(Subject::of(snapshot, *at))),
            Origin::Outside(what) => Referrer::Outside(what.clone()),
            Origin::Unknown(what) => Referrer::Unknown(what.clone()),
            Origin::Itself => Referrer::Itself,
        };
        Self {
            referrer,
            how: reference.how.clone(),
            brief: reference.brief.clone(),
            taken: reference.taken.clone(),
            mark: reference.mark.clone(),
        }
    }
}
