//! A service whose main function is [`headcount::run`], and what becomes of it when it does not stop as it should.
//!
//! Run it with `cargo run --example run --features signal`: it works for a moment and stops by itself. With an argument it goes on until
//! a signal, press ctrl-c once, twice, and three times:
//!
//! | argument | the service | exit code |
//! |---|---|---|
//! | none | stops by itself | 0 |
//! | `serve` | stops at the first signal, and flushes its buffer | 0 |
//! | `drain` | goes on for a day after the first signal, and is not ready; stops at the second one | 0 |
//! | `stubborn` | has a task that ignores the close; aborted after the second signal | 1 |
//! | `blocked` | blocks the only thread of its runtime; a third signal ends it | 130 or 143 |
//! | `overdue` | does the same, and is ended when the time is up | 130 or 143 |
//! | `leaves` | leaves a blocking closure behind at its deadline | 3 |
//! | `error` | returns an error | 1 |
//! | `panic` | panics | 101 |

use headcount::{App, AppBuilder, Registry};
use std::{env, error::Error, future::pending, process::ExitCode, thread, time::Duration};
use tokio::time::sleep;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// For a deadline that is to pass.
const SOON: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        None => headcount::run("clock", stops_by_itself),
        Some("serve") => headcount::run("clock", serves),
        Some("drain") => clock().drain_delay(DAY).run(drains),
        // Neither the deadline nor the grace period is to pass: the second signal does it.
        Some("stubborn") => clock()
            .registry(&Registry::builder().grace(DAY).build())
            .deadline(DAY)
            .run(is_stubborn),
        Some("blocked") => clock().deadline(DAY).current_thread().run(blocks),
        Some("overdue") => clock()
            .deadline(SOON)
            .exit_after(SOON)
            .current_thread()
            .run(blocks),
        Some("leaves") => clock().deadline(SOON).unclean_code(3).run(leaves_behind),
        Some("error") => headcount::run("clock", fails),
        Some("panic") => headcount::run("clock", panics),
        Some(other) => {
            eprintln!("run: there is no `{other}`; see the table at the top of this file");
            ExitCode::FAILURE
        }
    }
}

type Ended = Result<(), Box<dyn Error>>;

fn clock() -> AppBuilder {
    App::builder("clock")
}

/// Works for a moment, and stops as a signal would stop it.
async fn stops_by_itself(app: App) -> Ended {
    start(&app)?;
    sleep(Duration::from_millis(100)).await;
    app.request_stop("it has seen enough");
    until_it_stops(&app).await
}

/// Works until it is told to stop.
async fn serves(app: App) -> Ended {
    start(&app)?;
    until_it_stops(&app).await
}

/// What a service does to begin: opens what it needs, starts its tasks, and is ready.
fn start(app: &App) -> Ended {
    let ctx = app.context();
    ctx.on_close(|| async { println!("flushed") })?;
    ctx.task("ticker").cancellable().spawn(tick());
    app.ready();
    println!("ready");
    Ok(())
}

async fn tick() {
    loop {
        sleep(Duration::from_secs(1)).await;
        println!("tick");
    }
}

async fn until_it_stops(app: &App) -> Ended {
    let reason = app.stopping().await;
    println!("stopping ({reason}), ready: {}", app.readiness().is_ready());
    Ok(())
}

/// Says when a load balancer would stop sending requests.
async fn drains(app: App) -> Ended {
    start(&app)?;
    let readiness = app.readiness();
    println!("ready: {}", readiness.is_ready());
    while readiness.is_ready() {
        sleep(Duration::from_millis(10)).await;
    }
    println!("ready: {}", readiness.is_ready());
    until_it_stops(&app).await
}

/// Has a task that ignores the close.
async fn is_stubborn(app: App) -> Ended {
    app.context().task("stubborn").spawn(pending::<()>());
    serves(app).await
}

/// Blocks the thread that runs it, which is the only one.
async fn blocks(app: App) -> Ended {
    app.context().task("behind").spawn(pending::<()>());
    println!("ready");
    loop {
        thread::sleep(DAY);
    }
}

/// Has a blocking closure, which nothing can end.
async fn leaves_behind(app: App) -> Ended {
    app.context()
        .task("encoder")
        .spawn_blocking(|| thread::sleep(DAY));
    serves(app).await
}

async fn fails(app: App) -> Ended {
    start(&app)?;
    Err("no route to host".into())
}

async fn panics(app: App) -> Ended {
    start(&app)?;
    panic!("a bug")
}
