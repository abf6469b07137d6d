//! A leak hunt: a small server keeps something it should not. Run it, read the report, and do what its last
//! line says.
//!
//! ```sh
//! cargo run --example leak_hunt            # the leak, and the report
//! cargo run --example leak_hunt -- fixed   # after the fix
//! ```

use headcount::{Context, Level, Registry, Tracked, WeakContext, leaks::LeakPolicy};
use std::{collections::HashMap, sync::Mutex, time::Duration};

/// Who is online, and on which connection: shared by all of the server.
type Board = Mutex<HashMap<String, Context>>;

#[tokio::main]
async fn main() {
    let is_fixed = std::env::args().nth(1).as_deref() == Some("fixed");
    let registry = Registry::new();
    // Debug builds do so by themselves.
    registry.set_level(Level::Holders);

    let server = registry.context("server");
    let board: Tracked<Board> = server
        .own("presence board", "board", Board::default())
        .expect("the server is open");

    let clients = ["ada", "grace", "edsger"];
    let tasks = clients.map(|name| {
        let (server, board) = (server.downgrade(), board.clone());
        // The server's own tasks: each opens a connection, works with it and closes it.
        let ctx = server.upgrade().expect("the server is open");
        ctx.task(format!("handler of {name}"))
            .spawn(serve(server, board, name, is_fixed))
    });
    for task in tasks {
        task.await.expect("the lock is not poisoned");
    }

    // All clients are gone. Is everything that was theirs?
    let policy = LeakPolicy::new().settle(Duration::from_millis(200));
    let report = registry.leaks(&policy).await;
    report.eprint();
    assert_eq!(
        report.is_clean(),
        is_fixed,
        "the leak is where it was planted"
    );

    drop(board);
    server.close().await;
}

async fn serve(server: WeakContext, board: Tracked<Board>, name: &str, is_fixed: bool) {
    let Some(server) = server.upgrade() else {
        return;
    };
    let conn = server.child(format!("connection of {name}"));
    drop(server);
    enlist(&board, name, &conn);

    let session = conn.task("session").spawn(talk(name.len()));
    let said_goodbye = session.await.unwrap_or(false);
    if said_goodbye || is_fixed {
        strike_off(&board, name);
    }
    // Who hangs up without a goodbye stays on the board, and its connection with it.
    conn.close().await;
}

fn enlist(board: &Tracked<Board>, name: &str, conn: &Context) {
    let handle = conn.clone();
    // The board holds this one: the report can say so.
    handle.held_by(&(board, "by_name"));
    let mut by_name = board.lock().expect("the lock is not poisoned");
    by_name.insert(name.to_owned(), handle);
}

fn strike_off(board: &Tracked<Board>, name: &str) {
    let struck = board.lock().expect("the lock is not poisoned").remove(name);
    drop(struck);
}

/// Says whether the client said goodbye. Those with long names are in a hurry.
async fn talk(length: usize) -> bool {
    tokio::time::sleep(Duration::from_millis(20)).await;
    length < 6
}
