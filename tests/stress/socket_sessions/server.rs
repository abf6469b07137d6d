//! The server: it attaches what comes over a socket to sessions, and carries what is said in them.

use super::client::{Attaching, Frame, Said, Word};
use crate::common::lock;
use headcount::{
    CloseReason, CloseReport, Context, Registry, WeakContext,
    sessions::{Arrival, AttachError, Lease, Loss, Sessions},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
};

/// More than there are ports for clients of one.
const LISTENERS: usize = 4;
/// How many a listener keeps waiting.
const BACKLOG: u32 = 1_024;
/// How long clients have to hang up when they were told goodbye.
const GRACE: Duration = Duration::from_secs(120);

/// What has been said in a session, as the number of messages. Each message is its number.
type Log = Arc<watch::Sender<u32>>;

/// What became of sessions.
#[derive(Default)]
pub(crate) struct Tally {
    alive: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
    left: AtomicUsize,
    with_server: AtomicUsize,
    other: AtomicUsize,
}

impl Tally {
    fn open(&self) {
        self.opened.fetch_add(1, SeqCst);
        let alive = self.alive.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(alive, SeqCst);
    }

    fn close(&self, reason: Option<&CloseReason>) {
        self.alive.fetch_sub(1, SeqCst);
        let root = reason.map(CloseReason::root);
        let count = match root {
            Some(CloseReason::Left) => &self.left,
            Some(CloseReason::Culled) => &self.other,
            _ => &self.with_server,
        };
        count.fetch_add(1, SeqCst);
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    /// How many were alive at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(SeqCst)
    }

    /// How many closed because their clients left, with the server, and because they were culled.
    pub(crate) fn closed(&self) -> (usize, usize, usize) {
        let load = |count: &AtomicUsize| count.load(SeqCst);
        (load(&self.left), load(&self.with_server), load(&self.other))
    }
}

pub(crate) struct Server {
    context: Context,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    context: WeakContext,
    sessions: Sessions<usize>,
    logs: Arc<Vec<Mutex<Option<Log>>>>,
    tally: Arc<Tally>,
}

impl Server {
    /// One with room for so many sessions, which are idle for so long at most.
    pub(crate) fn open(registry: &Registry, most: usize, window: Duration) -> Self {
        let context = registry.context_builder("server").grace(GRACE).open();
        let logs: Arc<Vec<Mutex<Option<Log>>>> =
            Arc::new((0..most).map(|_| Mutex::default()).collect());
        let tally = Arc::new(Tally::default());
        let sessions = context.sessions("sessions").idle(window).max(most);
        let sessions = sessions.on_open({
            let (logs, tally) = (Arc::clone(&logs), Arc::clone(&tally));
            move |key: usize, session: WeakContext| {
                let opened = open_session(&logs, &tally, key, &session);
                std::future::ready(opened)
            }
        });
        let shared = Arc::new(Shared {
            context: context.downgrade(),
            sessions: sessions.open(),
            logs,
            tally,
        });
        let mut addresses = Vec::new();
        for _ in 0..LISTENERS {
            let listener = listen();
            addresses.push(listener.local_addr().expect("it is bound"));
            let accepting = accept(listener, Arc::clone(&shared));
            context.task("accept").cancellable().spawn(accepting);
        }
        Self {
            context,
            addresses,
            shared,
        }
    }

    /// Where the client of this number is to connect.
    pub(crate) fn address(&self, client: usize) -> SocketAddr {
        self.addresses[client % self.addresses.len()]
    }

    pub(crate) fn sessions(&self) -> Sessions<usize> {
        self.shared.sessions.clone()
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Says something in each session.
    pub(crate) fn publish(&self) {
        for log in self.shared.logs.iter() {
            say(lock(log).as_ref().expect("all sessions are open"));
        }
    }

    pub(crate) async fn close(self) -> CloseReport {
        self.context.close().await
    }
}

fn say(log: &Log) {
    log.send_modify(|said| *said += 1);
}

fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    let bound = socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    bound.expect("there is a free port");
    socket.listen(BACKLOG).expect("it is bound")
}

/// The init of a session: it has a log from now on, until it closes.
fn open_session(
    logs: &Arc<Vec<Mutex<Option<Log>>>>,
    tally: &Arc<Tally>,
    key: usize,
    session: &WeakContext,
) -> Result<(), &'static str> {
    let hook = {
        let (logs, tally, session) = (Arc::clone(logs), Arc::clone(tally), session.clone());
        move || async move {
            drop(lock(&logs[key]).take());
            tally.close(session.close_reason().as_ref());
        }
    };
    session.on_close(hook).map_err(|_| "it closes")?;
    tally.open();
    let before = lock(&logs[key]).replace(Log::default());
    assert!(before.is_none(), "two sessions of a key are alive");
    Ok(())
}

/// Takes connections, and has each served by a task of its own.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (socket, _) = listener.accept().await.expect("there is room for a socket");
        let serving = serve(socket, Arc::clone(&shared));
        shared.context.task("socket").spawn(serving);
    }
}

/// A socket with the leases on it. They are lost when it breaks.
async fn serve(socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let (reader, writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let (frames, to_write) = mpsc::unbounded_channel();
    shared.context.task("writer").spawn(write(writer, to_write));
    let mut leases = Vec::new();
    for index in 0..reader.read_u8().await.ok()? {
        let attaching = Attaching::read(&mut reader).await.ok()?;
        leases.push(attach(&shared, index, attaching, &frames).await);
    }
    drop(frames);
    read(reader, leases).await
}

/// Passes on what the client says, until it is cut off.
async fn read(
    mut reader: BufReader<OwnedReadHalf>,
    leases: Vec<Option<mpsc::UnboundedSender<Said>>>,
) -> Option<()> {
    loop {
        let index = reader.read_u8().await.ok()?;
        let said = Said::read(&mut reader).await.ok()?;
        if let Some(lease) = &leases[usize::from(index)] {
            // One that was told goodbye hears nothing any more.
            let _ = lease.send(said);
        }
    }
}

/// Writes what there is, until no lease is left.
async fn write(mut writer: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if frame.write(&mut writer).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Attaches a client to its session, whose task it is from then on.
async fn attach(
    shared: &Arc<Shared>,
    index: u8,
    attaching: Attaching,
    frames: &mpsc::UnboundedSender<Frame>,
) -> Option<mpsc::UnboundedSender<Said>> {
    let Attaching { key, device, last } = attaching;
    let key = key as usize;
    let device = format!("device-{device}");
    let tell = Tell {
        index,
        frames: frames.clone(),
    };
    let lease = match shared.sessions.attach_as(key, "owner", device).await {
        Ok(lease) => lease,
        Err(AttachError::Full(_)) => {
            tell.say(Word::Full, 0);
            return None;
        }
        Err(_) => {
            tell.say(Word::Goodbye, 0);
            return None;
        }
    };
    let log = lock(&shared.logs[key]).clone();
    let word = match lease.arrival() {
        Arrival::New => Word::New,
        _ => Word::Back,
    };
    tell.say(word, 0);
    let (commands, said) = mpsc::unbounded_channel();
    let session = lease.context();
    let holding = hold(lease, log?, last, said, tell);
    session.task("client").spawn(holding);
    Some(commands)
}

/// Where frames for one lease go.
struct Tell {
    index: u8,
    frames: mpsc::UnboundedSender<Frame>,
}

impl Tell {
    fn say(&self, word: Word, number: u32) {
        let index = self.index;
        // Without a writer the socket is broken, and the reader finds that out.
        let _ = self.frames.send(Frame {
            index,
            word,
            number,
        });
    }

    /// Delivers what the client does not have yet.
    fn deliver(&self, last: &mut u32, said: u32) {
        for number in *last + 1..=said {
            self.say(Word::Message, number);
        }
        *last = said;
    }
}

/// A task of the session: holds it for one client.
async fn hold(
    lease: Lease<usize>,
    log: Log,
    mut last: u32,
    mut said: mpsc::UnboundedReceiver<Said>,
    tell: Tell,
) {
    let mut news = log.subscribe();
    let mut lost = std::pin::pin!(lease.lost());
    loop {
        let next = tokio::select! {
            biased;
            loss = &mut lost => {
                if loss == Loss::TakenOver {
                    return tell.say(Word::TakenOver, 0);
                }
                // The session closes: what was said before is delivered.
                tell.deliver(&mut last, *log.borrow());
                return tell.say(Word::Goodbye, 0);
            }
            said = said.recv() => said,
            news = news.wait_for(|said| *said > last) => {
                let said = *news.expect("this task has the log");
                tell.deliver(&mut last, said);
                continue;
            }
        };
        match next {
            Some(Said::Something) => say(&log),
            Some(Said::Goodbye) => {
                tell.deliver(&mut last, *log.borrow());
                tell.say(Word::Goodbye, 0);
                return lease.leave();
            }
            // Its socket is broken.
            None => return,
        }
    }
}
