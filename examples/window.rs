//! A small server with a window: `cargo run --example window --features web`, then open the address that it prints.
//!
//! It has clients that come and go, a task that hangs, and a connection that something keeps after its close. The page shows all of it. With
//! an argument, the number of seconds, it goes on for that long; without one it ends by itself after a look at its own JSON.

use headcount::{Context, Level, Registry};
use std::{error::Error, time::Duration};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    // Names are shown as they are: the clients of this example have no secrets.
    let window = registry.window().show_labels();
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let address = if seconds.is_some() {
        "127.0.0.1:8765"
    } else {
        "127.0.0.1:0"
    };
    let page = window.clone().serve(address).await?;
    println!("http://{}", page.address());

    let server = registry.context("server");
    let forgotten = start(&server).await;
    match seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => println!("{}", window.json("/resourcez").await?),
    }

    drop(forgotten);
    println!("{}", registry.close_now().await);
    Ok(())
}

/// Clients that come and go, and two mistakes.
async fn start(server: &Context) -> Context {
    let own = server.downgrade();
    server.task("accept").cancellable().spawn(async move {
        for number in 1_u32.. {
            let Ok(client) = own.try_child(format!("client {number}")) else {
                return;
            };
            own.task("connection").spawn(serve(client, number));
            sleep(Duration::from_millis(400)).await;
        }
    });
    // It waits for a message that no code sends.
    let (silent, mut orders) = tokio::sync::mpsc::channel::<u32>(1);
    server.task("import").cancellable().spawn(async move {
        let _silent = silent;
        orders.recv().await
    });
    // Its context is closed, and this handle is kept.
    let old = server.child("client 0");
    let forgotten = old.clone();
    old.close().await;
    forgotten
}

async fn serve(client: Context, number: u32) {
    client
        .task("reader")
        .cancellable()
        .spawn(std::future::pending::<()>());
    client
        .task("writer")
        .cancellable()
        .spawn(std::future::pending::<()>());
    let online = Duration::from_millis(u64::from(number % 7) * 700 + 500);
    let own = client.downgrade();
    let _ = own.run_until_cancelled(sleep(online)).await;
    client.close().await;
}
