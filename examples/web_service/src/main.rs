//! A web service: axum, a database by sqlx, a queue of jobs, server-sent events and a web socket. See the library beside this file.
//!
//! Run it with `cargo run --package web_service`, and stop it with ctrl-c. Settings are environment variables:
//!
//! | variable | |
//! |---|---|
//! | `WEB_ADDRESS` | where it listens; `127.0.0.1:8080` if not set |
//! | `WEB_DEADLINE` | the deadline of the stop, and the grace period, in seconds; 25 and 5 if not set |

use headcount::{App, Registry};
use std::{env, error::Error, process::ExitCode, time::Duration};
use tokio::net::TcpListener;
use web_service::Service;

fn main() -> ExitCode {
    let mut builder = App::builder("web");
    let seconds = env::var("WEB_DEADLINE")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    if let Some(deadline) = seconds.map(Duration::from_secs) {
        builder = builder
            .registry(&Registry::builder().grace(deadline).build())
            .deadline(deadline);
    }
    builder.run(serve)
}

async fn serve(app: App) -> Result<(), Box<dyn Error>> {
    let address = env::var("WEB_ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr()?;

    // Holds the parts of the service open.
    let service = Service::start(app.context(), app.readiness(), listener).await?;
    app.ready();
    println!("listening on {address}");
    let reason = app.stopping().await;
    println!("stopping ({reason})");
    app.context().closed().await;
    drop(service);
    Ok(())
}
