//! A session: what the server keeps of one client, also while that is cut off.

use crate::{
    journal::Journal,
    log::{SessionLog, open_log},
};
use headcount::{CloseReason, Tracked, WeakContext};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{broadcast, watch};

/// A line, shared by all who receive it.
pub(crate) type Line = Arc<str>;

/// Every line for one client, in order. The first one has the number 1.
///
/// The client says which one it received last when it comes back. The chat is short, so nothing is ever cut.
pub(crate) struct Backlog {
    lines: Mutex<Vec<Line>>,
    /// How many there are, and whether no more will come.
    state: watch::Sender<(usize, bool)>,
}

impl Backlog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lines: Mutex::default(),
            state: watch::channel((0, false)).0,
        })
    }

    fn push(&self, line: Line) {
        locked(&self.lines).push(line);
        self.state.send_modify(|(count, _)| *count += 1);
    }

    fn end(&self) {
        self.state.send_modify(|(_, has_ended)| *has_ended = true);
    }

    pub(crate) fn len(&self) -> usize {
        locked(&self.lines).len()
    }

    /// The line after this one, when there is one; `None` when no more will come.
    pub(crate) async fn after(&self, number: usize) -> Option<Line> {
        let mut state = self.state.subscribe();
        let more = state.wait_for(|(count, has_ended)| *count > number || *has_ended);
        drop(more.await.ok()?);
        locked(&self.lines).get(number).cloned()
    }
}

/// The backlogs of the sessions that are there, by client.
#[derive(Clone, Default)]
pub(crate) struct Backlogs(Arc<Mutex<HashMap<String, Arc<Backlog>>>>);

impl Backlogs {
    pub(crate) fn of(&self, client: &str) -> Option<Arc<Backlog>> {
        locked(&self.0).get(client).cloned()
    }
}

/// What a new session is made of.
#[derive(Clone)]
pub(crate) struct Founding {
    pub(crate) backlogs: Backlogs,
    pub(crate) journal: Arc<Journal>,
    /// Who is to write down how it ended.
    pub(crate) server: WeakContext,
}

/// The init of a session: a log, a backlog, and a task that listens to the room for as long as the session is open.
pub(crate) async fn open_session(
    founding: Founding,
    client: String,
    chat: broadcast::Sender<Line>,
    session: WeakContext,
) -> Result<(), &'static str> {
    let Founding {
        backlogs,
        journal,
        server,
    } = founding;
    let page = journal.open_page(&client);
    let log = open_log(&session, &page.name, &journal.log_of(&page.name)).ok_or("it is closing")?;
    let backlog = Backlog::new();
    locked(&backlogs.0).insert(client.clone(), Arc::clone(&backlog));

    let (counts, page_name) = (Arc::clone(&journal), page.name.clone());
    let (own, kept) = (session.clone(), Arc::clone(&backlog));
    let hook = async move || {
        let culled = own
            .close_reason()
            .is_some_and(|reason| *reason.root() == CloseReason::Culled);
        counts.close_page(&page_name, kept.len(), culled);
        // The next session of this client has a backlog of its own.
        locked(&backlogs.0).remove(&client);
    };
    session.on_close(hook).map_err(|_| "it is closing")?;

    let (ended, clerk) = (session.clone(), Arc::clone(&journal));
    let note = async move { clerk.note_report(&page.name, ended.closed().await) };
    let clerk = server.task("clerk").try_spawn(note);
    clerk.map_err(|_| "the server is closing")?;
    let listener = listen(session.clone(), chat.subscribe(), backlog, log);
    session.task("listener").spawn(listener);
    Ok(())
}

/// Takes every line of the room into the backlog and the log.
async fn listen(
    session: WeakContext,
    mut chat: broadcast::Receiver<Line>,
    backlog: Arc<Backlog>,
    log: Tracked<SessionLog>,
) {
    let keep = |line: Line| {
        let is_long = log.record(&line);
        backlog.push(line);
        is_long
    };
    while let Some(received) = session.run_until_cancelled(chat.recv()).await {
        let line = match received {
            Ok(line) => line,
            Err(broadcast::error::RecvError::Lagged(lines)) => {
                format!("* you missed {lines} lines").into()
            }
            Err(broadcast::error::RecvError::Closed) => break,
        };
        if keep(line) {
            save(&session, &log).await;
        }
    }
    // The session closes: what was said so far is delivered yet.
    while let Ok(line) = chat.try_recv() {
        keep(line);
    }
    keep("* goodbye".into());
    backlog.end();
}

/// Writes the log to the disk, unless the session is closing: then its hook does.
async fn save(session: &WeakContext, log: &Tracked<SessionLog>) {
    let log = log.clone();
    let saving = session
        .task("save log")
        .try_spawn_blocking(move || log.flush());
    if let Ok(saving) = saving {
        // If it fails, the lines are still there for the hook, which tries again and reports.
        let _ = saving.await;
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
