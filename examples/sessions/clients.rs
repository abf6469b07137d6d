//! The clients: as the server's process sees them, and in the process that they live in.

use crate::server::next_line;
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

/// What each client says before the fifths part.
const REMARKS: usize = 3;
/// What those who stay say at most while they wait for the server to close.
const LAST_REMARKS: usize = 2_000;
/// How long a client that found the server full waits before it knocks again.
const FULL: Duration = Duration::from_millis(100);

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the server's process tells the clients, one word after the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Wait,
    /// As many as there is room for are here.
    Chat,
    /// The sessions of those who were cut off for too long are gone.
    Late,
}

// ---- seen from the server's process ------------------------------------------------------------

/// The process that the clients live in.
pub(crate) struct Clients {
    process: Child,
    /// The clients wait for a word here.
    words: ChildStdin,
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
        let words = process.stdin.take().ok_or("the clients have no stdin")?;
        Ok(Self { process, words })
    }

    /// Gives them the next word.
    pub(crate) async fn go_on(&mut self) -> io::Result<()> {
        self.words.write_all(b"go on\n").await
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

/// What becomes of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fifth {
    /// Says `/quit` and listens until the server hangs up.
    Leaves,
    /// Resets the connection, and is back in time.
    ComesBack,
    /// Resets the connection, and is back when its session is gone.
    ComesTooLate,
    /// Connects a second time, which takes over from the first.
    IsTakenOver,
    /// Another one tries to come in by its name.
    IsPosedAs,
}

impl Fifth {
    pub(crate) fn of(n: usize) -> Self {
        use Fifth::{ComesBack, ComesTooLate, IsPosedAs, IsTakenOver, Leaves};
        [Leaves, ComesBack, ComesTooLate, IsTakenOver, IsPosedAs][n % 5]
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
    let (word, words) = watch::channel(Word::Wait);
    let outcomes: FuturesUnordered<_> = (0..CLIENTS)
        .map(|n| {
            let client = Client {
                address,
                name: client_name(n),
                folder: folder.to_owned(),
                session: 0,
                last: 0,
                received: String::new(),
            };
            outcome(
                clients
                    .task(client_name(n))
                    .spawn(client.live(Fifth::of(n), words.clone())),
            )
        })
        .collect();
    // The first one that fails ends this process, and with it the run.
    tokio::try_join!(outcomes.try_collect::<()>(), pass_on(word))?;
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

/// Passes the words on that the server's process says. At its end it says them all.
async fn pass_on(word: watch::Sender<Word>) -> Result {
    let mut stdin = BufReader::new(tokio::io::stdin());
    for next in [Word::Chat, Word::Late] {
        stdin.read_line(&mut String::new()).await?;
        word.send_replace(next);
    }
    Ok(())
}

struct Client {
    address: SocketAddr,
    name: String,
    /// Where it writes down what it received.
    folder: PathBuf,
    /// How many sessions of it there were.
    session: usize,
    /// The number of the last line that it received in this one.
    last: usize,
    /// What it received in this one.
    received: String,
}

/// A connection of a client that was let in.
struct Connection {
    socket: BufReader<TcpStream>,
    welcome: String,
}

impl Client {
    /// The life of a client.
    async fn live(mut self, fifth: Fifth, mut words: watch::Receiver<Word>) -> Result {
        let mut socket = self.come_in("new").await?;
        words.wait_for(|word| *word >= Word::Chat).await?;
        for remark in 0..REMARKS {
            self.chat(&mut socket, &format!("remark {remark}")).await?;
        }
        match fifth {
            Fifth::Leaves => {
                send(&mut socket, "/quit").await?;
                self.hear(&mut socket, "* goodbye").await?;
                return self.write_down().await;
            }
            Fifth::ComesBack => {
                cut_off(&socket)?;
                drop(socket);
                sleep(Duration::from_millis(50)).await;
                socket = self.come_in("back").await?;
            }
            Fifth::ComesTooLate => {
                cut_off(&socket)?;
                drop(socket);
                words.wait_for(|word| *word >= Word::Late).await?;
                socket = self.come_in("new").await?;
            }
            Fifth::IsTakenOver => {
                let mut first = std::mem::replace(&mut socket, self.come_in("back").await?);
                while receive(&mut first).await?.as_str() != "* taken over" {}
            }
            Fifth::IsPosedAs => {
                let refused = self.knock("another").await?;
                if refused.welcome != "* wrong owner" {
                    return Err(format!("posed as: {}", refused.welcome).into());
                }
            }
        }
        self.chat_until_goodbye(&mut socket).await?;
        self.write_down().await
    }

    /// Connects, and says who it is and what it has received.
    async fn knock(&self, owner: &str) -> Result<Connection> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let mut socket = BufReader::new(socket);
        send(&mut socket, &format!("{} {owner} {}", self.name, self.last)).await?;
        let welcome = receive(&mut socket).await?;
        Ok(Connection { socket, welcome })
    }

    /// Connects until there is room, as one who is new, or is back.
    async fn come_in(&mut self, expected: &str) -> Result<BufReader<TcpStream>> {
        loop {
            let Connection { socket, welcome } =
                self.knock(&format!("token-of-{}", self.name)).await?;
            match welcome.strip_prefix("* welcome ") {
                Some(how) if how == expected => {
                    if how == "new" {
                        self.begin_session().await?;
                    }
                    return Ok(socket);
                }
                None if welcome == "* full" => sleep(FULL).await,
                _ => return Err(format!("to come in as {expected}: {welcome}").into()),
            }
        }
    }

    /// What comes now is of another session.
    async fn begin_session(&mut self) -> Result {
        if self.session > 0 {
            self.write_down().await?;
        }
        self.session += 1;
        self.last = 0;
        self.received.clear();
        Ok(())
    }

    async fn write_down(&self) -> Result {
        let file = self.folder.join(format!("{}-{}", self.name, self.session));
        Ok(tokio::fs::write(file, &self.received).await?)
    }

    /// The next line of the session, which has the next number.
    async fn line(&mut self, socket: &mut BufReader<TcpStream>) -> Result<String> {
        let numbered = receive(socket).await?;
        let (number, line) = numbered.split_once(' ').ok_or("a line without a number")?;
        if number.parse() != Ok(self.last + 1) {
            return Err(format!("line {number} after line {}", self.last).into());
        }
        self.last += 1;
        self.received.push_str(line);
        self.received.push('\n');
        Ok(line.to_owned())
    }

    /// Listens until this line comes.
    async fn hear(&mut self, socket: &mut BufReader<TcpStream>, expected: &str) -> Result {
        while self.line(socket).await? != expected {}
        Ok(())
    }

    /// Says something, and waits until the room has heard it.
    async fn chat(&mut self, socket: &mut BufReader<TcpStream>, remark: &str) -> Result {
        send(socket, remark).await?;
        let echo = format!("{}: {remark}", self.name);
        self.hear(socket, &echo).await
    }

    /// Goes on talking until the server says goodbye.
    async fn chat_until_goodbye(&mut self, socket: &mut BufReader<TcpStream>) -> Result {
        for n in 0..LAST_REMARKS {
            let remark = format!("last remark {n}");
            send(socket, &remark).await?;
            let echo = format!("{}: {remark}", self.name);
            loop {
                match self.line(socket).await? {
                    line if line == "* goodbye" => return Ok(()),
                    line if line == echo => break,
                    _ => {}
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.hear(socket, "* goodbye").await
    }
}

/// Resets the connection.
fn cut_off(socket: &BufReader<TcpStream>) -> Result {
    Ok(socket.get_ref().set_zero_linger()?)
}

async fn send(socket: &mut BufReader<TcpStream>, line: &str) -> Result {
    let line = format!("{line}\n");
    Ok(socket.write_all(line.as_bytes()).await?)
}

async fn receive(socket: &mut BufReader<TcpStream>) -> Result<String> {
    let line = next_line(socket).await;
    Ok(line.ok_or("the server hung up without a goodbye")?)
}
