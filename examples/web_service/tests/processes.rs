//! The service as a process, with real clients and real signals. Nothing here depends on how fast the machine is: a test waits for what
//! the process says, or for what clients got.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use futures::{SinkExt, StreamExt, future::join_all};
use std::{
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{client_async, tungstenite::Message};

/// After so long a process is stuck, and the test has failed.
const STUCK: Duration = Duration::from_secs(120);

const WRITERS: usize = 200;
const LISTENERS: usize = 40;
const CHATS: usize = 40;
const CUTTERS: usize = 40;

/// A process, killed when the test is over.
struct Process {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    said: Vec<String>,
}

impl Process {
    fn start(address: &str, deadline: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_web_service"));
        command
            .env("WEB_ADDRESS", address)
            .env("WEB_DEADLINE", deadline);
        command.env("RUST_BACKTRACE", "0").kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Vec::new();
        Self { child, lines, said }
    }

    /// Waits until it prints a line that starts like this, and returns the rest of that.
    async fn says(&mut self, text: &str) -> String {
        loop {
            let line = in_time(self.lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it never said `{text}`: {:?}", self.said));
            self.said.push(line.clone());
            if let Some(rest) = line.strip_prefix(text) {
                return rest.to_owned();
            }
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.unwrap().success());
    }

    /// Waits for its end. Returns the exit code, and what it printed to standard error.
    async fn ends(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        in_time(errors.read_to_string(&mut said)).await.unwrap();
        let status: ExitStatus = in_time(self.child.wait()).await.unwrap();
        (status.code(), said)
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(STUCK, future).await.expect("it is stuck")
}

async fn until(count: &AtomicUsize, least: usize) {
    let reached = async {
        while count.load(SeqCst) < least {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(reached).await;
}

/// Connects, unless the server does not listen any more.
async fn connect(address: &str) -> Option<BufReader<TcpStream>> {
    TcpStream::connect(address).await.ok().map(BufReader::new)
}

/// What came for a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Whole(u16, String),
    /// Not a byte: it was not accepted.
    None,
    /// A part of an answer: it was accepted, and lost.
    Cut,
}

async fn answer(socket: &mut BufReader<TcpStream>) -> Answer {
    let mut head = String::new();
    loop {
        match socket.read_line(&mut head).await {
            Ok(0) | Err(_) if head.is_empty() => return Answer::None,
            Ok(0) | Err(_) => return Answer::Cut,
            Ok(2) => break,
            Ok(_) => {}
        }
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    match socket.read_exact(&mut body).await {
        Ok(_) => Answer::Whole(status, String::from_utf8(body).unwrap()),
        Err(_) => Answer::Cut,
    }
}

/// Adds notes until the server takes no more, and counts those that it has confirmed.
async fn write_notes(address: String, confirmed: Arc<AtomicUsize>, keeps_alive: bool) {
    let note = "three short words";
    let connection = if keeps_alive { "keep-alive" } else { "close" };
    let request = format!(
        "POST /notes HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{note}",
        note.len()
    );
    while let Some(mut socket) = connect(&address).await {
        while socket.write_all(request.as_bytes()).await.is_ok() {
            match answer(&mut socket).await {
                Answer::Whole(201, _) => confirmed.fetch_add(1, SeqCst),
                Answer::None => break,
                other => panic!("{other:?}"),
            };
        }
    }
}

/// Listens to the news, and returns whether the stream came to its end.
async fn listen(address: String, started: Arc<AtomicUsize>) -> bool {
    let mut socket = connect(&address).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let (mut line, mut last) = (String::new(), String::new());
    loop {
        line.clear();
        if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
            return last == "0";
        }
        if line.contains("listening") {
            started.fetch_add(1, SeqCst);
        }
        if line.trim() != "" {
            line.trim().clone_into(&mut last);
        }
    }
}

/// Sends one message after the other, and returns whether the server said goodbye.
async fn chat(address: String, started: Arc<AtomicUsize>) -> bool {
    let socket = TcpStream::connect(&address).await.unwrap();
    let url = format!("ws://{address}/chat");
    let (mut socket, _) = client_async(url, socket).await.unwrap();
    let mut has_begun = false;
    loop {
        let _ = socket.send(Message::text("hello")).await;
        match socket.next().await {
            Some(Ok(Message::Text(text))) => assert_eq!(text.as_str(), "hello"),
            Some(Ok(Message::Close(_))) => return true,
            _ => return false,
        }
        if !has_begun {
            started.fetch_add(1, SeqCst);
        }
        has_begun = true;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for what never comes, and goes away, again and again.
async fn cut(address: String, started: Arc<AtomicUsize>) {
    while let Some(mut socket) = connect(&address).await {
        let request = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
        if socket.write_all(request).await.is_err() {
            return;
        }
        let mut byte = [0];
        let patience = Duration::from_millis(10);
        let _ = timeout(patience, socket.read(&mut byte)).await;
        started.fetch_add(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_under_load_loses_no_request_and_leaves_nothing() {
    let mut process = Process::start("127.0.0.1:0", "60");
    let address = process.says("listening on ").await;
    let [confirmed, listening, chatting, cutting]: [Arc<AtomicUsize>; 4] = Default::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| write_notes(address.clone(), Arc::clone(&confirmed), n % 2 == 0))
        .map(tokio::spawn)
        .collect();
    let mut listeners: Vec<JoinHandle<bool>> = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(tokio::spawn(listen(
            address.clone(),
            Arc::clone(&listening),
        )));
    }
    for _ in 0..CHATS {
        listeners.push(tokio::spawn(chat(address.clone(), Arc::clone(&chatting))));
    }
    let cutters: Vec<_> = (0..CUTTERS)
        .map(|_| tokio::spawn(cut(address.clone(), Arc::clone(&cutting))))
        .collect();
    until(&listening, LISTENERS).await;
    until(&chatting, CHATS).await;
    until(&cutting, CUTTERS).await;
    until(&confirmed, 2 * WRITERS).await;

    process.signal("TERM").await;
    process.says("stopping (requested: SIGTERM)").await;
    for outcome in in_time(join_all(writers)).await {
        outcome.unwrap();
    }
    for said_goodbye in in_time(join_all(listeners)).await {
        assert!(said_goodbye.unwrap());
    }
    for outcome in in_time(join_all(cutters)).await {
        outcome.unwrap();
    }
    // Each note that was kept is one that was confirmed, and its job is done.
    let confirmed = confirmed.load(SeqCst);
    let kept = process.says(&format!("{confirmed} notes, ")).await;
    assert_eq!(kept, format!("the words of {confirmed} counted"));
    let (code, said) = process.ends().await;
    // The signal, and polls in the middle of which a machine with much else to do has stopped the process.
    let is_usual = |line: &&str| {
        let usual = [
            "no subscriber of `tracing`",
            "web got SIGTERM: stopping",
            "a task blocked the runtime",
        ];
        usual.iter().any(|usual| line.contains(usual))
    };
    let others: Vec<_> = said.lines().filter(|line| !is_usual(line)).collect();
    assert_eq!((code, others), (Some(0), Vec::new()));
}

#[tokio::test]
async fn a_second_signal_aborts_requests_that_hang() {
    let mut process = Process::start("127.0.0.1:0", "3600");
    let address = process.says("listening on ").await;
    let mut stuck = connect(&address).await.unwrap();
    let request = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    stuck.write_all(request).await.unwrap();
    // Accepted after the other one, whose request has come by then.
    let mut other = connect(&address).await.unwrap();
    other
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let ready = in_time(answer(&mut other)).await;
    assert_eq!(ready, Answer::Whole(200, "ready".to_owned()));
    process.signal("INT").await;
    process.says("stopping (requested: SIGINT)").await;
    process.signal("INT").await;
    assert_eq!(in_time(answer(&mut stuck)).await, Answer::None);
    process.says("0 notes, the words of 0 counted").await;
    let (code, said) = process.ends().await;
    assert_eq!(code, Some(1), "{said}");
    // What was lost. Where it hung is printed before, if the process has the time to look that up.
    assert!(
        said.contains("did not end in time: web/web/connections/127.0.0.1:"),
        "{said}"
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut process = Process::start(&address, "60");
    let (code, said) = process.ends().await;
    assert_eq!(code, Some(1), "{said}");
    let expected = format!("cannot listen on {address}: Address already in use");
    assert!(
        said.starts_with("headcount: web failed: ") && said.contains(&expected),
        "{said}"
    );
}
