//! Handles in flight: sent, and never received.

use crate::world::{World, culprit};
use headcount::{Context, WeakContext};
use std::sync::mpsc as blocking;
use tokio::sync::{
    broadcast,
    mpsc::{self, UnboundedReceiver},
    oneshot, watch,
};

/// No task reads the queue.
pub(crate) async fn unbounded(world: World) -> UnboundedReceiver<Context> {
    let (tx, rx) = mpsc::unbounded_channel();
    let conn = world.context("conn");
    tx.send(culprit!(world, conn.clone())).unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn unbounded_fixed(world: World) -> UnboundedReceiver<Context> {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let conn = world.context("conn");
    tx.send(conn.clone()).unwrap();
    conn.close().await;
    while let Ok(conn) = rx.try_recv() {
        drop(conn);
    }
    rx
}

/// The queue is full, and the one who sends waits for ever.
pub(crate) async fn bounded(world: World) -> mpsc::Receiver<Context> {
    let (tx, rx) = mpsc::channel(1);
    let conn = world.context("conn");
    tx.send(culprit!(world, conn.clone())).await.unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn bounded_fixed(world: World) -> mpsc::Receiver<WeakContext> {
    let (tx, rx) = mpsc::channel(1);
    let conn = world.context("conn");
    tx.send(conn.downgrade()).await.unwrap();
    conn.close().await;
    rx
}

/// The answer came, and no task waits for it any more.
pub(crate) async fn answer(world: World) -> oneshot::Receiver<Context> {
    let (tx, rx) = oneshot::channel();
    let conn = world.context("conn");
    tx.send(culprit!(world, conn.clone())).unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn answer_fixed(world: World) {
    let (tx, rx) = oneshot::channel();
    let conn = world.context("conn");
    tx.send(conn.clone()).unwrap();
    conn.close().await;
    drop(rx);
}

/// A watch keeps its latest value.
pub(crate) async fn watched(world: World) -> watch::Receiver<Option<Context>> {
    let (tx, rx) = watch::channel(None);
    let conn = world.context("conn");
    tx.send(Some(culprit!(world, conn.clone()))).unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn watched_fixed(world: World) -> watch::Receiver<Option<Context>> {
    let (tx, rx) = watch::channel(None);
    let conn = world.context("conn");
    tx.send(Some(conn.clone())).unwrap();
    conn.close().await;
    tx.send(None).unwrap();
    rx
}

/// A broadcast keeps what its slowest receiver has not seen.
pub(crate) async fn broadcast_to_the_slow(world: World) -> broadcast::Receiver<Context> {
    let (tx, rx) = broadcast::channel(4);
    let conn = world.context("conn");
    tx.send(culprit!(world, conn.clone())).unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn broadcast_to_the_slow_fixed(world: World) -> broadcast::Receiver<Context> {
    let (tx, mut rx) = broadcast::channel(4);
    let conn = world.context("conn");
    tx.send(conn.clone()).unwrap();
    conn.close().await;
    drop(rx.recv().await.unwrap());
    rx
}

/// The same with the standard library's.
pub(crate) async fn blocking_queue(world: World) -> blocking::Receiver<Context> {
    let (tx, rx) = blocking::channel();
    let conn = world.context("conn");
    tx.send(culprit!(world, conn.clone())).unwrap();
    conn.close().await;
    rx
}

pub(crate) async fn blocking_queue_fixed(world: World) -> blocking::Receiver<Context> {
    let (tx, rx) = blocking::channel();
    let conn = world.context("conn");
    tx.send(conn.clone()).unwrap();
    conn.close().await;
    drop(rx.recv().unwrap());
    rx
}

/// Handed back because there is no receiver, and kept with the error.
pub(crate) async fn returned_to_sender(world: World) -> Option<Context> {
    let (tx, rx) = mpsc::unbounded_channel();
    drop(rx);
    let conn = world.context("conn");
    let refused = tx.send(culprit!(world, conn.clone()));
    conn.close().await;
    refused.err().map(|error| error.0)
}

pub(crate) async fn returned_to_sender_fixed(world: World) -> bool {
    let (tx, rx) = mpsc::unbounded_channel();
    drop(rx);
    let conn = world.context("conn");
    let refused = tx.send(conn.clone());
    conn.close().await;
    refused.is_err()
}
