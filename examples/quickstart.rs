//! A context, a child, two tasks, the head count, and a close that can be trusted.
//!
//! Run it with `cargo run --example quickstart`.

use headcount::Registry;
use std::{future::pending, time::Duration};
use tokio::time::sleep;

#[tokio::main]
async fn main() {
    let registry = Registry::new();
    let server = registry.context("server");
    let conn = server.child("conn-1");

    // Dropped at its next wait once the close has begun.
    conn.task("reader").cancellable().spawn(pending::<()>());

    // Is notified of the close, through a handle that keeps nothing open, and cleans up first.
    let ctx = conn.downgrade();
    conn.task("writer").spawn(async move {
        ctx.cancelled().await;
        sleep(Duration::from_millis(20)).await;
    });

    println!("{}\n", registry.live().await);
    println!("{}\n", server.close().await);

    drop((server, conn));
    println!("{}", registry.live().await);
}
