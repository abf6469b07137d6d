//! The clients: as the server's process sees them, and in the process that they live in.

use crate::server::{ROOMS, next_line, room_name};
use futures::{TryStreamExt, stream::FuturesUnordered};
use headcount::{Registry, Task};
use std::{
    env,
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    sync::watch,
    time::sleep,
};

pub(crate) const CLIENTS: usize = 500;

/// What each client says before the thirds part.
const REMARKS: usize = 4;
/// What the last third says at most while it waits for the server to close.
const LAST_REMARKS: usize = 1_000;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

// ---- seen from the server's process ------------------------------------------------------------

/// The process that the clients live in.
pub(crate) struct Clients {
    process: Child,
    /// The clients wait for a line here.
    start: ChildStdin,
}

impl Clients {
    pub(crate) fn start(address: SocketAddr, folder: &Path) -> Result<Self> {
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
    pub(crate) async fn chat(&mut self) -> io::Result<()> {
        self.start.write_all(b"chat\n").await
    }

    /// Waits for something that they bring about, unless they fail.
    pub(crate) async fn bring_about<T>(&mut self, something: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            output = something => Ok(output),
            status = self.process.wait() => Err(format!("the clients are gone: {}", status?).into()),
        }
    }

    pub(crate) async fn finish(mut self) -> Result {
        match self.process.wait().await? {
            status if status.success() => Ok(()),
            status => Err(format!("the clients failed: {status}").into()),
        }
    }
}

// ---- in their own process ----------------------------------------------------------------------

/// How a client ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Third {
    /// Says `/quit` and listens until the server hangs up.
    Leaves,
    /// Resets the connection, and is gone.
    IsCutOff,
    /// Goes on until the server says goodbye.
    Stays,
}

impl Third {
    pub(crate) fn of(n: usize) -> Self {
        [Self::Leaves, Self::IsCutOff, Self::Stays][n % 3]
    }

    /// How many clients there are of this kind.
    pub(crate) fn size(self) -> usize {
        (0..CLIENTS).filter(|&n| Self::of(n) == self).count()
    }
}

pub(crate) fn client_name(n: usize) -> String {
    format!("client-{n:03}")
}

pub(crate) async fn client_process(address: &str, folder: &Path) -> Result {
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
