//! The log of a session, on the disk.

use crate::session::locked;
use headcount::{Tracked, WeakContext};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};
use tokio::task::spawn_blocking;

/// A log longer than this goes to the disk, in bytes.
const LOG: usize = 2_048;

/// What was said to one session. It opens its file only to append to it, so that 400 logs do not take 400 descriptors.
pub(crate) struct SessionLog {
    path: PathBuf,
    unsaved: Mutex<String>,
}

impl SessionLog {
    /// Adds a line; true if it is time to save.
    pub(crate) fn record(&self, line: &str) -> bool {
        let mut unsaved = locked(&self.unsaved);
        unsaved.push_str(line);
        unsaved.push('\n');
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

/// Gives a log to the session, and a hook that flushes it once no task writes to it any more. `None` if the session closes
/// meanwhile.
pub(crate) fn open_log(
    session: &WeakContext,
    name: &str,
    path: &Path,
) -> Option<Tracked<SessionLog>> {
    let log = SessionLog {
        path: path.to_owned(),
        unsaved: Mutex::default(),
    };
    let name = format!("{name}.log");
    let log = session.upgrade()?.own(name, "log file", log).ok()?;
    let flushed = log.clone();
    session
        .on_close(async move || spawn_blocking(move || flushed.flush()).await?)
        .ok()?;
    Some(log)
}
