//! The server: it accepts, greets, attaches each connection to its session, and carries lines.

use crate::{
    journal::Journal,
    session::{Backlog, Backlogs, Founding, Line, open_session},
    worker::Teller,
};
use headcount::{
    Context, Registry, WeakContext,
    sessions::{Arrival, AttachError, Lease, Loss, Sessions},
};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::broadcast,
    time::{sleep, timeout},
};

pub(crate) const ROOMS: usize = 20;
/// How many sessions there are at most.
pub(crate) const CAPACITY: usize = 400;
/// How long a client that is cut off has to come back.
pub(crate) const IDLE: Duration = Duration::from_secs(3);

/// Lines in flight in a room. No client has more than one under way, so no session ever misses one.
const CHAT: usize = 256;
/// The longest line that a client may send, in bytes.
const LINE: u64 = 256;

/// How long a connection has to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a client may take to make room for a line.
const STALLED: Duration = Duration::from_secs(10);
/// How long clients that are told goodbye have to hang up.
const GRACE: Duration = Duration::from_secs(10);

/// What the server says before it hangs up.
const FULL: &str = "* full";
const WRONG_OWNER: &str = "* wrong owner";
const TAKEN_OVER: &str = "* taken over";

type Rooms = HashMap<String, broadcast::Sender<Line>>;

/// What every connection is served with.
struct Shared {
    sessions: Sessions<String>,
    rooms: Arc<Rooms>,
    backlogs: Backlogs,
    journal: Arc<Journal>,
    teller: Teller,
}

/// A listener for many who come at once: with a shorter queue, some would have to knock again.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1_024)
}

pub(crate) fn open_server(registry: &Registry) -> Context {
    registry.context_builder("server").grace(GRACE).open()
}

/// Opens the table of sessions, then the entrance.
pub(crate) fn open_chat(
    server: &Context,
    listener: TcpListener,
    journal: &Arc<Journal>,
    teller: Teller,
) -> Sessions<String> {
    let room = |n| (room_name(n), broadcast::channel(CHAT).0);
    let rooms: Arc<Rooms> = Arc::new((0..ROOMS).map(room).collect());
    let founding = Founding {
        backlogs: Backlogs::default(),
        journal: Arc::clone(journal),
        server: server.downgrade(),
    };
    let (backlogs, chats) = (founding.backlogs.clone(), Arc::clone(&rooms));
    let sessions = server
        .sessions::<String>("chats")
        .idle(IDLE)
        .max(CAPACITY)
        .label(Clone::clone)
        .on_open(move |client: String, session| {
            let chat = chats[&room_of(&client)].clone();
            open_session(founding.clone(), client, chat, session)
        })
        .open();
    let shared = Shared {
        sessions: sessions.clone(),
        rooms,
        backlogs,
        journal: Arc::clone(journal),
        teller,
    };
    let accepting = accept(server.downgrade(), listener, Arc::new(shared));
    server.task("accept").cancellable().spawn(accepting);
    sessions
}

/// Takes connections, and has each greeted by a task of its own.
async fn accept(server: WeakContext, listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let greeting = greet(socket, Arc::clone(&shared));
                server.task("greeter").cancellable().spawn(greeting);
            }
            Err(error) => {
                // Mostly "too many open files", which gets better when a client leaves.
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A client that has said who it is.
struct Visitor {
    client: String,
    /// The last line that it has received.
    last: usize,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// Reads the first line, `client owner last`, and attaches the client to its session. One that sends something else is
/// disconnected, by dropping the socket.
async fn greet(socket: TcpStream, shared: Arc<Shared>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let (reader, writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let hello = timeout(GREETING, next_line(&mut reader)).await.ok()??;
    let mut words = hello.split(' ');
    let (client, owner, last) = (words.next()?, words.next()?, words.next()?);
    // It becomes part of a file name, and says its room.
    let is_plain = client
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-');
    shared.rooms.get(&room_of(client)).filter(|_| is_plain)?;
    let mut visitor = Visitor {
        client: client.to_owned(),
        last: last.parse().ok()?,
        reader,
        writer,
    };
    // A second connection of a client takes over from the first.
    let attach = shared
        .sessions
        .attach_as(visitor.client.clone(), owner, "app");
    match attach.await {
        Ok(lease) => {
            let session = lease.context();
            session.task("connection").spawn(keep_connection(
                session.clone(),
                lease,
                visitor,
                shared,
            ));
        }
        Err(AttachError::Full(_)) => {
            shared.journal.count(|tally| tally.refused_full += 1);
            send(&mut visitor.writer, FULL).await.ok()?;
        }
        Err(AttachError::WrongOwner) => {
            shared.journal.count(|tally| tally.refused_owner += 1);
            send(&mut visitor.writer, WRONG_OWNER).await.ok()?;
        }
        Err(_) => {}
    }
    Some(())
}

/// A task of the session: it holds the session as long as the connection lives.
async fn keep_connection(
    session: WeakContext,
    lease: Lease<String>,
    visitor: Visitor,
    shared: Arc<Shared>,
) -> Option<()> {
    let Visitor {
        client,
        last,
        reader,
        writer,
    } = visitor;
    let backlog = shared.backlogs.of(&client)?;
    // What was said in the last life of the session is not in this one's backlog.
    let (last, welcome) = match lease.arrival() {
        Arrival::New => (0, "* welcome new"),
        _ => (last, "* welcome back"),
    };
    if welcome.ends_with("back") {
        shared.journal.count(|tally| tally.came_back += 1);
    }
    let connection = session.try_child("socket").ok()?;
    let chat = shared.rooms.get(&room_of(&client))?.clone();
    let lines = Writer {
        socket: writer,
        backlog,
        last,
        lost: lease.lost(),
    };
    let mut writer = connection.task("writer").spawn(lines.run(welcome));
    let journal = Arc::clone(&shared.journal);
    let reader = Reader {
        client: client.clone(),
        socket: reader,
        chat,
        shared: Arc::clone(&shared),
        session,
    };
    let mut reader = connection.task("reader").spawn(reader.run());
    let held = journal.hold(&client);
    tokio::select! {
        gone = &mut reader => {
            drop(held);
            if let Ok(Gone::Left(socket)) = gone {
                // The session closes, and the writer delivers the rest.
                lease.leave();
                let _ = writer.await;
                until_hung_up(socket).await;
            } else {
                writer.abort();
                drop(lease);
            }
        }
        sent = &mut writer => {
            match sent {
                // It was told goodbye, or that another connection took over.
                Ok(Ok(())) => drop(reader.await),
                // It takes nothing any more.
                _ => reader.abort(),
            }
            drop(held);
            drop(lease);
        }
    }
    connection.close().await;
    Some(())
}

/// Reads on, and throws it away. A socket that is dropped with something unread resets the connection, and the client may never see
/// what was sent to it last.
async fn until_hung_up(mut socket: BufReader<OwnedReadHalf>) {
    let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
}

/// How a client has gone.
enum Gone {
    /// It said so, and still listens.
    Left(BufReader<OwnedReadHalf>),
    CutOff,
}

/// Carries lines from the client into the room.
struct Reader {
    client: String,
    socket: BufReader<OwnedReadHalf>,
    chat: broadcast::Sender<Line>,
    shared: Arc<Shared>,
    session: WeakContext,
}

impl Reader {
    async fn run(mut self) -> Gone {
        loop {
            let next = self
                .session
                .run_until_cancelled(next_line(&mut self.socket));
            match next.await.as_ref().map(Option::as_deref) {
                Some(Some("/quit")) => return Gone::Left(self.socket),
                Some(Some(line)) => self.say(line),
                Some(None) => return Gone::CutOff,
                // The session closes, and the room hears no more.
                None => break,
            }
        }
        until_hung_up(self.socket).await;
        Gone::CutOff
    }

    fn say(&self, line: &str) {
        self.shared.journal.count(|tally| tally.said += 1);
        let _ = self.shared.teller.send(());
        // Its own session listens as long as it is open; one that closes does not hear it.
        let _ = self.chat.send(format!("{}: {line}", self.client).into());
    }
}

/// Carries lines from the backlog to the client.
struct Writer<L> {
    socket: OwnedWriteHalf,
    backlog: Arc<Backlog>,
    /// The last line that the client has.
    last: usize,
    /// Resolves when the lease of the connection is lost.
    lost: L,
}

impl<L: Future<Output = Loss>> Writer<L> {
    async fn run(self, welcome: &str) -> io::Result<()> {
        let Self {
            mut socket,
            backlog,
            mut last,
            lost,
        } = self;
        let mut lost = std::pin::pin!(lost);
        let mut is_closing = false;
        send(&mut socket, welcome).await?;
        loop {
            let line = tokio::select! {
                biased;
                loss = &mut lost, if !is_closing => {
                    if loss == Loss::TakenOver {
                        send(&mut socket, TAKEN_OVER).await?;
                        break;
                    }
                    // The session closes. What is in the backlog is delivered yet.
                    is_closing = true;
                    continue;
                }
                line = backlog.after(last) => line,
            };
            let Some(line) = line else { break };
            last += 1;
            send(&mut socket, &format!("{last} {line}")).await?;
        }
        socket.shutdown().await
    }
}

async fn send(socket: &mut OwnedWriteHalf, line: &str) -> io::Result<()> {
    let line = format!("{line}\n");
    timeout(STALLED, socket.write_all(line.as_bytes())).await?
}

/// The next line, without its end. `None` when there are no more, and for a line that is too long.
pub(crate) async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    reader.take(LINE).read_line(&mut line).await.ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

fn room_name(n: usize) -> String {
    format!("room-{n:02}")
}

/// The room of a client: by the number in its name, so that each has clients of every kind.
fn room_of(client: &str) -> String {
    let digits: String = client.chars().filter(char::is_ascii_digit).collect();
    room_name(digits.parse::<usize>().unwrap_or_default() / 5 % ROOMS)
}
