//! The server: it accepts, greets, and keeps the rooms and their connections.

use crate::log::{Journal, SessionLog, open_log};
use headcount::{Context, Registry, Tracked, WeakContext};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, broadcast, mpsc},
    time::{sleep, timeout},
};

pub(crate) const ROOMS: usize = 20;

/// Lines in flight in a room. No client has more than one under way, so no client ever misses one.
const CHAT: usize = 256;
/// The longest line that a client may send, in bytes.
const LINE: u64 = 256;

/// Why connections close, if it is not the server that closes them.
pub(crate) const LEFT: &str = "left";
pub(crate) const CUT_OFF: &str = "cut off";
const SILENT: &str = "silent for too long";

/// How long a connection has to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a client may take to make room for a line.
const STALLED: Duration = Duration::from_secs(10);
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long clients who are told goodbye have to hang up.
const GRACE: Duration = Duration::from_secs(10);

/// A line, shared by all who receive it.
type Line = Arc<str>;

/// Where each room takes in its visitors.
type Entrances = HashMap<String, mpsc::Sender<Visitor>>;

/// A client that has sent its room and its name.
struct Visitor {
    name: String,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// A listener for many who come at once: with a shorter queue, some would have to knock again.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1_024)
}

/// Opens the rooms, then the entrance.
pub(crate) fn open_server(
    registry: &Registry,
    listener: TcpListener,
    journal: &Arc<Journal>,
) -> Context {
    let server = registry.context_builder("server").grace(GRACE).open();
    let mut entrances = Entrances::new();
    for n in 0..ROOMS {
        let room = server.child_builder(room_name(n)).kind("room").open();
        let (entrance, visitors) = mpsc::channel(16);
        entrances.insert(room_name(n), entrance);
        server
            .task(format!("handler of {}", room_name(n)))
            .spawn(keep_room(room, visitors, Arc::clone(journal)));
    }
    server.task("accept").cancellable().spawn(accept(
        server.downgrade(),
        listener,
        Arc::new(entrances),
    ));
    server
}

/// Takes connections, and has each greeted by a task of its own.
async fn accept(server: WeakContext, listener: TcpListener, entrances: Arc<Entrances>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let Some(server) = server.upgrade() else {
                    return;
                };
                server
                    .task("greeter")
                    .cancellable()
                    .spawn(greet(socket, Arc::clone(&entrances)));
            }
            Err(error) => {
                // Mostly "too many open files", which gets better when a client leaves.
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads the first line, `room name`, and hands the visitor to its room. One that sends something else is
/// disconnected, by dropping the socket.
async fn greet(socket: TcpStream, entrances: Arc<Entrances>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let (reader, writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let hello = timeout(GREETING, next_line(&mut reader)).await.ok()??;
    let (room, name) = hello.split_once(' ')?;
    // It becomes part of a file name.
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let visitor = Visitor {
        name: is_plain.then(|| name.to_owned())?,
        reader,
        writer,
    };
    entrances.get(room)?.send(visitor).await.ok()
}

/// A task of the server: keeps the context of one room, and opens one below it for each visitor.
async fn keep_room(room: Context, mut visitors: mpsc::Receiver<Visitor>, journal: Arc<Journal>) {
    let (chat, _) = broadcast::channel(CHAT);
    while let Some(visitor) = room.run_until_cancelled(visitors.recv()).await.flatten() {
        let connection = room
            .child_builder(visitor.name.clone())
            .kind("connection")
            .open();
        room.task(format!("handler of {}", visitor.name))
            .spawn(keep_connection(
                connection,
                visitor,
                chat.clone(),
                Arc::clone(&journal),
            ));
    }
    room.close().await;
}

/// A task of the room: keeps the context of one connection until there is a reason to close it.
async fn keep_connection(
    connection: Context,
    visitor: Visitor,
    chat: broadcast::Sender<Line>,
    journal: Arc<Journal>,
) {
    let Visitor {
        name,
        reader,
        writer,
    } = visitor;
    let Some(log) = open_log(&connection, &journal.log_of(&name)) else {
        return;
    };
    let delivered = journal.open_page(&name);
    let heard = Arc::new(Notify::new());
    let writer = Writer {
        connection: connection.downgrade(),
        socket: writer,
        log,
        delivered,
    };
    let reader = Reader {
        connection: connection.downgrade(),
        name: name.clone(),
        socket: reader,
        chat: chat.clone(),
        heard: Arc::clone(&heard),
    };
    let mut writer = connection
        .task("writer")
        .spawn(writer.run(chat.subscribe()));
    let mut reader = connection.task("reader").spawn(reader.run());
    let mut timer = connection
        .task("idle timer")
        .cancellable()
        .spawn(idle_timer(heard));
    say(&chat, format!("* {name} is here"));

    let reason = tokio::select! {
        reason = &mut reader => reason.unwrap_or(CUT_OFF),
        _ = &mut writer => CUT_OFF,
        _ = &mut timer => SILENT,
    };
    // The first reason wins: if the room is closing, this one changes nothing.
    connection.request_close(reason);
    let report = connection.close().await;
    say(&chat, format!("* {name} is gone"));
    journal.close_page(&name, report);
}

/// Says something in a room, if a client is there to receive it.
fn say(chat: &broadcast::Sender<Line>, line: String) {
    let _ = chat.send(line.into());
}

/// Carries lines from the client into the room.
struct Reader {
    connection: WeakContext,
    name: String,
    socket: BufReader<OwnedReadHalf>,
    chat: broadcast::Sender<Line>,
    heard: Arc<Notify>,
}

impl Reader {
    /// Returns why the connection should close.
    async fn run(mut self) -> &'static str {
        loop {
            let line = tokio::select! {
                line = next_line(&mut self.socket) => line,
                _ = self.connection.cancelled() => break,
            };
            self.heard.notify_one();
            match line.as_deref() {
                Some("/quit") => return LEFT,
                Some(line) => say(&self.chat, format!("{}: {line}", self.name)),
                None => return CUT_OFF,
            }
        }
        // Listens on until the client hangs up. A socket that is dropped with something unread resets
        // the connection, and the client may never see what was sent to it last.
        let _ = tokio::io::copy(&mut self.socket, &mut tokio::io::sink()).await;
        // The connection is closing, so this reason comes too late to count.
        LEFT
    }
}

/// Carries lines from the room to the client, and into the log.
struct Writer {
    connection: WeakContext,
    socket: OwnedWriteHalf,
    log: Tracked<SessionLog>,
    delivered: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, mut chat: broadcast::Receiver<Line>) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = chat.recv() => line,
                _ = self.connection.cancelled() => break,
            };
            match line {
                Ok(line) => self.deliver(&line).await?,
                Err(broadcast::error::RecvError::Lagged(lines)) => {
                    self.deliver(&format!("* you missed {lines} lines")).await?;
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        while let Ok(line) = chat.try_recv() {
            self.deliver(&line).await?;
        }
        self.deliver("* goodbye").await?;
        self.socket.shutdown().await
    }

    /// Sends a line. It is delivered when the socket has taken all of it, and what is delivered is in
    /// the log: there is no wait between the two at which this task could be aborted.
    async fn deliver(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        timeout(STALLED, self.socket.write_all(line.as_bytes())).await??;
        self.delivered.fetch_add(1, Relaxed);
        let is_long = self.log.record(&line);
        if is_long {
            self.save_log().await;
        }
        Ok(())
    }

    /// Writes the log to the disk, unless the connection is closing: then its hook does.
    async fn save_log(&self) {
        let saving = match self.connection.upgrade() {
            // Not kept while this task waits: a task should not hold its own context open.
            Some(connection) if !connection.is_cancelled() => {
                let log = self.log.clone();
                connection
                    .task("save log")
                    .try_spawn_blocking(move || log.flush())
            }
            _ => return,
        };
        if let Ok(saving) = saving {
            // If it fails, the lines are still there for the hook, which tries again and reports.
            let _ = saving.await;
        }
    }
}

/// Ends when nothing was heard for too long.
async fn idle_timer(heard: Arc<Notify>) {
    while timeout(IDLE, heard.notified()).await.is_ok() {}
}

/// The next line, without its end. `None` when there are no more, and for a line that is too long.
pub(crate) async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    reader.take(LINE).read_line(&mut line).await.ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

pub(crate) fn room_name(n: usize) -> String {
    format!("room-{n:02}")
}
