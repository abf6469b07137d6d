//! What the server keeps: a log of each session on the disk, and the journal of how all of them went.

use headcount::{CloseReport, Context, Tracked};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};
use tokio::task::spawn_blocking;

/// A log longer than this goes to the disk, in bytes.
const LOG: usize = 2_048;

/// What was delivered to one client. It opens its file only to append to it, so that 500 logs do not
/// take 500 descriptors.
pub(crate) struct SessionLog {
    path: PathBuf,
    unsaved: Mutex<String>,
}

impl SessionLog {
    /// Adds a line; true if it is time to save.
    pub(crate) fn record(&self, line: &str) -> bool {
        let mut unsaved = locked(&self.unsaved);
        unsaved.push_str(line);
        unsaved.len() > LOG
    }

    /// Appends what is new to the file. Blocks.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut unsaved = locked(&self.unsaved);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        io::Write::write_all(&mut file, unsaved.as_bytes())?;
        unsaved.clear();
        Ok(())
    }
}

/// Gives a log to the connection, and a hook that flushes it once no task writes to it any more.
/// `None` if the connection closed meanwhile.
pub(crate) fn open_log(connection: &Context, path: &Path) -> Option<Tracked<SessionLog>> {
    let log = SessionLog {
        path: path.to_owned(),
        unsaved: Mutex::default(),
    };
    let name = format!("{}.log", connection.name());
    let log = connection.own(name, "log file", log).ok()?;
    let flushed = log.clone();
    connection
        .on_close(async move || spawn_blocking(move || flushed.flush()).await?)
        .ok()?;
    Some(log)
}

/// What the server remembers about its clients: the other half of the proof.
pub(crate) struct Journal {
    logs: PathBuf,
    pages: Mutex<BTreeMap<String, Page>>,
}

/// What is remembered about one client.
#[derive(Default)]
pub(crate) struct Page {
    /// How many lines were delivered.
    pub(crate) delivered: Arc<AtomicU64>,
    /// How its connection closed.
    pub(crate) report: Option<CloseReport>,
}

impl Journal {
    pub(crate) fn new(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            pages: Mutex::default(),
        }
    }

    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// What is remembered, by the client's name.
    pub(crate) fn pages(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        locked(&self.pages)
    }

    pub(crate) fn open_page(&self, name: &str) -> Arc<AtomicU64> {
        let mut pages = self.pages();
        Arc::clone(&pages.entry(name.to_owned()).or_default().delivered)
    }

    pub(crate) fn close_page(&self, name: &str, report: CloseReport) {
        self.pages().entry(name.to_owned()).or_default().report = Some(report);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
