//! One server of sessions, of which a fleet has several: what Prometheus scrapes of it, and what the rules beside this say of that.
//!
//! Three of them, and a Prometheus (Debian: `apt-get install prometheus`), in the folder of this example:
//!
//! ```sh
//! cargo build
//! for port in 9101 9102 9103; do FLEET_ADDRESS=127.0.0.1:$port cargo run & done
//! prometheus --config.file=prometheus.yml --storage.tsdb.path=/var/tmp/fleet
//! ```
//!
//! Then `http://localhost:9090/alerts` has the alerts of `rules.yml`. `promtool test rules rules_test.yml` shows when each fires.
//!
//! | path | |
//! |---|---|
//! | `PUT /sessions/{key}` | opens a session, or comes back to it; 503 if there are too many |
//! | `DELETE /sessions/{key}` | ends it |
//! | `POST /jobs/{milliseconds}` | does a job for so long; 503 if there are too many |
//! | `GET /metrics` | what Prometheus scrapes |
//! | `POST /faults/feed`, `POST /faults/hold` | with `FLEET_FAULTS=1`: a task fails and is restarted; a context is held after its close |

mod routes;
mod server;

use headcount::{App, Registry, leaks::LeakPolicy};
use metrics_exporter_prometheus::PrometheusBuilder;
use server::Server;
use std::{env, error::Error, process::ExitCode, time::Duration};
use tokio::net::TcpListener;

/// How often it is looked for leaks.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let registry = Registry::new();
    let builder = App::builder("fleet").registry(&registry);
    builder.run(async move |app: App| serve(app, registry).await)
}

async fn serve(app: App, registry: Registry) -> Result<(), Box<dyn Error>> {
    let address = env::var("FLEET_ADDRESS").unwrap_or_else(|_| "127.0.0.1:9101".to_owned());
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr()?;

    // The recorder comes first: what is described before it is there is lost.
    let page = PrometheusBuilder::new().install_recorder()?;
    let figures = headcount::metrics::publish(&registry);
    registry.watch_leaks(LeakPolicy::new(), LOOK).detach();

    let has_faults = env::var("FLEET_FAULTS").is_ok_and(|it| it == "1");
    let server = Server::open(app.context(), has_faults);
    let router = routes::router(server, figures, page);
    let web = app.context().child("web");
    drop(headcount::tower::serve(listener, router, &web));
    app.ready();
    println!("listening on {address}");
    app.stopping().await;
    app.context().closed().await;
    drop(web);
    Ok(())
}
