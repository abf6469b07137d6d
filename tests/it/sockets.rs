//! A server on real sockets: a child context with two or three tasks for each connection, and on the server's own context a
//! task that keeps it. Nothing here depends on how long a thing takes.

use crate::util::{Log, current_thread, in_time, multi_thread};
use headcount::{Context, Registry, State, WeakContext};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::{Notify, broadcast, mpsc},
};

const CLIENTS: usize = 50;
const SUBSCRIBERS: usize = 20;
/// What a value has at most.
const LONG: usize = 20_000;
/// As many as this wait to be written to a connection.
const QUEUE: usize = 32;
/// So large that a full queue does not fit in the buffers of the sockets.
const HUGE: usize = 1_000_000;

type Frame = Arc<[u8]>;

/// Writes the length, and then the bytes.
async fn write_frame(socket: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    socket
        .write_u32(u32::try_from(frame.len()).unwrap())
        .await?;
    socket.write_all(frame).await
}

/// Reads frames off a socket. What has been read of one stays here if the future is dropped.
struct Frames {
    socket: OwnedReadHalf,
    read: Vec<u8>,
}

impl Frames {
    fn new(socket: OwnedReadHalf) -> Self {
        let read = Vec::new();
        Self { socket, read }
    }

    /// The next one; `None` at the end, which is an error in the middle of one.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((length, rest)) = self.read.split_first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                if rest.len() >= length {
                    let frame = rest[..length].to_vec();
                    self.read.drain(..4 + length);
                    return Ok(Some(frame));
                }
            }
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

/// What the database keeps.
struct Store {
    values: Mutex<HashMap<Vec<u8>, Frame>>,
    news: broadcast::Sender<Frame>,
    /// How many replies each connection got, once its keeper has noted it.
    connections: Mutex<BTreeMap<SocketAddr, usize>>,
}

/// What the tasks of the server share.
struct Server {
    ctx: WeakContext,
    db: WeakContext,
    store: Store,
    /// The queue of a connection that asked for huge values is full.
    is_full: Notify,
}

impl Server {
    /// Asks the database, in a task of its own.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        let server = Arc::clone(self);
        let asking = self.db.spawn(async move {
            tokio::task::yield_now().await;
            ask(&server.store)
        });
        asking.await.unwrap()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Some(accepted) = self.ctx.run_until_cancelled(listener.accept()).await {
            let (socket, peer) = accepted.unwrap();
            let Ok(conn) = self.ctx.try_child("conn") else {
                return;
            };
            let keeping = Arc::clone(&self).keep(conn, socket, peer);
            if self.ctx.try_spawn(keeping).is_err() {
                return;
            }
        }
    }

    /// Waits for the tasks of the connection, closes its context, and does the bookkeeping.
    async fn keep(self: Arc<Self>, conn: Context, socket: TcpStream, peer: SocketAddr) {
        let (read, write) = socket.into_split();
        let (replies, queue) = mpsc::channel(QUEUE);
        let written = Arc::new(AtomicUsize::new(0));
        let writer = conn
            .task("writer")
            .spawn(send(write, queue, Arc::clone(&written)));
        let serving = Arc::clone(&self).serve(conn.downgrade(), Frames::new(read), replies);
        let reader = conn.task("reader").spawn(serving);
        let _ = reader.await;
        let _ = writer.await;
        conn.close().await;
        let count = written.load(SeqCst);
        self.ask(move |store| store.connections.lock().unwrap().insert(peer, count))
            .await;
    }

    /// Answers requests until the close, and then reads what the client still sends: a socket that is dropped with something
    /// unread resets the connection, and what was written last is lost.
    async fn serve(
        self: Arc<Self>,
        conn: WeakContext,
        mut frames: Frames,
        replies: mpsc::Sender<Frame>,
    ) {
        while let Some(Ok(Some(request))) = conn.run_until_cancelled(frames.next()).await {
            let reply = self.reply(&conn, request, &replies).await;
            if replies.capacity() == 0 && reply.len() == HUGE {
                self.is_full.notify_one();
            }
            if replies.send(reply).await.is_err() {
                break;
            }
        }
        drop(replies);
        let mut rest = vec![0; 4_096];
        while frames.socket.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    }

    async fn reply(
        self: &Arc<Self>,
        conn: &WeakContext,
        request: Vec<u8>,
        replies: &mpsc::Sender<Frame>,
    ) -> Frame {
        let (verb, rest) = request.split_first().unwrap();
        let (key, value) = (rest[..1].to_vec(), Frame::from(&rest[1..]));
        let found = match verb {
            b'g' => self.ask(move |store| store.values.lock().unwrap().get(&key).cloned()),
            b's' => {
                let _ = self.store.news.send(Arc::clone(&value));
                return self
                    .ask(move |store| store.values.lock().unwrap().insert(key, value))
                    .await
                    .unwrap_or_default();
            }
            b'n' => {
                let (news, replies) = (self.store.news.subscribe(), replies.clone());
                conn.task("pusher").spawn(push(conn.clone(), news, replies));
                return value;
            }
            other => panic!("no such request: {other}"),
        };
        found.await.unwrap_or_default()
    }
}

/// Writes what is in the queue until nothing can come any more.
async fn send(
    mut socket: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Frame>,
    count: Arc<AtomicUsize>,
) {
    while let Some(frame) = queue.recv().await {
        if write_frame(&mut socket, &frame).await.is_err() {
            return;
        }
        count.fetch_add(1, SeqCst);
    }
    let _ = socket.shutdown().await;
}

/// Hands on what others have set.
async fn push(
    conn: WeakContext,
    mut news: broadcast::Receiver<Frame>,
    replies: mpsc::Sender<Frame>,
) {
    while let Some(received) = conn.run_until_cancelled(news.recv()).await {
        match received {
            Ok(frame) => drop(replies.send(frame).await),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Sends requests, up to four at a time, and reads replies to the end. Returns how many there were.
async fn client(address: SocketAddr, n: usize, has_begun: mpsc::Sender<()>) -> usize {
    let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let mut frames = Frames::new(read);
    let (mut asked, mut got, mut key) = (0, 0, n);
    loop {
        while asked < got + 1 + n % 4 {
            key = (key * 7 + 3) % 251;
            let mut request = vec![if key % 3 == 0 { b's' } else { b'g' }, b'k'];
            if key % 3 == 0 {
                request.resize(2 + key * LONG / 251, b'x');
            }
            // The server may have closed it.
            if write_frame(&mut write, &request).await.is_err() {
                break;
            }
            asked += 1;
        }
        match frames.next().await.expect("no reply is cut in the middle") {
            Some(_) => got += 1,
            None => return got,
        }
        if got == 3 {
            has_begun.send(()).await.unwrap();
        }
    }
}

/// Subscribes, and reads what is pushed to the end. Returns how much that was.
async fn subscriber(address: SocketAddr, has_begun: mpsc::Sender<()>) -> usize {
    let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let mut frames = Frames::new(read);
    write_frame(&mut write, b"n-subscribed").await.unwrap();
    let mut got = 0;
    while let Some(frame) = frames
        .next()
        .await
        .expect("no message is cut in the middle")
    {
        if got == 0 {
            assert_eq!(frame, b"subscribed");
        }
        got += 1;
        if got == 3 {
            has_begun.send(()).await.unwrap();
        }
    }
    got
}

/// Asks for huge values, and reads none of them.
async fn never_reads(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16_000).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    for _ in 0..2 * QUEUE {
        socket.write_all(b"\0\0\0\x02gH").await.unwrap();
    }
    socket
}

fn serves_and_closes(runtime: &Runtime) {
    runtime.block_on(async {
        let registry = Registry::builder()
            .grace(Duration::from_millis(800))
            .build();
        let log = Log::default();
        let db = registry.context("db");
        let ctx = registry.context_builder("server").needs(&db).open();
        for (ctx, name) in [(&db, "db"), (&ctx, "server")] {
            let log = log.clone();
            ctx.on_close(async move || log.note(name)).unwrap();
        }
        let huge = (b"H".to_vec(), Frame::from(vec![0; HUGE]));
        let server = Arc::new(Server {
            ctx: ctx.downgrade(),
            db: db.downgrade(),
            store: Store {
                values: Mutex::new(HashMap::from([huge])),
                news: broadcast::channel(16).0,
                connections: Mutex::default(),
            },
            is_full: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        ctx.task("accept")
            .spawn(Arc::clone(&server).accept(listener));

        let (begun, mut has_begun) = mpsc::channel(CLIENTS + SUBSCRIBERS);
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|_| tokio::spawn(subscriber(address, begun.clone())))
            .collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| tokio::spawn(client(address, n, begun.clone())))
            .collect();
        let stuck = in_time(never_reads(address)).await;
        for _ in 0..CLIENTS + SUBSCRIBERS {
            in_time(has_begun.recv()).await.unwrap();
        }
        in_time(server.is_full.notified()).await;

        let report = in_time(registry.close()).await;
        let (mut replies, mut pushed) = (0, 0);
        for client in clients {
            replies += in_time(client).await.unwrap();
        }
        for subscriber in subscribers {
            pushed += in_time(subscriber).await.unwrap();
        }
        assert!(replies >= 3 * CLIENTS && pushed >= 3 * SUBSCRIBERS);

        assert_eq!(report.panicked(), 0, "{report}");
        assert_eq!(report.refused(), 0, "{report}");
        assert_eq!(log.all(), ["server", "db"]);
        let connections = server.store.connections.lock().unwrap().clone();
        let peer = stuck.local_addr().unwrap();
        let others = connections.iter().filter(|(of, _)| **of != peer);
        let (kept, written) = others.fold((0, 0), |(n, sum), (_, count)| (n + 1, sum + count));
        assert_eq!((kept, written), (CLIENTS + SUBSCRIBERS, replies + pushed));
        // Its reader and its writer are aborted, and then its keeper has its time as well.
        assert_eq!(report.forced(), 2, "{report}");
        assert!(connections.contains_key(&peer));
        assert_eq!((ctx.state(), db.state()), (State::Closed, State::Closed));
    });
}

#[test]
fn every_connection_is_closed_in_order_and_no_reply_is_cut_on_one_thread() {
    serves_and_closes(&current_thread());
}

#[test]
fn every_connection_is_closed_in_order_and_no_reply_is_cut_on_several_threads() {
    serves_and_closes(&multi_thread(4));
}
