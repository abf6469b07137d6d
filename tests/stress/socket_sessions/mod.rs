//! Sessions whose clients come over sockets: half of them are cut off and come back, and nothing is lost.
//!
//! `HEADCOUNT_SOCKETS=<n>` says how many leases there are, three for each session: 1,500 unless set. Both ends of a socket are in this
//! process. Where it may not have so many open files, several clients share a socket, as behind a proxy, and that is printed.

mod client;
mod server;

use crate::common::{soon, within};
use client::Client;
use headcount::{
    Registry,
    sessions::{SessionCounts, Sessions},
};
use server::Server;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

const LIMIT: Duration = Duration::from_secs(900);
/// Longer than the test may take.
const LONG: Duration = Duration::from_secs(3_600);
/// Leases of each session.
const DEVICES: usize = 3;
/// Clients who find all places taken.
const STRANGERS: usize = 64;
/// Open files of the process that are not sockets of clients, and sockets that are not closed yet while the next ones are opened.
const OTHER_FILES: usize = 800;
/// How many clients connect at once: fewer than a listener keeps waiting.
const CONNECTING: usize = 256;
/// Leases that share a socket at most.
const MOST_SHARED: usize = 64;

/// How many sessions there are, and how many leases share a socket.
#[derive(Clone, Copy)]
struct Size {
    sessions: usize,
    shared: usize,
}

impl Size {
    fn new(leases: usize) -> Self {
        let files = open_files(2 * leases + OTHER_FILES);
        let sockets = files.saturating_sub(OTHER_FILES) / 2;
        let shared = leases.div_ceil(sockets.max(1)).clamp(1, MOST_SHARED);
        // Those that share a socket have the same fate.
        let sessions = (leases / DEVICES).max(1).next_multiple_of(4 * shared);
        let size = Self { sessions, shared };
        println!(
            "{sessions} sessions, {} leases on {} sockets",
            size.leases(),
            size.leases() / shared
        );
        if shared > 1 {
            println!(
                "{shared} leases share a socket: {} open files are needed otherwise, and this process may have {files} \
                 (see `ulimit -Hn`)",
                2 * leases + OTHER_FILES
            );
        }
        size
    }

    fn from_env(otherwise: usize) -> Self {
        Self::new(match std::env::var("HEADCOUNT_SOCKETS") {
            Ok(leases) => leases.parse().expect("HEADCOUNT_SOCKETS is a number"),
            Err(_) => otherwise,
        })
    }

    fn leases(self) -> usize {
        self.sessions * DEVICES
    }
}

/// Raises the soft limit as far as needed and possible. Returns how many files this process may open.
fn open_files(needed: usize) -> usize {
    let needed = needed.try_into().expect("it is not that many");
    let files = rlimit::increase_nofile_limit(needed).expect("the limit of open files can be read");
    files.try_into().unwrap_or(usize::MAX)
}

/// What happens to a client, by the quarter of its session and its device: all of a session are cut off, or some, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// Its connection is reset, and it comes back later.
    CutOff,
    /// It connects a second time before the server has noticed the end of the first connection.
    TakesOver,
}

impl Fate {
    fn of(quarter: usize, device: usize) -> Self {
        match (quarter, device) {
            (0, _) | (1, 1) | (2, 0) => Self::CutOff,
            (1, 0) => Self::TakesOver,
            _ => Self::Stays,
        }
    }
}

/// All clients, in the order of their devices and sessions.
fn clients(size: Size, server: &Server, connecting: &Arc<Semaphore>) -> Vec<Client> {
    let sockets = |device| (0..size.sessions / size.shared).map(move |socket| (device, socket));
    let all = (0..DEVICES).flat_map(sockets).enumerate();
    let client = |(n, (device, socket)): (usize, (usize, usize))| {
        let first = socket * size.shared;
        let fate = Fate::of(4 * first / size.sessions, device);
        let keys = first..first + size.shared;
        Client::new((server.address(n), connecting), keys, device, fate)
    };
    all.map(client).collect()
}

/// Has all clients do something at once, and says how long that took.
async fn each<F>(what: &str, clients: Vec<Client>, act: impl Fn(Client) -> F) -> Vec<Client>
where
    F: Future<Output = Client> + Send + 'static,
{
    let start = Instant::now();
    let mut acting = JoinSet::new();
    for client in clients {
        acting.spawn(act(client));
    }
    let mut done = Vec::with_capacity(acting.len());
    while let Some(client) = soon(what, acting.join_next()).await {
        done.push(client.expect("the client finds what it is promised"));
    }
    println!("{what:<32} {:>8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    done
}

/// Waits until the server has noticed what its clients have done.
async fn noticed(what: &str, sessions: &Sessions<usize>, is_so: impl Fn(SessionCounts) -> bool) {
    let noticed = async {
        while !is_so(sessions.counts()) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, noticed).await;
}

fn all_held(counts: SessionCounts) -> (usize, usize, usize) {
    (counts.total, counts.held, counts.leases)
}

#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn clients_on_sockets_that_come_back_in_time_have_lost_nothing() {
    within(LIMIT, |notes| {
        let size = Size::from_env(1_500);
        notes.now(format!("{} sessions", size.sessions));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(come_back(size));
    });
}

async fn come_back(size: Size) {
    let Size { sessions: all, .. } = size;
    let registry = Registry::new();
    let server = Server::open(&registry, all, LONG);
    let (sessions, tally) = (server.sessions(), server.tally());

    let connecting = Arc::new(Semaphore::new(CONNECTING));
    let clients = clients(size, &server, &connecting);
    let clients = each(
        "attach, and open the sessions",
        clients,
        |mut client| async {
            client.connect().await;
            client.assert_arrived(|_| true);
            client
        },
    );
    let clients = clients.await;
    assert_eq!(all_held(sessions.counts()), (all, all, size.leases()));
    let clients = each("each says something", clients, |mut client| async {
        client.say().await;
        client.hear(3).await;
        client
    });
    let mut clients = clients.await;

    let is_cut_off = |client: &Client| client.fate == Fate::CutOff;
    let cut_off = clients.iter().filter(|client| is_cut_off(client)).count() * size.shared;
    for client in clients.iter_mut().filter(|client| is_cut_off(client)) {
        client.cut_off();
    }
    noticed("the server notices the cuts", &sessions, |counts| {
        counts.leases == size.leases() - cut_off
    })
    .await;
    let counts = sessions.counts();
    assert_eq!((counts.idle, counts.held), (all / 4, all - all / 4));

    server.publish();
    server.publish();
    strangers(&server, &connecting, all).await;
    assert_eq!(sessions.counts(), counts);

    let clients = each("half of them come back", clients, |mut client| async {
        client.come_back().await;
        client.hear(5).await;
        client
    });
    let clients = clients.await;
    let back = clients.iter().filter(|client| client.fate != Fate::Stays);
    assert_eq!(
        2 * back.count() * size.shared,
        size.leases(),
        "half of them came back"
    );
    assert_eq!(all_held(sessions.counts()), (all, all, size.leases()));
    assert_eq!(tally.closed(), (0, 0, 0), "a session that was not to end");
    assert_eq!(tally.opened(), all);
    let clients = each("each says something", clients, |mut client| async {
        client.say().await;
        client.hear(8).await;
        client
    });

    let is_even = |client: &Client| client.quarter(all) % 2 == 0;
    let (leaving, staying) = clients.await.into_iter().partition(is_even);
    drop(
        each("half of the sessions end", leaving, |mut client| async {
            client.quit().await;
            client
        })
        .await,
    );
    noticed("sessions are left", &sessions, |counts| {
        counts.total == all / 2
    })
    .await;
    assert_eq!(
        all_held(sessions.counts()),
        (all / 2, all / 2, size.leases() / 2)
    );
    assert_eq!(tally.closed(), (all / 2, 0, 0));

    let listening = each(
        "the server closes under load",
        staying,
        |mut client| async {
            client.say().await;
            client.say().await;
            client.until_goodbye().await;
            client
        },
    );
    let (clients, report) = tokio::join!(listening, server.close());
    drop(clients);
    assert!(report.is_clean(), "{report}");
    assert_eq!(sessions.counts(), SessionCounts::default());
    assert_eq!(tally.closed(), (all / 2, all / 2, 0));
    assert_eq!((tally.opened(), tally.most()), (all, all));
    assert!(
        registry.live().await.is_empty(),
        "{}",
        registry.live().await
    );
}

/// Clients of other sessions, who find that there are as many as there may be.
async fn strangers(server: &Server, connecting: &Arc<Semaphore>, all: usize) {
    let stranger = |n: usize| {
        let key = all + n % 7;
        let address = (server.address(n), connecting);
        Client::new(address, key..key + 1, 0, Fate::Stays)
    };
    let strangers = (0..STRANGERS).map(stranger).collect();
    each("strangers find it full", strangers, |mut client| async {
        client.assert_full().await;
        client
    })
    .await;
}

/// With a window of a millisecond many sessions are culled, and never one that a client holds.
#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn no_client_on_a_socket_is_thrown_out_of_its_session() {
    within(LIMIT, |_| {
        let size = Size::from_env(1_500);
        let sessions = (size.sessions / 10).next_multiple_of(4 * size.shared);
        let size = Size { sessions, ..size };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(come_late(size));
    });
}

async fn come_late(size: Size) {
    let registry = Registry::new();
    let server = Server::open(&registry, size.sessions, Duration::from_millis(1));
    let mut clients = clients(size, &server, &Arc::new(Semaphore::new(CONNECTING)));
    for _ in 0..8 {
        clients = each("come, say something, and go", clients, |mut client| async {
            client.connect_anew().await;
            client.say().await;
            client.hear(1).await;
            client.cut_off();
            client
        })
        .await;
    }
    let sessions = server.sessions();
    noticed("all are culled", &sessions, |counts| counts.total == 0).await;
    let (left, closed, culled) = server.tally().closed();
    assert_eq!((left, closed), (0, 0));
    assert_eq!(culled, server.tally().opened());
    assert!(server.close().await.is_clean());
}
