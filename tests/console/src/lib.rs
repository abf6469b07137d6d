//! A `console-subscriber` in this process, and what a client of it gets to know.

#![expect(clippy::unwrap_used, reason = "for tests alone")]

use console_api::{
    field::Name,
    instrument::{InstrumentRequest, Update, instrument_client::InstrumentClient},
    tasks::{Stats, Task},
};
use console_subscriber::{ConsoleLayer, ServerParts};
use std::{collections::BTreeMap, net::SocketAddr, sync::mpsc, thread, time::Duration};
use tokio::{net::TcpListener, runtime, time::timeout};
use tonic::{
    Streaming,
    transport::{Server, server::TcpIncoming},
};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How long something is waited for that has to come.
const LIMIT: Duration = Duration::from_secs(120);

/// What a client has been told so far.
#[derive(Debug)]
pub struct Console {
    updates: Streaming<Update>,
    tasks: BTreeMap<u64, Task>,
    stats: BTreeMap<u64, Stats>,
}

/// A task, as the console knows it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its fields, printed.
    pub fields: BTreeMap<String, String>,
    /// The file and the line that spawned it.
    pub location: Option<(String, u32)>,
    /// Its figures.
    pub stats: Stats,
}

impl Seen {
    /// How often it was polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.stats
            .poll_stats
            .as_ref()
            .map_or(0, |stats| stats.polls)
    }

    /// How long its polls took.
    #[must_use]
    pub fn busy(&self) -> Duration {
        let busy = self
            .stats
            .poll_stats
            .as_ref()
            .and_then(|stats| stats.busy_time);
        busy.map_or(Duration::ZERO, |busy| busy.try_into().unwrap())
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stats.dropped_at.is_some()
    }
}

impl Console {
    /// Makes the subscriber that of the process, serves it on a thread of its own, and connects to it.
    pub async fn start() -> Self {
        let layer = ConsoleLayer::builder().publish_interval(Duration::from_millis(20));
        let (layer, server) = layer.build();
        tracing_subscriber::registry().with(layer).init();
        let (tell, address) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(serve(server.into_parts(), &tell));
        });
        let address = address.recv().unwrap();
        let client = InstrumentClient::connect(format!("http://{address}")).await;
        let updates = client.unwrap().watch_updates(InstrumentRequest {}).await;
        Self {
            updates: updates.unwrap().into_inner(),
            tasks: BTreeMap::new(),
            stats: BTreeMap::new(),
        }
    }

    /// Takes updates until there is one task of this name of which this is true. There is never a second one.
    pub async fn until(&mut self, name: &str, is_so: impl Fn(&Seen) -> bool) -> Seen {
        let mut last = None;
        let found = async {
            loop {
                let seen = self.named(name);
                assert!(seen.len() < 2, "{seen:#?}");
                if let Some(one) = seen.into_iter().next() {
                    if is_so(&one) {
                        return one;
                    }
                    last = Some(one);
                }
                self.update().await;
            }
        };
        let found = timeout(LIMIT, found).await;
        found.unwrap_or_else(|_| panic!("it did not come: {last:#?}"))
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        let seen = self.tasks.iter().filter_map(|(id, task)| {
            let fields = task.fields.iter();
            let fields = fields.map(|field| match (&field.name, &field.value) {
                (Some(Name::StrName(name)), Some(value)) => (name.clone(), value.to_string()),
                other => panic!("{other:?}"),
            });
            let location = task.location.clone();
            Some(Seen {
                fields: fields.collect(),
                location: location.and_then(|it| Some((it.file?, it.line?))),
                stats: *self.stats.get(id)?,
            })
        });
        seen.filter(|seen| seen.fields.get("task.name").is_some_and(|it| it == name))
            .collect()
    }

    async fn update(&mut self) {
        let update = self.updates.message().await.unwrap().unwrap();
        let Some(update) = update.task_update else {
            return;
        };
        for task in update.new_tasks {
            self.tasks.insert(task.id.unwrap().id, task);
        }
        self.stats.extend(update.stats_update);
    }
}

async fn serve(parts: ServerParts, tell: &mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell.send(listener.local_addr().unwrap()).unwrap();
    tokio::spawn(parts.aggregator.run());
    Server::builder()
        .add_service(parts.instrument_server)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
        .unwrap();
}
