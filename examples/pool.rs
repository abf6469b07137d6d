//! A connection pool that owns its connections, lists them, and closes them in reverse order.
//!
//! The pool is a context, so it is in the registry for exactly as long as it exists. Each connection
//! is a value that this context owns: listed, kept until the close, dropped latest first. What users
//! get is a guard, and what the pool's own list of idle connections holds is weak: a connection lives
//! in one place only, and the pool cannot leak one.
//!
//! The close waits for those who still have a connection, because one of the pool's tasks does. Then
//! each connection says goodbye on the wire, from a hook of its own, and is dropped.
//!
//! Run it with `cargo run --example pool`. It exits with 1 if the order is wrong or anything is left.

use headcount::{CloseReport, Context, Registry, Tracked, WeakContext, WeakTracked};
use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

const CONNECTIONS: usize = 4;
const WORKERS: usize = 10;
const QUESTIONS: usize = 3;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let registry = Registry::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let echo = registry.context("echo server");
    echo.task("accept")
        .cancellable()
        .spawn(accept(echo.downgrade(), listener));

    let order = Arc::new(Order::default());
    let pool = Pool::open(&registry, address, &order).await?;
    let app = registry.context("app");
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| app.task(format!("worker-{n}")).spawn(work(pool.clone(), n)))
        .collect();
    sleep(Duration::from_millis(10)).await;
    println!("== at work ==\n{}\n", registry.live().await.trimmed(6));

    for worker in workers {
        worker.await??;
    }
    println!("{WORKERS} workers asked {QUESTIONS} questions each over {CONNECTIONS} connections\n");

    // One client is late: the close has to wait for it.
    let late = pool.check_out().await?;
    let name = late.name().to_owned();
    app.task("late").spawn(async move {
        sleep(Duration::from_millis(50)).await;
        println!("{name} is checked in, at last");
        drop(late);
    });
    println!("== closing ==");
    println!("{}\n", pool.close().await);
    assert!(
        pool.check_out().await.is_err(),
        "a closed pool gives nothing out"
    );

    app.close().await;
    echo.close().await;
    drop((pool, app, echo));
    let live = registry.live().await;
    println!("== afterwards ==\n{live}");

    let closed = order.closed();
    let expected: Vec<_> = (0..CONNECTIONS).rev().map(name_of).collect();
    if live.is_empty() && closed == expected {
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!(
            "pool: {} things left, closed in the order {closed:?}",
            live.len()
        );
        Ok(ExitCode::FAILURE)
    }
}

/// Asks a few questions, each time over whichever connection is free.
async fn work(pool: Pool, n: usize) -> Result<(), Broken> {
    for question in 0..QUESTIONS {
        let connection = pool.check_out().await?;
        let question = format!("worker {n} asks {question}");
        let answer = connection.ask(&question).await?;
        if answer != question {
            return Err(io::Error::other(format!("{question:?} came back as {answer:?}")).into());
        }
        // Thinks about it, with the connection in hand.
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

// ---- the pool ----------------------------------------------------------------------------------

/// A handle to the pool. Clones mean the same pool.
#[derive(Clone)]
struct Pool {
    /// Owns the connections.
    context: Context,
    free: Arc<Free>,
}

/// What is not checked out.
struct Free {
    /// Weak, because the context owns the connections: after the close there is nothing to upgrade.
    connections: Mutex<Vec<WeakTracked<Connection>>>,
    /// As many permits as there are connections in the list.
    permits: Arc<Semaphore>,
}

impl Pool {
    async fn open(
        registry: &Registry,
        address: SocketAddr,
        order: &Arc<Order>,
    ) -> io::Result<Self> {
        let context = registry.context_builder("pool").kind("pool").open();
        let mut connections = Vec::new();
        for n in 0..CONNECTIONS {
            let connection = Connection::open(name_of(n), address, order).await?;
            let connection = context
                .own(name_of(n), "connection", connection)
                .expect("the pool is open");
            let leaving = connection.downgrade();
            context
                .on_close(move || say_goodbye(leaving))
                .expect("the pool is open");
            connections.push(connection.downgrade());
        }
        let free = Arc::new(Free {
            connections: Mutex::new(connections),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        });
        context
            .task("doorkeeper")
            .spawn(see_everybody_out(context.downgrade(), Arc::clone(&free)));
        Ok(Self { context, free })
    }

    /// Waits for a free connection.
    async fn check_out(&self) -> Result<Lease, Broken> {
        let permits = Arc::clone(&self.free.permits);
        let permit = permits.acquire_owned().await.map_err(|_| Broken::Closed)?;
        let connection = locked(&self.free.connections).pop();
        let connection = connection.and_then(|weak| weak.upgrade());
        Ok(Lease {
            connection: connection.ok_or(Broken::Closed)?,
            free: Arc::clone(&self.free),
            _permit: permit,
        })
    }

    async fn close(&self) -> CloseReport {
        self.context.close().await
    }
}

/// Refuses clients once the pool closes, and holds the close up until every connection is back.
/// A client that keeps one for longer than the grace period finds that it was closed.
async fn see_everybody_out(pool: WeakContext, free: Arc<Free>) {
    pool.cancelled().await;
    let everything = u32::try_from(CONNECTIONS).expect("a small number");
    // Waits in line like everybody else, so those who came before still get their turn.
    let all_back = free.permits.acquire_many(everything).await;
    free.permits.close();
    drop(all_back);
}

/// A connection, checked out. Dropping this checks it in. (A pool for the real world would look whether
/// the connection still works.)
struct Lease {
    connection: Tracked<Connection>,
    free: Arc<Free>,
    /// Given back after `drop` has put the connection back: fields are dropped last.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    fn name(&self) -> &str {
        self.connection.name()
    }

    async fn ask(&self, question: &str) -> io::Result<String> {
        self.connection.ask(question).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        locked(&self.free.connections).push(self.connection.downgrade());
    }
}

// ---- a connection ------------------------------------------------------------------------------

struct Connection {
    name: String,
    /// Never contended: a connection is checked out to one at a time.
    stream: tokio::sync::Mutex<BufReader<TcpStream>>,
    order: Arc<Order>,
}

impl Connection {
    async fn open(name: String, address: SocketAddr, order: &Arc<Order>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        println!("{name} is open");
        Ok(Self {
            name,
            stream: tokio::sync::Mutex::new(BufReader::new(stream)),
            order: Arc::clone(order),
        })
    }

    /// Sends a line and waits for the line that comes back.
    async fn ask(&self, question: &str) -> io::Result<String> {
        let mut stream = self.stream.lock().await;
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    }

    /// Says that nothing more will come, and waits until the other side says the same.
    async fn say_goodbye(&self) -> io::Result<()> {
        let mut stream = self.stream.lock().await;
        stream.shutdown().await?;
        let rest = stream.read_to_end(&mut Vec::new()).await?;
        println!("{} said goodbye, {rest} bytes were unread", self.name);
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        println!("{} is closed", self.name);
        self.order.note(&self.name);
    }
}

async fn say_goodbye(connection: WeakTracked<Connection>) -> io::Result<()> {
    match connection.upgrade() {
        Some(connection) => connection.say_goodbye().await,
        None => Ok(()),
    }
}

/// The name of the nth connection.
fn name_of(n: usize) -> String {
    format!("conn-{n}")
}

/// The order in which connections were closed.
#[derive(Default)]
struct Order(Mutex<Vec<String>>);

impl Order {
    fn note(&self, name: &str) {
        locked(&self.0).push(name.to_owned());
    }

    fn closed(&self) -> Vec<String> {
        locked(&self.0).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- what can go wrong -------------------------------------------------------------------------

/// Why a question got no answer.
#[derive(Debug)]
enum Broken {
    /// The pool is closed.
    Closed,
    /// The connection failed.
    Io(io::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for Broken {}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

// ---- the other side ----------------------------------------------------------------------------

/// Takes connections, and gives each a task of its own.
async fn accept(server: WeakContext, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let Some(server) = server.upgrade() else {
            return Ok(());
        };
        server
            .task(format!("echo to {peer}"))
            .cancellable()
            .spawn(echo(stream));
    }
}

/// Sends everything back, until the client has nothing more to say.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
