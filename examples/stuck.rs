//! A service that hangs in four ways, and a dump that names the four lines:
//! `cargo run --example stuck --features dump`.

use headcount::{Context, Registry};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, mpsc},
    time::sleep,
};

#[tokio::main]
async fn main() {
    let registry = Registry::new();
    let bank = registry
        .context_builder("bank")
        .grace(Duration::from_millis(300))
        .open();
    lock_in_two_orders(&bank);
    fill_a_channel(&bank);
    forget_a_sleep(&bank);
    let stop = block(&bank);
    sleep(Duration::from_millis(100)).await;

    println!("{}", registry.dump().await);

    drop(stop);
    // Who is still stuck when the grace period is over is in the report as well.
    let report = bank.close().await;
    assert_eq!(report.stuck().len(), 4);
}

/// Each has one lock, and waits for the other's.
fn lock_in_two_orders(bank: &Context) {
    let accounts = [Arc::new(Mutex::new(100)), Arc::new(Mutex::new(0))];
    for (name, from, to) in [("pay", 0, 1), ("refund", 1, 0)] {
        let (from, to) = (accounts[from].clone(), accounts[to].clone());
        bank.task(name).spawn(transfer(from, to));
    }
}

async fn transfer(from: Arc<Mutex<i32>>, to: Arc<Mutex<i32>>) {
    let mut from = from.lock().await;
    sleep(Duration::from_millis(10)).await;
    let mut to = to.lock().await;
    *from -= 1;
    *to += 1;
}

/// No task takes out what is put in.
fn fill_a_channel(bank: &Context) {
    let (give, take) = mpsc::channel(2);
    bank.task("audit").spawn(async move {
        let _take = take;
        for entry in 0.. {
            if give.send(entry).await.is_err() {
                break;
            }
        }
    });
}

/// An hour, where a second was meant.
fn forget_a_sleep(bank: &Context) {
    bank.task("interest").spawn(async {
        sleep(Duration::from_secs(3_600)).await;
    });
}

/// A blocking call that does not return.
fn block(bank: &Context) -> std::sync::mpsc::Sender<()> {
    let (stop, stopped) = std::sync::mpsc::channel();
    bank.task("statement")
        .spawn_blocking(move || stopped.recv().is_ok());
    stop
}
