//! A TCP chat server with 500 real clients and room for 400 sessions, and the proof that nothing of it is left or lost.
//!
//! ```text
//! server                        a context, with a task that accepts, and one that greets each connection
//! ├─ statistician               a worker, restarted when it fails
//! └─ chats                      the table of sessions: at most 400, kept for 3 s without a connection
//!    └─ client-000 …            a session of each client
//!       └─ generation 1
//!          ├─ client-000-1.log  owned: the log, flushed by a hook when the session closes
//!          ├─ listener          room → backlog and log, also while the client is cut off
//!          ├─ connection        holds the session
//!          └─ socket            a context for each connection
//!             ├─ reader         client → room
//!             └─ writer         backlog → client
//! ```
//!
//! The clients are a process of their own, this program started a second time. They come, and 100 find the server full and knock
//! again until there is room. They chat, and then a fifth leaves, a fifth is cut off and is back in time, a fifth is cut off and comes
//! back when its session is gone, a fifth connects a second time and takes over from itself, and a fifth is posed as by another
//! one. Those who are left are still chatting when the server closes. What is left after that is looked at from the outside: by the
//! registry, by the tokio runtime, by the operating system, and by the clients, who wrote down every line they received.
//!
//! Run it with `cargo run --example sessions`. It takes about ten seconds and 520 file descriptors per process, and exits with 1 if
//! anything is left or lost.

mod clients;
mod journal;
mod log;
mod proof;
mod server;
mod session;
mod worker;

use clients::{CLIENTS, Clients, Fifth, Result, client_process};
use headcount::{CloseReason, CloseReport, Context, Registry, sessions::Sessions};
use journal::Journal;
use proof::{Folder, Outside, Proof};
use server::{CAPACITY, listen, open_chat, open_server};
use std::{
    env, path::Path, process::ExitCode, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration,
};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

/// How long anything may take before the program calls it a failure.
const TIME_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments {
        [] => block_on(server_process()),
        ["clients", address, folder] => block_on(client_process(address, Path::new(folder))),
        _ => Err("takes no arguments".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the two processes to its end.
fn block_on(process: impl Future<Output = Result>) -> Result {
    let runtime = Builder::new_multi_thread()
        // Each of these may have a file open, and 500 sockets leave little of the usual 1,024.
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async { timeout(TIME_LIMIT, process).await });
    // Does not wait for a thread that may still be reading stdin.
    runtime.shutdown_background();
    result.unwrap_or_else(|_| Err(format!("not done after {TIME_LIMIT:?}").into()))
}

async fn server_process() -> Result {
    let before = Outside::look();
    let folder = Folder::create()?;
    let registry = Registry::new();
    let journal = Arc::new(Journal::new(&folder.logs));

    let listener = listen()?;
    let address = listener.local_addr()?;
    let server = open_server(&registry);
    let (worker, teller, counted) = worker::start(&server);
    let sessions = open_chat(&server, listener, &journal, teller);
    let mut clients = Clients::start(address, &folder.received)?;

    clients
        .bring_about(until(|| sessions.counts().held == CAPACITY))
        .await?;
    println!(
        "== {CAPACITY} of {CLIENTS} clients are in ==\n{}\n",
        registry.live().await.trimmed(4)
    );

    clients.go_on().await?;
    let late = Fifth::ComesTooLate.size();
    clients
        .bring_about(until(|| journal.tally().culled == late))
        .await?;
    println!("== {late} sessions were culled ==\n{:?}\n", journal.tally());

    clients.go_on().await?;
    clients
        .bring_about(until(|| is_settled(&sessions, &journal)))
        .await?;
    println!(
        "== all are in that have not left ==\n{:?}\n",
        sessions.counts()
    );

    println!("== the server closes under load ==");
    let report = close_with_progress(&server).await;
    println!("{report}\n");
    drop((server, sessions));

    println!("== what is left ==\n{}\n", registry.live().await);
    let mut proof = Proof::default();
    proof.nothing_is_left(&registry, before).await;
    clients.finish().await?;
    proof.sessions_were_kept(&report, &journal);
    proof.the_worker_lost_nothing(&worker, counted.load(Relaxed), journal.tally().said);
    proof.nothing_is_lost(&folder, &journal);
    proof.result()?;
    folder.remove()
}

/// Whether every client has left, or has come back from where it was, and has its session.
fn is_settled(sessions: &Sessions<String>, journal: &Journal) -> bool {
    let (counts, tally) = (sessions.counts(), journal.tally());
    let size = Fifth::size;
    counts.total == counts.held
        && counts.held == CLIENTS - size(Fifth::Leaves)
        && journal.connected() == counts.held
        && tally.opened == CLIENTS + size(Fifth::ComesTooLate)
        && tally.came_back == size(Fifth::ComesBack) + size(Fifth::IsTakenOver)
        && tally.refused_owner == size(Fifth::IsPosedAs)
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Closes the server, and says now and then how far it is.
async fn close_with_progress(server: &Context) -> CloseReport {
    server.request_close(CloseReason::Shutdown);
    let mut is_first = true;
    loop {
        match server.close_within(Duration::from_millis(25)).await {
            Ok(report) => return report,
            Err(still_closing) => {
                let live = still_closing.remaining();
                if std::mem::take(&mut is_first) {
                    println!("{}\n", live.trimmed(2));
                }
                println!(
                    "… {} sessions, {} tasks to go",
                    live.kind("session").len(),
                    live.tasks().len()
                );
            }
        }
    }
}
