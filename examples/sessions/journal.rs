//! The journal: what the server remembers of sessions that are long gone, as half of the proof.

use crate::session::locked;
use headcount::CloseReport;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// What is remembered, and how often what happened.
pub(crate) struct Journal {
    logs: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(crate) struct Inner {
    /// By the name of the session: that of its client, and which of its sessions it is.
    pub(crate) pages: BTreeMap<String, Page>,
    /// Connections that hold a session now, by client.
    held: BTreeMap<String, usize>,
    pub(crate) tally: Tally,
}

/// How often what happened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    /// Sessions that are open.
    pub(crate) open: usize,
    /// How many were open at most.
    pub(crate) most: usize,
    pub(crate) opened: usize,
    pub(crate) culled: usize,
    /// Sessions that were culled while a connection held them.
    pub(crate) culled_while_held: usize,
    /// Connections that came back to their session.
    pub(crate) came_back: usize,
    pub(crate) refused_owner: usize,
    pub(crate) refused_full: usize,
    /// Lines that clients said.
    pub(crate) said: u64,
}

/// What is remembered of one session.
#[derive(Clone, Default)]
pub(crate) struct Page {
    pub(crate) name: String,
    client: String,
    /// How many lines there were for it.
    pub(crate) lines: usize,
    /// How its context closed.
    pub(crate) report: Option<CloseReport>,
}

impl Journal {
    pub(crate) fn new(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            inner: Mutex::default(),
        }
    }

    pub(crate) fn log_of(&self, session: &str) -> PathBuf {
        self.logs.join(format!("{session}.log"))
    }

    pub(crate) fn read(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    pub(crate) fn tally(&self) -> Tally {
        self.read().tally
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.read().tally);
    }

    /// A session of this client opens.
    pub(crate) fn open_page(&self, client: &str) -> Page {
        let mut inner = self.read();
        let before = inner.pages.values().filter(|page| page.client == client);
        let page = Page {
            name: format!("{client}-{}", before.count() + 1),
            client: client.to_owned(),
            ..Page::default()
        };
        inner.pages.insert(page.name.clone(), page.clone());
        let tally = &mut inner.tally;
        tally.opened += 1;
        tally.open += 1;
        tally.most = tally.most.max(tally.open);
        page
    }

    /// A session has so many lines at its end.
    pub(crate) fn close_page(&self, session: &str, lines: usize, is_culled: bool) {
        let mut inner = self.read();
        let Some(page) = inner.pages.get_mut(session) else {
            return;
        };
        page.lines = lines;
        let client = page.client.clone();
        let is_held = inner.held.get(&client).is_some_and(|held| *held > 0);
        inner.tally.open -= 1;
        inner.tally.culled += usize::from(is_culled);
        inner.tally.culled_while_held += usize::from(is_culled && is_held);
    }

    pub(crate) fn note_report(&self, session: &str, report: CloseReport) {
        if let Some(page) = self.read().pages.get_mut(session) {
            page.report = Some(report);
        }
    }

    /// How many clients have a connection that holds their session.
    pub(crate) fn connected(&self) -> usize {
        self.read().held.values().filter(|held| **held > 0).count()
    }

    /// A connection holds the session of this client from here on, until that is dropped.
    pub(crate) fn hold(&self, client: &str) -> Held<'_> {
        *self.read().held.entry(client.to_owned()).or_default() += 1;
        Held(self, client.to_owned())
    }
}

pub(crate) struct Held<'a>(&'a Journal, String);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.0.read().held.get_mut(&self.1) {
            *held -= 1;
        }
    }
}
