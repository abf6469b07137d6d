//! A TCP line-chat server with 500 real connections, and the proof that nothing of it is left when it
//! has closed.
//!
//! ```text
//! server                        a context, with a task that accepts
//! └─ room-00 … room-19          a context each, kept by a task of the server
//!    └─ client-000 …            a context per connection, kept by a task of its room
//!       ├─ client-000.log       owned: the log, flushed by a hook when the connection closes
//!       ├─ reader               client → room
//!       ├─ writer               room → client, and into the log
//!       └─ idle timer
//! ```
//!
//! The clients are a process of their own, this program started a second time. They join, chat, and
//! then a third leaves politely, a third is cut off without a word, and a third is still chatting when
//! the server closes. What is left after that is looked at from the outside: by the registry, by the
//! tokio runtime, by the operating system, and by the clients, who wrote down every line they received.
//!
//! Run it with `cargo run --example sessions`. It takes a few seconds and 520 file descriptors per
//! process, and exits with 1 if anything is left or lost.

mod clients;
mod log;
mod proof;
mod server;

use clients::{CLIENTS, Clients, Result, Third, client_process};
use headcount::{CloseReason, CloseReport, Context, Live, Registry};
use log::Journal;
use proof::{Folder, Outside, Proof};
use server::{ROOMS, listen, open_server};
use std::{env, path::Path, process::ExitCode, sync::Arc, time::Duration};
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
    let server = open_server(&registry, listener, &journal);
    let mut clients = Clients::start(address, &folder.received)?;

    let live = clients
        .bring_about(until_connected(&registry, CLIENTS))
        .await?;
    println!(
        "== {CLIENTS} clients in {ROOMS} rooms ==\n{}\n",
        live.trimmed(4)
    );

    clients.chat().await?;
    let live = clients
        .bring_about(until_connected(&registry, Third::Stays.size()))
        .await?;
    println!(
        "== a third left, a third was cut off ==\n{}\n",
        live.trimmed(2)
    );

    println!("== the server closes under load ==");
    let report = close_with_progress(&server).await;
    println!("{report}\n");
    drop(server);

    println!("== what is left ==\n{}\n", registry.live().await);
    let mut proof = Proof::default();
    proof.nothing_is_left(&registry, before).await;
    clients.finish().await?;
    proof.everything_closed_well(&report, &journal);
    proof.nothing_is_lost(&folder, &journal);
    proof.result()?;
    folder.remove()
}

/// Waits until so many connections are there, no more and no less.
async fn until_connected(registry: &Registry, count: usize) -> Live {
    loop {
        let live = registry.live().await;
        if live.kind("connection").len() == count {
            return live;
        }
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
                    "… {} connections in {} rooms, {} tasks to go",
                    live.kind("connection").len(),
                    live.kind("room").len(),
                    live.tasks().len()
                );
            }
        }
    }
}
