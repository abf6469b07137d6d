//! The proof: what is looked at from the outside, and compared, once the server has closed.

use crate::{
    clients::{CLIENTS, Result, Third, client_name},
    log::Journal,
    server::{CUT_OFF, LEFT},
};
use headcount::{CloseReason, CloseReport, Registry};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{runtime::Handle, time::sleep};

/// What can be seen of this process from outside the registry.
#[derive(Clone, Copy)]
pub(crate) struct Outside {
    /// Tasks that the runtime has not dropped yet.
    tasks: usize,
    /// Open sockets; `None` where the system does not say.
    sockets: Option<usize>,
}

impl Outside {
    pub(crate) fn look() -> Self {
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            sockets: Self::sockets(),
        }
    }

    fn sockets() -> Option<usize> {
        let descriptors = fs::read_dir("/proc/self/fd").ok()?;
        let is_socket = |entry: &fs::DirEntry| {
            fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        };
        Some(descriptors.flatten().filter(is_socket).count())
    }
}

/// What was checked, and what did not hold.
#[derive(Default)]
pub(crate) struct Proof {
    failures: usize,
}

impl Proof {
    fn check(&mut self, holds: bool, what: &str) {
        println!("{} {what}", if holds { "✓" } else { "✗" });
        self.failures += usize::from(!holds);
    }

    pub(crate) fn result(self) -> Result {
        match self.failures {
            0 => Ok(()),
            failures => Err(format!("{failures} checks failed, see above").into()),
        }
    }

    pub(crate) async fn nothing_is_left(&mut self, registry: &Registry, before: Outside) {
        let count = registry.count();
        self.check(count == 0, &format!("the registry counts {count}"));

        let mut now = Outside::look();
        match (before.sockets, now.sockets) {
            (Some(was), Some(is)) => self.check(
                is == was,
                &format!("the process has {is} sockets open, before it had {was}"),
            ),
            _ => println!("- there is no /proc/self/fd here, so sockets were not counted"),
        }

        // A task's handle resolves a moment before the runtime strikes the task off its list.
        for _ in 0..100 {
            if now.tasks == before.tasks {
                break;
            }
            sleep(Duration::from_millis(1)).await;
            now = Outside::look();
        }
        let (was, is) = (before.tasks, now.tasks);
        self.check(
            is == was,
            &format!("the runtime has {is} tasks, before it had {was}"),
        );
    }

    pub(crate) fn everything_closed_well(&mut self, report: &CloseReport, journal: &Journal) {
        self.check(report.is_clean(), "the close report is clean");
        let pages = journal.pages();
        let reports: Vec<_> = pages
            .values()
            .filter_map(|page| page.report.as_ref())
            .collect();
        let flushed = reports
            .iter()
            .filter(|report| report.is_clean() && report.hooks().ran == 1)
            .count();
        self.check(
            flushed == CLIENTS,
            &format!("{flushed} connections closed cleanly and flushed their logs"),
        );
        for (third, reason) in [
            (Third::Leaves, CloseReason::from(LEFT)),
            (Third::IsCutOff, CloseReason::from(CUT_OFF)),
            (
                Third::Stays,
                CloseReason::Parent(Arc::new(CloseReason::Shutdown)),
            ),
        ] {
            let count = reports
                .iter()
                .filter(|report| *report.reason() == reason)
                .count();
            self.check(
                count == third.size(),
                &format!("{count} of them closed because: {reason}"),
            );
        }
    }

    /// Compares what the server counted, what its logs say, and what the clients wrote down.
    pub(crate) fn nothing_is_lost(&mut self, folder: &Folder, journal: &Journal) {
        let pages = journal.pages();
        let mut lines = 0;
        let (mut complete, mut confirmed) = (0, 0);
        for n in 0..CLIENTS {
            let name = client_name(n);
            let log = contents(&journal.log_of(&name));
            let received = contents(&folder.received.join(&name));
            let delivered = pages
                .get(&name)
                .map_or(0, |page| page.delivered.load(Relaxed));
            lines += delivered;
            complete += usize::from(log.lines().count() as u64 == delivered);
            confirmed += usize::from(match Third::of(n) {
                // What is on its way to a client that is cut off never gets there.
                Third::IsCutOff => log.starts_with(&received),
                Third::Leaves | Third::Stays => log == received,
            });
        }
        self.check(
            complete == CLIENTS,
            &format!("{complete} logs have each of the {lines} lines that were delivered"),
        );
        self.check(
            confirmed == CLIENTS,
            &format!("{confirmed} clients received what their logs say"),
        );
    }
}

/// What a file contains; nothing, if there is none.
fn contents(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Where the logs go, and what the clients write down. It stays if something goes wrong.
pub(crate) struct Folder {
    root: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) received: PathBuf,
}

impl Folder {
    pub(crate) fn create() -> Result<Self> {
        let root = env::temp_dir().join(format!("headcount-sessions-{}", std::process::id()));
        let folder = Self {
            logs: root.join("logs"),
            received: root.join("received"),
            root,
        };
        fs::create_dir_all(&folder.logs)?;
        fs::create_dir_all(&folder.received)?;
        println!("logs are in {}\n", folder.root.display());
        Ok(folder)
    }

    pub(crate) fn remove(self) -> Result {
        Ok(fs::remove_dir_all(self.root)?)
    }
}
