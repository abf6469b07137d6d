//! The proof: what is looked at from the outside, and compared, once the server has closed.

use crate::{
    clients::{CLIENTS, Fifth, Result},
    journal::Journal,
    server::CAPACITY,
    worker::FAILURES,
};
use headcount::{CloseReason, CloseReport, Registry, supervision::Supervised};
use std::{
    env, fs,
    path::{Path, PathBuf},
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

    /// Compares what the sessions were with what the clients did.
    pub(crate) fn sessions_were_kept(&mut self, report: &CloseReport, journal: &Journal) {
        let size = Fifth::size;
        let (tally, full) = (journal.tally(), CLIENTS - CAPACITY);
        self.check(
            tally.opened == CLIENTS + size(Fifth::ComesTooLate),
            &format!(
                "{} sessions for {CLIENTS} clients, of which {} came back too late",
                tally.opened,
                size(Fifth::ComesTooLate)
            ),
        );
        self.check(
            tally.most <= CAPACITY && tally.refused_full >= full,
            &format!(
                "at most {} were open, and {} connections were refused for that",
                tally.most, tally.refused_full
            ),
        );
        self.check(
            tally.came_back == size(Fifth::ComesBack) + size(Fifth::IsTakenOver),
            &format!("{} connections came back to their session", tally.came_back),
        );
        self.check(
            tally.refused_owner == size(Fifth::IsPosedAs),
            &format!("{} wrong owners were refused", tally.refused_owner),
        );
        self.check(
            tally.culled == size(Fifth::ComesTooLate) && tally.culled_while_held == 0,
            &format!(
                "{} sessions were culled, {} of them while held",
                tally.culled, tally.culled_while_held
            ),
        );
        self.check(report.is_clean(), "the close report is clean");
        let inner = journal.read();
        let reports: Vec<_> = inner
            .pages
            .values()
            .filter_map(|page| page.report.as_ref())
            .collect();
        let is_well = |report: &&&CloseReport| report.is_clean() && report.hooks().ran == 2;
        let well = reports.iter().filter(is_well).count();
        self.check(
            well == tally.opened,
            &format!("{well} sessions closed cleanly and flushed their logs"),
        );
        let stay = CLIENTS - size(Fifth::Leaves);
        for (reason, expected) in [
            (CloseReason::Left, size(Fifth::Leaves)),
            (CloseReason::Culled, size(Fifth::ComesTooLate)),
            (CloseReason::Shutdown, stay),
        ] {
            let count = reports
                .iter()
                .filter(|report| *report.reason().root() == reason)
                .count();
            self.check(
                count == expected,
                &format!("{count} of them closed because: {reason}"),
            );
        }
    }

    /// The worker has counted every line, though it failed in between.
    pub(crate) fn the_worker_lost_nothing(&mut self, worker: &Supervised, counted: u64, said: u64) {
        let attempts = worker.attempts();
        self.check(
            attempts == FAILURES + 1 && counted == said,
            &format!("the worker counted {counted} of {said} lines in {attempts} attempts"),
        );
    }

    /// Compares what the server counted, what its logs say, and what the clients wrote down. The clients have seen to it that no
    /// line was missing between two that they received, whatever connection those came over.
    pub(crate) fn nothing_is_lost(&mut self, folder: &Folder, journal: &Journal) {
        let inner = journal.read();
        let (mut lines, mut complete, mut confirmed) = (0, 0, 0);
        for (name, page) in &inner.pages {
            let log = contents(&journal.log_of(name));
            let received = contents(&folder.received.join(name));
            lines += page.lines;
            complete += usize::from(log.lines().count() == page.lines);
            let reason = page.report.as_ref().map(|report| report.reason().root());
            confirmed += usize::from(match reason {
                // What was said when its client was gone has no one who received it.
                Some(CloseReason::Culled) => log.starts_with(&received),
                _ => log == received,
            });
        }
        let all = inner.pages.len();
        self.check(
            complete == all,
            &format!("{complete} logs have each of the {lines} lines that there were"),
        );
        self.check(
            confirmed == all,
            &format!("{confirmed} sessions whose clients received what the logs say"),
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
