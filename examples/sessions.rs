//! A TCP line-chat server with 500 real connections, and the proof that nothing of it is left when it
//! has closed.
//!
//! ```text
//! server                        a context, with a task that accepts
//! └─ room-00 … room-19          a context each, kept by a task of the server
//!    └─ client-000 …            a context per connection, kept by a task of its room
//!       ├─ client-000.log       owned: the log, flushed by a hook when the connection closes
//!       ├─ reader               client → room
//!       ├─ writer               room → client, and into the log
//!       └─ idle timer
//! ```
//!
//! The clients are a process of their own, this program started a second time. They join, chat, and
//! then a third leaves politely, a third is cut off without a word, and a third is still chatting when
//! the server closes. What is left after that is looked at from the outside: by the registry, by the
//! tokio runtime, by the operating system, and by the clients, who wrote down every line they received.
//!
//! Run it with `cargo run --example sessions`. It takes a few seconds and 520 file descriptors per
//! process, and exits with 1 if anything is left or lost.

use futures::{TryStreamExt, stream::FuturesUnordered};
use headcount::{CloseReason, CloseReport, Context, Live, Registry, Task, Tracked, WeakContext};
use std::{
    collections::{BTreeMap, HashMap},
    env,
    error::Error,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    process::{Child, ChildStdin, Command},
    runtime::{Builder, Handle},
    sync::{Notify, broadcast, mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

const ROOMS: usize = 20;
const CLIENTS: usize = 500;

/// What each client says before the thirds part.
const REMARKS: usize = 4;
/// What the last third says at most while it waits for the server to close.
const LAST_REMARKS: usize = 1_000;

/// Lines in flight in a room. Nobody has more than one under way, so nobody ever misses one.
const CHAT: usize = 256;
/// The longest line anybody may send, in bytes.
const LINE: u64 = 256;
/// A log longer than this goes to the disk, in bytes.
const LOG: usize = 2_048;

/// Why connections close, if it is not the server that closes them.
const LEFT: &str = "left";
const CUT_OFF: &str = "cut off";
const SILENT: &str = "silent for too long";

/// How long a connection has to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a client may take to make room for a line.
const STALLED: Duration = Duration::from_secs(10);
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long clients who are told goodbye have to hang up.
const GRACE: Duration = Duration::from_secs(10);
/// How long anything may take before the program calls it a failure.
const PATIENCE: Duration = Duration::from_secs(60);

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments {
        [] => block_on(server_process()),
        ["clients", address, folder] => block_on(client_process(address, Path::new(folder))),
        _ => Err("takes no arguments".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the two processes to its end.
fn block_on(process: impl Future<Output = Result>) -> Result {
    let runtime = Builder::new_multi_thread()
        // Each of these may have a file open, and 500 sockets leave little of the usual 1,024.
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async { timeout(PATIENCE, process).await });
    // Does not wait for a thread that may still be reading stdin.
    runtime.shutdown_background();
    result.unwrap_or_else(|_| Err(format!("not done after {PATIENCE:?}").into()))
}

// ---- the story ---------------------------------------------------------------------------------

async fn server_process() -> Result {
    let before = Outside::look();
    let folder = Folder::create()?;
    let registry = Registry::new();
    let book = Arc::new(Book::new(&folder.logs));

    let listener = listen()?;
    let address = listener.local_addr()?;
    let server = open_server(&registry, listener, &book);
    let mut clients = Clients::start(address, &folder.received)?;

    let live = clients
        .bring_about(until_connected(&registry, CLIENTS))
        .await?;
    println!(
        "== {CLIENTS} clients in {ROOMS} rooms ==\n{}\n",
        live.trimmed(4)
    );

    clients.chat().await?;
    let live = clients
        .bring_about(until_connected(&registry, Third::Stays.size()))
        .await?;
    println!(
        "== a third left, a third was cut off ==\n{}\n",
        live.trimmed(2)
    );

    println!("== the server closes under load ==");
    let report = close_with_progress(&server).await;
    println!("{report}\n");
    drop(server);

    println!("== what is left ==\n{}\n", registry.live().await);
    let mut proof = Proof::default();
    proof.nothing_is_left(&registry, before).await;
    clients.finish().await?;
    proof.everything_closed_well(&report, &book);
    proof.nothing_is_lost(&folder, &book);
    proof.result()?;
    folder.remove()
}

/// Waits until so many connections are there, no more and no less.
async fn until_connected(registry: &Registry, count: usize) -> Live {
    loop {
        let live = registry.live().await;
        if live.kind("connection").len() == count {
            return live;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Closes the server, and says now and then how far it is.
async fn close_with_progress(server: &Context) -> CloseReport {
    server.request_close(CloseReason::Shutdown);
    let mut is_first = true;
    loop {
        match server.close_within(Duration::from_millis(25)).await {
            Ok(report) => return report,
            Err(still_closing) => {
                let live = still_closing.remaining();
                if std::mem::take(&mut is_first) {
                    println!("{}\n", live.trimmed(2));
                }
                println!(
                    "… {} connections in {} rooms, {} tasks to go",
                    live.kind("connection").len(),
                    live.kind("room").len(),
                    live.tasks().len()
                );
            }
        }
    }
}

// ---- the server --------------------------------------------------------------------------------

/// A line, shared by all who receive it.
type Line = Arc<str>;

/// Where each room takes in its guests.
type Doors = HashMap<String, mpsc::Sender<Guest>>;

/// Somebody who said where to go and who is asking.
struct Guest {
    name: String,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// A listener for many who come at once: with a shorter queue, some would have to knock again.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1_024)
}

/// Opens the rooms, then the door.
fn open_server(registry: &Registry, listener: TcpListener, book: &Arc<Book>) -> Context {
    let server = registry.open("server").grace(GRACE).start();
    let mut doors = Doors::new();
    for n in 0..ROOMS {
        let room = server.open(room_name(n)).kind("room").start();
        let (door, guests) = mpsc::channel(16);
        doors.insert(room_name(n), door);
        server
            .task(format!("keeper of {}", room_name(n)))
            .spawn(keep_room(room, guests, Arc::clone(book)));
    }
    server.task("accept").cancellable().spawn(accept(
        server.downgrade(),
        listener,
        Arc::new(doors),
    ));
    server
}

/// Takes connections, and has each greeted by a task of its own.
async fn accept(server: WeakContext, listener: TcpListener, doors: Arc<Doors>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let Some(server) = server.upgrade() else {
                    return;
                };
                server
                    .task("greeter")
                    .cancellable()
                    .spawn(greet(socket, Arc::clone(&doors)));
            }
            Err(error) => {
                // Mostly "too many open files", which gets better when somebody leaves.
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads the first line, `room name`, and shows the guest in. Whoever does not know how to behave is
/// disconnected, by dropping the socket.
async fn greet(socket: TcpStream, doors: Arc<Doors>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let (reader, writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let hello = timeout(GREETING, next_line(&mut reader)).await.ok()??;
    let (room, name) = hello.split_once(' ')?;
    // It becomes part of a file name.
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let guest = Guest {
        name: is_plain.then(|| name.to_owned())?,
        reader,
        writer,
    };
    doors.get(room)?.send(guest).await.ok()
}

/// A task of the server: keeps the context of one room, and opens one below it for each guest.
async fn keep_room(room: Context, mut guests: mpsc::Receiver<Guest>, book: Arc<Book>) {
    let (chat, _) = broadcast::channel(CHAT);
    while let Some(guest) = room.run_until_cancelled(guests.recv()).await.flatten() {
        let connection = room.open(guest.name.clone()).kind("connection").start();
        room.task(format!("keeper of {}", guest.name))
            .spawn(keep_connection(
                connection,
                guest,
                chat.clone(),
                Arc::clone(&book),
            ));
    }
    room.close().await;
}

/// A task of the room: keeps the context of one connection until there is a reason to close it.
async fn keep_connection(
    connection: Context,
    guest: Guest,
    chat: broadcast::Sender<Line>,
    book: Arc<Book>,
) {
    let Guest {
        name,
        reader,
        writer,
    } = guest;
    let Some(log) = open_log(&connection, &book.log_of(&name)) else {
        return;
    };
    let delivered = book.open_page(&name);
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
    book.close_page(&name, report);
}

/// Says something in a room, if anybody is there to hear it.
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
                () = self.connection.cancelled() => break,
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
                () = self.connection.cancelled() => break,
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
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    reader.take(LINE).read_line(&mut line).await.ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

// ---- the logs ----------------------------------------------------------------------------------

/// What was delivered to one client. It opens its file only to append to it, so that 500 logs do not
/// take 500 descriptors.
struct SessionLog {
    path: PathBuf,
    unsaved: Mutex<String>,
}

impl SessionLog {
    /// Adds a line; true if it is time to save.
    fn record(&self, line: &str) -> bool {
        let mut unsaved = locked(&self.unsaved);
        unsaved.push_str(line);
        unsaved.len() > LOG
    }

    /// Appends what is new to the file. Blocks.
    fn flush(&self) -> io::Result<()> {
        let mut unsaved = locked(&self.unsaved);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        io::Write::write_all(&mut file, unsaved.as_bytes())?;
        unsaved.clear();
        Ok(())
    }
}

/// Gives a log to the connection, and a hook that flushes it once nobody writes to it any more.
/// `None` if the connection closed meanwhile.
fn open_log(connection: &Context, path: &Path) -> Option<Tracked<SessionLog>> {
    let log = SessionLog {
        path: path.to_owned(),
        unsaved: Mutex::default(),
    };
    let name = format!("{}.log", connection.name());
    let log = connection.own(name, "log file", log).ok()?;
    let flushed = log.clone();
    connection
        .on_close(async move || spawn_blocking(move || flushed.flush()).await?)
        .ok()?;
    Some(log)
}

/// What the server remembers about its clients: the other half of the proof.
struct Book {
    logs: PathBuf,
    pages: Mutex<BTreeMap<String, Page>>,
}

/// What is remembered about one client.
#[derive(Default)]
struct Page {
    /// How many lines were delivered.
    delivered: Arc<AtomicU64>,
    /// How its connection closed.
    report: Option<CloseReport>,
}

impl Book {
    fn new(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            pages: Mutex::default(),
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn open_page(&self, name: &str) -> Arc<AtomicU64> {
        let mut pages = locked(&self.pages);
        Arc::clone(&pages.entry(name.to_owned()).or_default().delivered)
    }

    fn close_page(&self, name: &str, report: CloseReport) {
        locked(&self.pages)
            .entry(name.to_owned())
            .or_default()
            .report = Some(report);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- the clients, seen from the server's process --------------------------------------------------

/// The process that the clients live in.
struct Clients {
    process: Child,
    /// The clients wait for a line here.
    start: ChildStdin,
}

impl Clients {
    fn start(address: SocketAddr, folder: &Path) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg("clients")
            .arg(address.to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let start = process.stdin.take().ok_or("the clients have no stdin")?;
        Ok(Self { process, start })
    }

    /// Tells them that everybody is here.
    async fn chat(&mut self) -> io::Result<()> {
        self.start.write_all(b"chat\n").await
    }

    /// Waits for something that they bring about, unless they fail.
    async fn bring_about<T>(&mut self, something: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            output = something => Ok(output),
            status = self.process.wait() => Err(format!("the clients are gone: {}", status?).into()),
        }
    }

    async fn finish(mut self) -> Result {
        match self.process.wait().await? {
            status if status.success() => Ok(()),
            status => Err(format!("the clients failed: {status}").into()),
        }
    }
}

// ---- the clients, in their own process ------------------------------------------------------------

/// How a client ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Third {
    /// Says `/quit` and listens until the server hangs up.
    Leaves,
    /// Resets the connection, and is gone.
    IsCutOff,
    /// Goes on until the server says goodbye.
    Stays,
}

impl Third {
    fn of(n: usize) -> Self {
        [Self::Leaves, Self::IsCutOff, Self::Stays][n % 3]
    }

    /// How many clients there are of this kind.
    fn size(self) -> usize {
        (0..CLIENTS).filter(|&n| Self::of(n) == self).count()
    }
}

fn room_name(n: usize) -> String {
    format!("room-{n:02}")
}

fn client_name(n: usize) -> String {
    format!("client-{n:03}")
}

async fn client_process(address: &str, folder: &Path) -> Result {
    let address: SocketAddr = address.parse()?;
    let registry = Registry::new();
    let clients = registry.context("clients");
    let (start, started) = watch::channel(false);
    let outcomes: FuturesUnordered<_> = (0..CLIENTS)
        .map(|n| {
            let received = folder.join(client_name(n));
            let life = live_as_client(n, address, received, started.clone());
            outcome(clients.task(client_name(n)).spawn(life))
        })
        .collect();
    // The first one that fails ends this process, and with it the run.
    tokio::try_join!(outcomes.try_collect::<()>(), wait_for_the_word(start))?;
    clients.close().await;
    Ok(())
}

/// Waits for a client, and names it if it failed.
async fn outcome(client: Task<Result>) -> Result {
    let name = client.name().to_owned();
    client
        .await?
        .map_err(|error| format!("{name}: {error}").into())
}

/// Starts the chat when the server's process says so, or has ended.
async fn wait_for_the_word(start: watch::Sender<bool>) -> Result {
    let mut stdin = BufReader::new(tokio::io::stdin());
    stdin.read_line(&mut String::new()).await?;
    start.send_replace(true);
    Ok(())
}

/// The life of a client. At its end it writes down what it received.
async fn live_as_client(
    n: usize,
    address: SocketAddr,
    received: PathBuf,
    mut started: watch::Receiver<bool>,
) -> Result {
    let mut client = Client::connect(address, client_name(n)).await?;
    client
        .send(&format!("{} {}", room_name(n % ROOMS), client.name))
        .await?;
    client.hear(&format!("* {} is here", client.name)).await?;
    started.wait_for(|started| *started).await?;
    for remark in 0..REMARKS {
        client.chat(&format!("remark {remark}")).await?;
    }
    match Third::of(n) {
        Third::Leaves => {
            client.send("/quit").await?;
            client.hear("* goodbye").await?;
        }
        Third::IsCutOff => client.socket.get_ref().set_zero_linger()?,
        Third::Stays => {
            client.chat_until_goodbye().await?;
            // Takes its time to hang up, some more than others.
            sleep(Duration::from_millis(n as u64 % 40 * 5)).await;
        }
    }
    Ok(tokio::fs::write(received, client.hang_up()).await?)
}

struct Client {
    name: String,
    socket: BufReader<TcpStream>,
    received: String,
}

impl Client {
    async fn connect(address: SocketAddr, name: String) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            name,
            socket: BufReader::new(socket),
            received: String::new(),
        })
    }

    async fn send(&mut self, line: &str) -> Result {
        let line = format!("{line}\n");
        Ok(self.socket.write_all(line.as_bytes()).await?)
    }

    /// The next line from the server, written down.
    async fn receive(&mut self) -> Option<String> {
        let line = next_line(&mut self.socket).await?;
        self.received.push_str(&line);
        self.received.push('\n');
        Some(line)
    }

    /// Listens until this line comes.
    async fn hear(&mut self, expected: &str) -> Result {
        while let Some(line) = self.receive().await {
            if line == expected {
                return Ok(());
            }
        }
        Err(format!("the server hung up before it said {expected:?}").into())
    }

    /// Says something, and waits until the room has heard it.
    async fn chat(&mut self, remark: &str) -> Result {
        self.send(remark).await?;
        self.hear(&format!("{}: {remark}", self.name)).await
    }

    /// Goes on talking until the server says goodbye.
    async fn chat_until_goodbye(&mut self) -> Result {
        for n in 0..LAST_REMARKS {
            let remark = format!("last remark {n}");
            self.send(&remark).await?;
            let echo = format!("{}: {remark}", self.name);
            loop {
                match self.receive().await {
                    Some(line) if line == "* goodbye" => return Ok(()),
                    Some(line) if line == echo => break,
                    Some(_) => {}
                    None => return Err("the server hung up without a goodbye".into()),
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.hear("* goodbye").await
    }

    /// Closes the socket, and returns what came out of it.
    fn hang_up(self) -> String {
        self.received
    }
}

// ---- the proof ---------------------------------------------------------------------------------

/// What can be seen of this process from outside the registry.
#[derive(Clone, Copy)]
struct Outside {
    /// Tasks that the runtime has not dropped yet.
    tasks: usize,
    /// Open sockets; `None` where the system does not say.
    sockets: Option<usize>,
}

impl Outside {
    fn look() -> Self {
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            sockets: Self::sockets(),
        }
    }

    fn sockets() -> Option<usize> {
        let descriptors = fs::read_dir("/proc/self/fd").ok()?;
        let is_socket = |entry: &fs::DirEntry| {
            fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        };
        Some(descriptors.flatten().filter(is_socket).count())
    }
}

/// What was checked, and what did not hold.
#[derive(Default)]
struct Proof {
    failures: usize,
}

impl Proof {
    fn check(&mut self, holds: bool, what: &str) {
        println!("{} {what}", if holds { "✓" } else { "✗" });
        self.failures += usize::from(!holds);
    }

    fn result(self) -> Result {
        match self.failures {
            0 => Ok(()),
            failures => Err(format!("{failures} checks failed, see above").into()),
        }
    }

    async fn nothing_is_left(&mut self, registry: &Registry, before: Outside) {
        let count = registry.count();
        self.check(count == 0, &format!("the registry counts {count}"));

        let mut now = Outside::look();
        match (before.sockets, now.sockets) {
            (Some(was), Some(is)) => self.check(
                is == was,
                &format!("the process has {is} sockets open, before it had {was}"),
            ),
            _ => println!("- there is no /proc/self/fd here, so sockets were not counted"),
        }

        // A task's handle resolves a moment before the runtime strikes the task off its list.
        for _ in 0..100 {
            if now.tasks == before.tasks {
                break;
            }
            sleep(Duration::from_millis(1)).await;
            now = Outside::look();
        }
        let (was, is) = (before.tasks, now.tasks);
        self.check(
            is == was,
            &format!("the runtime has {is} tasks, before it had {was}"),
        );
    }

    fn everything_closed_well(&mut self, report: &CloseReport, book: &Book) {
        self.check(report.is_clean(), "the close report is clean");
        let pages = locked(&book.pages);
        let reports: Vec<_> = pages
            .values()
            .filter_map(|page| page.report.as_ref())
            .collect();
        let flushed = reports
            .iter()
            .filter(|report| report.is_clean() && report.hooks().ran == 1)
            .count();
        self.check(
            flushed == CLIENTS,
            &format!("{flushed} connections closed cleanly and flushed their logs"),
        );
        for (third, reason) in [
            (Third::Leaves, CloseReason::from(LEFT)),
            (Third::IsCutOff, CloseReason::from(CUT_OFF)),
            (Third::Stays, CloseReason::Parent),
        ] {
            let count = reports
                .iter()
                .filter(|report| *report.reason() == reason)
                .count();
            self.check(
                count == third.size(),
                &format!("{count} of them closed because: {reason}"),
            );
        }
    }

    /// Compares what the server counted, what its logs say, and what the clients wrote down.
    fn nothing_is_lost(&mut self, folder: &Folder, book: &Book) {
        let pages = locked(&book.pages);
        let mut lines = 0;
        let (mut complete, mut confirmed) = (0, 0);
        for n in 0..CLIENTS {
            let name = client_name(n);
            let log = contents(&book.log_of(&name));
            let received = contents(&folder.received.join(&name));
            let delivered = pages
                .get(&name)
                .map_or(0, |page| page.delivered.load(Relaxed));
            lines += delivered;
            complete += usize::from(log.lines().count() as u64 == delivered);
            confirmed += usize::from(match Third::of(n) {
                // What is on its way to a client that is cut off never gets there.
                Third::IsCutOff => log.starts_with(&received),
                Third::Leaves | Third::Stays => log == received,
            });
        }
        self.check(
            complete == CLIENTS,
            &format!("{complete} logs have each of the {lines} lines that were delivered"),
        );
        self.check(
            confirmed == CLIENTS,
            &format!("{confirmed} clients received what their logs say"),
        );
    }
}

/// What a file contains; nothing, if there is none.
fn contents(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Where the logs go, and what the clients write down. It stays if something goes wrong.
struct Folder {
    root: PathBuf,
    logs: PathBuf,
    received: PathBuf,
}

impl Folder {
    fn create() -> Result<Self> {
        let root = env::temp_dir().join(format!("headcount-sessions-{}", std::process::id()));
        let folder = Self {
            logs: root.join("logs"),
            received: root.join("received"),
            root,
        };
        fs::create_dir_all(&folder.logs)?;
        fs::create_dir_all(&folder.received)?;
        println!("logs are in {}\n", folder.root.display());
        Ok(folder)
    }

    fn remove(self) -> Result {
        Ok(fs::remove_dir_all(self.root)?)
    }
}
